"""What TensorBoard shows of a finished run: the report's figures and texts, curves, hyper-parameters, embeddings."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from callbacks import features, write_embeddings, write_figures, write_hparams, write_pr_curves, write_texts
from pipelines.core.config import to_dict
from pipelines.core.console import say
from pipelines.core.files import one_line
from pipelines.engine import report
from pipelines.engine.config import TrainConfig

if TYPE_CHECKING:
    from pipelines.core.run_dir import RunDir
    from pipelines.engine.report import Assessment

CURVES = 50  # classes whose curves are written; with more of them the tab is of no use


def write(run: RunDir, config: TrainConfig, model: keras.Model, assessment: Assessment, validation: Any) -> None:
    """Writes all that the options ask for into the run's logs, below `test/`, `hparams/` and `validation/`."""
    step = int(model.optimizer.iterations)
    if config.tensorboard.figures:
        blocks = [block for section in assessment.sections for block in section.blocks]
        drawn = {block.name: block.figure for block in blocks if isinstance(block, report.Figure)}
        write_figures(run.tensorboard / "test", drawn, step)
        write_texts(run.tensorboard / "test", dict(_texts(blocks)), step)
    if assessment.classes is not None:
        labels, probabilities, names = assessment.classes
        if config.tensorboard.figures and len(names) <= CURVES:
            write_pr_curves(run.tensorboard / "test", labels, probabilities, names, step)
        if config.tensorboard.embeddings:
            try:
                _write_embeddings(run, config, model, validation, names)
            except Exception as error:  # of a model of the user's own, say; the run is not to be lost for it
                say(f"note: no embeddings for TensorBoard: {one_line(error)}")
    began = run.environment.stat().st_mtime
    write_hparams(run.tensorboard / "hparams", _settings(config), scores(assessment.metrics), step, started=began)


def _texts(blocks: Sequence[report.Block]) -> Iterator[tuple[str, str]]:
    """The report's texts with what was predicted and what is true, as lists in Markdown, each with a tag."""
    for block in blocks:
        if isinstance(block, report.Marked) and block.texts:
            lines = [
                "- " + (f"**{_plain(lead)}** " if lead else "") + "".join(map(_mark, marks))
                for lead, marks in block.texts
            ]
            tag = block.caption.partition(".")[0] or "texts"  # what follows speaks of colours
            yield tag, "\n".join(lines)


def _mark(mark: report.Mark) -> str:
    return f"**{_plain(mark.text)}** *({_plain(mark.label)})*" if mark.label else _plain(mark.text)


def _plain(text: str) -> str:
    """Text that TensorBoard's Markdown shows as it is, in one line; it has no backslash before < and &."""
    return re.sub(r"([\\`*_{}\[\]()#+!-])", r"\\\1", html.escape(re.sub(r"\s+", " ", text), quote=False))


def scores(metrics: Mapping[str, Any]) -> dict[str, float]:
    """The test scores by name, without intervals."""
    found = {}
    for name, item in metrics.get("test", metrics).get("metrics", {}).items():
        value = item.get("value") if isinstance(item, Mapping) else item
        if isinstance(value, (int, float)):
            found[f"test/{name}"] = float(value)
    return found


def _settings(config: TrainConfig) -> dict[str, Any]:
    """The options in which runs can differ, without where they are saved."""
    settings = to_dict(config)
    settings["run"] = {key: settings["run"][key] for key in ("seed", "init_from")}
    del settings["tensorboard"]
    settings["backend"] = keras.backend.backend()
    return settings


def _write_embeddings(
    run: RunDir, config: TrainConfig, model: keras.Model, validation: Any, names: Sequence[str]
) -> None:
    body = features(model)
    points: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    blocks: list[np.ndarray] = []
    wanted = config.tensorboard.embeddings
    for x, y, *_ in validation:
        x = keras.tree.map_structure(np.asarray, x)
        points.append(keras.ops.convert_to_numpy(body.predict_on_batch(x)))  # texts' batches differ in length
        labels.append(np.asarray(y))
        if isinstance(x, np.ndarray) and x.ndim == 4 and x.dtype == np.uint8 and x.shape[-1] in (1, 3):
            blocks.append(x)
        if sum(map(len, labels)) >= wanted:
            break
    y = np.concatenate(labels)[:wanted]
    one_hot = y.ndim > 1 and y.shape[-1] == len(names)
    true = (y.argmax(-1) if one_hot else y).reshape(len(y), -1)[:, 0].astype(int)  # of an ensemble, the first's
    images = np.concatenate(blocks)[:wanted] if blocks else None
    columns = {"label": [names[k] for k in true], "sample": list(range(len(true)))}
    features_of = {"features": np.concatenate(points)[:wanted]}
    write_embeddings(run.tensorboard / "validation", features_of, columns, images)
