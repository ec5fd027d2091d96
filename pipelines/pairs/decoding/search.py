"""Beam search: batched and compiled, with the decoder's keys and values kept; a beam of one is greedy.

The score of a hypothesis is its log-probability over a penalty of its length, ((5 + n) / 6) ** alpha for n pieces with
the end (Wu et al., "Google's Neural Machine Translation System", 2016, without the coverage). At each step the best 3
K of all continuations are ranked; an end among the best K of them finishes a hypothesis, the best K others live on. A
search ends when no living hypothesis can come to more than the worst of those that are wanted, or at the limit of its
source, where hypotheses have to end. So it always ends, and what is found for one source does not depend on its
neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import ops

from pipelines.pairs.models import Translator
from pipelines.pairs.pieces import BEGIN, END, PAD, UNKNOWN

NONE = -1e9  # score of what is no hypothesis
PERIODS = 4  # the longest repetition that the guard knows, in pieces


@dataclass(frozen=True)
class Search:
    """How to decode.

    Args:
        beam: Hypotheses K that are followed at once; 1 is greedy.
        alpha: Length penalty; 0 prefers short translations, more prefers longer ones.
        wanted: So many finished hypotheses are wanted, at most K.
        repetition: A hypothesis that repeats the same 1 to 4 pieces over so many places may not go on with it; 0 lets
            it.
        end: Piece that ends a translation.
        never: Pieces that none holds.
    """

    beam: int = 4
    alpha: float = 1.0
    wanted: int = 1
    repetition: int = 16
    end: int = END
    never: tuple[int, ...] = (PAD, UNKNOWN, BEGIN)

    def penalty(self, length: Any) -> Any:
        """What the log-probability of `length` pieces is divided by."""
        return ((5.0 + length) / 6.0) ** self.alpha


def searcher(
    model: Any, options: Search, length: int, *, cached: bool = True
) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, ...]]:
    """A compiled search; each shape of its input is compiled once.

    Args:
        model: A `Translator`, or without `cached` any model from (sources, targets) to logits.
        options: How to decode.
        length: Most pieces of a translation T, with its end.
        cached: Keep the decoder's keys and values; else everything is computed anew at each step.

    Returns:
        A function from sources int32 (B, S) and limits int32 (B,), the most pieces of each translation, to the
        finished hypotheses, best first: pieces int32 (B, K, T) ended by `end` and padded with 0, scores float32 (B, K),
        `NONE` where there is no hypothesis, and whether the guard against repetitions changed it, (B, K).
    """
    begin = getattr(model, "begin", BEGIN)

    def run(source: Any, limits: Any) -> Any:
        stepper = _cached(model, source, options.beam, length) if cached else _whole(model, source, options.beam, begin)
        return _search(*stepper, limits, options, length, begin)

    compiled = compile_for(model, run)

    def search(source: np.ndarray, limits: np.ndarray) -> tuple[np.ndarray, ...]:
        given = (ops.convert_to_tensor(source, "int32"), ops.convert_to_tensor(np.minimum(limits, length), "int32"))
        return tuple(ops.convert_to_numpy(x) for x in compiled(*given))

    return search


def compile_for(model: keras.Model, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function compiled for the backend; it may use the model's weights, which may change between calls."""
    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(function, autograph=False)
    if backend == "jax":
        import jax

        def stateless(values: Any, *arguments: Any) -> Any:
            with keras.StatelessScope(state_mapping=list(zip(model.variables, values, strict=True))):
                return function(*arguments)

        jitted = jax.jit(stateless)
        return lambda *arguments: jitted([variable.value for variable in model.variables], *arguments)
    import torch

    return torch.no_grad()(function)


