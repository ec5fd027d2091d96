"""How tables are split where there are times, groups, own parts or copies, and what is said of it."""

import numpy as np
import pandas as pd
import pytest

from pipelines.core.errors import UserError
from pipelines.tables.config import TableDataConfig
from pipelines.tables.load import load_tables, load_test_tables
from pipelines.tables.sources import in_memory

N = 200
generator = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "x": generator.normal(size=N).round(6),
        "patient": np.arange(N) // 4,
        "day": pd.date_range("2018-01-01", periods=N, freq="3D"),
        "label": generator.choice(["yes", "no"], N),
    }
)


def tables(data, folds=0, **options):
    return load_tables(TableDataConfig(source=in_memory(data), **options), {}, seed=0, folds=folds)


@pytest.mark.parametrize(
    "times",
    [
        FRAME["day"].dt.strftime("%d/%m/%Y"), FRAME["day"].dt.strftime("%m/%d/%Y"), FRAME["day"], FRAME["day"].astype(str),
        FRAME["day"].dt.strftime("%b %d, %Y"), pd.Series(np.arange(N) * 10.0), pd.Series(np.arange(N).astype(str)),
    ],
)  # fmt: skip
def test_the_newest_rows_are_the_test(times):
    frame = FRAME.assign(time=times).sample(frac=1, random_state=0)
    data = tables(frame, time_column="time")
    days = [part.frame["day"] for part in data.parts().values()]
    assert days[0].max() < days[1].min()
    assert days[1].max() < days[2].min()


def test_times_that_are_none():
    with pytest.raises(UserError, match=r"data\.time_column time: neither numbers nor dates of one kind, such as 'a0'"):
        tables(FRAME.assign(time=[f"a{i}" for i in range(N)]), time_column="time")
    with pytest.raises(UserError, match=r"data\.time_column time is empty"):
        tables(FRAME.assign(time=None), time_column="time")
    holes = FRAME.assign(time=FRAME["day"].dt.strftime("%d/%m/%Y").where(np.arange(N) % 50 != 49))
    data = tables(holes, time_column="time")
    assert {f"row {i}" for i in (49, 99, 149, 199)} <= set(data.train.names)
    assert "4 rows without time count as the oldest" in data.summary.notes


def test_a_column_of_dates_is_read_alike_in_all_parts():
    """The first cell of no part decides: all days are as they were written."""
    frame = FRAME.assign(opened=FRAME["day"].dt.strftime("%d/%m/%Y"))
    data = tables(frame)
    assert data.kinds["opened"] == "date"
    columns = {column.name: column for column in data.encoder.columns}
    for part in data.parts().values():
        np.testing.assert_array_equal(
            columns["opened"].values(part.frame["opened"]), columns["day"].values(part.frame["day"])
        )


def test_groups_in_two_parts_are_told():
    parts = {"train": FRAME.head(150), "test": FRAME.tail(60)}
    notes = tables(parts, group_column="patient").summary.notes
    both = {*range(35, 38)}  # rows 140 to 149
    told = [note for note in notes if "stand in both" in note and "and test" in note]
    assert sum(int(note.split()[1]) for note in told) == len(both)
    assert not [n for n in tables(FRAME, group_column="patient").summary.notes if "stand in both" in n]


def test_rows_without_a_group_are_no_group():
    frame = FRAME.assign(patient=FRAME["patient"].where(np.arange(N) >= 100))
    data = tables(frame, group_column="patient")
    alone = [sum(int(name.split()[1]) < 100 for name in part.names) for part in data.parts().values()]
    assert min(alone) > 5


def test_whom_a_row_is_of_is_asked():
    frame = FRAME.rename(columns={"patient": "PatientId"})
    assert any("--data.group_column PatientId" in note for note in tables(frame).summary.notes)
    assert not any("--data.group_column" in note for note in tables(frame, group_column="PatientId").summary.notes)
    assert not any("--data.group_column" in note for note in tables(frame.assign(PatientId=range(N))).summary.notes)


def test_copies_are_seen_whatever_their_types():
    frame = FRAME.assign(count=np.arange(N), owner=np.arange(N) % 2 == 0)
    copies = frame.head(3).assign(count=[0.0, 1.0, 2.0], owner=["True", "False", "True"])
    assert len(tables({"train": frame, "test": copies[copies.columns[::-1]]}).summary.duplicates) == 3
    assert len(tables({"train": frame, "test": copies.assign(count=[0.5, 1, 2])}).summary.duplicates) == 2


def test_folds_leave_the_sources_own_validation_and_times_alone():
    own = {"train": FRAME.head(120), "val": FRAME.iloc[120:160], "test": FRAME.tail(40)}
    data = tables(own, folds=4)
    assert data.folds is None
    assert "model.folds is off: the source has a validation part of its own" in data.summary.notes
    said = np.repeat(["train", "val", "test"], [120, 40, 40])
    assert tables(FRAME.assign(part=said), folds=4, split_column="part").folds is None
    data = tables(FRAME, folds=4, time_column="day")
    assert data.folds is None
    assert any("data.time_column keeps their order" in note for note in data.summary.notes)
    assert tables({"train": FRAME.head(160), "test": FRAME.tail(40)}, folds=4).folds is not None


def test_new_data_need_no_columns_that_only_split():
    said = np.repeat(["train", "val", "test"], [120, 40, 40])
    data = tables(FRAME.assign(part=said), split_column="part")
    spec = {"target": vars(data.target), "encoder": data.encoder.to_json(), "kinds": data.kinds, "decisions": {}}
    for option in ("split_column", "group_column", "time_column"):
        again = load_test_tables(TableDataConfig(source=in_memory(FRAME), **{option: "part"}), {}, spec)
        assert len(again.test) == N
        assert again.summary.duplicates is None
