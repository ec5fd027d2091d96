"""Recommendation: which items will a user choose next?

    pip install 'keras-task-pipelines[samples]'
    python -m pipelines.recommend                                   # MovieLens, 100,004 ratings, no network
    python -m pipelines.recommend --data orders.csv --data.items products.csv
    python -m pipelines.recommend --data.split time                 # no look into other users' future
    python -m pipelines.recommend predict runs/recommend/NAME USER --top 5
    python -m pipelines.recommend predict runs/recommend/NAME 'history:318|296|593'

docs/recommend.md tells how to use your own data; the README's results table has the times and scores to expect.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pipelines.engine.config import EarlyStoppingConfig, FitConfig, OptimizerConfig, ScheduleConfig, TrainConfig
from pipelines.engine.task import Task
from pipelines.interactions.config import InteractionDataConfig, RecommenderConfig

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from pipelines.interactions.load import InteractionSplits

EXPLAINED = 5
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # weights of the trained part that are tried on the validation set


@dataclass
class Config(TrainConfig):
    """Options of recommend; the defaults suit MovieLens."""

    data: InteractionDataConfig = field(default_factory=InteractionDataConfig)
    model: RecommenderConfig = field(default_factory=RecommenderConfig)
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig("adamw", 2e-3, weight_decay=0.01))
    schedule: ScheduleConfig = field(default_factory=lambda: ScheduleConfig("constant", warmup=0.1))
    fit: FitConfig = field(default_factory=lambda: FitConfig(epochs=4, batch_size=256, overfit_patience=0))
    early_stopping: EarlyStoppingConfig = field(default_factory=lambda: EarlyStoppingConfig(patience=2))


def load_data(config: Config) -> InteractionSplits:
    from pipelines.interactions.load import load_interactions

    return load_interactions(config.data, seed=config.run.seed)


def build_model(config: Config, data: InteractionSplits) -> Any:
    from pipelines.interactions import fit, models

    options = config.model
    factors, scale, chosen = None, 1.0, {}
    if options.builder != "sasrec":
        factors, penalty, trials = fit.choose(options, data)
        scale = fit.scale_of(factors, data.val)
        chosen = {"regularization": penalty, "half_life": factors.half_life, "scale": scale, "trials": trials}
    model = models.network(
        data.items, options.history, factors, scale, width=options.width, blocks=options.blocks, heads=options.heads,
        dropout=options.dropout, residual=options.builder != "linear",
    )  # fmt: skip
    model.chosen = chosen
    return model


def objective(config: Config, data: InteractionSplits) -> Any:
    import keras

    from pipelines.engine.fit import Objective

    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    metric = keras.metrics.SparseTopKCategoricalAccuracy(10, name="hr_10")
    return Objective(loss, [metric], "val_loss", "min")


def batches(config: Config, data: InteractionSplits) -> tuple[Any, Any]:
    import numpy as np

    from pipelines.data.stream import Stream, ordered
    from pipelines.interactions.fit import examples
    from pipelines.interactions.models import histories

    length = config.model.history
    known, wanted = examples(data, config.model.examples, length)
    signature = [((length,), np.int32), ((), np.int32)]
    stream = Stream(
        lambda rows: (known[rows], wanted[rows]), signature, len(wanted), batch_size=config.fit.batch_size,
        seed=config.run.seed,
    )  # fmt: skip
    before = histories(data.val.known, length)
    after = np.array([items[0] for items in data.val.wanted], np.int32)
    return stream, ordered(lambda rows: (before[rows], after[rows]), signature, len(after), batch_size=256)


def finish(config: Config, data: InteractionSplits, model: Any) -> tuple[Any, dict[str, Any]]:
    """Weighs the trained part by what helps on the validation set, on which the linear part is then fitted as well."""
    import keras

    from pipelines.core.console import say
    from pipelines.interactions import fit, models
    from pipelines.interactions.linear import popularity
    from pipelines.interactions.report import of_model, refitted
    from pipelines.interactions.scores import rank

    chosen = dict(getattr(model, "chosen", {}))
    if "regularization" not in chosen:
        return model, {"chosen": chosen}
    if config.model.builder == "hybrid":
        seen, tied = popularity(data.train, data.items), model.get_layer("sequence")
        trained = [keras.ops.convert_to_numpy(weight) for weight in (tied.scale, tied.bias)]
        found = {}
        for share in SHARES:
            tied.scale.assign(trained[0] * share)
            tied.bias.assign(trained[1] * share)
            found[share] = rank(data.val, of_model(model, data.val), seen).metrics[fit.MONITOR].value
        share = max(SHARES, key=lambda x: (found[x], -x))
        tied.scale.assign(trained[0] * share)
        tied.bias.assign(trained[1] * share)
        chosen |= {"share": share, "validation": {f"{x:g}": value for x, value in found.items()}}
        better = f"{found[share]:.4f}, without it {found[0.0]:.4f}"
        say(f"weight of the trained part: {share:g} (validation NDCG@10 {better})")
    factors = refitted(data, config.model, chosen)
    models.set_factors(model.get_layer("linear_left"), model.get_layer("linear_right"), factors, chosen["scale"])
    model.chosen = chosen
    return model, {"chosen": chosen}


def spec(config: Config, data: InteractionSplits) -> dict[str, Any]:
    from pipelines.interactions.linear import popularity

    found = data.interactions
    histories: dict[str, list[int]] = {name: [] for name in found.users}
    for user, item in zip(found.user.tolist(), found.item.tolist(), strict=True):
        histories[found.users[user]].append(item)
    return {
        "items": found.items,
        "titles": found.titles,
        "popularity": popularity([found.item], data.items).tolist(),
        "histories": histories,
        "length": config.model.history,
        "modules": ["pipelines.interactions.models"],
    }


def assess(config: Config, data: InteractionSplits, model: Any) -> Any:
    from pipelines.interactions import fit, report

    chosen = getattr(model, "chosen", None)
    if chosen is None:  # a model from its file: the choice is made again, on the same validation set
        chosen = {}
        if config.model.builder != "sasrec":
            factors, penalty, _ = fit.choose(config.model, data)
            chosen = {"regularization": penalty, "half_life": factors.half_life}
    options = {"seed": config.run.seed, "resamples": config.run.resamples}
    return report.assess(data, model, config.model, chosen, **options)


def inputs(spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    from pipelines.interactions.predict import asked

    return asked(spec, arguments)


def example(spec: dict[str, Any], generator: Any) -> Any:
    history = generator.integers(1, len(spec["items"]) + 1, (1, spec["length"])).astype("int32")
    history[:, : spec["length"] // 2] = 0
    return history


def predict(model: Any, spec: dict[str, Any], inputs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """A row for each recommended item of each input."""
    from pipelines.interactions.predict import recommend

    return recommend(model, spec, inputs)


def columns(spec: dict[str, Any]) -> list[str]:
    return ["input", "rank", "item", "title", "score", "reason", "error"]


def explain(config: Config, model: Any, spec: dict[str, Any], arguments: Sequence[str]) -> list[Any]:
    """For each user the recommendations with the items of the history that they come from."""
    from pipelines.engine.report import Table

    users = inputs(spec, arguments) if arguments else list(spec["histories"])[:EXPLAINED]
    blocks = []
    for user in users:
        rows = list(predict(model, spec, [user]))
        table = [(str(r["rank"]), r["title"], f"{r['score']:.3f}", r["reason"]) for r in rows if not r.get("error")]
        caption = f"{user}: the items of the history without which the score would be the lowest."
        blocks.append(Table(("rank", "item", "score", "because of"), table, caption))
    return blocks


TASK = Task(
    "recommend", Config, __doc__ or "", load_data=load_data, build_model=build_model, objective=objective,
    batches=batches, spec=spec, assess=assess, predict=predict, columns=columns, inputs=inputs,
    inputs_help="users, all, history:ID|ID|…, or a file with a column user or history", example=example,
    explain=explain, finish=finish,
    predict_options={
        "top": {"type": int, "help": "items for each user (default: 10)"},
        "candidates": {"help": "file with an item id in each line: only these are recommended"},
    },
)  # fmt: skip
train = TASK.train

if __name__ == "__main__":
    TASK.main()
