"""Pretrained text encoders: KerasHub presets, and Hugging Face folders that KerasHub can read.

Their tokenizers are rebuilt in the library `tokenizers`, since an explanation or the offsets of an entity must know
where each token stands in the text. Left out are FNet, which takes padding for text, and decoders.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from pipelines.core.errors import UserError
from pipelines.core.files import one_line, read_json
from pipelines.texts.vocabulary import Vocabulary, sentence_pieces, wordpieces

NAME = "backbone"
# KerasHub's encoders of one text that know padding from text; XLM-RoBERTa's is one of RoBERTa's.
FAMILIES = ("Albert", "Bert", "DebertaV3", "DistilBert", "Electra", "Roberta", "RoformerV2")
READ = (
    "encoders are read: presets of ALBERT, BERT, DeBERTa-v3, DistilBERT, ELECTRA, RoBERTa, RoFormer-v2 and "
    "XLM-RoBERTa, and Hugging Face folders of ALBERT, BERT, DistilBERT, RoBERTa and XLM-RoBERTa"
)
# Files of tokenizers that are read by KerasHub, where tokenizer.json and vocab.txt are missing.
OTHER_TOKENIZERS = ("vocab.json", "spiece.model", "sentencepiece.bpe.model")
ACTIVATIONS = {"gelu": False, "gelu_new": True, "gelu_fast": True, "gelu_pytorch_tanh": True}


@dataclass(frozen=True, eq=False)
class Backbone:
    """A text encoder and what it reads.

    Args:
        model: Functional, from token ids, int32 (B, L) padded with `vocabulary.pad`, to states (B, L, `width`).
        vocabulary: Its tokenizer.
        length: Most tokens of one input, the special ones included.
        width: Size of a state.
    """

    model: keras.Model
    vocabulary: Vocabulary
    length: int
    width: int


def load(source: str, *, weights: bool = True, dropout: float | None = None) -> Backbone:
    """Loads an encoder.

    In a Hugging Face folder, the activation and the epsilon of the norms are set to what its config.json says: KerasHub
    takes the approximate GELU for all BERT models, which moves the outputs by some thousandths. The parts of the model
    are put into a plain functional one, whose saved file keeps these settings (KerasHub's own classes forget them).

    Args:
        source: Name of a KerasHub preset, or a local folder in the format of KerasHub or Hugging Face.
        weights: Take the pretrained weights, or random ones.
        dropout: Rate inside the encoder; none takes the preset's.

    Raises:
        UserError: There is no such preset or folder, it is damaged, or of a kind that does not work here.
    """
    import keras_hub
    from keras import ops

    what = f"model.builder kerashub:{source}"
    folder = Path(source).expanduser()
    config = _hugging_face_config(folder)
    location = str(folder.resolve()) if folder.is_dir() else source
    options = {} if dropout is None else {"dropout": dropout}
    try:
        inner = keras_hub.models.Backbone.from_preset(location, load_weights=weights, **options)
    except Exception as error:
        raise UserError(
            f"{what} cannot be loaded ({one_line(error, 160)}): give the name of a preset and connect to the network "
            "once, or a local folder of KerasHub or Hugging Face with safetensors"
        ) from None
    found = [getattr(keras_hub.models, f"{family}Backbone", None) for family in FAMILIES]
    families: Any = tuple(family for family in found if family)
    if not isinstance(inner, families):
        raise UserError(f"{what} is a {type(inner).__name__}; {READ}")
    if config is not None:
        _follow(inner, config, what)
        if weights and config["model_type"] == "roberta":
            _add_token_types(inner, folder)
    vocabulary = (
        _hugging_face_vocabulary(folder, config, what) if config is not None else _preset_vocabulary(location, what)
    )
    output = inner.output["sequence_output"] if isinstance(inner.output, dict) else inner.output
    names = list(inner.input)
    plain = keras.Model([inner.input[name] for name in names], output)

    ids = keras.Input((None,), dtype="int32", name="tokens")
    mask = ops.cast(ops.not_equal(ids, vocabulary.pad), "int32")
    given = {"token_ids": ids, "padding_mask": mask, "segment_ids": ops.zeros_like(ids)}
    model = keras.Model(ids, plain([given[name] for name in names]), name=NAME)
    length = int(getattr(inner, "max_sequence_length", 512))
    if config is not None and config["model_type"] in ("roberta", "xlm-roberta"):
        length = min(length, int(config["max_position_embeddings"]) - 2)  # its positions begin at 2
    return Backbone(model, vocabulary, length, int(output.shape[-1]))


def _hugging_face_config(folder: Path) -> dict[str, Any] | None:
    if not (folder / "config.json").is_file():
        return None
    config = read_json(folder / "config.json", "config of the pretrained model")
    return config if isinstance(config, dict) and "model_type" in config else None


def _follow(model: keras.Model, config: dict[str, Any], what: str) -> None:
    """Sets activation and norms to what the configuration of the original says."""
    from keras import activations
    from keras_hub.layers import TransformerEncoder

    name = config.get("hidden_act", config.get("activation", "gelu"))
    if name not in ACTIVATIONS and name != "relu":
        raise UserError(f"{what}: its activation {name!r} is none of relu, {', '.join(ACTIVATIONS)}")
    if config.get("position_embedding_type", "absolute") != "absolute":
        raise UserError(f"{what}: its position embeddings are {config['position_embedding_type']}, not absolute")
    activation = activations.relu if name == "relu" else gelu_tanh if ACTIVATIONS[name] else activations.gelu
    epsilon = float(config.get("layer_norm_eps", 1e-12))
    for layer in model._flatten_layers():
        if isinstance(layer, TransformerEncoder):
            # The encoder saves its own two settings; its dense layer is what computes.
            layer.activation = activation
            layer._feedforward_intermediate_dense.activation = activation
            layer.layer_norm_epsilon = epsilon
        elif isinstance(layer, keras.layers.LayerNormalization):
            layer.epsilon = epsilon


def _add_token_types(model: keras.Model, folder: Path) -> None:
    """Adds the token type of all tokens to the positions: a RoBERTa that was trained further has one, which KerasHub
    leaves out (those of the authors are zeros)."""
    from safetensors import safe_open

    index = folder / "model.safetensors.index.json"
    files = set(read_json(index, "index of the weights")["weight_map"].values()) if index.is_file() else ()
    found: dict[str, Any] = {}
    for name in files or ("model.safetensors",):
        with safe_open(folder / name, "numpy") as file:
            for key in file.keys():  # noqa: SIM118 (it is no dictionary)
                for kind in ("position", "token_type"):
                    if key.endswith(f"embeddings.{kind}_embeddings.weight"):
                        found[kind] = file.get_tensor(key)
    if len(found) == 2:
        table = found["position"][2:] + found["token_type"][0]  # its positions begin at 2
        model.embeddings.position_embedding.position_embeddings.assign(table)


@keras.saving.register_keras_serializable(package="pipelines")
def gelu_tanh(x: Any) -> Any:
    """The approximate GELU; it has a name of its own because Keras saves activations by name."""
    return keras.activations.gelu(x, approximate=True)


def _hugging_face_vocabulary(folder: Path, config: dict[str, Any], what: str) -> Vocabulary:
    """The tokenizer of the folder: tokenizer.json, the vocab.txt of a BERT, or one of those that KerasHub reads."""
    from tokenizers import Tokenizer

    pad = int(config.get("pad_token_id") or 0)
    whole, words, settings = (folder / name for name in ("tokenizer.json", "vocab.txt", "tokenizer_config.json"))
    prepared = {}
    try:
        if whole.is_file():
            return Vocabulary(Tokenizer.from_str(whole.read_text(encoding="utf-8")), pad)
        options = json.loads(settings.read_text(encoding="utf-8")) if settings.is_file() else {}
        if words.is_file():
            tokens = words.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            return wordpieces(
                tokens, lowercase=options.get("do_lower_case", True), strip_accents=options.get("strip_accents")
            )
        if config["model_type"] == "albert":
            # Its texts are prepared before its SentencePiece model sees them, unless the folder says otherwise.
            prepared = {"lowercase": options.get("do_lower_case", True), "accents": options.get("keep_accents", False)}
    except Exception as error:  # the library raises plain exceptions
        raise UserError(f"tokenizer of the pretrained model in {folder} cannot be read: {one_line(error)}") from None
    if any((folder / name).is_file() for name in OTHER_TOKENIZERS):
        return _preset_vocabulary(str(folder.resolve()), what, **prepared)
    raise UserError(
        f"pretrained model in {folder} has no tokenizer: expected tokenizer.json, vocab.txt, "
        f"{', '.join(OTHER_TOKENIZERS)}"
    )


def _preset_vocabulary(location: str, what: str, **prepared: bool) -> Vocabulary:
    from keras_hub.tokenizers import BytePairTokenizer, SentencePieceTokenizer, Tokenizer, WordPieceTokenizer
    from tokenizers import ByteLevelBPETokenizer, processors

    try:
        theirs = Tokenizer.from_preset(location)
    except Exception as error:
        raise UserError(f"{what}: its tokenizer cannot be loaded: {one_line(error, 160)}") from None
    if isinstance(theirs, WordPieceTokenizer):
        # An accent is stripped by KerasHub only where that is asked for, also in lower case.
        tokens = theirs.get_vocabulary()
        return wordpieces(tokens, lowercase=theirs.lowercase, strip_accents=theirs.strip_accents)
    if isinstance(theirs, BytePairTokenizer) and {"<s>", "</s>", "<pad>"} <= set(theirs.get_vocabulary()):
        vocabulary = {token: theirs.token_to_id(token) for token in theirs.get_vocabulary()}
        merges = [tuple(merge.split(" ")) for merge in theirs.merges]
        ours = ByteLevelBPETokenizer(vocabulary, merges)._tokenizer
        ours.add_special_tokens([token for token in ("<s>", "</s>", "<pad>", "<mask>") if token in vocabulary])
        ours.post_processor = processors.RobertaProcessing(
            ("</s>", vocabulary["</s>"]), ("<s>", vocabulary["<s>"]), add_prefix_space=False
        )
        return Vocabulary(ours, vocabulary["<pad>"])
    if isinstance(theirs, SentencePieceTokenizer) and hasattr(theirs, "pad_token_id"):
        # Theirs may shift the numbers of its pieces, as fairseq does.
        pieces = SentencePieceTokenizer.get_vocabulary(theirs)
        try:
            return sentence_pieces(
                theirs.proto,
                [theirs.token_to_id(piece) for piece in pieces],
                start=theirs.start_token_id,
                end=theirs.end_token_id,
                pad=theirs.pad_token_id,
                **prepared,
            )
        except ValueError as error:
            raise UserError(f"{what}: its tokenizer is {error}") from None
    raise UserError(f"{what}: its tokenizer is a {type(theirs).__name__}; {READ}")
