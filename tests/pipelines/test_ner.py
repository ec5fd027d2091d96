import csv
import io
import itertools
import json
import shutil
from functools import partial
from pathlib import Path

import keras
import numpy as np
import pytest
from command_line import check_killed_run, run_task

from pipelines import ner
from pipelines.core.errors import UserError
from pipelines.core.run_dir import RunDir
from pipelines.engine.load import load_model

QUICK = [
    "--epochs", "6", "--model.width", "16", "--model.embedding", "16", "--resamples", "20",
    "--batch_size", "8", "--learning_rate", "0.02", "--fit.ema", "0.8",
]  # fmt: skip
NAMES, TOWNS, VERBS = (
    ("Ada", "Zoë", "Ivan", "Лев", "नेहा"),
    ("Rome", "Oslo", "São Paulo", "東京"),
    ("saw", "left", "likes"),
)


def sentences(number):
    generator = np.random.default_rng(0)
    for _ in range(number):
        name, verb, town = (str(generator.choice(part)) for part in (NAMES, VERBS, TOWNS))
        text = f"{name} {verb} {town} 👍🏽."
        yield {"text": text, "entities": [[0, len(name), "person"], [len(name) + len(verb) + 2, len(text) - 4, "town"]]}


cli = partial(run_task, "ner")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One run through the command line, used by all the tests here."""
    folder = tmp_path_factory.mktemp("trained")
    rows = "\n".join(json.dumps(row, ensure_ascii=False) for row in sentences(120))
    broken = ['{"text": "x", "entities": [[0, 9, "person"]]}', '{"text": "Ada \\ud83d", "entities": []}']
    (folder / "notes.jsonl").write_text("\n".join([rows, *broken]), encoding="utf-8")
    done = cli(*QUICK, "--data", "notes.jsonl", "--run.name", "one", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "ner" / "one", done


def test_a_run_learns_scores_and_reports(trained):
    run, done = trained
    assert "skipped notes.jsonl:121: entity 0..9 lies outside" in done.stderr
    assert "skipped notes.jsonl:122: not valid Unicode: character 4" in done.stderr
    scores = json.loads((run / "metrics.json").read_text())
    metrics = scores["test"]
    assert 0 <= scores["baselines"]["dictionary"]["f1"]["value"] <= 1
    assert metrics["metrics"]["f1"]["value"] > 0.9
    assert set(metrics["per_type"]) == {"person", "town"}
    rows = list(csv.DictReader((run / "predictions.csv").open(encoding="utf-8")))
    assert np.mean([row["true"] == row["predicted"] for row in rows]) > 0.8
    assert all((row["confidence"] == "") == (row["predicted"] == "") for row in rows)
    page = (run / "report.html").read_text(encoding="utf-8")
    assert "<mark style=" in page
    assert "What kinds of error" in page


def test_tensorboard_shows_sentences_with_their_entities(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained[0] / "tensorboard" / "test"))
    events.Reload()
    (content,) = events.Tensors("Sentences with the most entities, all of them right")[0].tensor_proto.string_val
    marked = set()
    for row in sentences(120):
        (_, stop, _), (start, end, _) = row["entities"]
        text = row["text"]
        marked.add(f"**{text[:stop]}** *(person)*{text[stop:start]}**{text[start:end]}** *(town)*{text[end:]}")
    lines = content.decode().splitlines()
    assert lines
    for line in lines:
        assert line.partition(":** ")[2] in marked


def test_predict_keeps_places_in_the_raw_text(trained, tmp_path):
    run, _ = trained
    text = "\ufeff  Ada saw\tRome 👍🏽.  \r\n\r\nЛев likes São Paulo 👍🏽.\u2028"
    (tmp_path / "a.txt").write_text(text, encoding="utf-8", newline="")
    (tmp_path / "b.jsonl").write_text('{"text": "Ivan left Oslo 👍🏽."}\n{"text": ""}\n{"no": 1}\n', encoding="utf-8")
    (tmp_path / "c.txt").write_bytes(b"\xff\xfe")
    (tmp_path / "d.txt").write_text("")
    done = cli("predict", run, tmp_path, "--format", "jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = {Path(row["input"]).name: row for row in map(json.loads, done.stdout.strip().split("\n"))}
    found = [(e["text"], e["label"]) for e in rows["a.txt"]["entities"]]
    assert found == [("Ada", "person"), ("Rome", "town"), ("Лев", "person"), ("São Paulo", "town")]
    raw = (tmp_path / "a.txt").read_bytes().decode("utf-8-sig")
    assert raw.count("\r\n") == 2
    assert all(raw[e["start"] : e["end"]] == e["text"] for e in rows["a.txt"]["entities"])
    assert [e["text"] for e in rows["b.jsonl:1"]["entities"]] == ["Ivan", "Oslo"]
    assert rows["b.jsonl:2"]["entities"] == rows["d.txt"]["entities"] == []
    assert rows["b.jsonl:3"]["error"] == "no text"
    assert rows["c.txt"]["error"] == "not UTF-8: byte 0 is 0xff"
    table = cli("predict", run, tmp_path / "b.jsonl", cwd=tmp_path)
    cells = list(csv.DictReader(io.StringIO(table.stdout)))
    assert json.loads(cells[0]["entities"]) == rows["b.jsonl:1"]["entities"]


def test_predict_writes_columns_that_train_reads(trained, tmp_path):
    run, _ = trained
    text = "Ada saw Rome 👍🏽.\n\nZoë left São Paulo 👍🏽."
    done = cli("predict", run, "-", "--out", "out.conll", cwd=tmp_path, stdin=text)
    assert done.returncode == 0, done.stderr
    from pipelines.tags.config import TagsDataConfig
    from pipelines.tags.sources import load

    raw = load(TagsDataConfig(str(tmp_path / "out.conll")), str(tmp_path / "out.conll"))
    assert [s.spans for s in raw.splits["all"]] == [
        ((0, 1, "person"), (2, 3, "town")), ((0, 1, "person"), (2, 4, "town")),
    ]  # fmt: skip


def test_predict_takes_texts_of_any_length_and_files_with_columns(trained, tmp_path):
    run, _ = trained
    long = "Ada saw Rome 👍🏽. " * 30
    (tmp_path / "a.conll").write_text("Ada B-person\nsaw O\nRome X-no\n👍🏽. O\n\nIvan\n", encoding="utf-8")
    done = cli("predict", run, long, "Oslo", "東京", "a.conll", "--format", "jsonl", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row.get("text") for row in rows] == [long, "Oslo", "東京", "Ada saw Rome 👍🏽.", None]
    assert [(e["text"], e["label"]) for e in rows[3]["entities"]] == [("Ada", "person"), ("Rome", "town")]
    assert rows[4]["error"] == "line 6 has 1 columns, the others 2"
    done = cli("predict", run, "a.conll", "--format", "conll", cwd=tmp_path)
    words = [line.split("\t") for line in done.stdout.splitlines()[:4]]
    assert words == [["Ada", "B-person"], ["saw", "O"], ["Rome", "B-town"], ["👍🏽.", "O"]]


def test_predict_answers_before_it_has_read_everything():
    """Empty and broken texts, too, do not pile up."""
    spec = {"encoder": {"words": [], "features": []}, "types": ["x"], "scheme": "bio", "max_tokens": 8}
    read = itertools.count()
    given = (["", "\ud83d", 3][i % 3] for i in iter(lambda: next(read), 4 * ner.MOST_TEXTS))
    rows = list(itertools.islice(ner.predict(None, spec, given), 3))
    assert next(read) <= 2 * ner.MOST_TEXTS
    assert rows[0] == {"input": "text", "text": "", "entities": []}
    assert [row.get("error") for row in rows[1:]] == [
        r"not valid Unicode: character 0 is '\ud83d'", "not a text, but int",
    ]  # fmt: skip


def test_predict_a_megabyte_and_stranger_texts(trained):
    run = RunDir(trained[0])
    model, spec = load_model(run), run.read_spec()
    one = "Ada saw Rome 👍🏽. "
    long = one * 200 + "x" * 300_000 + " " + "नमस्ते मित्र " * 3000 + "؟ مرحبا " * 3000 + "\x00\u202e" + one
    empty, whole = ner.predict(model, spec, ["", long])
    assert empty["entities"] == []
    assert whole["text"] == long
    assert [e["text"] for e in whole["entities"]].count("Rome") >= 200
    assert all(long[e["start"] : e["end"]] == e["text"] for e in whole["entities"])


def test_evaluate_repeats_the_scores_and_takes_other_data(trained, tmp_path):
    run, _ = trained
    done = cli("evaluate", run, cwd=run.parents[2])
    assert done.returncode == 0, done.stderr
    first, again = (json.loads((run / f"{n}.json").read_text())["test"] for n in ("metrics", "evaluation"))
    assert first == again
    (tmp_path / "new.conll").write_text("Ada B-person\nsaw O\nRome B-planet\n", encoding="utf-8")
    done = cli("evaluate", run, "--data", tmp_path / "new.conll", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scores = json.loads((run / "evaluation-new.conll.json").read_text())["test"]
    assert scores["per_type"]["planet"]["recall"] == 0


def test_explain_takes_texts_files_and_by_default_the_test_part(trained, tmp_path, monkeypatch, capsys):
    run, _ = trained
    done = cli("explain", run, "-", cwd=tmp_path, stdin="Zoë likes Oslo 👍🏽.")
    assert done.returncode == 0, done.stderr
    page = (run / "figures" / "explanations_1.html").read_text(encoding="utf-8")
    assert "text, Zoë (person" in page
    assert "text, Oslo (town" in page
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("Ivan left Oslo 👍🏽.", encoding="utf-8")
    (tmp_path / "b.txt").write_bytes(b"\xff\xfe")
    model, spec, config = load_model(RunDir(run)), RunDir(run).read_spec(), ner.TASK.config_of(run)
    (block,) = ner.explain(config, model, spec, ["Ada saw Rome 👍🏽.", "a.txt", "b.txt"])
    leads = [lead.partition(" (")[0] for lead, _ in block.texts]
    assert leads == ["text, Ada", "text, Rome", "a.txt, Ivan", "a.txt, Oslo"]
    assert "skipped b.txt: not UTF-8" in capsys.readouterr().err
    for argument, reason in (
        ("nowhere.txt", "input not found: nowhere.txt"), ("", "the name is empty"), ("b.txt", "none of the inputs"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=reason):
            ner.explain(config, model, spec, [argument])
    monkeypatch.chdir(run.parents[2])
    monkeypatch.setattr(ner, "EXPLAINED", 1)
    (block,) = ner.explain(config, model, spec, [])
    assert len(block.texts) == 1
    assert block.texts[0][0].startswith("notes.jsonl:")


@pytest.mark.parametrize("kind", ["savedmodel", "onnx"])
def test_export_answers_as_the_model(trained, tmp_path, kind):
    if kind == "onnx":
        pytest.importorskip("onnxruntime")
    done = cli("export", trained[0], "--format", kind, "--out", tmp_path / "exported", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "they differ by at most" in done.stderr
    if kind == "onnx":
        assert_decodes(tmp_path / "exported", RunDir(trained[0]).read_spec())


def assert_decodes(path, spec):
    """The file and spec.json suffice to tag sentences of any length, with nothing but NumPy for the best path."""
    import onnxruntime

    from pipelines.tags.load import encoder_from_json, padded

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    encoder = encoder_from_json(spec["encoder"])
    texts = [["Zoë", "left", "São", "Paulo", "👍🏽", "."], ["Ada", "saw", "Rome"]]
    (scores,) = session.run(None, {session.get_inputs()[0].name: padded([encoder(t) for t in texts])})
    size = len(spec["tags"])
    for words, row in zip(texts, scores, strict=True):
        transitions, start, end, emissions = row[:size], row[size], row[size + 1], row[size + 2 :][: len(words)]
        best, origins = start + emissions[0], []
        for emission in emissions[1:]:
            paths = best[:, None] + transitions
            origins.append(paths.argmax(0))
            best = paths.max(0) + emission
        path = [int((best + end).argmax())]
        for origin in reversed(origins):
            path.insert(0, int(origin[path[0]]))
        tags = [spec["tags"][i] for i in path]
        assert tags == (["B-person", "O", "B-town", "I-town", "O", "O"] if len(words) == 6 else
                        ["B-person", "O", "B-town"])  # fmt: skip


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_weights(tmp_path):
    rows = "\n".join(json.dumps(row, ensure_ascii=False) for row in sentences(300))
    (tmp_path / "notes.jsonl").write_text(rows, encoding="utf-8")
    check_killed_run("ner", "--data", "notes.jsonl", *QUICK, cwd=tmp_path)


@pytest.mark.backend
@pytest.mark.parametrize("options", [{}, {"builder": "transformer", "model.scheme": "bioes", "recall": 0.5}])
def test_python_end_to_end(tmp_path, monkeypatch, options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.jsonl").write_text("\n".join(json.dumps(row) for row in sentences(90)))
    run = ner.train(
        data="notes.jsonl", epochs=8, batch_size=8, width=16, embedding=16, resamples=10,
        learning_rate=0.02, ema=0.5, backend=keras.backend.backend(), **options,
    )  # fmt: skip
    assert run.metrics["test"]["metrics"]["f1"]["value"] > 0.9
    (tmp_path / "東京").write_text("Ivan likes Oslo 👍🏽.", encoding="utf-8")
    first, second, file = run.predict("Ivan likes Oslo 👍🏽.", "東京", Path("東京"))
    assert [e["label"] for e in first["entities"]] == ["person", "town"]
    assert second["text"] == "東京"  # a text, whatever files there are
    assert file["entities"] == first["entities"]


def test_resume_ends_with_the_same_weights(tmp_path, monkeypatch):
    from callbacks import checkpoint

    monkeypatch.chdir(tmp_path)
    rows = "\n".join(json.dumps(row) for row in sentences(60))
    (tmp_path / "notes.jsonl").write_text(rows)
    options = {"data": "notes.jsonl", "epochs": 3, "batch_size": 8, "width": 8, "embedding": 8,
               "resamples": 10, "deterministic": True, "out": "made"}  # fmt: skip
    whole = ner.train(**options, **{"run.name": "whole"})
    save = checkpoint.Checkpoint.on_epoch_end

    def stop(self, epoch, logs=None):
        save(self, epoch, logs)
        if epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "on_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            ner.train(**options, **{"run.name": "torn"})
    resumed = ner.train(resume="made/ner/torn")
    for a, b in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_own_builders_and_vectors(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "notes.jsonl").write_text("\n".join(json.dumps(row) for row in sentences(60)))
    (tmp_path / "own_tagger.py").write_text(
        "import keras\n"
        "def build(width, words, tags):\n"
        "    rows = keras.Input((None, width), dtype='int32')\n"
        "    return keras.Model(rows, keras.layers.Dense(tags)(keras.layers.Embedding(words, 8)(rows[..., 0])))\n"
        "def wrong(width, words, tags):\n"
        "    return build(width, words, tags + 1)\n"
    )
    options = {"data": "notes.jsonl", "epochs": 1, "batch_size": 8, "resamples": 10}
    run = ner.train(**options, **{"model.builder": "own_tagger:build"})
    assert run.predict("Ada saw Rome 👍🏽.")[0]["entities"] is not None
    with pytest.raises(UserError, match=r"must give scores \(batch, words, 5\)"):
        ner.train(**options, **{"model.builder": "own_tagger:wrong"})
    (tmp_path / "v.txt").write_text("ada 1 2 3\nrome 3 2 1\noslo 3 2 0\n")
    run = ner.train(**options, vectors="v.txt", width=8)
    assert run.model.get_layer("vectors").get_weights()[0].shape[1] == 3


def test_pretrained_encoder_in_two_phases(tmp_path, monkeypatch):
    keras_hub = pytest.importorskip("keras_hub")
    monkeypatch.chdir(tmp_path)
    many = {"text": "romememememe " * 48, "entities": []}
    for name, rows in (
        ("train", [*sentences(40), many]),
        ("dev", [*sentences(20), many]),
        ("test", [*sentences(9), many]),
    ):
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        "ada",
        "ro",
        "##me",
        "oslo",
        "saw",
        "left",
        "sao",
        "paulo",
        ".",
    ]
    keras_hub.models.BertBackbone(
        vocabulary_size=len(words), num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=32,
        max_sequence_length=32,
    ).save_to_preset("preset")  # fmt: skip
    keras_hub.tokenizers.BertTokenizer(vocabulary=words, lowercase=True).save_to_preset("preset")
    run = ner.train(
        data=".", epochs=2, head_epochs=4, batch_size=8, resamples=10, learning_rate=0.02, ema=0.5,
        **{"model.builder": "kerashub:preset"},
    )  # fmt: skip
    assert run.metrics["epochs"] == 6
    assert run.metrics["test"]["metrics"]["f1"]["value"] > 0.5
    shutil.rmtree("preset")
    model = load_model(run.directory)
    spec, config = run.directory.read_spec(), ner.TASK.config_of(run.directory.path)
    assert spec["max_tokens"] == 30
    (row,) = ner.predict(model, spec, ["Ada saw Rome 👍🏽."])
    assert row == run.predict("Ada saw Rome 👍🏽.")[0]
    long = "romememememe " * 200 + "Ada saw Rome 👍🏽."
    (row,) = ner.predict(model, spec, [long])
    assert all(long[e["start"] : e["end"]] == e["text"] for e in row["entities"])
    assert [len(s.offsets) for s in ner.load_test(config, spec).test[-2:]] == [30, 18]
    monkeypatch.setattr(ner, "EXPLAINED", 1)
    ner.explain(config, model, spec, [])


BROKEN = {
    "--data nowhere.conll": "data.source not found", "--model.builder lstmm": "model.builder",
    "--model.recall -1": "model.recall", "--fit.imbalance weights": "fit.imbalance must be none",
    "--fit.label_smoothing 0.1": "fit.label_smoothing", "--data.tag_column 0": "data.tag_column",
    "--data.max_tokens 2": "data.max_tokens", "--model.vectors nowhere.txt": "word vectors not found",
    "--model.builder kerashub:nowhere": "kerashub:nowhere", "--model.scheme iob": "model.scheme",
    "--model.builder kerashub:x --model.vectors v.txt": "model.vectors must be for lstm or transformer",
    "--model.builder own:build --model.vectors v.txt": "model.vectors must be for lstm or transformer",
}  # fmt: skip


@pytest.mark.parametrize("options", BROKEN)
def test_broken_options_are_one_line(tmp_path, monkeypatch, capsys, options):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.jsonl").write_text("\n".join(json.dumps(row) for row in sentences(60)))
    argv = ["--data", "notes.jsonl", *options.split()] if "--data " not in options else options.split()
    with pytest.raises(SystemExit) as stop:
        ner.TASK.main(argv)
    assert stop.value.code == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith("python -m pipelines.ner: error: ")
    assert BROKEN[options] in last
    assert not (tmp_path / "runs").exists()
