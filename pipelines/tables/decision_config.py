"""Options of how probabilities become decisions; nothing slow is imported here."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

from pipelines.engine.config import check


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
