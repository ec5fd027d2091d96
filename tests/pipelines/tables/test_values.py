"""Cells of tables against Python's own readers of dates and numbers."""

from datetime import datetime

import numpy as np
import pandas as pd
import pytest

from pipelines.tables.values import date_format, dates, decimal_mark, numbers, plain

DAYS = pd.date_range("2018-01-01", periods=400)


@pytest.mark.parametrize(
    ("cells", "form"),
    [
        (["02/03/2020", "25/03/2019"], "%d/%m/%Y"), (["25/03/2019", "02/03/2020"], "%d/%m/%Y"), (["02/03/2020", "03/25/2019"], "%m/%d/%Y"),
        (["02/03/2020", "04/05/2020"], "%m/%d/%Y"), (["2020-01-01", "2020-01-01 10:00:00"], "ISO8601"), (["2020-01-01T10:00:00Z"], "ISO8601"),
        (["Dec-2011", "Jan-2012"], "%b-%Y"), (["1.2.2020", "31.12.2020"], "%d.%m.%Y"), (["Jan 5, 2020"], "%b %d, %Y"), (["12/2019"], "%m/%Y"),
        (["T1", "T2", "T3", "T4"], None), (["1-2", "3-4"], None), (["mon", "tue"], None), (["now", "today"], None), (["18-25", "26-35"], None), ([None], None),
    ],
)  # fmt: skip
def test_one_format_for_a_column(cells, form):
    found, share = date_format(pd.Series(cells, dtype=object))
    assert found == form
    assert share == (0 if form is None else 1)


@pytest.mark.parametrize("form", ["%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%Y-%m-%d", "%d-%b-%Y", "%Y/%m/%d %H:%M"])
def test_dates_do_not_depend_on_the_rows_beside_them(form):
    cells = pd.Series(np.random.default_rng(0).permutation(DAYS.strftime(form)))
    found, share = date_format(cells)
    assert share == 1
    expected = [datetime.strptime(cell, form) for cell in cells]
    assert dates(cells, found).tolist() == expected
    assert [dates(cells[i : i + 1], found).iloc[0] for i in range(20)] == expected[:20]


def test_dates_of_other_types_and_in_iso():
    got = dates(pd.Series(["02/03/2020", "2020-03-25", "x", None, "2020"]), "%d/%m/%Y")
    assert got[:2].tolist() == [datetime(2020, 3, 2), datetime(2020, 3, 25)]
    assert got[2:].isna().all()
    assert dates(pd.Series(DAYS), "%d/%m/%Y").tolist() == list(DAYS)
    assert dates(pd.Series(DAYS.date, dtype=object), "%d/%m/%Y").tolist() == list(DAYS)


@pytest.mark.parametrize(
    ("cells", "mark", "expected"),
    [
        (["12,50", "1.234,10", "7,25"], ",", [12.5, 1234.1, 7.25]), (["1,250", "12,5"], ",", [1.25, 12.5]), (["€ 0,125", "1,250"], ",", [0.125, 1.25]),
        (["1250,375", "1,250"], ",", [1250.375, 1.25]), (["1,250", "12,500"], ".", [1250, 12500]), (["1.250", "12.500"], ".", [1.25, 12.5]),
        (["$1,200.50", "3.5"], ".", [1200.5, 3.5]), (["1.234.567,8", "-3,5 %"], ",", [1234567.8, -3.5]), (["12", "13"], ".", [12, 13]),
    ],
)  # fmt: skip
def test_the_decimal_mark_is_that_of_the_column(cells, mark, expected):
    column = pd.Series(cells)
    assert decimal_mark(column) == mark
    assert numbers(column, mark).tolist() == pytest.approx(expected)


def test_plain_types_have_no_na():
    frame = pd.DataFrame(
        {
            "whole": pd.array([1, pd.NA, 3], "Int64"), "full": pd.array([1, 2, 3], "Int32"), "half": pd.array([1.5, pd.NA, 2], "Float64"),
            "text": pd.array(["a", pd.NA, "b"], "string"), "yes": pd.array([True, pd.NA, False], "boolean"), "no": pd.array([True, True, False], "boolean"),
            "mixed": pd.Series(["a", pd.NA, 3], dtype=object), "arrow": pd.array(["a", None, "b"], "string[pyarrow]"),
            "moment": pd.Series(DAYS[:3]).astype("timestamp[ns][pyarrow]"), "kind": pd.Categorical(["a", None, "b"]), "x": [1.0, np.nan, 2.0],
        }
    )  # fmt: skip
    got = plain(frame)
    assert not any(cell is pd.NA for name in got for cell in got[name])
    assert (got.isna() == frame.isna()).all(axis=None)
    assert [str(got[name].dtype) for name in ("whole", "full", "half", "no", "moment")] == [
        "float64",
        "int64",
        "float64",
        "bool",
        got["moment"].dtype.name,
    ]
    assert got["moment"].tolist() == list(DAYS[:3])
    assert got["yes"].tolist() == [True, None, False]
    assert got["mixed"].tolist() == ["a", None, 3]
    assert got["x"].equals(frame["x"])
