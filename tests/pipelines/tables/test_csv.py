"""CSV tables whose rows have too many cells or too few, beside Python's csv."""

import io

import pandas as pd
import pytest

from pipelines.tables import predict as table_predict
from pipelines.tables.config import TableDataConfig
from pipelines.tables.raw import RawTable
from pipelines.tables.sources import from_stdin, read_file


@pytest.mark.parametrize(
    ("text", "rows", "skipped"),
    [
        ("a,b\n1,2\n3,4\n", {0: (1, 2), 1: (3, 4)}, []),
        ("a,b\n1,2,3\n4,5\n6,7,8\n", {1: (4, 5)}, [("t.csv:2", 3), ("t.csv:4", 3)]),
        ("a,b\n1,2\n3\n\n5,6\n7,8,9\n", {0: (1, 2), 2: (5, 6)}, [("t.csv:3", 1), ("t.csv:6", 3)]),
        ("a,b\n1,2,\n3,4,\n", {0: (1, 2), 1: (3, 4)}, []),
        ("a,b,\n1,2,\n3,4\n", {0: (1, 2), 1: (3, 4)}, []),
        ("a,b\n1,\n3,4\n", {0: (1, None), 1: (3, 4)}, []),
        ('a,b\n"x\ny",2\n3\n4,5\n', {0: ("x\ny", 2), 2: ("4", 5)}, [("t.csv:4", 1)]),
        ("a;b\n1;2\n3;4;5\n", {0: (1, 2)}, [("t.csv:3", 3)]),
    ],
)
def test_rows_keep_their_numbers(tmp_path, monkeypatch, text, rows, skipped):
    (tmp_path / "t.csv").write_text(text)
    raw = read_file(tmp_path / "t.csv")
    frame = raw.splits["all"].iloc[:, :2]
    frame = frame.astype(object).where(frame.notna(), None)
    assert dict(zip(frame.index, frame.itertuples(index=False, name=None), strict=True)) == rows
    assert [(name, int(fault.split()[0])) for name, fault in raw.skipped] == skipped
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert from_stdin().splits["all"].index.tolist() == list(rows)


@pytest.mark.parametrize(
    ("cells", "column", "note"),
    [
        (["none", "mild", "", "-"], ["none", "mild", None, "-"], True), (["a", "b", "NaN", "null"], ["a", "b", None, None], False),
        (["1", "0", "NA", "none"], [1, 0, None, None], False), (["1.5", "-", "2.5", "3"], [1.5, None, 2.5, 3], False),
    ],
)  # fmt: skip
def test_a_class_may_be_called_none(tmp_path, cells, column, note):
    path = tmp_path / "t.csv"
    pd.DataFrame({"x": ["none", "1", "2", "-"], "grade": cells}).to_csv(path, index=False)
    for target in ("grade", "grade,x"):
        raw = read_file(path, TableDataConfig(target=target))
        got = raw.splits["all"]["grade"]
        assert got.astype(object).where(got.notna(), None).tolist() == column
        assert bool(raw.notes) == note
        assert raw.splits["all"]["x"].isna().tolist() == [True, False, False, True]
    assert read_file(path).splits["all"]["grade"].isna().any()


def test_predict_answers_every_row_of_a_file(tmp_path, monkeypatch):
    """The answer of each row is its own number; rows that cannot be read say so in their place."""
    from pipelines.tables.encode import Encoder

    number = 2 * table_predict.EVALUATION_BATCH + 10
    frame = pd.DataFrame({"x": range(number), "z": 1.5})
    encoder = Encoder.fit(frame, {"x": "number"}, "robust", 64)
    lines = frame.to_csv(index=False).splitlines()
    lines[3] += ",1"
    lines[7] = "6"
    (tmp_path / "new.csv").write_text("\n".join(lines))
    spec = {"target": {"columns": ["y"], "problem": "number"}, "encoder": encoder.to_json()}
    monkeypatch.setattr(table_predict, "_rows", lambda model, spec, target, encoder, x: ({"y": v} for v in x[:, 0]))
    rows = list(table_predict.predict(None, spec, [str(tmp_path / "new.csv")]))
    assert [row["input"] for row in rows] == [f"new.csv:{i}" for i in range(number)]
    assert {i: row["error"] for i, row in enumerate(rows) if "error" in row} == {
        2: "new.csv:4: 3 cells, the header has 2",
        6: "new.csv:8: 1 cells, the header has 2",
    }
    expected = encoder.encode(frame)[:, 0]
    assert all(row["y"] == expected[i] for i, row in enumerate(rows) if i not in (2, 6))
    (row,) = table_predict.predict(None, spec, [{"x": pd.NA}])
    assert row == {"input": "row:0", "y": 0}
    (row,) = table_predict.predict(None, spec, [RawTable({"all": frame[["z"]].head(2)})])
    assert row["input"] == "row"


def test_separators_in_a_quoted_header_do_not_count(tmp_path):
    path = tmp_path / "loans.csv"
    path.write_text('"income, yearly, net";"debts, all";bad\n1000;20;yes\n2000;30;no\n')
    frame = read_file(path).splits["all"]
    assert list(frame.columns) == ["income, yearly, net", "debts, all", "bad"]
    assert len(frame) == 2
