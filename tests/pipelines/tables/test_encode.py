"""Encoders against SciPy and pandas, and what they must never do: learn from other parts, or fail on new values."""

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm, rankdata

from pipelines.core.errors import UserError
from pipelines.tables import types as table_kinds
from pipelines.tables import values as table_values
from pipelines.tables.columns import Scale
from pipelines.tables.config import TableDataConfig
from pipelines.tables.encode import Encoder

DAYS = pd.date_range("2020-01-01", periods=60, freq="17D")
FRAME = pd.DataFrame(
    {
        "income": np.random.default_rng(0).lognormal(8, 2, 60),
        "age": np.random.default_rng(1).integers(18, 90, 60),
        "job": ["cook", "clerk", "smith"] * 20,
        "owner": [True, False] * 30,
        "grade": [f"{a}{b}" for a in "ABC" for b in range(1, 6)] * 4,
        "opened": DAYS.astype(str),
        "rownames": np.arange(60),
        "uuid": [f"f{i:04x}" for i in range(60)],
        "comment": [f"the {i} people were all very content" for i in range(60)],
        "country": "ES",
        "price": [f"$1,{i:03d}.50" for i in range(60)],
    }
)
KINDS = {
    "income": "number", "age": "number", "job": "category", "owner": "category", "grade": "ordinal", "opened": "date",
    "rownames": "identifier", "uuid": "identifier", "comment": "text", "country": "constant", "price": "number",
}  # fmt: skip


def encoder(frame=FRAME, numbers="quantile", categories=64, **kinds):
    return Encoder.fit(frame, table_kinds.kinds_of(frame, kinds), numbers, categories)


def test_kinds_are_guessed():
    assert table_kinds.kinds_of(FRAME, {}) == KINDS
    assert table_kinds.kinds_of(FRAME, {"age": "category"})["age"] == "category"
    with pytest.raises(UserError, match="no column 'agee'"):
        table_kinds.kinds_of(FRAME, {"agee": "number"})


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.5, None, 2.5, 4.0] * 10, "number"), ([None] * 30, "constant"), (["x"] * 29 + [None], "category"),
        ([0, 1] * 15, "category"), (["12", "13", "?", *map(str, range(40))], "number"), (["2020-01-01", "2021-05-06"] * 15, "category"),
        (pd.Categorical(["low", "high", "mid"] * 10, ["low", "mid", "high"], ordered=True), "ordinal"),
        ([f"C{i % 7}" for i in range(30)], "ordinal"), (["x1", "y20", "z3", "a9"] * 9, "category"),
        (np.random.default_rng(0).permutation(100), "identifier"), (np.arange(100) * 3, "number"),
        (["T1", "T2", "T3", "T4"] * 9, "ordinal"), (["1-2", "3-4", "5-6"] * 9, "category"), (["18-25", "26-35", "36-45"] * 9, "category"),
        (pd.date_range("2020-01-09", periods=90).strftime("%d/%m/%Y"), "date"), (["2020-01-01", "2020-01-01 10:00:00", "2021-01-01"] * 9, "date"),
        ([f"{i},{i % 90:02d}" for i in range(60)], "number"),
    ],
)  # fmt: skip
def test_kind_of(values, kind):
    assert table_kinds.guess(pd.Series(values, name="c")) == kind


