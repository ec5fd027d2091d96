"""What the tasks on tables share: data, model, training, decisions."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from pipelines.engine.task import Task
from pipelines.tables.config import TableConfig, TableDataConfig
from pipelines.tables.parts import learned_from, some_rows
from pipelines.tables.predict import EVALUATION_BATCH, columns, example, inputs, predict
from pipelines.tables.scores.decisions import class_factors, decisions, judged

if TYPE_CHECKING:
    import numpy as np

    from pipelines.tables.load import Samples
    from pipelines.tables.parts import TableParts

BIN_ROWS = 200_000
# Rows of the training part below which a batch has so many, after the choices in the paper of TabM.
BATCHES = ((2_800, 32), (32_000, 128), (108_000, 256), (1_000_000, 1024), (math.inf, 4096))
RATES = {"tabm": 2e-3, "mlp": 1e-2, "ft-transformer": 3e-4}
SPACE: dict[str, dict[str, Any]] = {
    "model.dropout": {"low": 0.0, "high": 0.5},
    "model.width": {"choices": [64, 128, 256]},
    "model.depth": {"low": 1, "high": 4},
    "model.bins": {"low": 4, "high": 64, "log": True},
}


def task(name: str, config: type[TableConfig], description: str, samples: Samples, *, medical: bool) -> Task:
    """The task on tables of this name.

    Args:
        name: Name of the module in `pipelines`.
        config: Its dataclass of options.
        description: What `--help` says.
        samples: Its own sources by name; `sample` is the default.
        medical: Whether the report is that of medicine rather than that of finance.
    """
    load = partial(load_data, samples=samples)

    def assess(config: TableConfig, data: TableParts, model: Any) -> Any:
        from pipelines.tables.report import assess as table_report

        return table_report.assess(config, data, model, medical=medical)

    def explain(config: TableConfig, model: Any, spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
        from pipelines.tables import explain as table_explain

        return table_explain.explain(config, model, spec, arguments, load=load)

    return Task(
        name, config, description, load_data=load, build_model=build_model, objective=objective, batches=batches,
        spec=spec, assess=assess, predict=predict, columns=columns, inputs=inputs,
        inputs_help="tables with the columns of the training (.csv, .parquet ...), folders, or - for CSV on standard "
                    "input",
        example=example, finish=finish, load_test=partial(load_test, samples=samples), explain=explain, space=SPACE,
        shape_data=("data.", "model.builder", "model.ensemble", "model.folds"),
    )  # fmt: skip


def load_data(config: TableConfig, samples: Samples) -> TableParts:
    from pipelines.core.errors import UserError
    from pipelines.tables.load import load_tables
    from pipelines.tables.scores import costs
    from pipelines.tables.stream import is_large
    from pipelines.tables.types import listed

    if config.fit.imbalance == "focal":
        raise UserError("fit.imbalance focal is not for tables: take weights, effective-number or oversample")
    options = config.decide
    untouched = {(usual.miss, usual.alarm) for usual in (type(config)().decide, type(options)())}
    if options.costs is not None and (options.miss, options.alarm) not in untouched:
        raise UserError("decide.costs holds all costs: leave out decide.miss and decide.alarm")
    if isinstance(options.costs, str):
        # From here on, and in the run's config.yaml, the costs themselves: nothing needs the file any more.
        options.costs = costs.read(options.costs)
    if is_large(config.data, config.data.source):
        # So many rows need no copies that leave some out.
        config.model.folds, config.model.ensemble = False, 1
    folds = config.model.ensemble if config.model.folds and config.model.own else 0
    data = load_tables(config.data, samples, seed=config.run.seed, folds=folds)
    config.model.folds = config.model.folds and not (folds and data.folds is None)
    if config.fit.imbalance != "none" and data.target.problem != "classes":
        raise UserError(f"fit.imbalance {config.fit.imbalance} needs classes, but {data.target.columns[0]} is none")
    if options.costs is not None:
        if data.target.problem != "classes":
            raise UserError(f"decide.costs needs classes, but {data.target.columns[0]} is none")
        costs.matrix(options.costs, data.target.classes)
    if config.decide.calibration == "isotonic" and len(data.target.classes) != 2:
        raise UserError("decide.calibration isotonic is for two classes: take temperature or none")
    known = data.test.with_aside()
    for name in config.decide.subgroups:
        if name not in known:
            raise UserError(f"decide.subgroups: there is no column {name!r}; there are {listed(known)}")
    if config.fit.batch_size == 0:
        config.fit.batch_size = next(size for rows, size in BATCHES if len(data.train) < rows)
    return data


def load_test(config: TableConfig, spec: dict[str, Any], samples: Samples) -> TableParts:
    from pipelines.tables.load import load_test_tables

    return load_test_tables(config.data, samples, spec)


def build_model(config: TableConfig, data: TableParts) -> Any:
    from pipelines.core.errors import UserError
    from pipelines.engine import builder
    from pipelines.tables import models

    options, target = config.model, data.target
    classes = target.problem != "number"
    if config.optimizer.learning_rate is None and options.own:
        config.optimizer.learning_rate = RATES[options.builder]
    if not options.own:
        if target.problem == "survival":
            raise UserError(
                f"model.builder {options.builder}: survival is for our own models: tabm, mlp, ft-transformer"
            )
        return builder.build(options.builder, (data.encoder.width,), target.outputs[0])
    blocks = data.encoder.blocks
    layout = models.Layout(data.encoder.numeric, [b.size for b in blocks if not b.numeric])
    common: dict[str, Any] = {name: getattr(options, name) for name in ("ensemble", "width", "depth", "dropout")}
    if options.builder == "ft-transformer":
        return models.ft_transformer(layout, target.outputs, classes, **common)
    bins = models.bins_of(_some_numbers(data, config.run.seed)[:, : layout.numeric], options.bins)
    common |= {"embedding": options.embedding, "scale": options.scale}
    if options.builder == "mlp":
        return models.mlp(layout, target.outputs, classes, bins, **common)
    return models.tabm(
        layout,
        target.outputs,
        classes,
        bins,
        members=options.members,
        embedding_width=options.embedding_width,
        **common,
    )


def _some_numbers(data: TableParts, seed: int) -> np.ndarray:
    """Encoded rows of the training part, at most about `BIN_ROWS` and not the first ones: files may be in an order."""
    if len(data.train.frame) != len(data.train):
        return data.encoder.encode(data.train.frame)  # the sample that there is of a streamed table
    return data.train.x[some_rows(len(data.train), BIN_ROWS, seed)]


def objective(config: TableConfig, data: TableParts) -> Any:
    import keras

    from pipelines.engine.fit import Objective
    from pipelines.losses import LogLikelihood, SquaredErrorOfMembers

    own = config.model.own
    if data.target.problem == "number":
        error: Any = SquaredErrorOfMembers() if own else keras.losses.MeanSquaredError()
        return Objective(error, [keras.metrics.MeanMetricWrapper(error.call, name="mse")], "val_mse", "min")
    options: dict[str, Any] = {"normalized": own, "axes": 2 if own else 1}
    loss = LogLikelihood(config.fit.label_smoothing, **options)
    metrics: list[Any] = [keras.metrics.MeanMetricWrapper(LogLikelihood(**options).call, name="log_loss")]
    if data.target.problem == "classes":
        metrics.append(keras.metrics.CategoricalAccuracy(name="accuracy"))
    return Objective(loss, metrics, "val_log_loss", "min")


def batches(config: TableConfig, data: TableParts) -> tuple[Any, Any]:
    """Rows, targets and weights; for our own models with an axis of copies, each with its own weight of a row.

    Where rare classes count more in training they do so in validation too, or the best epoch would be the one that has
    learned the least of it; `decisions` brings the answers back to the true shares.
    """
    import numpy as np

    from pipelines.data.stream import Stream, ordered
    from pipelines.engine.classes.imbalance import draw_probabilities

    target, copies = data.target, config.model.ensemble
    trained = learned_from(data)
    judged = data.val if data.folds is None else trained
    by_class = class_factors(config, data)
    probabilities = None
    if config.fit.imbalance == "oversample":
        probabilities = draw_probabilities(trained.values, len(target.classes))

    def reader(part: Any, training: bool) -> Any:
        def read(indices: Any) -> tuple[Any, ...]:
            values = part.values[indices]
            y = target.encode(values)
            weight = np.ones(len(indices), np.float32)
            if by_class is not None and not (training and probabilities is not None):
                weight = by_class.astype(np.float32)[values]
            if config.model.own:
                y = np.repeat(y[:, None], copies, axis=1)
                weight = np.repeat(weight[:, None], copies, axis=1)
                if data.folds is not None:
                    left_out = data.folds[indices, None] == np.arange(copies)
                    # In validation one copy counts of each row, for as much as all the others in training: so that
                    # the losses of both, which are means over rows and copies, can be compared.
                    weight = weight * (left_out != training) * (1 if training else copies - 1)
            return part.x[indices], y, weight

        return read

    axes = (copies,) if config.model.own else ()
    signature = [((data.encoder.width,), np.float32), ((*axes, *target.outputs), np.float32), (axes, np.float32)]
    stream = Stream(
        reader(trained, True), signature, len(trained), batch_size=config.fit.batch_size, seed=config.run.seed,
        probabilities=probabilities,
    )  # fmt: skip
    return stream, ordered(reader(judged, False), signature, len(judged), batch_size=EVALUATION_BATCH)


def spec(config: TableConfig, data: TableParts) -> dict[str, Any]:
    from dataclasses import asdict

    own = config.model.builder.partition(":")[0]
    return {
        "target": asdict(data.target),
        "encoder": data.encoder.to_json(),
        "kinds": data.kinds,
        "rows": len(data.train.frame),
        "reasons": config.decide.reasons,
        "modules": ["pipelines.tables.models" if config.model.own else own],
    }


def finish(config: TableConfig, data: TableParts, trained: Any) -> tuple[Any, dict[str, Any]]:
    """The model that is kept, with the copies' answers as one, and what is decided on its answers in validation."""
    from pipelines.tables.models import averaged

    model = averaged(trained, data.target.problem != "number") if config.model.own else trained
    return model, {"decisions": decisions(config, data, *judged(data, model))}


def with_frames(train: Callable[..., Any]) -> Callable[..., Any]:
    """`train` that also takes a pandas DataFrame, or what a loader may return, as `data`."""

    def train_on(*, data: Any = None, **options: Any) -> Any:
        if data is None:
            return train(**options)
        if isinstance(data, (str, TableDataConfig)) or (isinstance(data, Mapping) and "source" in data):
            return train(data=data, **options)
        from pipelines.tables.sources import in_memory

        return train(data=in_memory(data), **options)

    return train_on
