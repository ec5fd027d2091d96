"""Local folders of OPUS-MT (MarianMT of Hugging Face): their subwords and weights, for translation and fine-tuning.

Pieces are numbered anew, so that padding, unknown, begin and end have the numbers that all models have here. MarianMT
begins a translation with its padding: the begin gets a copy of the padding's vector, and a bias with which it is never
said.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pipelines.core.errors import UserError
from pipelines.core.files import one_line, read_json
from pipelines.pairs.pieces import BEGIN, END, PAD, UNKNOWN

FILES = ("config.json", "model.safetensors", "source.spm", "target.spm", "vocab.json")
ACTIVATIONS = {"swish": "silu", "silu": "silu", "relu": "relu", "gelu": "gelu"}
NEVER = -1e4
EXPECTED = {"normalize_before": False, "normalize_embedding": False, "add_final_layer_norm": False,
            "static_position_embeddings": True, "add_bias_logits": False}  # fmt: skip


class MarianSubwords:
    """Two SentencePiece models with one vocabulary.

    Args:
        protos: Those of source and target.
        names: Pieces by their number here.
    """

    def __init__(self, protos: tuple[bytes, bytes], names: Sequence[str]) -> None:
        import sentencepiece

        self.protos = protos
        self.names = list(names)
        self._number = {name: number for number, name in enumerate(self.names)}
        self._models = [sentencepiece.SentencePieceProcessor(model_proto=proto) for proto in protos]

    def __len__(self) -> int:
        return len(self.names)

    def encode(self, texts: Sequence[str], side: int = 0) -> list[list[int]]:
        """Numbers of the pieces of each text; side 0 is the source, 1 the target."""
        found = self._models[side].encode(list(texts), out_type=str)
        return [[self._number.get(piece, UNKNOWN) for piece in pieces] for pieces in found]

    def decode(self, ids: Sequence[int]) -> str:
        """The text of a target's pieces."""
        return self._models[1].decode_pieces([self.names[int(i)] for i in ids])

    def pieces(self, ids: Sequence[int] | np.ndarray) -> list[str]:
        """The pieces as they are shown."""
        return [self.names[int(i)] for i in ids]

    def to_json(self) -> dict[str, Any]:
        packed = [base64.b64encode(zlib.compress(proto, 9)).decode() for proto in self.protos]
        return {"kind": "marian", "models": packed, "names": self.names}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> MarianSubwords:
        source, target = (zlib.decompress(base64.b64decode(packed)) for packed in value["models"])
        return cls((source, target), value["names"])


def subwords_of(folder: str) -> MarianSubwords:
    """The subwords of a folder.

    Raises:
        UserError: A file is missing or damaged.
    """
    root = _folder(folder)
    order = _order(root)
    try:
        return MarianSubwords(
            ((root / "source.spm").read_bytes(), (root / "target.spm").read_bytes()), [name for name, _ in order]
        )
    except (OSError, RuntimeError) as error:
        raise UserError(f"model.builder marian:{folder}: its subwords cannot be read: {one_line(error)}") from None


def _folder(folder: str) -> Path:
    root = Path(folder).expanduser()
    missing = [name for name in FILES if not (root / name).is_file()]
    if missing:
        raise UserError(f"model.builder marian:{folder} has no {missing[0]}: expected a folder with {', '.join(FILES)}")
    return root


def _order(root: Path) -> list[tuple[str, int]]:
    """The pieces in the order that they have here, with their numbers in the folder's files."""
    vocabulary, config = read_json(root / "vocab.json", "vocabulary"), read_json(root / "config.json", "configuration")
    pad, end = config["pad_token_id"], config["eos_token_id"]
    names = {number: name for name, number in vocabulary.items()}
    unknown = vocabulary.get("<unk>", 1)
    if pad not in names or end not in names or len(names) != config["vocab_size"]:
        raise UserError(f"model.builder marian:{root}: vocab.json does not fit config.json")
    special = [("", pad), ("<unk>", unknown), ("", pad), ("", end)]
    assert (PAD, UNKNOWN, BEGIN, END) == (0, 1, 2, 3)
    return special + [(names[n], n) for n in sorted(names) if n not in (pad, end, unknown)]


def load(folder: str, dropout: float) -> Any:
    """The network of a folder with its weights.

    Raises:
        UserError: It is no MarianMT, of another shape than OPUS-MT's, or damaged.
    """
    from safetensors.numpy import load_file

    from pipelines.pairs.models import Translator

    root = _folder(folder)
    config = read_json(root / "config.json", "configuration")
    other = [name for name, value in EXPECTED.items() if config.get(name, value) != value]
    same = all(
        config.get(f"encoder_{name}") == config.get(f"decoder_{name}") for name in ("attention_heads", "ffn_dim")
    )
    if config.get("model_type") != "marian" or other or not same or config["activation_function"] not in ACTIVATIONS:
        reason = f" ({other[0]})" if other else ""
        raise UserError(f"model.builder marian:{folder} is no MarianMT of the usual shape{reason}")
    order = np.array([number for _, number in _order(root)])
    width = config["d_model"]
    model = Translator(
        len(order), width, config["encoder_attention_heads"], config["encoder_ffn_dim"], config["encoder_layers"],
        config["decoder_layers"], dropout, config["max_position_embeddings"], "sinusoidal", "post",
        ACTIVATIONS[config["activation_function"]], scale=bool(config.get("scale_embedding", False)),
    )  # fmt: skip
    model.build()
    try:
        weights = load_file(root / "model.safetensors")
        vectors = weights.get("model.shared.weight", weights.get("model.encoder.embed_tokens.weight"))
        if vectors is None:
            raise KeyError("model.shared.weight")
        model.embedding.embeddings.assign(vectors[order])
        bias = weights.get("final_logits_bias", np.zeros((1, len(vectors)), np.float32))[0][order].astype(np.float32)
        bias[BEGIN] = NEVER
        model.embedding.bias.assign(bias)
        for side, blocks in (("encoder", model.encoder), ("decoder", model.decoder)):
            for number, block in enumerate(blocks):
                _fill(block, weights, f"model.{side}.layers.{number}")
    except KeyError as error:
        raise UserError(f"model.builder marian:{folder}: its weights lack {error.args[0]}") from None
    except Exception as error:
        raise UserError(f"model.builder marian:{folder}: its weights cannot be read: {one_line(error)}") from None
    return model


def _fill(block: Any, weights: dict[str, np.ndarray], name: str) -> None:
    parts = [("self_attn", block.attention)]
    norms = ["self_attn_layer_norm", "final_layer_norm"]
    if block.cross_attention is not None:
        parts.append(("encoder_attn", block.cross_attention))
        norms.insert(1, "encoder_attn_layer_norm")
    dense = {f"{name}.fc1": block.inner, f"{name}.fc2": block.outer}
    for part, attention in parts:
        layers = (attention.query, attention.key, attention.value, attention.output_layer)
        for short, layer in zip(("q_proj", "k_proj", "v_proj", "out_proj"), layers, strict=True):
            dense[f"{name}.{part}.{short}"] = layer
    for path, layer in dense.items():
        layer.kernel.assign(weights[f"{path}.weight"].T)
        layer.bias.assign(weights[f"{path}.bias"])
    for short, layer in zip(norms, block.norms, strict=True):
        layer.gamma.assign(weights[f"{name}.{short}.weight"])
        layer.beta.assign(weights[f"{name}.{short}.bias"])
