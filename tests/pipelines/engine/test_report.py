import base64
import html
import re

import numpy as np
import pytest

from pipelines.data.summary import DataSummary
from pipelines.engine import figures
from pipelines.engine.classes.classification import about
from pipelines.engine.report import Details, Figure, Headline, Section, Table, Text, save_figures, write_report
from pipelines.metrics import signed


def test_report_is_self_contained_and_escaped(tmp_path):
    figure = figures.confusion_matrix(np.array([[3, 1], [0, 2]]), ("<script>", "b"))
    sections = [
        Section(
            "A & B",
            [
                Text("<b>x</b>"),
                Table(("name", "n"), [("<script>alert(1)</script>", "1")]),
                Figure("confusion", figure, "caption", 'alt "quoted"'),
                Details("more", "a: <1>"),
            ],
        )
    ]
    write_report(tmp_path / "r.html", title="T", lead="L", headline=[Headline("h", "1")], sections=sections)
    page = (tmp_path / "r.html").read_text()
    assert page.count("<script") == 1  # the page's own
    assert "alert(1)</script>" not in page
    assert "&lt;script&gt;" in page
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert base64.b64decode(re.search(r"base64,([^\"]+)", page)[1]).startswith(b"\x89PNG")
    save_figures(tmp_path / "f", sections)
    assert (tmp_path / "f" / "confusion.png").read_bytes().startswith(b"\x89PNG")


def test_long_cells_break_into_lines(tmp_path):
    table = Table(("text", "the same as"), [("word " * 40, "word " * 40), ("short", "short")])
    write_report(tmp_path / "r.html", title="T", lead="", headline=[], sections=[Section("A", [table])])
    page = (tmp_path / "r.html").read_text()
    assert page.count('<td class="long">word') == 2
    assert page.count('<td class="word">short') == 2
    assert re.search(r"th, td \{[^}]*overflow-wrap: anywhere", page)


def test_photos_keep_their_colours_on_a_dark_page():
    draw = np.random.default_rng(0)
    for shape, name in (((2, 8, 8, 3), "colour"), ((2, 8, 8, 1), "grey")):
        photos = figures.gallery(draw.integers(0, 255, shape, dtype=np.uint8), ["a", "b"])
        assert Figure(name, photos, "", "").photos
    assert not Figure("matrix", figures.confusion_matrix(np.eye(2, dtype=int), "ab"), "", "").photos


def test_three_numbers_at_the_top_and_a_sentence(tmp_path):
    headline = [Headline(f"score {i}", str(i)) for i in range(5)]
    write_report(tmp_path / "r.html", title="T", lead="", headline=headline, sections=[], summary="It works.")
    page = (tmp_path / "r.html").read_text()
    assert [f"score {i}" in page for i in range(5)] == [True, True, True, False, False]
    assert '<p class="summary">It works.</p>' in page


def test_differences_have_no_negative_zero():
    assert [signed(x) for x in (-0.00001, 0.0, 0.25, -0.25)] == ["+0.0000", "+0.0000", "+0.2500", "-0.2500"]


def test_notes_keep_the_names_of_files():
    notes = ["the test part is made here", "ner.txt: its tags are BIO", "model.folds is off", "23 rows"]
    summary = DataSummary({"test": {"a": 1}}, [], [], "", notes)
    texts = [block.text for block in about(summary, ["a"]).blocks if isinstance(block, Text)]
    assert texts[:4] == [
        "Note: the test part is made here.", "Note: ner.txt: its tags are BIO.", "Note: model.folds is off.",
        "Note: 23 rows.",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "text", ["I want &gt; it & more", "a <b>bold</b> box", "a_b *c* `d` ~~e~~ | f [g](http://h) \\ # 1. -"]
)
def test_texts_stand_in_tensorboard_as_they_are(text):
    from tensorboard.plugin_util import markdown_to_safe_html

    from pipelines.engine.tensorboard import _plain

    shown = re.sub(r"</?(ul|li|strong)>", "", markdown_to_safe_html(f"- **lead** {_plain(text)}"))
    assert html.unescape(shown).strip() == f"lead {text}"


def test_numbers_are_told_from_names():
    assert Table(("a", "b", "c"), [("x", "1.0", "y"), ("z", "-2", "3")]).numeric == {1}


def test_every_figure_draws():
    images = np.zeros((3, 8, 8, 1), np.uint8)
    history = {"loss": [1, 0.5], "val_loss": [1, 0.6], "learning_rate": [0.1, 0.01], "seconds": [1, 1]}
    drawn = [
        figures.learning_curves(history),
        figures.confusion_matrix(np.eye(60, dtype=int), [f"class number {i}" for i in range(60)]),
        figures.gallery(images, ["a", "b", "c"], [True, False, True]),
        figures.explanations(images, {"signed": np.ones((3, 8, 8)) * -1, "plain": np.ones((3, 8, 8))}, ["a", "b", "c"]),
    ]
    for figure in drawn:
        assert figures.png(figure).startswith(b"\x89PNG")
    titles = [axes.get_title() for axes in drawn[0].axes]
    assert titles == ["loss", "learning rate"]
