"""What the report of a recommender shows."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.engine import figures
from pipelines.engine.classes.classification import about
from pipelines.engine.report import Assessment, Figure, Headline, Section, Table
from pipelines.interactions.linear import Factors, ease, popularity
from pipelines.interactions.models import histories
from pipelines.interactions.scores import Ranking, baseline_scores, difference, rank
from pipelines.metrics import signed, title

if TYPE_CHECKING:
    import keras

    from pipelines.interactions.config import RecommenderConfig
    from pipelines.interactions.load import InteractionSplits, Queries

SHOWN_USERS, SHOWN_ITEMS = 5, 10
HEADLINE = ("ndcg_10", "hr_10", "recall_20", "ndcg_20")
NAMES = {"ndcg": "NDCG", "hr": "hit rate", "recall": "recall", "mrr": "MRR", "map": "MAP"}


def score_name(name: str) -> str:
    """`ndcg_10` to `NDCG@10`."""
    kind, _, k = name.rpartition("_")
    return f"{NAMES.get(kind, title(kind))}@{k}" if k.isdigit() else title(name)


def of_model(model: keras.Model, queries: Queries) -> Any:
    """What `rank` takes, from the network."""
    length = model.input_shape[1]

    def score(chosen: np.ndarray) -> np.ndarray:
        return np.asarray(model.predict_on_batch(histories([queries.known[i] for i in chosen], length)))

    return score


def assess(
    data: InteractionSplits, model: keras.Model, config: RecommenderConfig, chosen: dict[str, Any], *, seed: int,
    resamples: int,
) -> Assessment:  # fmt: skip
    """Scores beside the baselines, lists for some users, and the sections of the report."""
    options = {"seed": seed, "resamples": resamples}
    seen = popularity([np.concatenate([data.train[u], k]) for u, k in _known(data)], data.items)
    ours = rank(data.test, of_model(model, data.test), seen, **options)
    others = _baselines(data, config, chosen, seen, options)
    metrics = {
        "samples": len(data.test), "resamples": resamples,
        "metrics": {name: e.to_json() for name, e in ours.metrics.items()},
        "baselines": {
            name: {score: e.to_json() for score, e in other.metrics.items()} for name, other in others.items()
        },
        "chosen": chosen,
    }  # fmt: skip
    headline = [
        Headline(score_name(name), f"{e.value:.4f}", f"95 % interval {e.range}; popularity "
                 f"{others['popularity'].metrics[name].value:.4f}")
        for name, e in ours.metrics.items() if name in HEADLINE
    ]  # fmt: skip
    sections = [
        _scores(ours, others, data, options),
        Section("Recommendations", _lists(data, ours)),
        Section("Scores by group", _groups(data, ours, seen)),
        about(data.summary, ["users", "interactions"], "of", "Users and interactions by split."),
    ]
    return Assessment(
        {"test": metrics}, headline, _rows(data, ours), sections, summary=_sentence(ours, others, options)
    )


def _known(data: InteractionSplits) -> list[tuple[int, np.ndarray]]:
    """The validation items of each user that has some, which are known at the test."""
    wanted = {int(u): w for u, w in zip(data.val.users, data.val.wanted, strict=True)}
    return [(u, wanted.get(u, np.zeros(0, np.int64))) for u in range(len(data.train))]


def refitted(data: InteractionSplits, config: RecommenderConfig, chosen: dict[str, Any]) -> Factors:
    """The linear part with the chosen options on training and validation set."""
    train = [np.concatenate([data.train[u], known]) for u, known in _known(data)]
    return replace(ease(train, data.items, chosen["regularization"], config.rank), half_life=chosen["half_life"])


def _baselines(
    data: InteractionSplits, config: RecommenderConfig, chosen: dict[str, Any], seen: np.ndarray, options: Any
) -> dict[str, Ranking]:
    found = {"popularity": rank(data.test, lambda rows: np.tile(seen.astype(float), (len(rows), 1)), seen, **options)}
    if "regularization" in chosen:
        recent = refitted(data, config, chosen)
        plain = replace(recent, half_life=0.0)
        for name, factors in (("EASE", plain), ("recency-weighted EASE", recent)):
            found[name] = rank(data.test, baseline_scores(factors.scores, data.test), seen, **options)
    return found


def _sentence(ours: Ranking, others: dict[str, Ranking], options: Any) -> str:
    best = max(others, key=lambda name: others[name].metrics["ndcg_10"].value)
    hit, ahead = ours.metrics["hr_10"], difference(ours, others[best], "ndcg_10", **options)
    told = "which can be told from chance" if ahead.low > 0 or ahead.high < 0 else "which cannot be told from chance"
    return (
        f"For {hit.value:.1%} of {len(ours.top):,} test users (95 % interval {hit.low:.1%} to {hit.high:.1%}) a "
        f"held-out item is among the first ten recommendations; NDCG@10 is {ours.metrics['ndcg_10'].value:.4f}, "
        f"{signed(ahead.value)} beside the best baseline ({best}), {told}."
    )


def _scores(ours: Ranking, others: dict[str, Ranking], data: InteractionSplits, options: Any) -> Section:
    table = [(score_name(name), f"{e.value:.4f}", e.range) for name, e in ours.metrics.items()]
    beside = []
    for name, other in others.items():
        ahead = difference(ours, other, "ndcg_10", **options)
        values = (f"{other.metrics[score].value:.4f}" for score in HEADLINE)
        beside.append((name, *values, f"{signed(ahead.value)} ({signed(ahead.low)} to {signed(ahead.high)})"))
    columns = ("baseline", *(score_name(name) for name in HEADLINE), "ours ahead in NDCG@10 (95 % interval)")
    caption = (
        f"All {data.items:,} items are ranked for {len(ours.top):,} test users, known ones excluded. Coverage: "
        "fraction of the items that are recommended to somebody; novelty: mean self-information of recommended items "
        "in bits; "
        "popularity: how many users of the training set have a recommended item on average."
    )
    return Section("Scores", [
        Table(("score", "value", "95 % interval"), table, caption),
        Table(columns, beside, "Baselines, tuned on the validation set; differences by the paired bootstrap."),
    ])  # fmt: skip


def _lists(data: InteractionSplits, ours: Ranking) -> list[Any]:
    titles, blocks = data.interactions.titles, []
    for q in range(min(SHOWN_USERS, len(data.test))):
        wanted = set(data.test.wanted[q].tolist())
        last = data.test.known[q][::-1][:SHOWN_ITEMS]
        shown = [*(titles[i] for i in last), *[""] * SHOWN_ITEMS]
        rows = [
            (str(place + 1), titles[item], "held out" if item in wanted else "", shown[place])
            for place, item in enumerate(ours.top[q][:SHOWN_ITEMS])
        ]
        name = data.interactions.users[data.test.users[q]]
        held = ", ".join(titles[i] for i in list(wanted)[:3])
        columns = ("rank", "recommended", "note", "last items of the user, the newest first")
        blocks.append(Table(columns, rows, f"User {name}; held out: {held}."))
    return blocks


def _groups(data: InteractionSplits, ours: Ranking, seen: np.ndarray) -> list[Any]:
    """NDCG@10 by the length of the history, and by the popularity of what was held out."""
    values = ours.users["ndcg_10"]
    lengths = np.array([len(k) for k in data.test.known])
    popular = np.array([seen[w].mean() for w in data.test.wanted])
    blocks = []
    for name, by, caption in (
        ("by_history", lengths, "NDCG@10 by the number of known items of a user."),
        ("by_popularity", popular, "NDCG@10 by how many users have the held-out items."),
    ):
        edges = np.unique(np.quantile(by, [0, 0.25, 0.5, 0.75, 1]))
        groups, means = [], []
        for i, (low, high) in enumerate(pairwise(edges)):
            inside = (by >= low) & ((by <= high) if i == len(edges) - 2 else (by < high))
            if inside.any():
                groups.append(f"{low:.0f} to {high:.0f} ({int(inside.sum())} users)")
                means.append(values[inside].mean())
        blocks.append(Figure(name, figures.bars(groups, np.array(means), "NDCG@10"), caption, caption))
    return blocks


def _rows(data: InteractionSplits, ours: Ranking) -> list[dict[str, Any]]:
    names, items = data.interactions.users, data.interactions.items
    return [
        {
            "sample": names[u], "wanted": "|".join(items[i] for i in wanted[:20]),
            "recommended": "|".join(items[i] for i in top[:SHOWN_ITEMS]), "ndcg_10": round(float(value), 6),
        }
        for u, wanted, top, value in zip(
            data.test.users, data.test.wanted, ours.top, ours.users["ndcg_10"], strict=True
        )
    ]  # fmt: skip
