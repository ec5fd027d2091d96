"""Gettext catalogs (.po): read, and written back with everything but the translations byte for byte as it was."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", '"': '"', "\\": "\\", "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_WRITTEN = {value: key for key, value in _ESCAPES.items()}
_KEYWORD = re.compile(r'\s*(msgctxt|msgid_plural|msgid|msgstr(?:\[(\d+)\])?)\s*(".*")\s*$')
_STRING = re.compile(r'\s*(".*")\s*$')
_CHARSET = re.compile(rb"charset=([\w.:-]+)")


@dataclass
class Entry:
    """A message.

    Args:
        line: Where it begins, from 1.
        context: What tells equal messages apart, or none.
        text: The message.
        plural: Its plural, or none.
        translations: By their number; 0 where there is no plural.
        places: First and last line (exclusive, from 0) of each translation.
        fuzzy: Whether it is marked as in need of work.
        obsolete: Whether it is commented out.
    """

    line: int
    context: str | None = None
    text: str | None = None
    plural: str | None = None
    translations: dict[int, str] = field(default_factory=dict)
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    fuzzy: bool = False
    obsolete: bool = False

    @property
    def missing(self) -> bool:
        """Whether it wants a translation: it is a message, and not every form of it has one."""
        wanted = bool(self.text) and not self.obsolete and bool(self.places)
        return wanted and (self.fuzzy or not all(self.translations.values()))

    def pairs(self) -> Iterator[tuple[str, str]]:
        """Text and translation; of plurals the first and the last form."""
        if not self.text:  # the header
            return
        if self.translations.get(0):
            yield self.text, self.translations[0]
        last = max(self.translations, default=0)
        if self.plural and last and self.translations[last]:
            yield self.plural, self.translations[last]


class Catalog:
    """A file of messages.

    Args:
        lines: Its lines with their ends.
        encoding: What its header says.
    """

    def __init__(self, lines: Sequence[str], encoding: str = "utf-8", mark: bool = False) -> None:
        self.lines = list(lines)
        self.encoding = encoding
        self.mark = mark
        self.entries = list(_entries(self.lines))

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Catalog:
        """Reads a file.

        Raises:
            ValueError: It is no catalog, or not in the encoding that it names.
            OSError: It cannot be read.
        """
        content = Path(path).read_bytes()
        found = _CHARSET.search(content[:10_000])
        encoding = found[1].decode("ascii") if found and found[1].upper() != b"CHARSET" else "utf-8"
        mark = content.startswith(b"\xef\xbb\xbf")
        try:
            text = content[3 if mark else 0 :].decode(encoding)
        except (UnicodeDecodeError, LookupError) as error:
            raise ValueError(f"not {encoding}: {error}") from None
        return cls(re.findall(r"[^\n]*\n|[^\n]+\Z", text), encoding, mark)

    def written(self, translations: Mapping[tuple[int, int], str], doubtful: Collection[int] = ()) -> str:
        """The file's text with other translations; all other lines stay as they are.

        A mark `fuzzy` goes where all forms of its entry are new, and comes where the new translation is doubtful:
        gettext does not use it then.

        Args:
            translations: By the entry's place in `entries` and the number of the form.
            doubtful: Places of entries.
        """
        changed = dict(enumerate(self.lines))
        for number, entry in enumerate(self.entries):
            new = {form: translations[number, form] for form in entry.places if (number, form) in translations}
            for form, text in new.items():
                first, last = entry.places[form]
                keyword = "msgstr" if entry.plural is None else f"msgstr[{form}]"
                end = "\r\n" if self.lines[first].endswith("\r\n") else "\n"
                changed[first] = _quoted(keyword, text, end)
                for line in range(first + 1, last):
                    changed[line] = ""
            head = range(entry.line - 1, min((first for first, _ in entry.places.values()), default=0))
            if number in doubtful and new and not entry.fuzzy:
                first = next(line for line in head if not self.lines[line].startswith("#"))
                end = "\r\n" if self.lines[first].endswith("\r\n") else "\n"
                changed[first] = f"#, fuzzy{end}{changed[first]}"
            elif entry.fuzzy and new and len(new) == len(entry.places) and number not in doubtful:
                for line in head:
                    changed[line] = _without_fuzzy(changed[line])
        return ("\ufeff" if self.mark else "") + "".join(changed[line] for line in range(len(self.lines)))


def _entries(lines: Sequence[str]) -> Iterator[Entry]:
    entry: Entry | None = None
    part: tuple[str, int] | None = None  # what a following line of text belongs to
    for number, line in enumerate(lines):
        text = line.rstrip("\r\n")
        comment = text.lstrip().startswith("#")
        obsolete = text.lstrip().startswith("#~")
        content = text.lstrip()[2:] if obsolete else text
        if obsolete and content.lstrip().startswith("|"):
            continue
        if not text.strip() or (comment and not obsolete):
            if entry is not None and entry.places:
                yield entry
                entry = None
            part = None
            if comment and entry is None:
                entry = Entry(number + 1)
            if entry is not None and text.startswith("#,") and "fuzzy" in re.split(r"[,\s]+", text[2:]):
                entry.fuzzy = True
            continue
        if found := _KEYWORD.match(content):
            keyword, form, value = found[1], int(found[2] or 0), _unquoted(found[3], number)
            begins = keyword == "msgctxt" or (keyword == "msgid" and (entry is None or entry.text is not None))
            if begins and entry is not None and entry.text is not None:
                yield entry
                entry = None
            if entry is None:
                entry = Entry(number + 1)
            entry.obsolete = entry.obsolete or obsolete
            if keyword == "msgctxt":
                entry.context = value
            elif keyword == "msgid":
                entry.text = value
            elif keyword == "msgid_plural":
                entry.plural = value
            else:
                if entry.text is None:
                    raise ValueError(f"line {number + 1}: msgstr without a msgid")
                entry.translations[form], entry.places[form] = value, (number, number + 1)
                keyword = "msgstr"
            part = (keyword, form)
        elif (found := _STRING.match(content)) and entry is not None and part is not None:
            value = _unquoted(found[1], number)
            keyword, form = part
            if keyword == "msgctxt":
                entry.context = (entry.context or "") + value
            elif keyword == "msgid":
                entry.text = (entry.text or "") + value
            elif keyword == "msgid_plural":
                entry.plural = (entry.plural or "") + value
            else:
                entry.translations[form] += value
                entry.places[form] = (entry.places[form][0], number + 1)
        else:
            raise ValueError(f"line {number + 1}: expected msgid, msgstr, a text in quotation marks or a comment")
    if entry is not None and entry.text is not None:
        yield entry


def _unquoted(text: str, line: int) -> str:
    inner = text[1:-1]
    if re.search(r'(?<!\\)(?:\\\\)*"', inner):
        raise ValueError(f"line {line + 1}: a quotation mark within a text")
    if re.search(r"(?<!\\)(?:\\\\)*\\$", inner):
        raise ValueError(f"line {line + 1}: a text that does not end")

    def escape(found: re.Match[str]) -> str:
        if found[1] in _ESCAPES:
            return _ESCAPES[found[1]]
        return chr(int(found[1][1:], 16)) if found[1][0] == "x" else chr(int(found[1], 8))

    return re.sub(r'\\(x[0-9a-fA-F]{2}|[0-7]{1,3}|[ntr"\\abfv])', escape, inner)


def _quoted(keyword: str, text: str, end: str) -> str:
    """Lines of a keyword and a text; a text of several lines has a line for each of them."""
    escaped = [
        "".join(f"\\{_WRITTEN[c]}" if c in _WRITTEN else c for c in part)
        for part in re.findall(r"[^\n]*\n|[^\n]+", text)
    ]
    if len(escaped) <= 1:
        return f'{keyword} "{"".join(escaped)}"{end}'
    return "".join(line + end for line in (f'{keyword} ""', *(f'"{part}"' for part in escaped)))


def _without_fuzzy(line: str) -> str:
    if not line.startswith("#,"):
        return line
    flags = [flag.strip() for flag in line[2:].strip().split(",")]
    rest = [flag for flag in flags if flag != "fuzzy"]
    if len(rest) == len(flags):
        return line
    end = line[len(line.rstrip("\r\n")) :]
    return f"#, {', '.join(rest)}{end}" if rest else ""
