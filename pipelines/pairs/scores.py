"""BLEU, chrF and exact match of translations, by sacreBLEU, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from sacrebleu.metrics import BLEU, CHRF

from pipelines.metrics import Estimate, bootstrap


class Scores:
    """Scores of translations; any subset is scored from statistics of each.

    Args:
        found: N translations.
        wanted: N references.
        language: Code of their language: sacreBLEU cuts Chinese, Japanese and Korean in another way.
    """

    def __init__(self, found: Sequence[str], wanted: Sequence[str], language: str = "") -> None:
        tokenizer = {"zh": "zh", "ja": "char", "ko": "char"}.get(language[:2].lower(), "13a")
        self.bleu, self.chrf = BLEU(tokenize=tokenizer, effective_order=False), CHRF()
        for metric in (self.bleu, self.chrf):
            metric.corpus_score(list(found), [list(wanted)])  # its signature then knows the number of references
        self.exact = np.array([a.strip() == b.strip() for a, b in zip(found, wanted, strict=True)], float)
        self._counts = [_statistics(metric, found, wanted) for metric in (self.bleu, self.chrf)]
        self.signatures = {
            "bleu": str(self.bleu.get_signature()), "chrf": str(self.chrf.get_signature())
        }  # fmt: skip

    def __len__(self) -> int:
        return len(self.exact)

    def of(self, rows: Any = slice(None)) -> dict[str, float]:
        """BLEU and chrF (0 to 100) and the part of exact matches of some translations."""
        bleu, chrf = (
            _score(metric, counts[rows]) for metric, counts in zip((self.bleu, self.chrf), self._counts, strict=True)
        )
        return {"bleu": bleu, "chrf": chrf, "exact_match": float(self.exact[rows].mean())}

    def sentences(self) -> np.ndarray:
        """chrF of each translation alone, (N,)."""
        return np.array([_score(self.chrf, row[None]) for row in self._counts[1]])

    def estimates(self, *, seed: int, resamples: int) -> dict[str, Estimate]:
        """The scores of all translations with their intervals."""
        options: dict[str, Any] = {"seed": seed, "resamples": resamples}
        found = {}
        for name, metric, counts in zip(("bleu", "chrf"), (self.bleu, self.chrf), self._counts, strict=True):
            found[name] = bootstrap(partial(_score_of, metric, counts), len(self), **options)
        found["exact_match"] = bootstrap(lambda rows: float(self.exact[rows].mean()), len(self), **options)
        return found


def _statistics(metric: Any, found: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """What a score is made of, a row of counts for each translation."""
    return np.array(metric._extract_corpus_statistics(list(found), [list(wanted)]), np.float64)


def _score_of(metric: Any, counts: np.ndarray, rows: np.ndarray) -> float:
    return _score(metric, counts[rows])


def _score(metric: Any, counts: np.ndarray) -> float:
    return float(metric._compute_score_from_stats(counts.sum(0).tolist()).score)
