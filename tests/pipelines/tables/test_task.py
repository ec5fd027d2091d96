"""What the tasks on tables learn from and report, without training a network."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, mean_squared_error, roc_auc_score

from pipelines import finance, medical
from pipelines.tables import task as table_task
from pipelines.tables.config import TableDataConfig, TableModelConfig
from pipelines.tables.layers import PiecewiseLinear
from pipelines.tables.predict import answers
from pipelines.tables.report import linear as table_linear
from pipelines.tables.report import sections as table_sections
from pipelines.tables.scores import binary, decide
from pipelines.tables.sources import in_memory


def loaded(frame, *, target="target", task=finance, imbalance="none", data=None, **model):
    config = task.Config(
        data=TableDataConfig(source=in_memory(frame), target=target, **(data or {})), model=TableModelConfig(**model)
    )
    config.fit.imbalance = imbalance
    config.fit.batch_size = 64
    return config, task.TASK.load_data(config)


def rare(rows=6000, seed=0):
    """About one row in eighteen is positive."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(rows, 2))
    positive = generator.uniform(size=rows) < expit(1.5 * x[:, 0] - 3.7)
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "target": positive.astype(int)})


class Logits:
    """A logistic regression in the place of a network."""

    def __init__(self, x, y, weight=None):
        self.fitted = LogisticRegression(C=1e4).fit(x, y, sample_weight=weight)

    def predict_on_batch(self, x):
        odds = self.fitted.decision_function(x)
        return keras.ops.convert_to_tensor(np.stack([0 * odds, odds], 1))


def test_losses_of_training_and_validation_are_on_one_scale():
    """Both are means over rows and copies: a row counts for as much in each, or the curves cannot be compared."""
    config, data = loaded(rare(600), ensemble=3)
    stream, validation = table_task.batches(config, data)
    *_, training = (np.concatenate(part) for part in zip(*stream.dataset.as_numpy_iterator(), strict=True))
    *_, judged = (np.concatenate(part) for part in zip(*validation.as_numpy_iterator(), strict=True))
    assert training.shape[1] == judged.shape[1] == 3
    assert training.mean() == pytest.approx(judged.mean(), abs=0.02)


def test_amounts_are_written_without_exponents():
    assert [table_sections._cell(x) for x in (11000.0, 0.00001234, 2.5, 1e15, float("nan"), "no")] == [
        "11000", "1.234e-05", "2.5", "1e+15", "–", "no"
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["weights", "effective-number", "oversample"])
def test_probabilities_and_decisions_are_those_of_the_true_shares(kind):
    """What is fitted to the weighted or drawn rows of the training says the same as what is fitted to the rows."""
    config, data = loaded(rare(), imbalance=kind, builder="own:model")
    stream, validation = table_task.batches(config, data)
    batches = [batch for _ in range(4) for batch in stream.dataset.as_numpy_iterator()]
    x, y, weight = (np.concatenate(part) for part in zip(*batches, strict=True))
    share = (weight * y[:, 1]).sum() / weight.sum()
    assert share > (0.45 if kind != "effective-number" else 0.1)  # rare rows count more
    _, y, weight = (np.concatenate(part) for part in zip(*validation.as_numpy_iterator(), strict=True))
    assert (weight * y[:, 1]).sum() / weight.sum() == pytest.approx(share, abs=0.05)  # and choose the epoch likewise
    x, y, weight = (np.concatenate(part) for part in zip(*batches, strict=True))
    model, plain = Logits(x, y[:, 1], weight), Logits(data.train.x, data.train.values)
    learned = table_task.decisions(config, data, *table_task.judged(data, model))
    assert json.loads(json.dumps(learned)) == learned
    p = decide.apply(learned, answers(model, data.test.x))
    labels = data.test.values
    assert p[:, 1].mean() == pytest.approx(labels.mean(), rel=0.15)
    expected = plain.fitted.predict_proba(data.test.x)
    assert log_loss(labels, p) == pytest.approx(log_loss(labels, expected), abs=0.004)
    costs = [binary.cost(labels, q[:, 1], np.array([1 / 6]), np.array([[0, 1], [5, 0]]))[0] for q in (p, expected)]
    assert costs[0] == pytest.approx(costs[1], rel=0.1)
    raw = decide.apply({**learned, "prior": None}, answers(model, data.test.x))
    assert raw[:, 1].mean() > 1.5 * labels.mean()


def test_rows_are_taken_from_the_whole_table(monkeypatch):
    """A file in the order of its classes and of a number."""
    frame = rare(3000).sort_values(["target", "a"])
    config, data = loaded(frame, folds=False, members=1, width=2, ensemble=1)
    monkeypatch.setattr(table_task, "BIN_ROWS", 200)
    monkeypatch.setattr(table_linear, "ROWS", 400)
    model = table_task.build_model(config, data)
    (embedding,) = [layer for layer in model.layers if isinstance(layer, PiecewiseLinear)]
    assert embedding.bins[0][0] < -1.5
    assert embedding.bins[0][-1] > 1.5
    p = table_linear.probabilities(data, seed=0)
    assert roc_auc_score(data.test.values, p[:, 1]) > 0.8
    assert table_task.some_rows(10, 10, 0).tolist() == list(range(10))