def _cached(model: Translator, source: Any, beam: int, length: int) -> tuple[Any, list[Any], Any]:
    """How one more step is made, what it keeps at the start, and how what it keeps follows the hypotheses."""
    states, memory_mask = model.encode(source)
    memories = model.memories(states)
    rows, width = ops.shape(source)[0] * beam, model.width
    shape = (rows, model.heads, length, width // model.heads)
    start = [ops.zeros(shape, states.dtype) for _ in range(2 * len(memories))]
    places = ops.arange(length)

    def step(history: Any, last: Any, position: Any, kept: list[Any]) -> tuple[Any, list[Any]]:
        here = ops.equal(places, position)[None, None, :, None]
        before = ops.less_equal(places, position)[None, None, None, :]

        def keep(number: int, keys: Any, values: Any) -> tuple[Any, Any, Any]:
            return ops.where(here, keys, kept[2 * number]), ops.where(here, values, kept[2 * number + 1]), before

        logits, found = model.step(ops.reshape(last, (-1,)), position, keep, memories, memory_mask)
        return logits, [x for both in found for x in both]

    return step, start, lambda kept, rows: [ops.take(x, rows, axis=0) for x in kept]


def _whole(model: Any, source: Any, beam: int, begin: int) -> tuple[Any, list[Any], Any]:
    """The same without anything kept: the decoder, or a model of another kind, runs over all places at each step."""
    sources = ops.repeat(source, beam, axis=0)
    if isinstance(model, Translator):
        states, mask = model.encode(sources)
        memories = model.memories(states)

    def step(history: Any, last: Any, position: Any, kept: list[Any]) -> tuple[Any, list[Any]]:
        length = history.shape[2]
        written = ops.reshape(history, (-1, length))
        target = ops.concatenate([ops.full_like(written[:, :1], begin), written[:, :-1]], axis=1)
        if isinstance(model, Translator):
            logits, _ = model.decode(target, memories, mask)
        else:
            logits = model([sources, target], training=False)
        at = ops.equal(ops.arange(length), position)
        return ops.sum(ops.where(at[None, :, None], ops.cast(logits, "float32"), 0.0), axis=1), kept

    return step, [], lambda kept, rows: kept


def _search(step: Any, start: list[Any], reorder: Any, limits: Any, options: Search, length: int, begin: int) -> Any:
    beam, wide = options.beam, 3 * options.beam
    batch = ops.shape(limits)[0]
    zeros = ops.zeros((batch, beam), "int32")
    places = ops.arange(length)
    last_penalty = options.penalty(ops.cast(limits, "float32"))
    first_row = ops.arange(batch) * beam

    def pick(x: Any, chosen: Any) -> Any:
        """Of (B, K, ...) those of numbers (B, M)."""
        if len(x.shape) == 2:
            return ops.take_along_axis(x, chosen, axis=1)
        return ops.take_along_axis(x, chosen[..., None], axis=1)

    def is_open(position: Any, live: Any, scores: Any) -> Any:
        """Which searches go on, (B,)."""
        found = scores[:, options.wanted - 1]
        if beam == 1:
            unsettled = found <= NONE / 2
        else:
            unsettled = ops.logical_or(found <= NONE / 2, found < ops.max(live, axis=1) / last_penalty)
        return ops.logical_and(unsettled, ops.less(position, limits))

    def condition(position: Any, history: Any, last: Any, live: Any, runs: Any, guarded: Any, tokens: Any, scores: Any,
                  changed: Any, *kept: Any) -> Any:  # fmt: skip
        return ops.any(is_open(position, live, scores))

    def body(position: Any, history: Any, last: Any, live: Any, runs: Any, guarded: Any, tokens: Any, scores: Any,
             changed: Any, *kept: Any) -> Any:  # fmt: skip
        logits, kept = step(history, last, position, list(kept))
        size = logits.shape[-1]
        must_end = ops.equal(position + 1, limits)[:, None, None]
        never, others = np.zeros(size, "float32"), np.full(size, NONE, "float32")
        never[list(options.never)], others[options.end] = NONE, 0
        never, others = ops.convert_to_tensor(never), ops.convert_to_tensor(others)
        log_p = ops.reshape(ops.log_softmax(logits, axis=-1), (batch, beam, size)) + never
        log_p = log_p + ops.cast(must_end, "float32") * others
        total = ops.reshape(live[..., None] + log_p, (batch, beam * size))
        best, index = ops.top_k(total, min(wide, beam * size))
        origin, token = ops.cast(index // size, "int32"), ops.cast(index % size, "int32")
        going_on = is_open(position, live, scores)[:, None]

        barred = ops.zeros_like(token) > 0
        if options.repetition:
            back = [_at(history, places, position - period) for period in range(1, PERIODS + 1)]
            for number, period in enumerate(range(1, PERIODS + 1)):
                full = ops.greater_equal(runs[:, :, number], options.repetition - period)
                again = ops.logical_and(pick(full, origin), ops.equal(token, pick(back[number], origin)))
                barred = ops.logical_or(barred, again)
        best = ops.where(barred, NONE, best)
        rank = ops.cumsum(ops.cast(ops.logical_not(barred), "int32"), axis=1)
        ends = ops.equal(token, options.end)

        # What ends here competes with what has ended before.
        ended = ops.logical_and(ops.logical_and(ends, rank <= beam), ops.logical_and(best > NONE / 2, going_on))
        value = ops.where(ended, best / options.penalty(ops.cast(position + 1, "float32")), NONE)
        scores, place = ops.top_k(ops.concatenate([scores, value], axis=1), beam)
        here = ops.equal(places, position)[None, None]
        whole = ops.where(here, token[..., None], pick(history, origin))
        tokens = pick(ops.concatenate([tokens, whole], axis=1), place)
        altered = ops.logical_or(pick(guarded, origin), ops.any(barred, axis=1, keepdims=True))
        changed = pick(ops.concatenate([changed, altered], axis=1), place)

        live, chosen = ops.top_k(ops.where(ends, NONE, best), beam)
        origin, last = ops.take_along_axis(origin, chosen, axis=1), ops.take_along_axis(token, chosen, axis=1)
        if options.repetition:
            same = ops.stack([ops.equal(last, pick(x, origin)) for x in back], axis=-1)
            known = ops.greater_equal(position, ops.arange(1, PERIODS + 1))
            runs = ops.where(ops.logical_and(same, known), pick(runs, origin) + 1, 0)
        history = ops.where(here, last[..., None], pick(history, origin))
        guarded = ops.take_along_axis(altered, chosen, axis=1)
        kept = reorder(kept, ops.reshape(first_row[:, None] + origin, (-1,)))
        return (position + 1, history, last, live, runs, guarded, tokens, scores, changed, *kept)

    history = ops.zeros((batch, beam, length), "int32")
    live = ops.concatenate([ops.zeros((batch, 1)), ops.full((batch, beam - 1), NONE)], axis=1)
    none = zeros > 0
    state = (
        ops.convert_to_tensor(0, "int32"), history, zeros + begin, live, ops.zeros((batch, beam, PERIODS), "int32"),
        none, history, ops.full((batch, beam), NONE), none, *start,
    )  # fmt: skip
    final = ops.while_loop(condition, body, state, maximum_iterations=length)
    return final[6], final[7], final[8]


def _at(history: Any, places: Any, position: Any) -> Any:
    """The pieces (B, K) at one position of (B, K, T); 0 before the first."""
    return ops.sum(ops.where(ops.equal(places, position), history, 0), axis=-1)
