"""Annotated sentences in files: in columns, in JSON lines and of spaCy."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.data import sources
from pipelines.data.tokenize import pieces, sentences, words
from pipelines.engine.files import one_line
from pipelines.errors import UserError

if TYPE_CHECKING:
    from pipelines.data.tags_config import TagsDataConfig

COLUMNS = (".conll", ".conll2002", ".conll2003", ".bio", ".iob", ".iob2", ".bioes", ".txt", ".tsv")
ROWS = (".jsonl", ".ndjson")
DOCUMENTS = (".spacy",)
SUFFIXES = (*COLUMNS, *ROWS, *DOCUMENTS)
_TAG = re.compile(r"O|[BIESLUM]-.+")
_ENTITIES = ("entities", "spans", "labels", "label", "annotations", "ents")
TAGS = ("tags", "ner_tags", "ner", "labels")

Place = tuple[int, int, str]


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
    offsets: tuple[tuple[int, int], ...]
    spans: tuple[Place, ...]
    name: str

    @property
    def tokens(self) -> list[str]:
        """The words."""
        return [self.text[start:end] for start, end in self.offsets]


Raw = sources.Raw[list[Sentence]]


def read_file(path: Path, config: TagsDataConfig, raw: Raw) -> list[Sentence]:
    """The sentences of a file; what is broken is noted in `raw`.

    Raises:
        UserError: The file as a whole cannot be read.
    """
    suffix = path.suffix.lower()
    if suffix in COLUMNS:
        return list(_columns(path, config, raw))
    if suffix in ROWS:
        return list(rows_to_sentences(_json_lines(path, raw), config, raw))
    if suffix in DOCUMENTS:
        return list(_documents(path, config, raw))
    raise UserError(f"data.source {path}: a file must be one of {', '.join(SUFFIXES)}")


def _lines(path: Path) -> Iterator[tuple[int, str | None]]:
    """Numbered lines without their ends; None for one that is no UTF-8."""
    try:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                try:
                    yield number, line.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
                except UnicodeDecodeError:
                    yield number, None
    except OSError as error:
        raise UserError(f"data.source {path} cannot be read: {one_line(error)}") from None


def _columns(path: Path, config: TagsDataConfig, raw: Raw) -> Iterator[Sentence]:
    """A word a line with its tag, an empty line between sentences (CoNLL).

    A broken line makes its whole sentence a broken one: what is left of it would be another sentence.
    """
    lines = list(_lines(path))
    number_of = Counter(len(_cells(line)) for _, line in lines if line and line.strip(" \t"))
    if not number_of:
        raise UserError(f"data.source {path} holds no line of text{' in UTF-8' if lines else ''}")
    columns = number_of.most_common(1)[0][0]
    if columns <= max(config.token_column, config.tag_column, -config.tag_column - 1) or columns < 2:
        raise UserError(
            f"data.source {path} has {columns} columns a line, but the words are in column {config.token_column} and "
            f"the tags in column {config.tag_column}"
        )
    reading = _Tags()
    tokens: list[str] = []
    tags: list[str] = []
    begin, broken = 1, ""
    for number, line in [*lines, (len(lines) + 1, "")]:
        cells = _cells(line) if line is not None else []
        if line is not None and (not line.strip(" \t") or cells[0] == "-DOCSTART-"):
            if broken:
                raw.skipped.append((f"{path.name}:{begin}", broken))
            elif tokens:
                yield from _cut(_joined(tokens, reading(tags, f"{path.name}:{begin}"), f"{path.name}:{begin}"), config)
            tokens, tags, broken, begin = [], [], "", number + 1
        elif line is None:
            broken = broken or f"line {number} is no UTF-8"
        elif line.startswith("# ") and not tokens and not (len(cells) == columns and _TAG.fullmatch(cells[-1])):
            begin = number + 1  # a comment of CoNLL-U
        elif len(cells) != columns:
            broken = broken or f"line {number} has {len(cells)} columns, the others {columns}"
        elif not cells[config.token_column].strip():
            broken = broken or f"line {number} has no word"
        elif not _TAG.fullmatch(cells[config.tag_column]):
            broken = broken or f"line {number} has {cells[config.tag_column]!r}, which is no tag (O, B-TYPE ...)"
        else:
            tokens.append(cells[config.token_column])
            tags.append(cells[config.tag_column])
    if (note := reading.note()) is not None:
        raw.notes.append(f"{path.name}: {note}")


def _cells(line: str | None) -> list[str]:
    """The columns of a line; other spaces than these two can be words."""
    if line is None:
        return []
    return line.split("\t") if "\t" in line else [cell for cell in line.split(" ") if cell]


class _Tags:
    """Tags to entities, in all schemes at once, and what scheme it was.

    Read as conlleval reads them: B and S begin an entity, I and E go on with one of their type or else begin one. IOB1,
    BIO, BIOES and BILOU all come out right, and mixtures lose nothing.
    """

    def __init__(self) -> None:
        self.signs: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.first: dict[str, str] = {}

    def __call__(self, tags: Sequence[str], name: str) -> list[Place]:
        spans: list[Place] = []
        sign_before, begin, kind = "O", 0, ""
        for i, tag in enumerate([*tags, "O"]):
            sign, _, of = tag.partition("-")
            sign = {"L": "E", "U": "S", "M": "I"}.get(sign, sign)
            self.signs[sign] += 1
            inside = sign_before in "BI"
            goes_on = sign in "IE" and inside and of == kind
            if inside and not goes_on:
                self._say("open", name)  # in BIOES, where E or S ends all
            if sign_before != "O" and not goes_on:
                spans.append((begin, i, kind))
            if sign != "O" and not goes_on:
                touches = sign_before != "O" and of == kind
                self._say("I" if sign in "IE" else "B touching" if touches and sign == "B" else sign, name)
                begin, kind = i, of
            sign_before = sign
        return spans

    def _say(self, what: str, name: str) -> None:
        self.counts[what] += 1
        self.first.setdefault(what, name)

    def note(self) -> str | None:
        """The scheme, and what breaks its rules."""
        if not sum(self.signs.values()) - self.signs["O"]:
            return "has no entity"
        ends = self.signs["E"] + self.signs["S"]
        late, early = self.counts["I"], self.counts["B"]
        if ends and self.counts["open"] <= ends:
            wrong, where = self.counts["open"] + late, self.first.get("I") or self.first.get("open")
            name = "BIOES"
        elif late > early:
            # IOB1 has B only between two entities of a type that touch.
            wrong, where, name = early, self.first.get("B"), "IOB1"
        else:
            wrong, where, name = late, self.first.get("I"), "BIO"
        if not wrong:
            return f"its tags are {name}"
        return (
            f"its tags are mostly {name}, but {wrong} entities break its rules, the first in {where}; B and S were "
            "read as beginnings, and so were I and E that follow nothing of their type"
        )


def _joined(tokens: Sequence[str], spans: Sequence[Place], name: str) -> Sentence:
    offsets, position = [], 0
    for token in tokens:
        offsets.append((position, position + len(token)))
        position += len(token) + 1
    return Sentence(" ".join(tokens), tuple(offsets), tuple(spans), name)


def _json_lines(path: Path, raw: Raw) -> Iterator[tuple[str, Any]]:
    for number, line in _lines(path):
        name = f"{path.name}:{number}"
        if line is None:
            raw.skipped.append((name, "no UTF-8"))
        elif line.strip():
            try:
                yield name, json.loads(line)
            except ValueError as error:
                raw.skipped.append((name, f"no JSON: {one_line(error, 80)}"))


def rows_to_sentences(rows: Iterable[tuple[str, Any]], config: TagsDataConfig, raw: Raw) -> Iterator[Sentence]:
    """Rows with `text` and entities in characters, or with words and a tag each."""
    reading = _Tags()
    empty = nested = 0
    for name, row in rows:
        try:
            if isinstance(row, (list, tuple)) and len(row) == 2:
                keys = ("text", "entities") if isinstance(row[0], str) else ("tokens", "tags")
                row = dict(zip(keys, row, strict=True))
            if not isinstance(row, dict):
                raise ValueError("expected an object with text and entities, or with tokens and tags")
            if isinstance(row.get("tokens"), (list, tuple)) and row["tokens"] and isinstance(row["tokens"][0], str):
                yield from _cut(_tagged(row, reading, name), config)
                continue
            text = row.get("text")
            if not isinstance(text, str):
                raise ValueError("no text")
            found = next((row[key] for key in _ENTITIES if isinstance(row.get(key), (list, tuple))), None)
            if found is None:
                raise ValueError(f"no list of entities ({', '.join(_ENTITIES[:2])} ...)")
            places = sorted((_place(entity, text) for entity in found), key=lambda p: (p[0] - p[1], p[0]))
        except ValueError as error:
            raw.skipped.append((name, str(error)))
            continue
        chosen: list[Place] = []
        for place in places:
            if all(place[1] <= other[0] or place[0] >= other[1] for other in chosen):
                chosen.append(place)
        nested += len(places) - len(chosen)
        offsets = words(text, {edge for place in chosen for edge in place[:2]})
        empty += not offsets
        yield from _documented(text, offsets, sorted(chosen), name, config)
    if empty:
        raw.notes.append(f"{empty} texts are empty")
    if nested:
        raw.notes.append(f"{nested} entities overlap longer ones and are left out: a word has one tag here")
    if reading.signs and (note := reading.note()) is not None:
        raw.notes.append(note)


def _tagged(row: dict[str, Any], reading: _Tags, name: str) -> Sentence:
    tokens = [str(token) for token in row["tokens"]]
    tags = next((row[key] for key in TAGS if isinstance(row.get(key), (list, tuple))), None)
    if tags is None or len(tags) != len(tokens):
        raise ValueError(f"{len(tokens)} tokens, but {'no' if tags is None else len(tags)} tags")
    wrong = [tag for tag in tags if not isinstance(tag, str) or not _TAG.fullmatch(tag)]
    if wrong:
        raise ValueError(f"{wrong[0]!r} is no tag (O, B-TYPE, I-TYPE ...)")
    if not all(token.strip() for token in tokens):
        raise ValueError("an empty token")
    return _joined(tokens, reading(tags, name), name)


def _place(entity: Any, text: str) -> Place:
    """Start, end and type of an entity, without spaces at its ends."""
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
    if not 0 <= start < end <= len(text):
        raise ValueError(f"entity {start}..{end} lies outside of the text, which has {len(text)} characters")
    inner = text[start:end]
    if not inner.strip():
        raise ValueError(f"entity {start}..{end} holds nothing but space")
    return start + len(inner) - len(inner.lstrip()), end - len(inner) + len(inner.rstrip()), kind


def _documented(
    text: str, offsets: Sequence[tuple[int, int]], places: Sequence[Place], name: str, config: TagsDataConfig
) -> Iterator[Sentence]:
    """The sentences of a text, with entities given in characters whose ends are ends of words."""
    begins = {start: i for i, (start, _) in enumerate(offsets)}
    ends = {end: i + 1 for i, (_, end) in enumerate(offsets)}
    spans = tuple((begins[start], ends[end], kind) for start, end, kind in places)
    inside = {i for begin, end, _ in spans for i in range(begin + 1, end)}
    if not offsets:
        return
    starts = [r.start for r in sentences(text, offsets) if r.start not in inside]
    for begin, end in zip(starts, [*starts[1:], len(offsets)], strict=True):
        own = tuple((b - begin, e - begin, kind) for b, e, kind in spans if begin <= b < end)
        yield from _cut(Sentence(text, tuple(offsets[begin:end]), own, name), config)


def _cut(sentence: Sentence, config: TagsDataConfig) -> Iterator[Sentence]:
    """Pieces of at most `max_tokens` words, each with its own text."""
    for begin, end in pieces(len(sentence.offsets), config.max_tokens, sentence.spans):
        offsets = sentence.offsets[begin:end]
        if not offsets:
            continue
        first, last = offsets[0][0], offsets[-1][1]
        yield Sentence(
            sentence.text[first:last],
            tuple((start - first, stop - first) for start, stop in offsets),
            tuple((b - begin, min(e, end) - begin, kind) for b, e, kind in sentence.spans if begin <= b < end),
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
        kept = [token for token in doc if not token.is_space]
        offsets = [(token.idx, token.idx + len(token)) for token in kept]
        begins, ends = {start for start, _ in offsets}, {end for _, end in offsets}
        places = [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]
        wrong = [place for place in places if place[0] not in begins or place[1] not in ends]
        if wrong:
            raw.skipped.append((f"{path.name}[{number}]", f"entity {wrong[0]} begins or ends with a space"))
            continue
        yield from _documented(doc.text, offsets, places, f"{path.name}[{number}]", config)