@pytest.mark.parametrize(
    ("name", "values", "kind"),
    [
        ("PassengerId", np.arange(1, 801), "identifier"), ("CustomerID", np.arange(800) * 7, "identifier"), ("customerid", np.arange(800) * 7, "identifier"),
        ("userKey", np.arange(800) * 7, "identifier"), ("paid", np.arange(800) * 7, "number"), ("nr", np.arange(800), "identifier"),
        ("patient_id", np.arange(800) // 2, "number"),
    ],
)  # fmt: skip
def test_identifiers_are_told_by_all_rows(name, values, kind):
    whole = pd.DataFrame({name: np.random.default_rng(0).permutation(values)})
    assert table_kinds.kinds_of(whole.head(500), {}, whole) == {name: kind}
    assert table_kinds.kinds_of(whole.head(500), {}, rows=800) == {name: kind}


def test_ordinals_have_an_order():
    def levels(cells, **options):
        frame = pd.DataFrame({"size": cells})
        kinds = {"size": options.get("kind", "ordinal")}
        found = Encoder.fit(frame, table_kinds.kinds_of(frame, kinds), "robust", 64, table_kinds.orders_of(kinds))
        return found.columns[0].levels, found.notes()

    assert levels(["medium", "low", "high"] * 9) == (["low", "medium", "high"], ["size rises as low < medium < high"])
    assert levels(["L", "S", "XL", "M"] * 9)[0] == ["S", "M", "L", "XL"]
    assert levels(["c", "10", "b", "2"] * 9)[0] == ["2", "10", "b", "c"]
    assert levels(["c", "a", "b"] * 9, kind="b < a < c")[0] == ["b", "a", "c"]
    with pytest.raises(UserError, match="size also has the level 'a'; given are b < c"):
        levels(["c", "a", "b"] * 9, kind="b<c")
    with pytest.raises(ValueError, match=r"data\.kinds must be among"):
        TableDataConfig(kinds={"size": "a <"})


def test_dates_and_decimal_commas_are_read_as_in_training():
    days = pd.date_range("2020-01-01", periods=400)
    train = pd.DataFrame({"day": days.strftime("%d/%m/%Y"), "price": [f"{i},5" for i in range(400)]})
    found = Encoder.from_json(json.loads(json.dumps(encoder(train).to_json())))
    assert {c.name: c.kind for c in found.columns} == {"day": "date", "price": "number"}
    assert found.notes() == ["day has dates with the day first", "price has decimal commas"]
    expected = (days - pd.Timestamp(0)) / pd.Timedelta(days=1)
    for i in (1, 40, 399):
        one = train[i : i + 1]
        assert [c.values(one[c.name])[0] for c in found.columns] == [expected[i], i + 0.5]
    other = pd.DataFrame({"day": days.astype(str), "price": np.arange(400) + 0.5})
    np.testing.assert_array_equal(found.encode(other), found.encode(train))


def test_text_numbers_and_dates():
    got = table_values.numbers(pd.Series(["$1,200.5", "12 %", "-3", "x", "1,5", None]))
    np.testing.assert_array_equal(got.isna(), [False, False, False, True, True, True])
    assert got[:3].tolist() == [1200.5, 12, -3]
    assert table_values.dates(pd.Series(["2020-02-01", "no"])).isna().tolist() == [False, True]
    assert table_values.texts(pd.Series([1.0, np.nan, 2.5])).tolist() == ["1", None, "2.5"]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(-5, 5), min_size=3, max_size=60))
def test_quantile_scale_is_scipys_ranks(values):
    x = np.array(values, np.float64)
    if len(np.unique(x)) < 2:
        return
    ranks = (rankdata(x) - 0.5) / len(x)
    expected = norm.ppf(np.clip(ranks, 0.5 / len(x), 1 - 0.5 / len(x)))
    expected = (expected - expected.mean()) / expected.std()
    np.testing.assert_allclose(Scale.fit(x, "quantile")(x), expected, atol=1e-9)


def test_many_values_are_kept_as_few_knots():
    x = np.random.default_rng(0).lognormal(0, 3, 20_000)
    scale = Scale.fit(x, "quantile")
    assert len(scale.knots) <= 512
    got = scale(x)
    assert abs(got.mean()) < 0.01
    assert abs(got.std() - 1) < 0.02
    assert np.corrcoef(got, norm.ppf((rankdata(x) - 0.5) / len(x)))[0, 1] > 0.999


def test_robust_scale_is_that_of_realmlp():
    x = np.array([0.0, 1, 2, 3, 100])
    scaled = (x - 2) / 2
    np.testing.assert_allclose(Scale.fit(x, "robust")(x), scaled / np.sqrt(1 + (scaled / 3) ** 2))
    assert Scale.fit(np.ones(5), "robust")(np.array([1.0, np.nan])).tolist() == [0, 0]


def test_blocks_and_values():
    found = encoder()
    x = found.encode(FRAME)
    assert x.shape == (60, found.width)
    assert x.dtype == np.float32
    assert [b.numeric for b in found.blocks] == sorted((b.numeric for b in found.blocks), reverse=True)
    by_name = dict(zip([b.name for b in found.blocks], found.split(x), strict=True))
    assert by_name["job"].tolist() == pd.get_dummies(FRAME["job"])[["clerk", "cook", "smith"]].to_numpy(float).tolist()
    assert np.corrcoef(rankdata(by_name["grade"][:, 0]), rankdata(FRAME["grade"]))[0, 1] == pytest.approx(1)
    months = 2 * np.pi * DAYS.month / 12
    np.testing.assert_allclose(by_name["opened month (sin)"][:, 0], np.sin(months), atol=1e-6)
    again = Encoder.from_json(json.loads(json.dumps(found.to_json())))
    np.testing.assert_array_equal(again.encode(FRAME), x)


