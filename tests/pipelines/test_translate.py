import csv
import io
import json
import subprocess
import sys
from functools import partial
from itertools import product

import numpy as np
import pytest
from babel.messages import pofile
from command_line import RUN_FILES, check_killed_run, files_of, run_task

from pipelines.core.run_dir import RunDir
from pipelines.engine.load import load_model
from pipelines.pairs.formats.tmx import Memory

NUMBERS = {"one": "ein", "two": "zwei", "three": "drei", "four": "vier", "five": "fünf"}
COLOURS = {"red": "rote", "green": "grüne", "blue": "blaue", "small": "kleine", "large": "große"}
THINGS = {"cats": "Katzen", "dogs": "Hunde", "houses": "Häuser", "books": "Bücher", "trees": "Bäume", "cups": "Tassen"}
VERBS = {"sleep": "schlafen", "fall": "fallen", "stay": "bleiben"}
QUICK = [
    "--model.pieces", "330", "--model.width", "48", "--model.encoder_depth", "1", "--model.decoder_depth", "1",
    "--model.heads", "2", "--model.dropout", "0", "--model.batch_tokens", "128", "--model.buckets", "2",
    "--fit.ema", "0.9", "--optimizer.learning_rate", "0.01", "--decode.beam", "2", "--run.resamples", "20",
]  # fmt: skip
cli = partial(run_task, "translate")


def pairs():
    """Sentences of a small language that is translated word by word, in random order."""
    words = [dict(zip(("en", "de"), zip(*choice, strict=True), strict=True)) for choice in product(
        NUMBERS.items(), COLOURS.items(), THINGS.items(), VERBS.items())]  # fmt: skip
    order = np.random.default_rng(0).permutation(len(words))
    return [tuple(f"{' '.join(words[i][code]).capitalize()}." for code in ("en", "de")) for i in order]


def word_by_word(text):
    table = {**NUMBERS, **COLOURS, **THINGS, **VERBS}
    found = " ".join(table[word] for word in text.rstrip(".").lower().split())
    return f"{found[0].upper()}{found[1:].lower()}."


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """One run through the command line, used by all the tests here."""
    folder = tmp_path_factory.mktemp("trained")
    rows = "\n".join("\t".join(pair) for pair in pairs())
    (folder / "pairs.tsv").write_text(f"{rows}\nno tab\n\tonly a target\n", encoding="utf-8")
    done = cli(
        "--data", "pairs.tsv", *QUICK, "--fit.epochs", "12", "--run.name", "one", "--test_fraction", "0.1", cwd=folder
    )
    assert done.returncode == 0, done.stderr
    return folder / "runs" / "translate" / "one", done


@pytest.fixture(scope="module")
def predicted(trained):
    """The rows of its test set."""
    with (trained[0] / "predictions.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_run_directory_is_whole(trained, predicted):
    run, done = trained
    assert files_of(run) == RUN_FILES
    assert "skipped pairs.tsv line 451: expected 2 cells, got 1" in done.stderr
    assert "pairs.tsv line 452 has an empty side" in done.stderr
    assert "Warning" not in done.stderr
    assert "Traceback" not in done.stderr
    metrics = json.loads((run / "metrics.json").read_text())
    scores = metrics["test"]["metrics"]
    assert all(row["reference"] == word_by_word(row["source"]) for row in predicted)
    right = np.mean([row["translation"] == row["reference"] for row in predicted])
    assert scores["exact_match"]["value"] == pytest.approx(right)
    assert right > 0.8
    assert 0 < scores["bleu"]["low"] <= scores["bleu"]["value"] <= scores["bleu"]["high"] < 100.01
    assert metrics["baselines"]["the source, copied"]["bleu"] < 1 < 80 < scores["bleu"]["value"]
    page = (run / "report.html").read_text(encoding="utf-8")
    for words in ("Scores by the length of the source", "The worst.", "version:2", "most similar training source"):
        assert words in page
    assert (run / "figures" / "attention_test_1.png").exists()


def test_scores_are_those_of_sacrebleu(trained, predicted):
    import sacrebleu

    scores = json.loads((trained[0] / "metrics.json").read_text())["test"]["metrics"]
    texts, references = [r["translation"] for r in predicted], [[r["reference"] for r in predicted]]
    assert scores["bleu"]["value"] == pytest.approx(sacrebleu.corpus_bleu(texts, references).score)
    assert scores["chrf"]["value"] == pytest.approx(sacrebleu.corpus_chrf(texts, references).score)


def test_predict_takes_texts_files_and_lines_in_any_order(trained, predicted, tmp_path):
    run, _ = trained
    sources, before = [row["source"] for row in predicted], {row["source"]: row["translation"] for row in predicted}
    done = cli("predict", run, "-", cwd=tmp_path, stdin="\n".join(sources[::-1]) + "\n\n")
    assert done.returncode == 0, done.stderr
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["translation"] for row in rows[:-1]] == [before[source] for source in sources[::-1]]
    assert rows[-1]["error"] == "empty text"
    (tmp_path / "letter.txt").write_text(
        f"  {sources[0]}\n\n{sources[1]} {sources[2]}\r\n", encoding="utf-8", newline=""
    )
    done = cli("predict", run, "letter.txt", "--out", "letter.de.txt", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "letter.de.txt").read_bytes().decode()
    assert text == f"  {before[sources[0]]}\n\n{before[sources[1]]} {before[sources[2]]}\r\n"


