"""recommend from the command line: a run, its verbs, and resuming."""

import csv
import io
import json
from functools import partial

import keras
import numpy as np
import pytest
from command_line import RUN_FILES, check_killed_run, files_of, run_task

from pipelines.interactions import models
from pipelines.interactions.linear import ease

cli = partial(run_task, "recommend")
QUICK = [
    "--data", "likes.csv", "--epochs", "2", "--batch_size", "16", "--model.width", "8", "--model.history", "8",
    "--resamples", "20",
]  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """likes.csv: users who like either the first or the second half of 24 items, one after the other."""
    root = tmp_path_factory.mktemp("recommend")
    draw, rows = np.random.default_rng(0), ["user,item,timestamp,title"]
    for user in range(60):
        half = 12 * (user % 2)
        for time, item in enumerate(half + draw.permutation(12)[: draw.integers(5, 11)]):
            rows.append(f"u{user:02d},{item:03d},{time},Title {item}")
    (root / "likes.csv").write_text("\n".join(rows) + "\n")
    return root


@pytest.fixture(scope="module")
def trained(folder):
    done = cli(*QUICK, "--run.name", "one", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "recommend" / "one", done


def rows_of(done):
    assert done.returncode == 0, done.stderr
    return list(csv.DictReader(io.StringIO(done.stdout)))


def test_run_directory_is_whole(trained):
    run, done = trained
    assert files_of(run) == RUN_FILES
    metrics = json.loads((run / "metrics.json").read_text())["test"]
    assert {"ndcg_10", "hr_10", "recall_20", "ndcg_20", "mrr_20", "map_20", "coverage_10"} <= set(metrics["metrics"])
    assert {"popularity", "EASE"} <= set(metrics["baselines"])
    assert metrics["metrics"]["hr_10"]["value"] > 0.8  # ten of the twelve items of one's half
    assert "weight of the trained part" in done.stderr


def test_predict_for_users_histories_and_files(trained, folder):
    run, _ = trained
    rows = rows_of(cli("predict", run, "u00", "--top", "3", cwd=folder))
    assert [row["rank"] for row in rows] == ["1", "2", "3"]
    known = {line.split(",")[1] for line in (folder / "likes.csv").read_text().splitlines() if line.startswith("u00")}
    assert not known & {row["item"] for row in rows}
    assert all(row["title"] == f"Title {int(row['item'])}" for row in rows)
    new = rows_of(cli("predict", run, "history:013|015|017|020", cwd=folder))
    assert {int(row["item"]) // 12 for row in new[:5]} == {1}
    assert new[0]["reason"]
    (folder / "ask.csv").write_text("user\nu01\nnobody\n")
    asked = rows_of(cli("predict", run, "ask.csv", "--top", "2", cwd=folder))
    assert [row["input"] for row in asked] == ["u01", "u01", "nobody", "nobody"]
    assert "most popular" in asked[-1]["reason"]
    (folder / "only.txt").write_text("014\n016\n")
    some = rows_of(cli("predict", run, "history:013|015", "--candidates", "only.txt", cwd=folder))
    assert {row["item"] for row in some} == {"014", "016"}
    bad = rows_of(cli("predict", run, "history:999", "u00", cwd=folder))
    assert bad[0]["error"] == "none of the items is known, such as '999'"


def test_evaluate_explain_and_export(trained, folder):
    run, _ = trained
    done = cli("evaluate", run, cwd=folder)
    assert done.returncode == 0, done.stderr
    first, again = (json.loads((run / f).read_text())["test"]["metrics"] for f in ("metrics.json", "evaluation.json"))
    assert again["ndcg_10"]["value"] == pytest.approx(first["ndcg_10"]["value"], abs=1e-6)
    done = cli("explain", run, "u03", cwd=folder)
    assert done.returncode == 0, done.stderr
    done = cli("export", run, "--out", "m.onnx", cwd=folder)
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(folder):
    check_killed_run("recommend", *QUICK, "--epochs", "12", cwd=folder)


@pytest.mark.backend
def test_the_network_starts_as_the_linear_part_and_is_saved(tmp_path):
    draw = np.random.default_rng(1)
    train = [draw.permutation(30)[: draw.integers(4, 10)] for _ in range(20)]
    factors = ease(train, 30, 2.0)
    model = models.network(30, 12, factors, 5.0, width=8, blocks=1, heads=2, dropout=0.1, residual=False)
    ids = models.histories(train, 12)
    logits = keras.ops.convert_to_numpy(model(ids))
    expected = 5.0 * factors.scores(train)
    for row, wanted, known in zip(logits, expected, train, strict=True):
        assert (row[known] == models.FORBIDDEN).all()
        np.testing.assert_allclose(np.delete(row, known), np.delete(wanted, known), atol=1e-3)
    whole = models.network(30, 12, factors, 5.0, width=8, blocks=2, heads=2, dropout=0.1, residual=True)
    whole.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    before, after = (keras.ops.convert_to_numpy(m(ids, training=False)) for m in (whole, loaded))
    np.testing.assert_allclose(after, before, rtol=1e-5, atol=1e-5)


@pytest.mark.backend
def test_padding_has_no_influence_on_the_transformer():
    model = models.network(20, 10, None, 1.0, width=8, blocks=1, heads=2, dropout=0.0, residual=True)
    short = models.histories([np.array([3, 5])], 10)
    scores = keras.ops.convert_to_numpy(model(short, training=False))
    other = short.copy()
    other[0, -3] = 9  # one more item does change it
    assert not np.allclose(keras.ops.convert_to_numpy(model(other, training=False)), scores)
    assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "svd"], "one of hybrid, linear, sasrec"),
        (["--data", "nowhere.csv"], "data.source not found"),
        (["--data.user_column", "who"], "is not a column"),
        (["--data.items", "nothing.csv"], "cannot be read"),
        (["--model.history", "1"], "between 2 and 1000"),
    ],
)
def test_bad_options_get_one_line(options, words, folder):
    done = cli(*QUICK, *options, cwd=folder)
    assert done.returncode == 2
    assert words in done.stderr.splitlines()[-1]
