"""Matrices of costs from files, and what decisions cost, against sums by hand."""

import numpy as np
import pytest

from pipelines.core.errors import UserError
from pipelines.tables.scores import costs

CLASSES = ["a", "b", "c"]


@pytest.mark.parametrize("separator", [",", ";", "\t"])
def test_a_file_is_read_by_its_names(tmp_path, separator):
    rows = ["true \\ decided,c,a, b ", "b,1,2,0", "", "a,-3,0.5,1e2", "c,0,7,4"]
    path = tmp_path / "costs.csv"
    path.write_text("\n".join(["", *rows]).replace(",", separator), encoding="utf-8-sig")
    expected = [[0.5, 100, -3], [2, 0, 1], [7, 4, 0]]
    np.testing.assert_array_equal(costs.matrix(costs.read(str(path)), CLASSES), expected)


def test_files_of_spreadsheets(tmp_path):
    path = tmp_path / "costs.csv"
    path.write_text('\n;a;"b, or c";\na;0;0,5;\n"b, or c";1e1;-2;\n')
    np.testing.assert_array_equal(costs.matrix(costs.read(str(path)), ["a", "b, or c"]), [[0, 0.5], [10, -2]])


@pytest.mark.parametrize(
    ("content", "words"),
    [(None, "decide.costs not found: .*costs.csv"), ("", "is empty"), (b"\xff\xfe,a", "cannot be read as CSV"),
     (",a,b\na,0,1\nb,x,0\n", "the cost of 'a' where 'b' is true must be a number, got 'x'"),
     (",a,b\na,0,\nb,1,0\n", "must be a number, got ''"), (",a,b\na,0,inf\nb,1,0\n", "must be a number, got 'inf'"),
     (",a,b\na,0,1\nb,1\n", "the row 'b' has 1 cells for 2 classes"),
     (",a,b\na,0,1\na,1,0\n", "two rows for the class 'a'"), (",a,a\na,0,1\nb,1,0\n", "two columns for the class 'a'"),
     (",a,b\na,0,1\nb,1,0\n", "no row for the class 'c'"),
     (",a,b\na,0,1\nb,1,0\nc,1,1\n", "no column for the class 'c'"),
     (",a,b,c,d\na,0,1,1,1\nb,1,0,1,1\nc,1,1,0,1\n", "no class 'd'; there are a, b, c"),
     (",a,b,c\na,0,1,1\nb,1,0,1\nc,1,1,0\nd,1,1,1\n", "no class 'd'; there are a, b, c")],
)  # fmt: skip
def test_what_is_no_matrix_of_the_classes_is_told(tmp_path, content, words):
    path = tmp_path / "costs.csv"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=words):
        costs.matrix(costs.read(str(path)), CLASSES)


def test_given_costs_are_checked_too():
    with pytest.raises(UserError, match="must be a number, got nan"):
        costs.matrix({"a": {"a": 0, "b": float("nan")}, "b": {"a": 1, "b": 0}}, ["a", "b"])
    with pytest.raises(UserError, match="to take 'b' for 'a' must cost more than 2"):
        costs.matrix({"a": {"a": 0, "b": 1}, "b": {"a": 2, "b": 2}}, ["a", "b"])
    for given, words in (({"a": {"a": None}}, "must be a number, got None"), ({"a": [0]}, "must name each true class")):
        with pytest.raises(UserError, match=words):
            costs.matrix(given, ["a"])
    np.testing.assert_array_equal(costs.matrix({0: {0: 0, 1: 1}, 1: {0: 5, 1: 0}}, ["0", "1"]), [[0, 1], [5, 0]])


def test_the_mean_cost_and_its_interval():
    generator = np.random.default_rng(0)
    labels, decided = generator.integers(0, 3, (2, 500))
    table = generator.normal(size=(3, 3))
    each = np.array([table[i][j] for i, j in zip(labels, decided, strict=True)])
    found = costs.mean_cost(labels, decided, table, seed=0, resamples=500)
    assert found.value == pytest.approx(each.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * each.std() / np.sqrt(500), rel=0.15)
    assert costs.mean_cost(labels, 1, table, seed=0, resamples=10).value == pytest.approx(table[labels, 1].mean())