def test_several_translations_are_different(trained, predicted, tmp_path):
    done = cli("predict", trained[0], predicted[0]["source"], "--best", "3", "--format", "jsonl", cwd=tmp_path)
    (row,) = [json.loads(line) for line in done.stdout.splitlines()]
    found = [row[name] for name in ("translation", "translation_2", "translation_3")]
    assert len(set(found)) == 3
    assert row["score"] >= row["score_2"] >= row["score_3"]
    done = cli("predict", trained[0], "x", "--best", "3", "--beam", "2", cwd=tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "--best must be between 1 and --beam = 2" in done.stderr


def test_catalogs_and_memories_are_written_back(trained, predicted, tmp_path):
    run, _ = trained
    first, second, third = (row["source"] for row in predicted[:3])
    before = {row["source"]: row["translation"] for row in predicted}
    text = (
        '# Kept.\nmsgid ""\nmsgstr "Content-Type: text/plain; charset=UTF-8\\n"\n\n'
        f'#: a.c:1\nmsgid "{first}"\nmsgstr "done"\n\nmsgid "{second}"\nmsgstr ""\n\n'
        f'#, fuzzy\nmsgid "{third}"\nmsgstr "old"\n'
    )
    (tmp_path / "a.po").write_text(text, encoding="utf-8")
    done = cli("predict", run, "a.po", "--out", "b.po", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    written = (tmp_path / "b.po").read_text(encoding="utf-8")
    found = {m.id: m.string for m in pofile.read_po(io.StringIO(written)) if m.id}
    assert found == {first: "done", second: before[second], third: before[third]}
    assert [x for x in written.splitlines() if not x.startswith(("msgstr", "#,"))] == [
        x for x in text.splitlines() if not x.startswith(("msgstr", "#,"))
    ]
    done = cli("predict", run, "b.po", "--out", "c.po", cwd=tmp_path)
    assert "b.po has nothing left to translate from en to de" in done.stderr
    done = cli("predict", run, second, "--out", "c.po", cwd=tmp_path)
    assert (done.returncode, "one such file" in done.stderr) == (2, True)
    (tmp_path / "a.tmx").write_text(
        f'<?xml version="1.0"?><tmx><body><tu><tuv xml:lang="en"><seg>{first}</seg></tuv></tu></body></tmx>'
    )
    assert cli("predict", run, "a.tmx", "--out", "b.tmx", cwd=tmp_path).returncode == 0
    assert Memory.read(tmp_path / "b.tmx").units[0].texts == {"en": first, "de": before[first]}


def test_evaluate_repeats_the_scores_and_takes_other_data(trained, predicted, tmp_path):
    run, _ = trained
    done = cli("evaluate", run, cwd=run.parents[2])
    assert done.returncode == 0, done.stderr
    scores = [json.loads((run / name).read_text())["test"] for name in ("evaluation.json", "metrics.json")]
    assert scores[0] == scores[1]
    (tmp_path / "more.csv").write_text(
        f"en,de\n{predicted[0]['source']},{predicted[0]['translation']}\n", encoding="utf-8"
    )
    done = cli("evaluate", run, "--data", "more.csv", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads((run / "evaluation-more.csv.json").read_text())["test"]["metrics"]["exact_match"]["value"] == 1


def test_explain_draws_attention(trained, predicted, tmp_path):
    run, _ = trained
    done = cli("explain", run, predicted[0]["source"], cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert (run / "figures" / "attention_1_1.png").stat().st_size > 1000


def test_attention_is_on_the_word_that_is_translated(trained):
    from pipelines.pairs.explain import attention
    from pipelines.pairs.pieces import END
    from pipelines.pairs.subwords import from_json

    spec = RunDir.open(trained[0], "translate").read_spec()
    subwords, model = from_json(spec["subwords"]), load_model(RunDir.open(trained[0], "translate"))
    source, target = (subwords.encode([t])[0] for t in ("Two red cats sleep.", "Zwei rote katzen schlafen."))
    weights = attention(model, [*source, END], [*target, END])
    assert weights.shape == (len(target) + 1, len(source) + 1)
    np.testing.assert_allclose(weights.sum(1), 1, atol=1e-5)


def test_exported_files_translate_as_the_model_does(trained, predicted, tmp_path):
    run, _ = trained
    done = cli("export", run, "--out", tmp_path / "onnx", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    texts = [row["source"] for row in predicted[:12]]
    # A process of its own, which knows nothing of this suite.
    done = subprocess.run(
        [sys.executable, "-I", tmp_path / "onnx" / "translate_onnx.py", *texts], capture_output=True, encoding="utf-8",
        check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [row["translation"] for row in predicted[:12]]
    done = cli("export", run, "--format", "litert", "--out", tmp_path / "x", cwd=tmp_path)
    assert (done.returncode, "onnx" in done.stderr) == (2, True)


@pytest.mark.slow
def test_killed_run_ends_as_if_it_had_not_been(trained):
    folder = trained[0].parents[2]
    check_killed_run("translate", "--data", "pairs.tsv", *QUICK, "--fit.epochs", "2", cwd=folder)
