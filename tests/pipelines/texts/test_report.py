import numpy as np
import pytest

from pipelines.data.summary import DataSummary
from pipelines.texts import baselines as text_baselines
from pipelines.texts import report as text_report
from pipelines.texts.inputs import NgramInput
from pipelines.texts.load import Part, TextParts

CLASSES = ("food", "sport", "music")
WORDS = {"food": ["soup", "bread", "cheese"], "sport": ["goal", "race", "ball"], "music": ["song", "drum", "choir"]}


def part(generator, number, several, wrong=()):
    """Texts of the words of their labels; those numbered `wrong` are given the labels of others."""
    truth = generator.random((number, 3)) < 0.5 if several else np.eye(3)[generator.integers(0, 3, number)] > 0
    texts = []
    for of_text in truth:
        words = [
            str(w) for name, on in zip(CLASSES, of_text, strict=True) if on for w in generator.choice(WORDS[name], 3)
        ]
        texts.append(" ".join(generator.permutation([*words, "and", "some", "more"])))
    labels = truth.copy()
    for i in wrong:
        labels[i] = np.roll(truth[i], 1) if not several else truth[i] ^ np.array([True, False, False])
    labels = labels.astype(np.float32) if several else labels.argmax(1)
    return Part(texts, labels, [f"d.csv line {i + 2}" for i in range(number)]), truth.astype(np.float64)


def data(several, number=300, wrong=(5, 50, 150)):
    generator = np.random.default_rng(0)
    train, _ = part(generator, number, several, wrong)
    test, chances = part(generator, 60, several, wrong=(7,))
    chances = np.clip(chances, 0.1, 0.9)
    if not several:
        chances /= chances.sum(1, keepdims=True)
    return TextParts(train, test, test, CLASSES, several, DataSummary({}, [], [], "", []), []), chances


def features(texts):
    reader = NgramInput.learn(texts.train.texts, size=1000)
    return text_baselines.word_features(reader, texts.train.texts, texts.train.texts)


def test_word_features_are_those_of_scikit_learn():
    from sklearn.feature_extraction.text import TfidfVectorizer

    train, test = ["So so good", "so bad, so good", "good book"], ["so good book so", "good"]
    reader = NgramInput.learn(train, size=1000, least=1)
    ours = text_baselines.word_features(reader, train, test)
    theirs = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\w+|[^\w\s]").fit(train)
    theirs = theirs.transform(test)
    np.testing.assert_allclose((ours @ ours.T).toarray(), (theirs @ theirs.T).toarray(), rtol=1e-6)
    np.testing.assert_allclose(np.sort(ours.data), np.sort(theirs.data), rtol=1e-6)


@pytest.mark.parametrize("several", [False, True])
def test_changed_labels_are_named(several):
    texts, chances = data(several)
    section, rows = text_report.suspicious(texts, chances, features(texts))
    training = [row for row in rows if row["split"] == "train"]
    wrong = [row for row in training if row["sample"] in ("d.csv line 7", "d.csv line 52", "d.csv line 152")]
    assert len(wrong) >= (2 if several else 3)
    assert len(training) < 10
    assert [row["sample"] for row in rows if row["split"] == "test"] == ["d.csv line 9"]
    assert [len(block.rows) for block in section.blocks] == [min(len(training), text_report.SUSPECTS), 1]
    for row in wrong:
        i = texts.train.names.index(row["sample"])
        assert row["text"] == texts.train.texts[i]
        if several:
            pair = ("food", "not food") if texts.train.labels[i, 0] else ("not food", "food")
            assert (row["label"], row["suggested"]) == pair
        else:
            assert row["label"] == CLASSES[texts.train.labels[i]]
            assert any(word in row["text"] for word in WORDS[row["suggested"]])


def test_the_doubts_by_label_are_those_of_cleanlab():
    filters = pytest.importorskip("cleanlab.multilabel_classification.filter")
    texts, _ = data(True)
    chances = text_baselines.out_of_sample(features(texts), texts.train.labels, 3, 5)
    lists = [np.flatnonzero(row).tolist() for row in texts.train.labels]
    theirs = filters.find_multilabel_issues_per_class(lists, chances, filter_by="confident_learning")
    found, sure = np.zeros((2, 300, 3), bool)
    for row in text_report._doubted(texts, "train", np.arange(300), chances):
        place = texts.train.names.index(row["sample"]), CLASSES.index(row["label"].removeprefix("not "))
        found[place], sure[place] = True, float(row["margin"]) < 0
    assert sure.any()
    assert (sure <= theirs).all()
    assert (theirs <= found).all()


def test_what_was_not_checked_is_said(monkeypatch):
    texts, chances = data(False)
    monkeypatch.setattr(text_report, "MOST_CHECKED", 290)
    section, rows = text_report.suspicious(texts, chances, features(texts))
    assert "290 training texts, drawn from 300," in section.blocks[0].caption
    assert all(row["text"] == texts.train.texts[texts.train.names.index(row["sample"])]
               for row in rows if row["split"] == "train")  # fmt: skip
    texts.train.labels[:] = 0
    texts.train.labels[0] = 1
    monkeypatch.undo()
    section, _ = text_report.suspicious(texts, chances, features(texts))
    assert "were not checked" in section.blocks[0].text


def test_near_duplicates_are_named():
    texts, _ = data(False)
    texts.similar.extend([("train", 3, "test", 1, 0.75), ("val", 2, "test", 1, 0.9)])
    (table,), rows = text_report.near_duplicates(texts)
    assert [(row["split"], row["sample"], row["split_2"], row["sample_2"]) for row in rows] == [
        ("val", "d.csv line 4", "test", "d.csv line 3"), ("train", "d.csv line 5", "test", "d.csv line 3"),
    ]  # fmt: skip
    assert rows[1]["text"] == texts.train.texts[3]
    assert table.rows[0][:3] == ("0.90", "val", "d.csv line 4")
    assert "1 of 60 test texts" in table.caption