def test_the_linear_model_learns_from_the_rows_of_the_network():
    _, data = loaded(rare(1500), ensemble=2)
    x = np.concatenate([data.train.x, data.val.x])
    fitted = LogisticRegression(max_iter=2000).fit(x, np.concatenate([data.train.values, data.val.values]))
    np.testing.assert_allclose(table_linear.probabilities(data, 0), fitted.predict_proba(data.test.x), atol=1e-6)


def people(rows=2000):
    frame = rare(rows)
    generator = np.random.default_rng(1)
    return frame.assign(
        sex=generator.choice(["F", "M"], rows), age_years=generator.integers(20, 80, rows), patient=np.arange(rows) // 4
    )


def test_columns_that_are_no_features_are_kept_for_the_report():
    config, data = loaded(people(), data={"drop": ["sex"], "group_column": "patient"}, folds=False, ensemble=1)
    assert "sex" not in data.test.frame
    rows = [int(name.split()[1]) for name in data.test.names]
    sexes = people()["sex"].to_numpy()[rows]
    for name, mask in table_sections.groups_of(data, "sex"):
        assert (sexes[mask] == name).all()
        assert mask.sum() == (sexes == name).sum()
    codes = table_sections.clusters(config, data)
    patients = people()["patient"].to_numpy()[rows]
    assert len(np.unique(codes)) == len(np.unique(patients)) == len(np.unique(codes * 10_000 + patients))
    config.decide.subgroups = ["sex", "patient"]
    config, _ = loaded(people(), data={"drop": ["sex"]}, folds=False, ensemble=1)
    everything = np.ones((len(data.test), 2)) / 2
    section = table_sections.subgroups_of_two(config, data, everything, {"threshold": 0.5}, None)
    assert {row[0].split(":")[0] for row in section.blocks[0].rows} == {"sex", "age_years"}


def test_a_gap_is_marked_where_it_is():
    config, data = loaded(people(6000), folds=False, ensemble=1)
    config.decide.subgroups = ["sex"]
    labels, men = data.test.values, (data.test.frame["sex"] == "M").to_numpy()
    fair, unfair = labels.astype(float), np.where(men, 0.0, labels)
    fair[np.flatnonzero(labels == 1)[::5]] = 0
    options = {"threshold": 0.5}
    for said, marks in ((fair, ["", ""]), (unfair, ["gap in sensitivity", "gap in sensitivity"])):
        section = table_sections.subgroups_of_two(config, data, np.stack([1 - said, said], 1), options, None)
        rows = sorted(section.blocks[0].rows)
        assert [row[-1] for row in rows] == marks
        (f, m) = (float(row[4].split()[0]) for row in rows)
        assert f == pytest.approx(said[(labels == 1) & ~men].mean(), abs=1e-4)
        assert m == pytest.approx(said[(labels == 1) & men].mean(), abs=1e-4)


@pytest.mark.parametrize(
    ("name", "taken"),
    [("age", True), ("age_years", True), ("sex_code", True), ("Sex", True), ("patient age", True), ("ethnicity", True),
     ("race1", True), ("agency", False), ("average", False), ("embrace", False), ("sexes", False)],
)  # fmt: skip
def test_names_of_subgroups(name, taken):
    config, data = loaded(people(300).rename(columns={"sex": "kind", "age_years": name}), folds=False, ensemble=1)
    section = table_sections.subgroups(config, data, ("rows",), lambda mask: ("",))
    assert (section is not None) == taken


def test_scores_by_fold_are_scikit_learns():
    config, data = loaded(rare(1500), ensemble=3)
    part = data.pooled()
    p = expit(np.random.default_rng(0).normal(size=len(part)) + 2 * part.values - 2)
    got = np.log(np.stack([1 - p, p], 1))
    _, found = table_sections.cross_validation(
        config, data, part.values, got, {"prior": None, "temperature": 1.0, "isotonic": None, "threshold": 0.5}
    )
    for fold in range(3):
        rows = data.folds == fold
        assert found["roc_auc"]["folds"][fold] == pytest.approx(roc_auc_score(part.values[rows], p[rows]))
        assert found["log_loss"]["folds"][fold] == pytest.approx(log_loss(part.values[rows], p[rows]))
    assert found["log_loss"]["deviation"] == pytest.approx(np.std(found["log_loss"]["folds"], ddof=1))
    frame = people(400).assign(target=np.random.default_rng(0).normal(5, 2, 400))
    config, data = loaded(frame, task=medical, ensemble=2)
    part, scaled = data.pooled(), np.zeros((len(data.folds), 1))
    _, found = table_sections.cross_validation(config, data, part.values, scaled, {})
    rows = data.folds == 1
    center = np.full(rows.sum(), data.target.center[0])
    assert found["rmse"]["folds"][1] ** 2 == pytest.approx(mean_squared_error(part.values[rows, 0], center))


def test_a_share_of_groups_is_less_sure_than_one_of_rows():
    config, _ = loaded(rare(300), folds=False, ensemble=1)
    right = np.repeat(np.arange(40) % 2 == 0, 10)
    everything = np.ones(400, bool)
    rows = table_sections.share(config, right, everything, None)
    groups = table_sections.share(config, right, everything, np.arange(400) // 10)
    assert groups.value == rows.value == 0.5
    deviation = 2 * 1.96 * np.sqrt(0.25 / 40)
    assert groups.high - groups.low == pytest.approx(deviation, rel=0.15)
    assert rows.high - rows.low == pytest.approx(deviation / np.sqrt(10), rel=0.05)
