"""Text to numbers: learned subwords, words, and the tokenizers of pretrained models, all with character offsets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tokenizers import Tokenizer

PAD, UNKNOWN = "[PAD]", "[UNK]"
UNMATCHED = "\0"  # begins the names of subwords that stand in no text
WORD = r"\w+(?:['’]\w+)*|[^\w\s]"


@dataclass(frozen=True)
class Encoded:
    """One text: ids, and for each where it stands in the raw text, as (start, end) in characters."""

    ids: list[int]
    offsets: list[tuple[int, int]]


class Vocabulary:
    """A tokenizer of the `tokenizers` library with what a model must know about it.

    Args:
        tokenizer: It; padding and truncation are switched off, since windows are cut elsewhere.
        pad: Number of the padding token.
    """

    def __init__(self, tokenizer: Tokenizer, pad: int = 0) -> None:
        tokenizer.no_padding()
        tokenizer.no_truncation()
        self._tokenizer = tokenizer
        self.pad = pad
        with_specials = tokenizer.encode("a")
        special = with_specials.special_tokens_mask
        first = special.index(0) if 0 in special else len(special)
        self.prefix = with_specials.ids[:first]
        self.suffix = [i for i, s in zip(with_specials.ids[first:], special[first:], strict=True) if s]

    def __len__(self) -> int:
        return max(self._tokenizer.get_vocab().values()) + 1

    def tokens(self) -> list[str]:
        """The tokens by number; numbers that are not used are empty."""
        names = [""] * len(self)
        for token, number in self._tokenizer.get_vocab().items():
            names[number] = token
        return names

    def encode(self, texts: Sequence[str]) -> list[Encoded]:
        """The tokens of each text, without the special ones that stand around a window."""
        encodings = self._tokenizer.encode_batch(list(texts), add_special_tokens=False)
        return [Encoded(encoding.ids, encoding.offsets) for encoding in encodings]

    def to_json(self) -> dict[str, Any]:
        return {"tokenizer": self._tokenizer.to_str(), "pad": self.pad}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Vocabulary:
        from tokenizers import Tokenizer

        return cls(Tokenizer.from_str(value["tokenizer"]), value["pad"])


def learn_subwords(texts: Iterable[str], size: int, *, lowercase: bool) -> Vocabulary:
    """Byte-pair encoding over bytes: every text of every script has its tokens, none is unknown.

    Args:
        texts: The training texts.
        size: Tokens at most, 300 or more.
        lowercase: Take upper and lower case as one.

    Reference:
        Sennrich et al., "Neural Machine Translation of Rare Words with Subword Units", ACL 2016; over bytes: Radford
        et al., "Language Models are Unsupervised Multitask Learners", 2019.
    """
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = _normalizer(lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    trainer = trainers.BpeTrainer(
        vocab_size=size, min_frequency=2, special_tokens=[PAD], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(texts, trainer)
    return Vocabulary(tokenizer)


def count_words(texts: Sequence[str], *, lowercase: bool) -> Counter[str]:
    """How often each word stands in the texts; punctuation marks are words of their own."""
    from tokenizers import Tokenizer, models

    splitter = _word_tokenizer(Tokenizer(models.WordLevel({UNKNOWN: 0}, UNKNOWN)), lowercase)
    counts: Counter[str] = Counter()
    for text in texts:
        normalized = splitter.normalizer.normalize_str(text)
        counts.update(word for word, _ in splitter.pre_tokenizer.pre_tokenize_str(normalized))
    return counts


def word_vocabulary(words: Iterable[str], *, lowercase: bool) -> Vocabulary:
    """Whole words; all others are one unknown token. Padding is 0, the unknown 1; the words follow in their order."""
    from tokenizers import Tokenizer, models

    numbers = {PAD: 0, UNKNOWN: 1}
    for word in words:
        numbers.setdefault(word, len(numbers))
    return Vocabulary(_word_tokenizer(Tokenizer(models.WordLevel(numbers, UNKNOWN)), lowercase))


def wordpieces(tokens: Sequence[str], *, lowercase: bool, strip_accents: bool | None = None) -> Vocabulary:
    """The tokenizer of BERT from its vocabulary, `[PAD]`, `[UNK]`, `[CLS]` and `[SEP]` among it.

    Raises:
        ValueError: One of these is missing.
    """
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    numbers = {token: number for number, token in enumerate(tokens)}
    missing = [token for token in (PAD, UNKNOWN, "[CLS]", "[SEP]") if token not in numbers]
    if missing:
        raise ValueError(f"the vocabulary has no {missing[0]}")
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token=UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase, strip_accents=strip_accents)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"]))
    return Vocabulary(tokenizer, numbers[PAD])


def sentence_pieces(
    proto: bytes,
    numbers: Sequence[int],
    *,
    start: int,
    end: int,
    pad: int,
    lowercase: bool = False,
    accents: bool = True,
) -> Vocabulary:
    """The tokenizer of ALBERT, DeBERTa-v3 or XLM-RoBERTa from its SentencePiece model.

    Control pieces such as `[CLS]` are not found in a text that spells them, and pieces that the user of SentencePiece
    defined are taken before all others, as in the original.

    Args:
        proto: The model, as SentencePiece writes it.
        numbers: The number of each of its pieces in the encoder.
        start: Number of the token before a text.
        end: Number of the token after a text.
        pad: Number of the padding.
        lowercase: Turn texts into lower case before.
        accents: Keep accents, or strip them before.

    Raises:
        ValueError: The model is damaged, not of the kind `unigram`, or puts blanks behind words.

    Reference:
        Kudo, "Subword Regularization", ACL 2018 (the unigram model); Kudo & Richardson, "SentencePiece", EMNLP 2018.
    """
    from google.protobuf.message import DecodeError
    from sentencepiece import sentencepiece_model_pb2
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors

    model = sentencepiece_model_pb2.ModelProto()  # type: ignore[attr-defined]
    try:
        model.ParseFromString(proto)
    except DecodeError as error:
        raise ValueError(f"no model of SentencePiece: {error}") from None
    if model.trainer_spec.model_type != model.trainer_spec.UNIGRAM:
        kind = model.trainer_spec.ModelType.Name(model.trainer_spec.model_type)
        raise ValueError(f"a SentencePiece model of the kind {kind.lower()}, not unigram")
    if model.trainer_spec.treat_whitespace_as_suffix:
        raise ValueError("a SentencePiece model with blanks behind words")
    entries, unknown = _unigrams(model.pieces, numbers)
    tokenizer = Tokenizer(models.Unigram(entries, unknown, model.trainer_spec.byte_fallback))
    spec = model.normalizer_spec
    steps: list[Any] = [] if accents else [normalizers.NFKD(), normalizers.StripAccents()]
    if lowercase:
        steps.append(normalizers.Lowercase())
    if spec.precompiled_charsmap:
        steps.append(normalizers.Precompiled(spec.precompiled_charsmap))
    if spec.remove_extra_whitespaces:
        steps += [normalizers.Replace(Regex(" {2,}"), " "), normalizers.Replace(Regex("^ | $"), "")]
    if spec.add_dummy_prefix:
        steps.append(normalizers.Prepend(" "))
    tokenizer.normalizer = normalizers.Sequence(steps)
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace("▁", prepend_scheme="never")
    tokenizer.post_processor = processors.BertProcessing(("end", end), ("start", start))
    return Vocabulary(tokenizer, pad)


def _unigrams(pieces: Sequence[Any], numbers: Sequence[int]) -> tuple[list[tuple[str, float]], int]:
    """Name and score of each number, and the number that is the unknown."""
    from sentencepiece import sentencepiece_model_pb2

    kinds: Any = sentencepiece_model_pb2.ModelProto.SentencePiece  # type: ignore[attr-defined]
    scores = [piece.score for piece in pieces if piece.type == kinds.NORMAL]
    highest, lowest = max(scores, default=0.0), min(scores, default=0.0)
    entries = [(f"{UNMATCHED}{number}", lowest) for number in range(max(numbers) + 1)]
    unknown = 0
    for number, piece in zip(numbers, pieces, strict=True):
        if piece.type == kinds.UNKNOWN:
            unknown = number
        elif piece.type == kinds.USER_DEFINED:
            entries[number] = (piece.piece, len(piece.piece) * highest - 0.1)  # as unigram_model.cc scores it
        elif piece.type in (kinds.NORMAL, kinds.BYTE):
            entries[number] = (piece.piece, piece.score)
    return entries, unknown


def _word_tokenizer(tokenizer: Tokenizer, lowercase: bool) -> Tokenizer:
    from tokenizers import Regex, pre_tokenizers

    tokenizer.normalizer = _normalizer(lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(WORD), "removed", invert=True)
    return tokenizer


def _normalizer(lowercase: bool) -> Any:
    from tokenizers import normalizers

    return normalizers.Sequence([normalizers.NFC(), *([normalizers.Lowercase()] if lowercase else [])])
