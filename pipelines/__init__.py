"""Ready-made Keras 3 pipelines, one module for each task: `python -m pipelines` lists them.

Nothing here imports keras, so that `--help` answers at once and the backend can still be chosen.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipelines.engine.train import Run

TASKS = {
    "image_classify": "Image classification: which class does an image show?",
    "object_detect": "Object detection: which objects does an image show, and where?",
    "image_segment": "Semantic segmentation: which class does each pixel of an image have?",
    "text_classify": "Text classification: one class for each text, or several labels.",
    "translate": "Translation: what does a text say in another language?",
    "ner": "Named-entity recognition: which names occur in a text, where, and of what type?",
    "recommend": "Recommendation: which items will a user choose next?",
    "finance": "Tables in finance: classify rows, predict numbers or times to an event, with costs and reason codes.",
    "medical": "Tables in medicine: the same, with the scores that clinical studies report.",
}


def load(directory: str, trust_code: bool = False) -> Run:
    """Opens a finished run of any task: `run.predict(...)`, `run.evaluate()`, `run.explain()`, `run.metrics`.

    Args:
        directory: The run directory.
        trust_code: Whether the run may import modules that are not part of the suite.

    Raises:
        UserError: The directory does not hold a finished run.
    """
    from pipelines.engine.task import open_run

    return open_run(directory, TASKS, trust_code)


def _suggest_task(argv: list[str]) -> None:
    """Ends `python -m pipelines.TYPO` with a line that names the task that was probably meant."""
    from importlib.util import find_spec

    from pipelines.core import cli

    module = argv[argv.index("-m") + 1]
    name = module.removeprefix("pipelines.")
    if module.startswith("pipelines.") and "." not in name and find_spec(module) is None:
        near = cli.suggestion(name, TASKS) or f"; the tasks are {', '.join(TASKS)}"
        cli.fail("python -m pipelines", f"unknown task {name!r}{near}")


if sys.argv[:1] == ["-m"] and "-m" in sys.orig_argv[1:-1]:  # Python is looking for the module to run
    _suggest_task(sys.orig_argv)
