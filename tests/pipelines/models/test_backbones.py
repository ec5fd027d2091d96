import json
from math import erf, sqrt

import keras
import keras_hub
import numpy as np
import pytest
from keras import ops

from pipelines.errors import UserError
from pipelines.models import backbones

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "good", "film", "##s", "!", "cafe"]
WIDTH, HEADS, LAYERS, INNER = 8, 2, 2, 16
TEXTS = ["A good film!", "films", "Café 日本"]


@pytest.fixture
def bert(tmp_path):
    """A folder as Hugging Face writes it, with a tiny BERT of random weights; and these."""
    from safetensors.numpy import save_file

    generator = np.random.default_rng(0)
    weights = {}

    def put(name, *shape):
        weights[name] = generator.normal(0, 1.5, shape).astype(np.float32)

    put("embeddings.word_embeddings.weight", len(WORDS), WIDTH)
    put("embeddings.position_embeddings.weight", 12, WIDTH)
    put("embeddings.token_type_embeddings.weight", 2, WIDTH)
    norms = ["embeddings.LayerNorm"]
    for i in range(LAYERS):
        layer = f"encoder.layer.{i}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            put(f"{layer}attention.{part}.weight", WIDTH, WIDTH)
            put(f"{layer}attention.{part}.bias", WIDTH)
        put(f"{layer}intermediate.dense.weight", INNER, WIDTH)
        put(f"{layer}intermediate.dense.bias", INNER)
        put(f"{layer}output.dense.weight", WIDTH, INNER)
        put(f"{layer}output.dense.bias", WIDTH)
        norms += [f"{layer}attention.output.LayerNorm", f"{layer}output.LayerNorm"]
    for norm in norms:
        put(f"{norm}.weight", WIDTH)
        put(f"{norm}.bias", WIDTH)
    put("pooler.dense.weight", WIDTH, WIDTH)
    put("pooler.dense.bias", WIDTH)
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    config = {
        "model_type": "bert", "architectures": ["BertModel"], "hidden_act": "gelu", "vocab_size": len(WORDS),
        "num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "hidden_size": WIDTH, "intermediate_size": INNER,
        "max_position_embeddings": 12, "layer_norm_eps": 1e-5, "pad_token_id": 0,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return tmp_path, weights


def reference(weights, ids, epsilon=1e-5, approximate=False):
    """BERT (Devlin et al., 2019) in NumPy, one text without padding: ids (L,) to states (L, WIDTH)."""

    def norm(x, name):
        scaled = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + epsilon)
        return scaled * weights[f"{name}.weight"] + weights[f"{name}.bias"]

    def dense(x, name):
        return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]

    def gelu(x):
        if approximate:
            return 0.5 * x * (1 + np.tanh(sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
        return x * 0.5 * (1 + np.vectorize(erf)(x / sqrt(2)))

    x = weights["embeddings.word_embeddings.weight"][ids].astype(np.float64)
    x = x + weights["embeddings.position_embeddings.weight"][: len(ids)]
    x = norm(x + weights["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    for i in range(LAYERS):
        layer, size = f"encoder.layer.{i}.", WIDTH // HEADS
        query, key, value = (dense(x, f"{layer}attention.self.{part}") for part in ("query", "key", "value"))
        heads = []
        for head in range(HEADS):
            part = slice(head * size, (head + 1) * size)
            scores = np.exp(query[:, part] @ key[:, part].T / sqrt(size))
            heads.append(scores / scores.sum(-1, keepdims=True) @ value[:, part])
        attended = dense(np.concatenate(heads, -1), f"{layer}attention.output.dense")
        x = norm(x + attended, f"{layer}attention.output.LayerNorm")
        inner = gelu(dense(x, f"{layer}intermediate.dense"))
        x = norm(x + dense(inner, f"{layer}output.dense"), f"{layer}output.LayerNorm")
    return x


def inputs(vocabulary, texts):
    rows = [vocabulary.prefix + encoded.ids + vocabulary.suffix for encoded in vocabulary.encode(texts)]
    ids = np.full((len(rows), max(map(len, rows))), vocabulary.pad, np.int32)
    for row, tokens in zip(ids, rows, strict=True):
        row[: len(tokens)] = tokens
    return ids, rows


@pytest.mark.backend
@pytest.mark.parametrize("activation", ["gelu", "gelu_new"])
def test_a_hugging_face_folder_gives_the_states_of_the_original(bert, activation, tmp_path):
    folder, weights = bert
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "hidden_act": activation}))
    backbone = backbones.load(str(folder))
    ids, rows = inputs(backbone.vocabulary, TEXTS)
    assert rows[0] == [2, 4, 5, 6, 8, 3]
    assert rows[1] == [2, 6, 7, 3]
    assert rows[2][1] == 9  # the accent is stripped in lower case, as the original does
    assert (backbone.length, backbone.width) == (12, WIDTH)
    backbone.model.save(tmp_path / "saved.keras")
    for model in (backbone.model, keras.models.load_model(tmp_path / "saved.keras")):
        states = ops.convert_to_numpy(model(ids, training=False))
        for state, row in zip(states, rows, strict=True):
            expected = reference(weights, row, approximate=activation == "gelu_new")
            np.testing.assert_allclose(state[: len(row)], expected, atol=1e-4)
            other = reference(weights, row, approximate=activation == "gelu")
            assert np.abs(state[: len(row)] - other).max() > 1e-4  # else this test could not see the difference


def test_a_kerashub_folder(tmp_path):
    keras.utils.set_random_seed(0)
    tokenizer = keras_hub.models.BertTokenizer(vocabulary=[*WORDS, "[MASK]"], lowercase=True)
    theirs = keras_hub.models.BertBackbone(11, 1, 2, 8, 16, max_sequence_length=10)
    theirs.save_to_preset(str(tmp_path / "preset"))
    tokenizer.save_to_preset(str(tmp_path / "preset"))
    backbone = backbones.load(str(tmp_path / "preset"))
    ids, rows = inputs(backbone.vocabulary, TEXTS)
    assert rows[0] == [2, *np.asarray(tokenizer(TEXTS[0])).tolist(), 3]
    given = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": (ids != 0).astype("int32")}
    expected = ops.convert_to_numpy(theirs(given)["sequence_output"])
    np.testing.assert_allclose(ops.convert_to_numpy(backbone.model(ids)), expected, atol=1e-5)


def test_a_roberta_folder_reads_bytes(tmp_path):
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "a": 5, "b": 6, "Ġ": 7, "Ġa": 8, "ab": 9}
    tokenizer = keras_hub.models.RobertaTokenizer(vocabulary=vocabulary, merges=["Ġ a", "a b"])
    keras_hub.models.RobertaBackbone(10, 1, 2, 8, 16, max_sequence_length=10).save_to_preset(str(tmp_path / "preset"))
    tokenizer.save_to_preset(str(tmp_path / "preset"))
    backbone = backbones.load(str(tmp_path / "preset"))
    _, rows = inputs(backbone.vocabulary, ["ab a b"])
    assert rows[0] == [0, *np.asarray(tokenizer("ab a b")).tolist(), 2]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "no such"}, "cannot be loaded"),
        ({"hidden_act": "swish"}, "activation 'swish'"),
        ({"position_embedding_type": "relative_key"}, "relative_key"),
    ],
)
def test_other_folders_are_refused(bert, change, message):
    folder, _ = bert
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(UserError, match=message):
        backbones.load(str(folder))


def test_what_is_missing_is_named(bert, tmp_path):
    folder, _ = bert
    with pytest.raises(UserError, match="no such folder cannot be loaded"):
        backbones.load("no such folder")
    (folder / "vocab.txt").unlink()
    with pytest.raises(UserError, match="no tokenizer"):
        backbones.load(str(folder))
    (folder / "tokenizer.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be read"):
        backbones.load(str(folder))
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match="cannot be loaded"):
        backbones.load(str(folder))
