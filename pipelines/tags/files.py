"""Annotated sentences in files: in columns, in JSON lines and of spaCy."""

from __future__ import annotations

import json
from bisect import bisect, bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.data import sources
from pipelines.tags import columns as tag_columns
from pipelines.tags import units
from pipelines.tags.columns import TAG, Place, Span, TagReader, joined, shown
from pipelines.tags.tokenize import pieces, sentences, words
from pipelines.tags.units import positions
from pipelines.texts.files import fault

if TYPE_CHECKING:
    from pipelines.tags.config import TagsDataConfig

ROWS = (".jsonl", ".ndjson")
DOCUMENTS = (".spacy",)
_ENTITIES = ("entities", "spans", "labels", "label", "annotations", "ents")
TAGS = ("tags", "ner_tags", "ner", "labels")


@dataclass(frozen=True)
class Sentence:
    """Words and the entities among them.

    Args:
        text: The raw text, or the words with spaces between them where the source has no text.
        offsets: Start and end of each word in `text`, in characters.
        spans: First word, word after the last, and type of each entity, in order; none overlap.
        name: Where it comes from, for reports.
    """

    text: str
    offsets: tuple[Span, ...]
    spans: tuple[Place, ...]
    name: str

    @property
    def tokens(self) -> list[str]:
        """The words."""
        return [self.text[start:end] for start, end in self.offsets]


@dataclass
class Raw(sources.Raw[list[Sentence]]):
    """What a source gave; `shortened` counts the entities that are longer than a sentence may be."""

    shortened: int = 0


def is_known(path: Path) -> bool:
    """Whether the name of a file says that it is one of those that are read here."""
    return tag_columns.has_columns(path) or path.suffix.lower() in (*ROWS, *DOCUMENTS)


def no_text(text: Any) -> str | None:
    """Why this is no text in which names could stand, or none; an empty one is a text."""
    return None if isinstance(text, str) and not text.strip() else fault(text)


def read_file(path: Path, config: TagsDataConfig, raw: Raw) -> list[Sentence]:
    """The sentences of a file; what is broken is noted in `raw`.

    Raises:
        UserError: The file as a whole cannot be read.
    """
    suffix = path.suffix.lower()
    try:
        if tag_columns.has_columns(path):
            return list(_columns(path, config, raw))
        if suffix in ROWS:
            return list(rows_to_sentences(_json_lines(path, raw), config, raw))
        if suffix in DOCUMENTS:
            return list(_documents(path, config, raw))
    except OSError as error:
        raise UserError(f"data.source {path} cannot be read: {one_line(error)}") from None
    known = (*tag_columns.SUFFIXES, *ROWS, *DOCUMENTS)
    raise UserError(f"data.source {path}: a file must be one of {', '.join(known)}")


def _columns(path: Path, config: TagsDataConfig, raw: Raw) -> Iterator[Sentence]:
    """The sentences of a file in columns.

    A broken line makes its whole sentence a broken one: what is left of it would be another sentence.
    """
    lines = list(tag_columns.lines(path))
    columns = tag_columns.width(lines)
    if not columns:
        raise UserError(f"data.source {path} holds no line of text{' in UTF-8' if lines else ''}")
    if columns <= max(config.token_column, config.tag_column, -config.tag_column - 1) or columns < 2:
        raise UserError(
            f"data.source {path} has {columns} columns a line, but the words are in column {config.token_column} and "
            f"the tags in column {config.tag_column}"
        )
    numbered = tag_columns.word_numbers(lines)
    if numbered is not None and config.token_column == 0:
        raise UserError(
            f"data.source {path} has the numbers of the words in column 0 (CoNLL-U): say which column has the words, "
            "such as --data.token_column 1"
        )
    if numbered:
        what = "multiword ranges and empty nodes (CoNLL-U) are skipped: their words have lines of their own"
        raw.notes.append(f"{shown(path.name)}: {numbered} {what}")
    reading = TagReader()
    for begin, rows, broken in tag_columns.blocks(lines, columns, config.token_column, config.tag_column):
        name = f"{shown(path.name)}:{begin}"
        if broken:
            raw.skipped.append((name, broken))
            continue
        tokens, tags = ([row[column] for row in rows] for column in (config.token_column, config.tag_column))
        yield from _cut(_joined(tokens, reading(tags, name), name), config, raw)
    if (note := reading.note()) is not None:
        raw.notes.append(f"{shown(path.name)}: {note}")


def _joined(tokens: Sequence[str], spans: Sequence[Place], name: str) -> Sentence:
    text, offsets = joined(tokens)
    return Sentence(text, tuple(offsets), tuple(spans), name)


