"""Translation memories (TMX): read, and written back with new translations put in and all else as it was."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.parsers import expat
from xml.sax.saxutils import escape

_INLINE = {"bpt", "ept", "ph", "it", "ut", "sub", "hi"}


@dataclass
class Unit:
    """A text in some languages.

    Args:
        line: Where it begins, from 1.
        end: Where in the file's bytes its end tag begins.
        texts: By the code of the language, in lower case.
    """

    line: int
    end: int = 0
    texts: dict[str, str] = field(default_factory=dict)

    def text(self, language: str) -> str | None:
        """In this language, or in a variety of it (en for en-US, and the other way round)."""
        wanted = language.lower().replace("_", "-")
        if wanted in self.texts:
            return self.texts[wanted]
        base = wanted.split("-")[0]
        return next((text for code, text in self.texts.items() if code.split("-")[0] == base), None)


class Memory:
    """A file of units.

    Args:
        content: Its bytes.
    """

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.units: list[Unit] = []
        self._language: str | None = None
        self._segment: list[str] | None = None
        self._hidden = 0
        self.encoding = "utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8"
        self._root: str | None = None
        parser = expat.ParserCreate()
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters
        parser.EntityDeclHandler = self._entity
        parser.XmlDeclHandler = self._declaration
        self._parser = parser
        try:
            parser.Parse(content, True)
        except expat.ExpatError as error:
            raise ValueError(f"line {error.lineno}: {expat.ErrorString(error.code)}") from None
        finally:
            del self._parser
        if self._root != "tmx":
            raise ValueError(f"it is no TMX, but an XML file of {self._root}")

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Memory:
        """Reads a file.

        Raises:
            ValueError: It is no TMX.
            OSError: It cannot be read.
        """
        return cls(Path(path).read_bytes())

    def _entity(self, *_: Any) -> None:
        raise ValueError("it declares entities, which may grow without bound")

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        self.encoding = encoding or "utf-8"

    def _start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._root = self._root or name
        if name == "tu":
            self.units.append(Unit(self._parser.CurrentLineNumber))
        elif name == "tuv" and self.units:
            self._language = (attributes.get("xml:lang") or attributes.get("lang") or "").lower().replace("_", "-")
        elif name == "seg" and self._language is not None:
            self._segment = []
        elif name in _INLINE - {"hi", "sub"}:
            self._hidden += 1

    def _end(self, name: str) -> None:
        if name == "tu":
            self.units[-1].end = self._parser.CurrentByteIndex
        elif name == "seg" and self._segment is not None and self._language is not None:
            self.units[-1].texts.setdefault(self._language, "".join(self._segment))
            self._segment = None
        elif name == "tuv":
            self._language = None
        elif name in _INLINE - {"hi", "sub"}:
            self._hidden -= 1

    def _characters(self, text: str) -> None:
        if self._segment is not None and not self._hidden:
            self._segment.append(text)

    def written(self, translations: Mapping[int, str], language: str) -> bytes:
        """The file with one more language in the units of these numbers; all else byte for byte as it was."""
        out, last = [], 0
        for number, text in sorted(translations.items()):
            end = self.units[number].end
            added = f'<tuv xml:lang="{escape(language)}"><seg>{escape(text)}</seg></tuv>'
            out += [self.content[last:end], added.encode(self.encoding, "xmlcharrefreplace")]
            last = end
        return b"".join([*out, self.content[last:]])
