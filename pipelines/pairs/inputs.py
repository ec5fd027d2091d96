"""What `predict` is given, and what it gives back: rows, text files, .po and TMX files."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import tee
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.pairs.formats.po import Catalog
from pipelines.pairs.formats.tmx import Memory
from pipelines.texts import files
from pipelines.texts.files import Given, fault, printable

if TYPE_CHECKING:
    from pipelines.pairs.decoding.decoder import Decoder

DOCUMENTS = {".po", ".tmx"}


@dataclass(frozen=True)
class Document:
    """A file that is written back.

    Args:
        path: Where it was read.
        content: A `Catalog` or a `Memory`.
        language: Of its translations.
    """

    path: Path
    content: Any
    language: str


@dataclass(frozen=True)
class Message(Given):
    """A text within a document.

    Args:
        document: Where it stands.
        places: What its translation is put in: an entry's number with that of the form, or a unit's number.
    """

    document: Document | None = None
    places: tuple[Any, ...] = ()


class Row(dict[str, Any]):
    """A row of `predict` that knows what it was made of."""

    item: Given


def given(arguments: Sequence[str], spec: dict[str, Any]) -> Iterator[Given]:
    """Texts, files, folders and globs; of .po and .tmx files what has no translation yet.

    Raises:
        UserError: Nothing is found under a name, or a file cannot be read.
    """
    for argument in arguments:
        suffix = Path(argument).suffix.lower() if len(argument) < 4096 else ""
        if suffix in DOCUMENTS and "\n" not in argument:
            yield from _messages(Path(argument), spec)
        elif suffix == ".tsv" and Path(argument).is_file():
            yield from _first_column(Path(argument))
        else:
            yield from files.given([argument])


def _messages(path: Path, spec: dict[str, Any]) -> Iterator[Given]:
    if not path.is_file():
        raise UserError(f"input not found: {path}")
    source, target = spec["languages"]
    try:
        content: Any = Catalog.read(path) if path.suffix.lower() == ".po" else Memory.read(path)
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read: {one_line(error)}") from None
    document, name = Document(path, content, target), printable(str(path))
    found = list(_missing(document, name, source))
    if not found:
        raise UserError(f"{path} has nothing left to translate from {source} to {target}")
    yield from found


def _missing(document: Document, name: str, source: str) -> Iterator[Message]:
    """What of a document has no translation yet."""
    content = document.content
    if isinstance(content, Catalog):
        for number, entry in enumerate(content.entries):
            if not entry.missing:
                continue
            forms = list(entry.places) if entry.fuzzy else [f for f in entry.places if not entry.translations[f]]
            singular = tuple((number, form) for form in forms if form == 0 or entry.plural is None)
            plural = tuple((number, form) for form in forms if form and entry.plural is not None)
            for text, places in ((entry.text, singular), (entry.plural, plural)):
                if places:
                    yield Message(f"{name} line {entry.line}", text, document=document, places=places)
        return
    for number, unit in enumerate(content.units):
        if (text := unit.text(source)) and text.strip() and unit.text(document.language) is None:
            yield Message(f"{name} line {unit.line}", text, document=document, places=(number,))


def _first_column(path: Path) -> Iterator[Given]:
    """The first cells of a file without a header; one with a header is read as any table."""
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        cells = [cell.strip().lower() for cell in file.readline().rstrip("\r\n").split("\t")]
        if set(cells) & set(files.TEXT_NAMES):
            yield from files.given([str(path)])
            return
        file.seek(0)
        for number, line in enumerate(file, start=1):
            yield Given(f"{printable(str(path))} line {number}", line.rstrip("\r\n").split("\t")[0])


def rows(decoder: Decoder, inputs: Iterable[Any]) -> Iterator[dict[str, Any]]:
    """A row for each input; a `Path` is read, a `str` is the text itself."""
    items, again = tee(_item(value) for value in inputs)
    found = decoder.translate(item.text for item in items if item.reason is None)
    for item in again:
        row = Row(input=item.name, text=printable(item.text) if isinstance(item.text, str) else None)
        row.item = item
        if item.reason is not None:
            yield _with(row, translation=None, error=item.reason)
            continue
        translation = next(found)
        best = translation.best
        _with(row, translation=best[0].text, score=round(best[0].score, 4), warnings="; ".join(translation.warnings))
        for number, more in enumerate(best[1:], start=2):
            _with(row, **{f"translation_{number}": more.text, f"score_{number}": round(more.score, 4)})
        yield row


def _with(row: Row, **values: Any) -> Row:
    row.update(values)
    return row


def _item(value: Any) -> Given:
    if isinstance(value, Given):
        return value
    if isinstance(value, Path):
        (item,) = files.given([str(value)])
        return item
    return Given("text", value) if fault(value) is None else Given("text", value, fault(value) or "")


def as_text(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The translations alone, each on lines of its own."""
    for row in rows:
        text = row.get("translation") or ""
        yield text if text.endswith("\n") else f"{text}\n"


def as_document(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """The one document that was read, with its translations.

    Raises:
        UserError: The inputs are no single .po or TMX file.
    """
    document: Document | None = None
    translations: dict[Any, str] = {}
    doubtful: set[int] = set()
    for row in rows:
        item = getattr(row, "item", None)
        if not isinstance(item, Message) or (document is not None and item.document is not document):
            raise UserError("a .po or .tmx file is written from one such file: give just that as input")
        document = item.document
        for place in item.places if row.get("translation") else ():
            translations[place] = row["translation"]
            if row.get("warnings") and isinstance(place, tuple):
                doubtful.add(place[0])
    if document is None:
        return
    if document.content.encoding.lower().replace("_", "-") not in ("utf-8", "utf8", "us-ascii", "ascii"):
        raise UserError(f"{document.path} is in {document.content.encoding}: save it in UTF-8 first")
    if isinstance(document.content, Catalog):
        yield document.content.written(translations, doubtful)
        return
    yield document.content.written(translations, document.language).decode("utf-8")