def _json_lines(path: Path, raw: Raw) -> Iterator[tuple[str, Any]]:
    for number, line in tag_columns.lines(path):
        name = f"{shown(path.name)}:{number}"
        if line is None:
            raw.skipped.append((name, "no UTF-8"))
        elif line.strip():
            try:
                yield name, json.loads(line)
            except (ValueError, RecursionError) as error:
                raw.skipped.append((name, f"no JSON: {one_line(error, 80)}"))


def rows_to_sentences(rows: Iterable[tuple[str, Any]], config: TagsDataConfig, raw: Raw) -> Iterator[Sentence]:
    """Rows with `text` and entities by their offsets, or with tokens and a tag for each."""
    reading = TagReader()
    empty = nested = 0
    everything = [(name, _as_object(row)) for name, row in rows]
    unit, note = units.find([(name, row["text"], places) for name, row in everything if (places := _offsets(row))])
    raw.notes += [note] if note is not None else []
    for name, row in everything:
        try:
            if not isinstance(row, dict):
                raise ValueError("expected an object with text and entities, or with tokens and tags")
            if isinstance(row.get("tokens"), (list, tuple)) and row["tokens"] and isinstance(row["tokens"][0], str):
                yield from _cut(_tagged(row, reading, name), config, raw)
                continue
            text = row.get("text")
            if not isinstance(text, str):
                raise ValueError("no text")
            if reason := no_text(text):
                raise ValueError(reason)
            found = _entities(row)
            if found is None:
                raise ValueError(f"no list of entities ({', '.join(_ENTITIES[:2])} ...)")
            ranked = sorted((_place(entity, text, unit) for entity in found), key=lambda p: (p[0] - p[1], p[0]))
        except ValueError as error:
            raw.skipped.append((name, str(error)))
            continue
        chosen: list[Place] = []  # in order
        for place in ranked:
            i = bisect(chosen, place)
            if (i == 0 or chosen[i - 1][1] <= place[0]) and (i == len(chosen) or chosen[i][0] >= place[1]):
                chosen.insert(i, place)
        nested += len(ranked) - len(chosen)
        offsets = words(text, {edge for place in chosen for edge in place[:2]})
        empty += not offsets
        yield from _documented(text, offsets, chosen, name, config, raw)
    if empty:
        raw.notes.append(f"{empty} texts are empty")
    if nested:
        raw.notes.append(f"{nested} entities that overlap longer ones are dropped: a word has one tag here")
    if reading.signs and (scheme := reading.note()) is not None:
        raw.notes.append(scheme)


def _as_object(row: Any) -> Any:
    """A row as an object: it may be a pair of text and entities (or {"entities": ...}, as in spaCy 2), or of tokens and
    tags."""
    if not isinstance(row, (list, tuple)) or len(row) != 2:
        return row
    first, second = row
    if isinstance(first, str) and isinstance(second, dict):
        return {**second, "text": first}
    return dict(zip(("text", "entities") if isinstance(first, str) else ("tokens", "tags"), row, strict=True))


def _entities(row: dict[str, Any]) -> Sequence[Any] | None:
    return next((row[key] for key in _ENTITIES if isinstance(row.get(key), (list, tuple))), None)


def _offsets(row: Any) -> list[Span]:
    """Start and end of each entity of a row that has a text, where they are numbers."""
    if not isinstance(row, dict) or not isinstance(row.get("text"), str) or isinstance(row.get("tokens"), list):
        return []
    entities = _entities(row) or ()
    found = [(e.get("start"), e.get("end")) if isinstance(e, dict) else e for e in entities]
    return [
        (entity[0], entity[1])
        for entity in found
        if isinstance(entity, (list, tuple)) and len(entity) >= 2 and all(type(x) is int for x in entity[:2])
    ]


