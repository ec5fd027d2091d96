"""The report of a run: one HTML file that needs no other file and no network."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from pipelines.core.files import write_text

if TYPE_CHECKING:
    import matplotlib.figure


CARDS = 3  # numbers at the top of the page; the console shows all
HALF = 6.5  # inches; wider figures have a line of their own
NARROW = 62  # characters, likewise


@dataclass(frozen=True)
class Text:
    """A paragraph."""

    text: str
    kind: ClassVar[str] = "text"


@dataclass(frozen=True)
class Table:
    """Rows of text; columns whose cells all begin like numbers are aligned to the right.

    In the report a click on a heading sorts the rows, and long tables have a field that filters them.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    caption: str = ""
    kind: ClassVar[str] = "table"

    @property
    def wide(self) -> bool:
        """Whether it needs the width of the page; narrow tables and figures stand side by side."""
        widths = [max(len(cell) for cell in column) for column in zip(self.columns, *self.rows, strict=True)]
        return sum(widths) + 3 * len(widths) > NARROW

    @property
    def numeric(self) -> set[int]:
        return {
            i for i in range(1, len(self.columns)) if self.rows and all(r[i][:1] in "-+.0123456789–" for r in self.rows)
        }


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure with its caption, and a description for readers who cannot see it."""

    name: str
    figure: matplotlib.figure.Figure
    caption: str
    alt: str
    kind: ClassVar[str] = "figure"

    @property
    def wide(self) -> bool:
        """Whether it needs the width of the page; two others stand side by side."""
        return self.figure.get_figwidth() > HALF

    @property
    def photos(self) -> bool:
        """Whether it shows images, whose colours a dark page must not invert."""
        return any(
            image.get_array().ndim == 3 or image.get_cmap().name == "gray"
            for axes in self.figure.axes for image in axes.get_images()
        )  # fmt: skip

    @property
    def base64(self) -> str:
        from pipelines.engine.figures import png

        return base64.b64encode(png(self.figure)).decode()


@dataclass(frozen=True)
class Details:
    """Preformatted text that opens on a click."""

    summary: str
    text: str
    kind: ClassVar[str] = "details"


@dataclass(frozen=True)
class Mark:
    """A piece of a text, with the colour behind it (CSS, or empty) and a label that is shown above it."""

    text: str
    colour: str = ""
    label: str = ""


@dataclass(frozen=True)
class Marked:
    """Texts with coloured pieces, each after a line of explanation."""

    texts: Sequence[tuple[str, Sequence[Mark]]]
    caption: str = ""
    kind: ClassVar[str] = "marked"


Block = Text | Table | Figure | Details | Marked


@dataclass(frozen=True)
class Headline:
    """A number at the top."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A heading and the blocks under it."""

    title: str
    blocks: list[Block] = field(default_factory=list)


def write_report(
    path: str | os.PathLike[str],
    *,
    title: str,
    lead: str,
    headline: Sequence[Headline],
    sections: Sequence[Section],
    summary: str = "",
) -> None:
    """Writes the report, whole or not at all; all text is escaped."""
    import jinja2

    loader = jinja2.FileSystemLoader(os.path.dirname(__file__))
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.get_template("report.html.j2")
    write_text(
        path, template.render(title=title, lead=lead, summary=summary, headline=headline[:CARDS], sections=sections)
    )


def save_figures(folder: str | os.PathLike[str], sections: Sequence[Section]) -> None:
    """Writes each figure of the report as a PNG."""
    from pathlib import Path

    from pipelines.core.files import whole
    from pipelines.engine.figures import png

    for section in sections:
        for block in section.blocks:
            if isinstance(block, Figure):
                with whole(Path(folder) / f"{block.name}.png") as aside:
                    aside.write_bytes(png(block.figure))


@dataclass(frozen=True)
class Assessment:
    """The scores of a model on its test set, and what the report shows of them.

    Args:
        metrics: What goes into metrics.json.
        headline: Numbers at the top of the report and on the console.
        predictions: One row for each test sample.
        sections: Sections of the report.
        classes: Of a classification, the labels (N,), probabilities (N, K) and K names, for TensorBoard.
        tables: Rows of further CSV files in the run directory, by file name; one without rows is not written.
        summary: One or two sentences on what the model has learned, for the top of the report and the console.
    """

    metrics: dict[str, Any]
    headline: list[Headline]
    predictions: list[dict[str, Any]]
    sections: list[Section]
    classes: tuple[np.ndarray, np.ndarray, Sequence[str]] | None = None
    tables: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    summary: str = ""
