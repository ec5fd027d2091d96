"""Translates with exported files: needs numpy, onnxruntime and sentencepiece, and nothing else.

    python translate_onnx.py "A text." "Another one."
    python translate_onnx.py < texts.txt > translations.txt

Beside this file lie encoder.onnx, step.onnx, subwords.model and config.json. Each line is translated as one text.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Advance = Callable[[Sequence[int], Sequence[int]], np.ndarray]


def beam_search(advance: Advance, options: dict[str, Any], limit: int) -> list[tuple[float, list[int], bool]]:
    """The best hypotheses for one source: scores, pieces with the end, and whether a repetition was stopped.

    Args:
        advance: Takes the last pieces of the living hypotheses, and the number of the hypothesis in the last call that
            each of them goes on from; returns the logits of the next piece, (hypotheses, V).
        options: beam, alpha, wanted, repetition, begin, end and never, as config.json has them.
        limit: Most pieces of a hypothesis, with the end.
    """
    beam, end = options["beam"], options["end"]
    live: list[tuple[float, list[int], bool]] = [(0.0, [], False)]
    finished: list[tuple[float, list[int], bool]] = []
    last, origins = [options["begin"]], [0]

    def penalty(length: int) -> float:
        return ((5.0 + length) / 6.0) ** options["alpha"]

    for position in range(limit):
        logits = np.asarray(advance(last, origins), np.float64)
        top = logits.max(axis=1, keepdims=True)
        log_p = logits - top - np.log(np.exp(logits - top).sum(axis=1, keepdims=True))
        log_p[:, options["never"]] = -np.inf
        if position + 1 == limit:
            log_p[:, [token for token in range(log_p.shape[1]) if token != end]] = -np.inf
        total = np.array([[score] for score, _, _ in live]) + log_p
        order = np.argsort(-total.ravel(), kind="stable")[: 3 * beam]
        ranked = [(float(total.ravel()[i]), int(i) // total.shape[1], int(i) % total.shape[1]) for i in order]
        ranked = [candidate for candidate in ranked if candidate[0] > -np.inf]
        allowed = [c for c in ranked if not repeats([*live[c[1]][1], c[2]], options["repetition"])]
        stopped = len(allowed) < len(ranked)
        following = []
        for rank, (score, parent, token) in enumerate(allowed):
            pieces, changed = [*live[parent][1], token], live[parent][2] or stopped
            if token != end:
                following.append((score, pieces, changed, parent))
            elif rank < beam:
                finished.append((score / penalty(position + 1), pieces, changed))
        finished = sorted(finished, key=lambda found: -found[0])[:beam]
        following = following[:beam]
        if not following:
            break
        live = [(score, pieces, changed) for score, pieces, changed, _ in following]
        last, origins = [pieces[-1] for _, pieces, _, _ in following], [parent for _, _, _, parent in following]
        if beam == 1 and finished:
            break
        wanted = options["wanted"]
        if len(finished) >= wanted and finished[wanted - 1][0] >= live[0][0] / penalty(limit):
            break
    return finished


def repeats(pieces: Sequence[int], places: int) -> bool:
    """Whether the same 1 to 4 pieces fill more than so many places at the end; 0 places let them."""
    if not places:
        return False
    for period in range(1, 5):
        run = 0
        while run + period < len(pieces) and pieces[-1 - run] == pieces[-1 - run - period]:
            run += 1
        if run > places - period:
            return True
    return False


class OnnxTranslator:
    """Encoder and decoder step.

    Args:
        folder: Where the exported files lie.
    """

    def __init__(self, folder: Path) -> None:
        import onnxruntime
        import sentencepiece

        self.config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.subwords = sentencepiece.SentencePieceProcessor(model_file=str(folder / "subwords.model"))
        providers = ["CPUExecutionProvider"]
        self.encoder = onnxruntime.InferenceSession(str(folder / "encoder.onnx"), providers=providers)
        self.step = onnxruntime.InferenceSession(str(folder / "step.onnx"), providers=providers)

    def translate(self, text: str) -> str:
        """The best translation of a text of at most `max_length` pieces."""
        ids = [*self.subwords.encode(text)[: self.config["max_length"] - 1], self.config["end"]]
        source = np.array([ids], np.int32)
        memory = self.encoder.run(None, {self.encoder.get_inputs()[0].name: source})
        heads, size = memory[0].shape[1], memory[0].shape[3]
        kept = [np.zeros((1, heads, 0, size), np.float32) for _ in memory]
        names = [given.name for given in self.step.get_inputs()]
        position = 0

        def advance(last: Sequence[int], origins: Sequence[int]) -> np.ndarray:
            nonlocal kept, position
            before = [x[list(origins)] for x in kept]
            given = [np.array(last, np.int32), np.array([position], np.int32), source, *before, *memory]
            logits, *kept = self.step.run(None, dict(zip(names, given, strict=True)))
            position += 1
            return logits

        limit = int(self.config["max_ratio"] * len(ids) + self.config["more"])
        found = beam_search(advance, self.config, limit)
        return self.subwords.decode(found[0][1][:-1]) if found else ""


def main() -> None:
    """Translates the arguments, or the lines of standard input."""
    translator = OnnxTranslator(Path(__file__).parent)
    for text in sys.argv[1:] or (line.rstrip("\r\n") for line in sys.stdin):
        print(translator.translate(text) if text.strip() else "", flush=True)


if __name__ == "__main__":
    main()