def _tagged(row: dict[str, Any], reading: TagReader, name: str) -> Sentence:
    tokens = ["" if token is None else str(token) for token in row["tokens"]]
    tags = next((row[key] for key in TAGS if isinstance(row.get(key), (list, tuple))), None)
    if tags is None or len(tags) != len(tokens):
        raise ValueError(f"{len(tokens)} tokens, but {'no' if tags is None else len(tags)} tags")
    wrong = [tag for tag in tags if not isinstance(tag, str) or not TAG.fullmatch(tag)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no tag (O, B-TYPE, I-TYPE ...)")
    if reason := no_text(" ".join(tokens)) or no_text(" ".join(tags)):
        raise ValueError(reason)
    if not all(token.strip() for token in tokens):
        raise ValueError("an empty token")
    return _joined(tokens, reading(tags, name), name)


def _place(entity: Any, text: str, unit: str) -> Place:
    """Start and end in characters and type of an entity, without spaces at its ends."""
    if isinstance(entity, dict):
        kind = next((entity[key] for key in ("label", "type", "entity", "tag") if key in entity), None)
        entity = (entity.get("start"), entity.get("end"), kind)
    if not isinstance(entity, (list, tuple)) or len(entity) != 3:
        raise ValueError(f"entity {entity!r} is not (start, end, type)")
    start, end, kind = entity
    if isinstance(kind, (list, tuple)) and len(kind) == 1:
        kind = kind[0]
    numbers = all(isinstance(x, int) and not isinstance(x, bool) for x in (start, end))
    if not numbers or not isinstance(kind, str) or not kind:
        raise ValueError(f"entity {entity!r} is not (start, end, type)")
    if reason := no_text(kind):
        raise ValueError(f"entity {start}..{end}: its type is {reason}")
    if unit != "characters":
        place = positions(text, unit)
        if start not in place or end not in place:
            raise ValueError(f"entity {start}..{end} begins or ends inside a character or outside of the text")
        start, end = place[start], place[end]
    if not 0 <= start < end <= len(text):
        raise ValueError(f"entity {start}..{end} lies outside of the text, which has {len(text)} characters")
    inner = text[start:end]
    if not inner.strip():
        raise ValueError(f"entity {start}..{end} holds nothing but space")
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip()), kind


def _documented(
    text: str, offsets: Sequence[Span], places: Sequence[Place], name: str, config: TagsDataConfig, raw: Raw
) -> Iterator[Sentence]:
    """The sentences of a text, with entities given in characters, in order, whose ends are ends of words."""
    begins = {start: i for i, (start, _) in enumerate(offsets)}
    ends = {end: i + 1 for i, (_, end) in enumerate(offsets)}
    spans = tuple((begins[start], ends[end], kind) for start, end, kind in places)
    inside = {i for begin, end, _ in spans for i in range(begin + 1, end)}
    if not offsets:
        return
    starts = [r.start for r in sentences(text, offsets) if r.start not in inside]
    for begin, end in zip(starts, [*starts[1:], len(offsets)], strict=True):
        own = tuple((b - begin, e - begin, kind) for b, e, kind in _within(spans, begin, end))
        yield from _cut(Sentence(text, tuple(offsets[begin:end]), own, name), config, raw)


def _within(spans: Sequence[Place], begin: int, end: int) -> Sequence[Place]:
    """Those that begin at a word from `begin` to `end`."""
    first, last = (bisect_left(spans, edge, key=lambda place: place[0]) for edge in (begin, end))
    return spans[first:last]


def _cut(sentence: Sentence, config: TagsDataConfig, raw: Raw) -> Iterator[Sentence]:
    """Pieces of at most `max_tokens` words, each with its own text."""
    for begin, end in pieces(len(sentence.offsets), config.max_tokens, sentence.spans):
        offsets = sentence.offsets[begin:end]
        if not offsets:
            continue
        first, last = offsets[0][0], offsets[-1][1]
        own = _within(sentence.spans, begin, end)
        raw.shortened += sum(e > end for _, e, _ in own)
        yield Sentence(
            sentence.text[first:last],
            tuple((start - first, stop - first) for start, stop in offsets),
            tuple((b - begin, min(e, end) - begin, kind) for b, e, kind in own),
            sentence.name,
        )


def _documents(path: Path, config: TagsDataConfig, raw: Raw) -> Iterator[Sentence]:
    """A DocBin of spaCy, with spaCy's own words."""
    try:
        import spacy
        from spacy.tokens import DocBin
    except ImportError:
        raise UserError(f"data.source {path} needs spaCy: pip install 'keras-task-pipelines[spacy]'") from None
    try:
        docs = list(DocBin().from_disk(path).get_docs(spacy.blank("xx").vocab))
    except Exception as error:
        raise UserError(f"data.source {path} cannot be read as a DocBin of spaCy: {one_line(error, 160)}") from None
    for number, doc in enumerate(docs):
        name = f"{shown(path.name)}[{number}]"
        kept = [token for token in doc if not token.is_space]
        offsets = [(token.idx, token.idx + len(token)) for token in kept]
        begins, ends = {start for start, _ in offsets}, {end for _, end in offsets}
        places = [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]
        wrong = [place for place in places if place[0] not in begins or place[1] not in ends]
        if wrong:
            raw.skipped.append((name, f"entity {wrong[0]} begins or ends with a space"))
            continue
        yield from _documented(doc.text, offsets, places, name, config, raw)
