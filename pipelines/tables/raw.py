"""A table as its source gives it."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from pipelines.data import sources


@dataclass
class RawTable(sources.Raw[pd.DataFrame]):
    """What a source gave.

    Args:
        target: The source's own target, where it names one.
        duration: For survival, the source's own column of the time.
        drop: Columns that give the target away or only number the rows, where the source is known.
    """

    target: str | None = None
    duration: str | None = None
    drop: tuple[str, ...] = ()
