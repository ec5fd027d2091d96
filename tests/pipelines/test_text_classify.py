import csv
import io
import json
from functools import partial

import keras
import numpy as np
import pytest
from command_line import RUN_FILES, check_killed_run, files_of, run_task
from made_texts import BAD, GOOD, REST, rows, sentence

from pipelines import text_classify
from pipelines.core.errors import UserError

QUICK = ["--fit.epochs", "4", "--fit.batch_size", "16", "--run.resamples", "20", "--near_duplicates", "0"]


def write(path, pairs):
    with open(path, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *pairs])
    return path


cli = partial(run_task, "text_classify")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One run through the command line, used by all the tests here."""
    folder = tmp_path_factory.mktemp("trained")
    pairs = rows()
    for i in range(3, len(pairs), 20):  # wrong labels
        pairs[i] = (pairs[i][0], "good" if pairs[i][1] == "bad" else "bad")
    write(folder / "data.csv", [*pairs, ("", "good")])
    done = cli("--data", "data.csv", *QUICK, "--run.name", "one", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "text_classify" / "one", done


def test_tensorboard_shows_texts_with_their_labels(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = trained
    events = EventAccumulator(str(run / "tensorboard" / "test"))
    events.Reload()
    (wrong,) = events.Tensors("Most confident errors")[0].tensor_proto.string_val
    texts = dict(rows())
    predictions = list(csv.DictReader((run / "predictions.csv").open(encoding="utf-8")))
    mistakes = [row for row in predictions if row["right"] == "False"]
    lines = wrong.decode().splitlines()
    assert len(lines) == len(mistakes) > 0
    for row in mistakes:
        (line,) = (
            line for line in lines if f"{row['predicted']} {float(row['confidence']):.0%}, true: {row['label']}" in line
        )
        assert line.rpartition("** ")[2] in texts
    (right,) = events.Tensors("Most confident right predictions")[0].tensor_proto.string_val
    for line in right.decode().splitlines():
        lead, _, text = line.removeprefix("- **").partition("** ")
        assert lead.split()[0] == texts[text]


def test_run_directory_is_whole(trained):
    run, done = trained
    assert files_of(run) == RUN_FILES | {"label_issues.csv"}
    assert "skipped data.csv line 162: empty text" in done.stderr
    assert "temperature" in done.stderr
    assert "Warning" not in done.stderr
    assert "Traceback" not in done.stderr
    assert "no embeddings" not in done.stderr
    scores = json.loads((run / "metrics.json").read_text())["test"]["metrics"]
    predictions = list(csv.DictReader((run / "predictions.csv").open()))
    right = np.mean([row["label"] == row["predicted"] for row in predictions])
    assert scores["accuracy"]["value"] == pytest.approx(right)
    assert right > 0.85


def test_report_shows_words_baselines_and_doubts(trained):
    run, _ = trained
    page = (run / "report.html").read_text(encoding="utf-8")
    for words in ("Baselines", "TF-IDF of words + logistic regression", "majority class", "Suspicious labels",
                  "rgba(0, 114, 178", "No text is almost the same"):  # fmt: skip
        assert words in page
    issues = list(csv.DictReader((run / "label_issues.csv").open(encoding="utf-8")))
    lines = list(csv.reader((run.parents[2] / "data.csv").open(encoding="utf-8")))
    for row in issues:
        assert lines[int(row["sample"].removeprefix("data.csv line ")) - 1] == [row["text"], row["label"]]
        assert row["sample"] in page
    assert issues


def test_predict_reads_texts_files_and_tables(trained, tmp_path):
    run, _ = trained
    (tmp_path / "note.txt").write_text("a superb story\nwith great music", encoding="utf-8")
    (tmp_path / "broken.txt").write_bytes(b"\xff\xfe\x00")
    write(tmp_path / "more.csv", [("an awful plot", ""), ("", ""), ("שלום 😀", "")])
    done = cli(
        "predict", run, "a lovely film", "note.txt", "broken.txt", "more.csv", "-", cwd=tmp_path, stdin="poor end\n\n"
    )
    assert done.returncode == 0, done.stderr
    found = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["label"] for row in found[:2]] == ["good", "good"]
    assert [row["input"] for row in found[1:5]] == ["note.txt", "broken.txt", "more.csv line 2", "more.csv line 3"]
    assert "not UTF-8" in found[2]["error"]
    assert [found[3]["label"], found[4]["error"], found[5]["error"]] == ["bad", "empty text", ""]
    assert [found[6]["label"], found[7]["error"]] == ["bad", "empty text"]
    out = tmp_path / "p.jsonl"
    assert cli("predict", run, "more.csv", "--out", out, cwd=tmp_path).returncode == 0
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert lines[2]["text"] == "שלום 😀"
    assert lines[0]["p_bad"] + lines[0]["p_good"] == pytest.approx(1, abs=1e-5)


def test_evaluate_repeats_the_scores_and_takes_other_data(trained, tmp_path):
    run, _ = trained
    done = cli("evaluate", run, cwd=run.parents[2])
    assert done.returncode == 0, done.stderr
    again, first = (json.loads((run / name).read_text())["test"] for name in ("evaluation.json", "metrics.json"))
    first.pop("uncalibrated", None)  # known while the model is calibrated
    assert again["confusion"] == first["confusion"]
    for name, score in first["metrics"].items():
        assert again["metrics"][name] == pytest.approx(score, rel=1e-5)
    other = write(tmp_path / "other.csv", rows(40, seed=5))
    done = cli("evaluate", run, "--data", other, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "evaluation-other.csv.json").read_text())["test"]["samples"] == 40
    done = cli("evaluate", run, "--data", write(tmp_path / "third.csv", [*rows(20), ("x y", "other")]), cwd=tmp_path)
    assert done.returncode == 2
    assert "'other', which the model does not know" in done.stderr


def test_explain_colours_the_words_that_count(trained, tmp_path):
    run, _ = trained
    done = cli("explain", run, "the plot was really superb", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (run / "figures" / "explanations_1.html").read_text(encoding="utf-8")
    strongest = max(page.split("<mark")[1:], key=lambda part: float(part.partition(")")[0].rpartition(", ")[2]))
    assert ">superb" in strongest


def test_texts_of_another_encoding_are_named(trained, tmp_path):
    run, _ = trained
    (tmp_path / "latin.csv").write_bytes("text\ngood Störung\nlovely\n".encode("latin-1"))
    (tmp_path / "latin.txt").write_bytes(b"\xff")
    done = cli("predict", run, "latin.csv", "a \udcff", "b" * 300, "--out", "p.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = list(csv.DictReader((tmp_path / "p.csv").open(encoding="utf-8")))
    assert [row["text"][:13] for row in found] == ["good St\\udcf6", "lovely", "a \\udcff", "b" * 13]
    assert [bool(row["error"]) for row in found] == [True, False, True, False]
    done = cli("explain", run, "latin.csv", "latin.txt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "skipped latin.csv line 2: not valid Unicode" in done.stderr
    assert "skipped latin.txt: not UTF-8" in done.stderr
    done = cli("explain", run, "latin.txt", cwd=tmp_path)
    assert done.returncode == 2
    assert "none of the inputs could be read" in done.stderr


@pytest.mark.parametrize("kind", ["savedmodel", "onnx"])
def test_export_answers_as_the_model(trained, tmp_path, kind):
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    run, _ = trained
    done = cli("export", run, "--format", kind, "--out", tmp_path / "exported", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "they differ by at most" in done.stderr, done.stderr


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(tmp_path):
    write(tmp_path / "data.csv", rows(240))
    check_killed_run(
        "text_classify", "--data", "data.csv", *QUICK, "--model", "cnn", "--model.width", "16",
        "--model.token_dropout", "0.2", "--fit.epochs", "6", "--fit.ema", "0.9", "--model.baselines", "false",
        cwd=tmp_path,
    )  # fmt: skip


def train(tmp_path, **options):
    quick = {"epochs": 3, "batch_size": 16, "resamples": 20, "tensorboard": {"enabled": False}, "near_duplicates": 0}
    return text_classify.train(out=str(tmp_path / "runs"), **{**quick, **options})


def test_several_labels(tmp_path):
    generator = np.random.default_rng(0)
    lines = []
    for _ in range(320):
        labels = [name for name, on in zip(("good", "bad"), generator.random(2) < 0.5, strict=True) if on]
        words = [str(generator.choice(GOOD if name == "good" else BAD)) for name in labels]
        lines.append(json.dumps({"text": " ".join([*words, sentence(generator, ["scene"])]), "labels": labels}))
    (tmp_path / "d.jsonl").write_text("\n".join(lines))
    run = train(tmp_path, data=str(tmp_path / "d.jsonl"), epochs=12, learning_rate=1e-2, imbalance="focal")
    assert run.metrics["test"]["metrics"]["micro_f1"]["value"] > 0.8
    both, none = run.predict("a superb and awful story", "the actor was with it")
    assert both["label"] == "bad|good"
    assert none["label"] == ""
    page = run.directory.report.read_text(encoding="utf-8")
    assert "Baselines" in page
    assert "Suspicious labels" in page
    assert "Reliability diagram" in page
    with pytest.raises(UserError, match="none or focal"):
        train(tmp_path, data=str(tmp_path / "d.jsonl"), imbalance="oversample")


def test_word_vectors(tmp_path):
    write(tmp_path / "d.csv", rows())
    generator = np.random.default_rng(0)
    lines = []
    for words, sign in ((GOOD[:-1], 1), (BAD[:-1], -1), (REST, 0)):
        lines += [f"{w} " + " ".join(f"{x:.3f}" for x in generator.normal(sign, 0.1, 8)) for w in words]
    (tmp_path / "vectors.txt").write_text("\n".join(lines))
    options = {"data": str(tmp_path / "d.csv"), "model": {"builder": "transformer", "width": 16, "depth": 1,
               "vectors": str(tmp_path / "vectors.txt"), "baselines": False}}  # fmt: skip
    run = train(tmp_path, **options, epochs=6, learning_rate=3e-3)
    assert run.metrics["test"]["metrics"]["accuracy"]["value"] > 0.9
    (tmp_path / "vectors.txt").write_text("other 1 2\nwords 3 4\n")
    with pytest.raises(UserError, match="has none of the"):
        train(tmp_path, **options)


@pytest.mark.parametrize("freeze", [True, False])
def test_pretrained_encoders(tmp_path, freeze):
    import keras_hub

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *REST, *GOOD, *BAD]
    keras_hub.models.BertBackbone(len(words), 1, 2, 8, 16, max_sequence_length=32).save_to_preset(
        str(tmp_path / "bert")
    )
    keras_hub.models.BertTokenizer(vocabulary=words, lowercase=True).save_to_preset(str(tmp_path / "bert"))
    write(tmp_path / "d.csv", rows())
    model = {"builder": f"kerashub:{tmp_path / 'bert'}", "length": 32, "freeze": freeze, "baselines": False}
    if not freeze:
        model["head_epochs"] = 1
    optimizer = {} if freeze else {"layer_decay": 0.9, "decays": {"backbone/.*embeddings": 0.0, "kernel": 0.1}}
    run = train(tmp_path, data=str(tmp_path / "d.csv"), model=model, epochs=1, **optimizer)
    before = keras_hub.models.Backbone.from_preset(str(tmp_path / "bert")).get_layer("token_embedding").embeddings
    inner = next(x for x in run.model.get_layer("backbone").layers if isinstance(x, keras.Model))
    same = np.array_equal(np.array(before), np.array(inner.get_layer("token_embedding").embeddings))
    assert same == freeze
    assert run.predict("a good film")[0]["label"] in ("good", "bad")
    with pytest.raises(UserError, match=r"model\.length must be at most 32"):
        train(tmp_path, data=str(tmp_path / "d.csv"), model={**model, "length": 64})


def test_own_model(tmp_path, monkeypatch):
    (tmp_path / "mine_model.py").write_text(
        "import keras\n"
        "def build(vocabulary, classes):\n"
        "    x = keras.Input((None,), dtype='int32')\n"
        "    y = keras.layers.GlobalAveragePooling1D()(keras.layers.Embedding(vocabulary, 8)(x))\n"
        "    return keras.Model(x, keras.layers.Dense(classes)(y))\n"
        "def wrong(vocabulary, classes):\n"
        "    x = keras.Input((None,), dtype='int32')\n"
        "    return keras.Model(x, keras.layers.Embedding(vocabulary, 8)(x))\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    write(tmp_path / "d.csv", rows())
    run = train(tmp_path, data=str(tmp_path / "d.csv"), model="mine_model:build")
    assert len(run.predict("good", "bad")) == 2
    with pytest.raises(UserError, match="must give logits"):
        train(tmp_path, data=str(tmp_path / "d.csv"), model="mine_model:wrong")


def test_long_texts_and_rare_classes(tmp_path):
    """The word that counts stands in the middle of a long text, and one class is rare."""
    generator = np.random.default_rng(1)
    pairs = []
    for i in range(120):
        words, label = (BAD, "bad") if i % 6 == 0 else (GOOD, "good")
        left, right = (sentence(generator, ["scene"], 40) for _ in range(2))
        pairs.append((f"{left} {' '.join(map(str, generator.choice(words, 4)))} {right}", label))
    write(tmp_path / "d.csv", pairs)
    run = train(tmp_path, data=str(tmp_path / "d.csv"), length=24, imbalance="weights", epochs=8, baselines=False)
    assert run.metrics["test"]["metrics"]["balanced_accuracy"]["value"] > 0.9
    assert run.predict("x " * 500_000)[0]["label"] in ("good", "bad")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"builder": "lstm"}, "ngrams, cnn, transformer, kerashub:"),
        ({"vocabulary": 10}, "model.vocabulary"),
        ({"length": 2}, "model.length"),
        ({"overlap": 1.0}, "model.overlap"),
        ({"vectors": "x"}, "for cnn or transformer"),
        ({"freeze": True}, "kerashub"),
        ({"token_dropout": 1.0}, "token_dropout"),
        ({"near_duplicates": 2.0}, "near_duplicates"),
        ({"label_separator": ""}, "label_separator"),
        ({"source": "nowhere.csv"}, "not found"),
        ({"builder": "kerashub:nowhere"}, "cannot be loaded"),
        ({"builder": "cnn", "vectors": "nowhere.txt"}, "word vectors not found"),
    ],
)
def test_broken_options(tmp_path, options, message):
    data = {} if "source" in options else {"data": str(write(tmp_path / "d.csv", rows(40)))}
    with pytest.raises(UserError, match=message):
        train(tmp_path, **data, **options)
    assert not (tmp_path / "runs").exists()
