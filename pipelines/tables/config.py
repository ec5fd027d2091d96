"""Options that all tasks on tables share.

jsonargparse imports what stands under TYPE_CHECKING beside a configuration: pandas must not, or --help is slow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.engine.config import EarlyStoppingConfig, FitConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from pipelines.tables.data_config import TableDataConfig
from pipelines.tables.decision_config import DecisionConfig
from pipelines.tables.model_config import TableModelConfig


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
