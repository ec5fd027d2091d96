"""What a list of names reaches on the same sentences: a report without it says little."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipelines.tags.scores import Place

if TYPE_CHECKING:
    from pipelines.tags.files import Sentence


@dataclass(frozen=True)
class Dictionary:
    """Finds the entities that stand in other sentences: of those that begin at a word the longest, from the left.

    Args:
        types: The one type of each entity, which is given by its words.

    Reference:
        Tjong Kim Sang & De Meulder, "Introduction to the CoNLL-2003 Shared Task", 2003, section 4.1.
    """

    types: dict[tuple[str, ...], str]

    @classmethod
    def learn(cls, sentences: Sequence[Sentence]) -> Dictionary:
        """The entities of some sentences, without those that stand there with several types."""
        types: dict[tuple[str, ...], set[str]] = {}
        for sentence in sentences:
            tokens = sentence.tokens
            for begin, end, kind in sentence.spans:
                types.setdefault(tuple(tokens[begin:end]), set()).add(kind)
        return cls({words: next(iter(kinds)) for words, kinds in types.items() if len(kinds) == 1})

    def __call__(self, sentences: Sequence[Sequence[str]]) -> list[list[Place]]:
        """Entities of sentences given as words."""
        lengths = sorted({len(words) for words in self.types}, reverse=True)
        return [self._find(tuple(tokens), lengths) for tokens in sentences]

    def _find(self, tokens: tuple[str, ...], lengths: Sequence[int]) -> list[Place]:
        found: list[Place] = []
        begin = 0
        while begin < len(tokens):
            candidates = (tokens[begin : begin + size] for size in lengths)
            words = next((words for words in candidates if words in self.types), ())
            if words:
                found.append((begin, begin + len(words), self.types[words]))
            begin += len(words) or 1
        return found
