"""A table of broken inputs: each ends in one clear line and exit status 2, and no run directory is left."""

import pytest

from pipelines import translate

GOOD = "".join(f"word {n}\tWort {n}\n" for n in range(60))
MINE = """
import keras

def texts():
    return ["a", "b"], ["c"]

def text():
    return "a text"

def fails():
    return 1 / 0

def no_model(size):
    return size

def wrong_size(size):
    source, target = (keras.Input((None,), dtype="int32") for _ in range(2))
    return keras.Model([source, target], keras.layers.Embedding(size, 3)(target))
"""
# (arguments, words of the line, files)
TABLE = [
    ("--data nowhere.tsv", "data.source not found", {}),
    ("--data a.docx", "a file must be one of .csv, .jsonl", {"a.docx": "x"}),
    ("--data a.tsv", "expected a text, a tab and its translation", {"a.tsv": "one column\nonly\n"}),
    ("--data a.tsv", "no pair of a text and its translation", {"a.tsv": "\t\n\t\n"}),
    ("--data a.tsv", "no pair", {"a.tsv": ""}),
    ("--data a.tsv --data.max_broken 1", "2 rows of a.tsv are broken", {"a.tsv": GOOD + "x\ny\n"}),
    ("--data a.tsv", "not valid Unicode", {"a.tsv": "h\xe9\tx\n" * 20}),
    ("--data a.tsv", "too few usable pairs", {"a.tsv": "a\tb\nc\td\n"}),
    (
        "--data a.tsv --data.max_length 8 --data.clean false",
        "data.max_length",
        {"a.tsv": GOOD.replace("word", "w" * 90)},
    ),
    ("--data a.csv", "say which with --data.source_column", {"a.csv": "x,y\n1,2\n"}),
    ("--data a.csv --data.target_column z", "'z' is not a column", {"a.csv": "en,de\n1,2\n"}),
    ("--data a.csv", "no known split", {"a.csv": "en,de,split\n" + "a,b,later\n" * 20}),
    ("--data a.jsonl", "not JSON", {"a.jsonl": "{\n" * 20}),
    ("--data a.jsonl", "its target is no text, but int", {"a.jsonl": '{"en": "a", "de": 3}\n' * 20}),
    ("--data a.po", "line 2", {"a.po": 'msgid "a"\nmsgstr "b'}),
    ("--data a.po", "not koi9", {"a.po": 'msgid ""\nmsgstr "Content-Type: text/plain; charset=koi9\\n"\n'}),
    ("--data a.tmx", "XML file of html", {"a.tmx": "<html/>"}),
    ("--data a.tmx", "no pair", {"a.tmx": '<tmx><tu><tuv xml:lang="fr"><seg>x</seg></tuv></tu></tmx>'}),
    ("--data a.en --data.target a.de", "has 2 lines, but a.de has 1", {"a.en": "a\nb\n", "a.de": "c\n"}),
    ("--data a.en --data.target none.de", "none.de cannot be read", {"a.en": "a\n"}),
    ("--data folder", "holds no pairs", {"folder/readme.md": "x"}),
    ("--data folder", "no file whose name says train", {"folder/test.tsv": GOOD}),
    ("--data tfds:", "needs a name", {}),
    ("--data mine:texts", "2 sources, but 1 targets", {}),
    ("--data mine:text", "must return (sources, targets)", {}),
    ("--data mine:fails", "ZeroDivisionError", {}),
    ("--data.target_language en", "another language than data.source_language", {}),
    ("--data.target_language klingon-x-9999", "a language's code", {}),
    ("--data.target_language qq", "no language that babel knows", {}),
    ("--data.max_ratio 1", "data.max_ratio", {}),
    ("--data.max_length 3", "between 8 and 1024", {}),
    ("--model.pieces 100", "between 300 and 200000", {}),
    ("--model.width 100 --model.heads 3", "divisible by twice model.heads", {}),
    ("--model.dropout 1", "model.dropout", {}),
    ("--model.batch_tokens 3", "model.batch_tokens", {}),
    ("--model.positions sine", "rotary", {}),
    ("--model bert", "transformer, marian:FOLDER or my_module:function", {}),
    ("--data a.tsv --model mine:no_model", "must return a Keras model, got int", {"a.tsv": GOOD}),
    ("--data a.tsv --model mine:wrong_size", "must give logits", {"a.tsv": GOOD}),
    ("--model marian:folder", "has no config.json", {"folder/x": ""}),
    ("--decode.beam 0", "decode.beam", {}),
    ("--decode.best 9", "between 1 and decode.beam = 4", {}),
    ("--decode.repetition 3", "0 or at least 8", {}),
    ("--decode.alpha -1", "decode.alpha", {}),
    ("--fit.imbalance focal", "fit.imbalance", {}),
    ("predict nowhere text", "run directory not found", {}),
]


@pytest.mark.parametrize(("arguments", "words", "files"), TABLE, ids=[row[0] for row in TABLE])
def test_broken_input(tmp_path, monkeypatch, capsys, arguments, words, files):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine.py").write_text(MINE, encoding="utf-8")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    monkeypatch.delitem(__import__("sys").modules, "mine", raising=False)
    with pytest.raises(SystemExit) as stop:
        translate.TASK.main(arguments.split(" "))
    _, err = capsys.readouterr()
    assert stop.value.code == 2
    assert "Traceback" not in err
    (line,) = (line for line in err.splitlines() if "error: " in line)
    assert words.lower() in line.lower(), line
    assert not (tmp_path / "runs").exists()
