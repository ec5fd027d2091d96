"""Options that all tasks on tables share.

jsonargparse imports what stands under TYPE_CHECKING beside a configuration: pandas must not, or --help is slow.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from pipelines.data.table_config import TableDataConfig
from pipelines.engine.config import EarlyStoppingConfig, FitConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from pipelines.inspect.decision_config import DecisionConfig
from pipelines.models.tabular_config import TableModelConfig


@dataclass
class TableConfig(TrainConfig):
    """Options of a task on tables."""

    data: TableDataConfig = field(default_factory=TableDataConfig)
    model: TableModelConfig = field(default_factory=TableModelConfig)
    decide: DecisionConfig = field(default_factory=DecisionConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig("adamw", weight_decay=3e-4))
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig("constant", warmup=0.0))
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=60, batch_size=128))
    early_stopping: EarlyStoppingConfig = field(default_factory=lambda: EarlyStoppingConfig(patience=6))
