"""Tables of interactions as users have them: ids stay as they are, and no split looks into the future."""

import numpy as np
import pytest

from pipelines.core.errors import UserError
from pipelines.interactions.config import InteractionDataConfig
from pipelines.interactions.load import load_interactions


def load(source, **options):
    return load_interactions(InteractionDataConfig(source=str(source), **options), seed=0)


def write(path, rows, header="user_id,item_id,rating,timestamp"):
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


ROWS = [f"{u},{i:03d},{1 + (u + i) % 5},{1000 + 10 * i + u}" for u in range(1, 7) for i in range(1, 9)]


def test_ids_stay_as_they_are_written(tmp_path):
    rows = [*ROWS, "0017,9007199254740993,5,2000", "17,9007199254740992,4,2000"]
    data = load(write(tmp_path / "a.csv", rows))
    assert {"0017", "17", "1"} <= set(data.interactions.users)
    assert {"9007199254740993", "9007199254740992", "001"} <= set(data.interactions.items)


def test_the_last_interaction_by_time_is_held_out(tmp_path):
    rows = list(reversed(ROWS))  # the file is not sorted
    data = load(write(tmp_path / "a.csv", rows))
    names = data.interactions.items
    for known, wanted in zip(data.test.known, data.test.wanted, strict=True):
        assert [names[i] for i in wanted] == ["008"]
        assert [names[i] for i in known] == [f"{i:03d}" for i in range(1, 8)]
    assert [names[i] for i in data.train[0]] == [f"{i:03d}" for i in range(1, 7)]
    assert data.summary.counts["test"]["users"] == 6


def test_the_split_by_time_has_one_cut_for_all(tmp_path):
    rows = [f"u{u},i{i},5,{t}" for t, (u, i) in enumerate((u, i) for i in range(20) for u in range(5))]
    data = load(write(tmp_path / "a.csv", rows), split="time")
    held = {(u, int(i)) for u, w in zip(data.test.users, data.test.wanted, strict=True) for i in w}
    found = data.interactions
    is_held = np.array([(u, int(i)) in held for u, i in zip(found.user, found.item, strict=True)])
    assert found.time[is_held].min() > found.time[~is_held].max()
    assert len(held) == 10
    with pytest.raises(UserError, match="needs a column of times"):
        load(write(tmp_path / "b.csv", [r.rsplit(",", 1)[0] for r in ROWS], "user,item,rating"), split="time")


def test_broken_rows_are_named(tmp_path):
    rows = [*ROWS, ",001,5,3000", "9,,5,3000", "9,001,five,3000", "9,002,5,yesterday", "1,001,5,4000"]
    data = load(write(tmp_path / "a.csv", rows))
    assert dict(data.summary.skipped) == {
        "row 49": "no user or no item", "row 50": "no user or no item", "row 51": "rating is not a number",
        "row 52": "timestamp is not a time",
    }  # fmt: skip
    assert any("1 rows repeat an item of the same user" in note for note in data.summary.notes)
    with pytest.raises(UserError, match=r"more than data.max_broken = 2 rows are broken, among them row 49"):
        load(tmp_path / "a.csv", max_broken=2)


def test_dates_titles_and_low_ratings(tmp_path):
    rows = [f"{u},{i},{5 if i % 2 else 1},2024-01-{i:02d}" for u in range(1, 5) for i in range(1, 10)]
    (tmp_path / "items.csv").write_text("item_id,title\n1,First\n2,Second\n3,\n")
    data = load(write(tmp_path / "a.csv", rows), least_rating=3.0, items=str(tmp_path / "items.csv"))
    assert data.interactions.items == ["1", "3", "5", "7", "9"]
    assert data.interactions.titles[:2] == ["First", "3"]
    assert any("16 interactions with a rating below 3 do not count" in note for note in data.summary.notes)
    assert any("items have no title" in note for note in data.summary.notes)


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        (["1,2"], "who,what", "no column named user"),
        (["1,2,5,1"], "user,item,rating,time", "no user has 3 interactions"),
        ([",,,"], "user,item,rating,time", "has no usable interaction"),
    ],
)
def test_tables_that_cannot_be_used(rows, header, message, tmp_path):
    with pytest.raises(UserError, match=message):
        load(write(tmp_path / "a.csv", rows, header))


def test_a_single_user_is_enough_to_read(tmp_path):
    data = load(write(tmp_path / "a.csv", [r for r in ROWS if r.startswith("1,")]))
    assert (len(data.val), len(data.test)) == (1, 1)
