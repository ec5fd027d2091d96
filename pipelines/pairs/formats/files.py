"""Pairs of texts in files: what each row holds, or why it cannot be used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.data import sources
from pipelines.texts.files import bad_unicode, look_ahead, printable, rows_of

if TYPE_CHECKING:
    from pipelines.pairs.config import PairsDataConfig

TABLES = {".csv", ".jsonl", ".ndjson", ".parquet"}
KNOWN = TABLES | {".tsv", ".tmx", ".po"}
SOURCE_NAMES = ("source", "src", "source_text", "input", "text")
TARGET_NAMES = ("target", "tgt", "trg", "target_text", "translation", "output")


@dataclass(frozen=True)
class Pair:
    """A row of a file.

    Args:
        name: File and line.
        source: The text.
        target: Its translation.
        broken: Why it cannot be read, or empty.
        split: What its column of the split says.
    """

    name: str
    source: Any = None
    target: Any = None
    broken: str = ""
    split: str = ""

    @property
    def fault(self) -> str:
        """Why it cannot be used at all, or empty."""
        if self.broken:
            return self.broken
        for what, text in (("source", self.source), ("target", self.target)):
            if text is not None and not isinstance(text, str):
                return f"its {what} is no text, but {type(text).__name__}"
            if reason := bad_unicode(text or ""):
                return f"its {what} is {reason}"
        return ""


def pairs_of(path: Path, config: PairsDataConfig) -> Iterator[Pair]:
    """The rows of a file of pairs.

    Raises:
        UserError: The file as a whole cannot be read.
    """
    from pipelines.pairs.formats import po, tmx

    suffix = path.suffix.lower()
    name = printable(path.name)
    try:
        if suffix == ".tsv":
            yield from _tab_separated(path, config)
        elif suffix in TABLES:
            yield from _table(path, config)
        elif suffix == ".po":
            for entry in po.Catalog.read(path).entries:
                if not entry.fuzzy and not entry.obsolete:
                    yield from (Pair(f"{name} line {entry.line}", s, t) for s, t in entry.pairs())
        elif suffix == ".tmx":
            for unit in tmx.Memory.read(path).units:
                texts = (unit.text(config.source_language), unit.text(config.target_language))
                yield Pair(f"{name} line {unit.line}", *texts)
        else:
            raise UserError(
                f"data.source {path}: a file must be one of {', '.join(sorted(KNOWN))}, or a text file with its "
                "translations in --data.target"
            )
    except (OSError, ValueError) as error:
        raise UserError(f"data.source {path} cannot be read: {one_line(error)}") from None


def parallel(source: Path, target: Path) -> Iterator[Pair]:
    """Two text files, line by line.

    Raises:
        UserError: They cannot be read, or have different numbers of lines.
    """
    counts = []
    for path in (source, target):
        try:
            with open(path, "rb") as file:
                counts.append(sum(1 for _ in file))
        except OSError as error:
            raise UserError(f"data.source {path} cannot be read: {error.strerror}") from None
    if counts[0] != counts[1]:
        raise UserError(
            f"data.source {source} has {counts[0]:,} lines, but {target} has {counts[1]:,}: line by line they must be "
            "translations of each other"
        )
    options: Any = {"encoding": "utf-8-sig", "errors": "surrogateescape", "newline": "\n"}
    with open(source, **options) as texts, open(target, **options) as translations:
        for number, (text, translation) in enumerate(zip(texts, translations, strict=True), start=1):
            yield Pair(f"{printable(source.name)} line {number}", text.rstrip("\r\n"), translation.rstrip("\r\n"))


def _tab_separated(path: Path, config: PairsDataConfig) -> Iterator[Pair]:
    """Cells as they are, without quotation; a first row is a header where it names known columns."""
    columns: tuple[int, int, int | None] | None = None
    width = 2
    with open(path, encoding="utf-8-sig", errors="surrogateescape", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            cells = line.rstrip("\r\n").split("\t")
            name = f"{printable(path.name)} line {number}"
            if columns is None:
                header, width = _header(cells, config, path), len(cells)
                columns = header or (0, 1, None)
                if header:
                    continue
                if width < 2:
                    raise UserError(f"data.source {path} line 1: expected a text, a tab and its translation")
            if cells == [""]:
                yield Pair(name, "", "")
            elif len(cells) != width:
                yield Pair(name, broken=f"expected {width} cells, got {len(cells)}")
            else:
                split = cells[columns[2]] if columns[2] is not None else ""
                yield Pair(name, cells[columns[0]], cells[columns[1]], split=split)


def _header(cells: Sequence[str], config: PairsDataConfig, path: Path) -> tuple[int, int, int | None] | None:
    """Where source, target and split stand, if this is a row of names."""
    lower = [cell.strip().lower() for cell in cells]
    usual = {*SOURCE_NAMES, *TARGET_NAMES, config.source_language.lower(), config.target_language.lower()}
    chosen = config.source_column is not None or config.target_column is not None
    if not chosen and sum(cell in usual for cell in lower) < 2:
        return None
    names = [cell.strip() for cell in cells]
    source, target, split = _columns(names, config, path)
    return names.index(source), names.index(target), names.index(split) if split else None


def _columns(names: list[str], config: PairsDataConfig, path: Path) -> tuple[str, str, str | None]:
    found = []
    for option, chosen, usual in (
        ("source_column", config.source_column, (*SOURCE_NAMES, config.source_language)),
        ("target_column", config.target_column, (*TARGET_NAMES, config.target_language)),
    ):
        column = sources.choose(names, chosen, usual, option, path)
        if column is None:
            raise UserError(
                f"data.source {path} has no column named {', '.join(usual[:-1])} or {usual[-1]}: say which with "
                f"--data.{option} (it has {', '.join(names)})"
            )
        found.append(column)
    return found[0], found[1], sources.choose(names, config.split_column, sources.SPLIT_COLUMNS, "split_column", path)


def _table(path: Path, config: PairsDataConfig) -> Iterator[Pair]:
    names, rows = look_ahead(rows_of(path))
    nested = names[:1] == ["translation"] and len(names) == 1  # as Hugging Face writes {"translation": {"en": ...}}
    columns = None if nested or not names else _columns(names, config, path)
    for name, row in rows:
        if isinstance(row, str):
            yield Pair(name, broken=row)
            continue
        if nested:
            texts = row.get("translation")
            if not isinstance(texts, dict):
                yield Pair(name, broken=f"its translation is no object, but {type(texts).__name__}")
                continue
            yield Pair(name, texts.get(config.source_language), texts.get(config.target_language))
        elif columns is not None:
            split = str(row.get(columns[2]) or "") if columns[2] else ""
            yield Pair(name, row.get(columns[0]), row.get(columns[1]), split=split)
