import gzip

import numpy as np
import pandas as pd
import pytest

from pipelines.core.errors import UserError
from pipelines.texts import word_vectors

WORDS = ["the", "café", ". . .", "The", "日本"]
TABLE = np.arange(15, dtype=np.float32).reshape(5, 3) / 8
WANTED = ["café", "absent", "The", "THE", ". . .", "日本", "café"]
EXPECTED = np.stack([TABLE[1], np.zeros(3), TABLE[3], TABLE[0], TABLE[2], TABLE[4], TABLE[1]])
FOUND = [True, False, True, True, True, True, True]


def lines(header=""):
    rows = [f"{word} {' '.join(map(str, row))}" for word, row in zip(WORDS, TABLE.tolist(), strict=True)]
    return header + "\n".join(rows) + "\n"


def check(path):
    matrix, found = word_vectors.load(path, WANTED)
    assert matrix.dtype == np.float32
    np.testing.assert_array_equal(matrix, EXPECTED)
    assert found.tolist() == FOUND


@pytest.mark.parametrize("header", ["", "5 3\n"], ids=["glove", "word2vec"])
def test_text_formats(tmp_path, header):
    (tmp_path / "v.txt").write_text(lines(header), encoding="utf-8")
    check(tmp_path / "v.txt")
    (tmp_path / "v.vec.gz").write_bytes(gzip.compress(lines(header).encode()))
    check(tmp_path / "v.vec.gz")


def test_arrays_with_words_beside_them(tmp_path):
    np.save(tmp_path / "v.npy", TABLE)
    pd.DataFrame({"row": range(5), "word": WORDS}).to_parquet(tmp_path / "index.parquet")
    check(tmp_path / "v.npy")
    (tmp_path / "v.txt").write_text("\n".join(WORDS), encoding="utf-8")
    (tmp_path / "index.parquet").unlink()
    check(tmp_path / "v.npy")


def test_the_first_of_two_counts_and_bytes_that_are_no_text_stop_nothing(tmp_path):
    (tmp_path / "v.txt").write_bytes(b"a 1 2\na 3 4\n\xff\xfe 5 6\nb 7 8\n")
    matrix, found = word_vectors.load(tmp_path / "v.txt", ["a", "b"])
    assert matrix.tolist() == [[1, 2], [7, 8]]
    assert found.all()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("v.txt", None, "not found"),
        ("v.txt", b"", "is empty"),
        ("v.txt", b"a 1 2\nb 1\n", "line 2: expected a word and 2 numbers"),
        ("v.txt", b"a 1 x\n", "line 1: the vector of 'a' holds what is no number"),
        ("v.txt", b"a 1 nan\n", "line 1: the vector of 'a' holds what is no number"),
        ("v.txt", b"3 2\na \0\0\0", "binary"),
        ("v.bin", b"\0\0\0\n", "binary"),
        ("v.gz", b"no gzip", "cannot be read"),
        ("v.npy", b"no array", "cannot be read"),
    ],
)
def test_broken_files(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=message):
        word_vectors.load(tmp_path / name, ["a", "b"])


def test_broken_arrays(tmp_path):
    np.save(tmp_path / "v.npy", TABLE)
    with pytest.raises(UserError, match=r"v\.txt, one a line"):
        word_vectors.load(tmp_path / "v.npy", WANTED)
    (tmp_path / "v.txt").write_text("a\nb")
    with pytest.raises(UserError, match="has 5 rows, but its list of words has 2"):
        word_vectors.load(tmp_path / "v.npy", WANTED)
    np.save(tmp_path / "v.npy", TABLE[0])
    with pytest.raises(UserError, match="shape"):
        word_vectors.load(tmp_path / "v.npy", WANTED)
