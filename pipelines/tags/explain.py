"""Which words spoke for an entity? Integrated gradients over all embeddings of a tagger, on every backend."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from pipelines.engine.explain import path_gradients
from pipelines.engine.report import Mark, Marked
from pipelines.tags.load import Encoder, SubwordEncoder, Tags
from pipelines.tags.models import Bag
from pipelines.tags.predict import tag
from pipelines.texts import backbones
from pipelines.texts.explain import split_backbone
from pipelines.texts.report import coloured

if TYPE_CHECKING:
    from pipelines.tags.files import Place, Sentence

Parts = tuple[Callable[[Any], Any], Callable[[Any, Any], Any], int]
STEPS, BATCH = 32, 64


def word_attributions(
    model: keras.Model,
    encoder: Encoder,
    tokens: Sequence[str],
    goals: np.ndarray,
    *,
    steps: int = STEPS,
    parts: Parts | None = None,
) -> np.ndarray:
    """How much each word of a sentence adds to sums of tag scores, compared with padding in its place.

    All that a word is to the network is taken together: its vector, its bytes, its hand features, its subwords. The sum
    over the words is the difference of the scores between the sentence and one in which no word says anything, up to
    the error of the midpoint rule. (Scores are those that the network gives a word before the `CRF`.)

    Args:
        model: A tagger of ours, or a user's with layers `Embedding`.
        encoder: What made its input.
        tokens: T words.
        goals: (N, T, K) what each score of each word counts in each of the N sums.
        steps: Points on the way from the padding.
        parts: What `split` gave, where it is called many times.

    Returns:
        float64 (N, T).

    Raises:
        ValueError: The model has no embeddings that can be reached.
    """
    embed, answer, own = parts or split(model)
    rows = encoder(tokens)
    plain, places = rows.copy(), np.arange(len(tokens))
    plain[:] = encoder.padding
    if isinstance(encoder, SubwordEncoder):
        before, after = len(encoder.vocabulary.prefix), len(rows) - len(encoder.vocabulary.suffix)
        plain[:before, -2], plain[after:, -2] = rows[:before, -2], rows[after:, -2]
        places = np.append(rows[: len(tokens), -1], after)
    given = ops.convert_to_tensor(np.repeat(rows[None], len(goals), axis=0))
    vectors = np.repeat(ops.convert_to_numpy(embed(ops.convert_to_tensor(rows[None]))), len(goals), axis=0)
    baseline = np.repeat(ops.convert_to_numpy(embed(ops.convert_to_tensor(plain[None]))), len(goals), axis=0)
    weights = ops.convert_to_tensor(np.asarray(goals, np.float32))

    def score(x: Any) -> Any:
        return ops.sum(answer(x, given)[:, : len(tokens)] * weights)

    found = path_gradients(score, vectors, baseline, steps)
    values = found[:, : len(tokens), :own].sum(-1)
    if own < found.shape[-1]:
        values += np.add.reduceat(found[..., own:].sum(-1), places, axis=1)[:, :-1]
    return values


def split(model: keras.Model) -> Parts:
    """A tagger in two: from its input (B, S, width) to all embeddings (B, S, D), and from both to scores (B, S, K).

    Returns:
        The two, and how many of the D numbers are those of a word; the rest are those of the subword in its place.

    Raises:
        ValueError: It has no embeddings, or they are not one for each word.
    """
    own = model.layers[1] if isinstance(model.layers[1], keras.Model) and len(model.layers) == 3 else model
    pretrained = backbones.NAME in {layer.name for layer in own.layers}
    try:
        rows, scores = own.inputs[0], own.outputs[0] if own is not model else model.get_layer("crf").input
        tables = [layer.output for layer in own.layers if isinstance(layer, (keras.layers.Embedding, Bag))]
    except (AttributeError, ValueError):
        raise ValueError("the model is not made of layers called once each, which explanations need") from None
    if not tables or any(table.shape[1] != rows.shape[1] or table.ndim < 3 for table in tables):
        raise ValueError("the model has no embeddings of each word, which explanations need")
    first = keras.Model(rows, tables)
    embed_rest, states_of, states = split_backbone(own) if pretrained else (None, None, None)
    last = keras.Model([*tables, *([states] if pretrained else []), rows], scores)
    shapes = [table.shape[2:] for table in tables]
    sizes = [int(np.prod(shape)) for shape in shapes]

    def embed(given: Any) -> Any:
        found = first(given, training=False)
        found = found if isinstance(found, (list, tuple)) else [found]
        flat = [ops.reshape(x, (*ops.shape(x)[:2], size)) for x, size in zip(found, sizes, strict=True)]
        if embed_rest is not None:
            flat.append(embed_rest(given[..., -2]))
        return ops.cast(ops.concatenate(flat, axis=-1), "float32")

    def answer(vectors: Any, given: Any) -> Any:
        *flat, rest = ops.split(vectors, np.cumsum(sizes).tolist(), axis=-1)
        found = [ops.reshape(x, (*ops.shape(x)[:2], *shape)) for x, shape in zip(flat, shapes, strict=True)]
        if states_of is not None:
            found.append(states_of(rest, given[..., -2]))
        return last([*found, given], training=False)

    return embed, answer, sum(sizes)


def explained(model: keras.Model, encoder: Encoder, tags: Tags, sentences: Iterable[Sentence], most: int) -> Marked:
    """Each entity that is found, with the words that speak for it: what they add to its tags' scores over those of O.

    A score alone would say little, because the same added to all tags of a word changes nothing.

    Args:
        model: A tagger.
        encoder: What makes its input.
        tags: Its tags.
        sentences: In which entities are looked for, one after the other.
        most: So many entities are drawn; no further sentences are read.

    Raises:
        ValueError: The model has no embeddings that can be reached.
    """
    parts = split(model)
    rows: list[tuple[str, Sequence[Mark]]] = []
    for sentence, found in _with_entities(model, encoder, tags, sentences):
        size, found = len(sentence.offsets), found[: most - len(rows)]
        numbers = np.array([tags.encode([place], size) for place, _ in found])
        goals = np.eye(len(tags.names), dtype=np.float32)[numbers]
        goals[..., 0] -= 1
        values = word_attributions(model, encoder, sentence.tokens, goals, parts=parts)
        for ((begin, end, kind), sure), of_words in zip(found, values, strict=True):
            words = [(*place, float(value)) for place, value in zip(sentence.offsets, of_words, strict=True)]
            name = sentence.text[sentence.offsets[begin][0] : sentence.offsets[end - 1][1]]
            marks = coloured(sentence.text, words, {sentence.offsets[end - 1][0]: kind})
            rows.append((f"{sentence.name}, {name} ({kind}, {sure:.2f}):", marks))
        if len(rows) == most:
            break
    caption = (
        "An entity a line, its type after its last word. Blue words speak for the entity, orange ones against it "
        "(integrated gradients of the scores of its tags over that of no entity)."
    )
    return Marked(rows, caption if rows else "No entity is found in these sentences.")


def _with_entities(
    model: keras.Model, encoder: Encoder, tags: Tags, sentences: Iterable[Sentence]
) -> Iterator[tuple[Sentence, list[tuple[Place, float]]]]:
    """The sentences in which entities are found, and these."""
    waiting = iter(sentences)
    while batch := list(islice(waiting, BATCH)):
        for sentence, found in zip(batch, tag(model, encoder, tags, [s.tokens for s in batch], BATCH), strict=True):
            if found:
                yield sentence, found
