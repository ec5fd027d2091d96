"""The trained model of a run."""

from __future__ import annotations

import sys
from typing import Any

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.core.functions import check_trusted, import_module
from pipelines.core.run_dir import RunDir

# Modules that runs of 0.1.0 name in their spec.json, and where they are now.
MOVED = {
    "pipelines.models.backbones": "pipelines.texts.backbones",
    "pipelines.models.tabular": "pipelines.tables.models",
    "pipelines.models.taggers": "pipelines.tags.models",
    "pipelines.models.text_layers": "pipelines.texts.layers",
}


def check_modules(run: RunDir) -> None:
    """Refuses the modules of a run that is not trusted, before anything slow is imported.

    Raises:
        UserError: See `pipelines.core.functions.untrusted`.
    """
    for module in run.read_spec().get("modules", []):
        if module not in sys.modules:
            check_trusted(MOVED.get(module, module), "the run's model")


def load_model(run: RunDir) -> Any:
    """The trained model of a run.

    The module of a user's own builder is imported first, so that the layers it registers are known. Keras loads in its
    safe mode: a model with a Lambda layer, which holds code, is refused.

    Raises:
        UserError: The run has no model yet, or it cannot be read.
    """
    if not run.model.exists():
        hint = f"; finish it with --resume {run}" if run.checkpoints.exists() else ""
        raise UserError(f"{run} has no model.keras: its training has not finished{hint}")
    for module in run.read_spec().get("modules", []):
        if module not in sys.modules:
            import_module(MOVED.get(module, module), "the run's model")
    import keras

    import regularizers

    regularizers.register()
    try:
        return keras.models.load_model(run.model, compile=False)
    except Exception as error:
        raise UserError(f"model {run.model} cannot be read: {one_line(error)}") from None
