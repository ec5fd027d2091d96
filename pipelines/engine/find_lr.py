"""Learning-rate finder: a short run in which the learning rate rises."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from callbacks import find_learning_rate
from optimizers import registry
from pipelines.core.console import say
from pipelines.core.errors import UserError
from pipelines.core.files import whole
from pipelines.engine import backend, fit
from pipelines.engine.config import TrainConfig

if TYPE_CHECKING:
    from pipelines.engine.record import TaskRecord

STEPS = 200
BELOW, ABOVE = 1e-4, 1e3  # the range of the search, as factors of the optimizer's own rate


def find(task: TaskRecord, config: TrainConfig) -> float:
    """Finds a learning rate, draws the search, and prints the option to pass.

    Returns:
        The suggested rate.

    Raises:
        UserError: Options or data cannot be used, or the loss explodes at once.
    """
    backend.prepare(config.run.seed, config.run.deterministic, config.fit.precision)
    data = task.load_data(config)
    config = task.resolved(config, data, say)
    model = task.build_model(config, data)
    fit.compile_model(model, config, task.objective(config, data), steps=STEPS)
    model.steps_per_execution = 1  # the loss of each step counts
    stream, _ = task.batches(config, data)
    usual = config.optimizer.learning_rate or registry.record(config.optimizer.name).defaults["learning_rate"]
    with fit.regularized(model, config):
        found = find_learning_rate(
            model, stream.dataset, lowest=BELOW * usual, highest=ABOVE * usual, steps=STEPS, shuffle=False
        )
    try:
        rate = float(f"{found.suggestion:.2g}")
        figure = found.figure()
    except ValueError as error:
        raise UserError(f"no learning rate found: {error}") from None
    name = config.run.name or time.strftime("%Y-%m-%d_%H-%M-%S")
    path = Path(config.run.out) / task.name / f"find-lr_{name}.png"
    with whole(path) as aside:
        figure.savefig(aside, format="png")
    say(f"{len(found.rates)} steps from {found.rates[0]:.1e} to {found.rates[-1]:.1e}, drawn in {path}")
    say(f"the loss falls fastest at a learning rate of {rate:g}: use it as the peak (the default is {usual:g})")
    print(f"--optimizer.learning_rate {rate:g}")
    return rate
