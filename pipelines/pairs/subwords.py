"""Subwords of two languages together, learned by SentencePiece: byte-pair encoding, with bytes for what is rare."""

from __future__ import annotations

import base64
import io
import re
import zlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.pairs import pieces

LONGEST = 16384  # bytes of a text from which subwords are learned
MOST = 2_000_000  # texts from which subwords are learned


class Subwords:
    """A SentencePiece model.

    Args:
        proto: What SentencePiece wrote.
    """

    def __init__(self, proto: bytes) -> None:
        import sentencepiece

        self.proto = proto
        self._model = sentencepiece.SentencePieceProcessor(model_proto=proto)

    @classmethod
    def learn(cls, read: Callable[[], Iterable[str]], size: int) -> Subwords:
        """Learns at most `size` pieces, the 256 bytes and four pieces that are no text among them.

        Args:
            read: Gives the texts; called again where there are too few for so many pieces.
            size: Pieces.

        Raises:
            UserError: There is too little text, or SentencePiece fails.
        """
        import sentencepiece

        while True:
            model = io.BytesIO()
            try:
                sentencepiece.SentencePieceTrainer.train(
                    sentence_iterator=iter(read()), model_writer=model, vocab_size=size, model_type="bpe",
                    byte_fallback=True, character_coverage=0.9995, normalization_rule_name="identity",
                    remove_extra_whitespaces=False, split_digits=True, pad_id=pieces.PAD, unk_id=pieces.UNKNOWN,
                    bos_id=pieces.BEGIN, eos_id=pieces.END, max_sentence_length=LONGEST, num_threads=1,
                    input_sentence_size=MOST, shuffle_input_sentence=False, minloglevel=2,
                )  # fmt: skip
            except RuntimeError as error:
                fewer = re.search(r"(?:value|vocab_size) *<= *(\d+)", str(error))
                if fewer and 0 < int(fewer[1]) < size:
                    size = int(fewer[1])
                    continue
                raise UserError(f"no subwords can be learned from the training set: {one_line(error)}") from None
            return cls(model.getvalue())

    def __len__(self) -> int:
        return self._model.get_piece_size()

    def encode(self, texts: Sequence[str], side: int = 0) -> list[list[int]]:
        """Numbers of the pieces of each text; source and target (side 1) share them."""
        return self._model.encode(list(texts))

    def decode(self, ids: Sequence[int]) -> str:
        """The text of pieces; bytes that are no UTF-8 become question marks in a diamond."""
        return self._model.decode([int(i) for i in ids])

    def pieces(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """The pieces as they are shown, with a bar in the place of a space."""
        return [self._model.id_to_piece(int(i)) for i in ids]

    def to_json(self) -> dict[str, Any]:
        return {"kind": "sentencepiece", "model": base64.b64encode(zlib.compress(self.proto, 9)).decode()}


def from_json(value: dict[str, Any]) -> Any:
    """What `to_json` of subwords gave."""
    if value["kind"] == "marian":
        from pipelines.pairs.marian import MarianSubwords

        return MarianSubwords.from_json(value)
    return Subwords(zlib.decompress(base64.b64decode(value["model"])))