def test_new_missing_and_rare_values():
    train = FRAME.assign(job=["cook", "clerk"] * 29 + ["king", "pope"])
    train.loc[3:6, "income"] = np.nan
    found = encoder(train)
    column = next(c for c in found.columns if c.name == "job")
    assert column.levels == ["clerk", "cook"]
    assert column.other
    new = train.head(3).assign(job=["bishop", None, "cook"], income=[np.nan, np.inf, 1e12], grade=["Z9", "A1", None])
    x = found.encode(new)
    assert np.isfinite(x).all()
    parts = dict(zip([b.name for b in found.blocks], found.split(x), strict=True))
    assert parts["job"].tolist() == [[0, 0, 1], [0, 0, 0], [0, 1, 0]]
    assert parts["income is missing"][:, 0].tolist() == [1, 1, 0]
    assert found.unknown(new) == {"grade": 1}


def test_only_the_training_part_is_learned_from():
    found = encoder(FRAME.head(30))
    known = json.dumps(found.to_json())
    found.encode(FRAME.tail(30))
    assert json.dumps(found.to_json()) == known
    assert max(next(c for c in found.columns if c.name == "income").scale.knots) == FRAME["income"][:30].max()


def test_many_categories_share_a_place():
    train = pd.DataFrame({"city": [f"c{i % 200}" for i in range(4000)], "x": np.arange(4000) % 7})
    found = Encoder.fit(train, {"city": "category", "x": "number"}, "quantile", 10)
    city = found.split(found.encode(train))[1]
    assert city.shape[1] == 11
    assert (city.sum(1) == 1).all()


def test_sums_by_column():
    found = encoder()
    values = np.random.default_rng(0).normal(size=(4, found.width))
    got = found.by_column(values)
    assert got.sum(1) == pytest.approx(values.sum(1))
    job = [c.name for c in found.columns].index("job")
    start = sum(b.size for b in found.blocks[: [b.name for b in found.blocks].index("job")])
    np.testing.assert_allclose(got[:, job], values[:, start : start + 3].sum(1))


def test_drift_is_seen_where_it_is():
    generator = np.random.default_rng(0)
    train = pd.DataFrame({"a": generator.normal(size=4000), "b": generator.choice(["x", "y"], 4000)})
    found = encoder(train)
    same = pd.DataFrame({"a": generator.normal(size=1000), "b": generator.choice(["x", "y"], 1000)})
    assert max(index for _, index in found.drift(found.encode(same), 4000)) < 0.1
    moved = same.assign(a=same["a"] + 1)
    drift = dict(found.drift(found.encode(moved), 4000))
    assert drift["a"] > 0.5
    assert drift["b"] < 0.1


@pytest.mark.parametrize("rows", [100, 300])
def test_chance_is_no_drift(rows):
    """Of files of the training part's own distribution hardly one is told to be another, also with 64 categories."""
    generator = np.random.default_rng(0)
    names = [f"c{i:02d}" for i in range(64)]

    def drawn(number, shares=None):
        return pd.DataFrame({"city": generator.choice(names, number, p=shares), "x": generator.normal(size=number)})

    found = Encoder.fit(drawn(2000), {"city": "category", "x": "number"}, "quantile", 64)
    index = np.array([[i for _, i in found.drift(found.encode(drawn(rows)), 2000)] for _ in range(100)])
    assert (index > 0.25).mean() < 0.01
    assert abs(index.mean()) < 0.05
    falling = np.arange(64, 0, -1) / np.arange(65).sum()
    assert dict(found.drift(found.encode(drawn(rows, falling**3 / (falling**3).sum())), 2000))["city"] > 0.25
    one = drawn(rows).assign(city="c40")
    assert dict(found.drift(found.encode(one), 2000))["city"] > 1


def test_what_cannot_be_read_or_is_missing_anew_is_told():
    found = encoder()
    new = FRAME.head(4).assign(age=["x", None, "40", "41"], opened=["2020-01-01", "soon", None, "2020-02-01"])
    assert found.unread(new) == {"age": 1, "opened": 1}
    assert found.absent(new.assign(job=None)) == {"age": 1, "opened": 1, "job": 4}
    lacking = encoder(FRAME.assign(age=FRAME["age"].where(FRAME["age"] > 30)))
    assert lacking.absent(new) == {"opened": 1}


def test_missing_column_and_nothing_left():
    with pytest.raises(UserError, match="lacks the column 'income'"):
        encoder().encode(FRAME.drop(columns="income"))
    with pytest.raises(UserError, match="no column is left"):
        encoder(FRAME[["rownames", "country"]])
