import json
from math import erf, sqrt

import keras
import keras_hub
import numpy as np
import pytest
from keras import ops

from pipelines.data.vocabulary import wordpieces
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


# BERT's names of weights in DistilBERT; the first that fits counts.
DISTILLED = {
    "attention.self.query": "attention.q_lin", "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin", "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm", "output.LayerNorm": "output_layer_norm",
    "intermediate.dense": "ffn.lin1", "output.dense": "ffn.lin2",
}  # fmt: skip
BYTES = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "a": 5, "b": 6, "Ġ": 7, "Ġa": 8, "ab": 9}
MERGES = ["Ġ a", "a b"]


def become(family, folder, weights):
    """Makes of the BERT in a folder, with its weights, one of its relatives with a tokenizer.json."""
    from safetensors.numpy import save_file
    from tokenizers import ByteLevelBPETokenizer, processors

    config = json.loads((folder / "config.json").read_text())
    if family == "roberta":
        tokenizer = ByteLevelBPETokenizer(BYTES, [tuple(merge.split()) for merge in MERGES])
        tokenizer.add_special_tokens(list(BYTES)[:5])
        tokenizer._tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0), False, False)
        tokenizer.save(str(folder / "tokenizer.json"))
        config |= {"hidden_dropout_prob": 0.1, "pad_token_id": 1, "max_position_embeddings": 14}
    else:
        wordpieces(WORDS, lowercase=True)._tokenizer.save(str(folder / "tokenizer.json"))
    if family == "distilbert":
        config = {
            "model_type": "distilbert", "activation": "gelu", "vocab_size": len(WORDS), "n_layers": LAYERS,
            "n_heads": HEADS, "dim": WIDTH, "hidden_dim": INNER, "dropout": 0.1, "max_position_embeddings": 12,
        }  # fmt: skip
    (folder / "config.json").write_text(json.dumps({**config, "model_type": family}))
    (folder / "vocab.txt").unlink()
    if family == "bert":
        return
    weights["embeddings.token_type_embeddings.weight"][:] = 0  # they have none, or that of zeros
    stored = {}
    for name, values in weights.items():
        if family == "distilbert":
            old = next((old for old in DISTILLED if old in name), "")
            name = name.replace(old, DISTILLED.get(old, "")).replace("encoder.", "transformer.")
        if family == "roberta" and "position" in name:  # its positions begin at 2
            values = np.concatenate([np.full((2, WIDTH), 99, np.float32), values])
        if "pooler" not in name and "token_type" not in name:
            stored[f"{family}.{name}"] = values
    save_file(stored, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_relatives_of_bert_with_a_tokenizer_of_their_own(bert, family):
    folder, weights = bert
    become(family, folder, weights)
    backbone = backbones.load(str(folder))
    text, expected = ("ab a b", [0, 9, 8, 7, 6, 2]) if family == "roberta" else (TEXTS[0], [2, 4, 5, 6, 8, 3])
    ids, rows = inputs(backbone.vocabulary, [text, "a"])
    assert rows[0] == expected
    assert (backbone.length, backbone.width, backbone.vocabulary.pad) == (12, WIDTH, int(family == "roberta"))
    epsilon = 1e-12 if family == "distilbert" else 1e-5
    for state, row in zip(ops.convert_to_numpy(backbone.model(ids, training=False)), rows, strict=True):
        np.testing.assert_allclose(state[: len(row)], reference(weights, row, epsilon), atol=1e-4)


@pytest.mark.parametrize("family", ["Bert", "DistilBert", "Electra"])
def test_a_kerashub_folder(tmp_path, family):
    keras.utils.set_random_seed(0)
    tokenizer = getattr(keras_hub.models, f"{family}Tokenizer")(vocabulary=[*WORDS, "[MASK]"], lowercase=True)
    sizes = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16}
    sizes |= {"vocab_size": 11, "embedding_dim": 8} if family == "Electra" else {"vocabulary_size": 11}
    theirs = getattr(keras_hub.models, f"{family}Backbone")(**sizes, max_sequence_length=10)
    theirs.save_to_preset(str(tmp_path / "preset"))
    tokenizer.save_to_preset(str(tmp_path / "preset"))
    backbone = backbones.load(str(tmp_path / "preset"))
    ids, rows = inputs(backbone.vocabulary, TEXTS)
    assert rows[0] == [2, *np.asarray(tokenizer(TEXTS[0])).tolist(), 3]
    given = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": (ids != 0).astype("int32")}
    states = theirs({name: given[name] for name in theirs.input})
    expected = ops.convert_to_numpy(states["sequence_output"] if isinstance(states, dict) else states)
    np.testing.assert_allclose(ops.convert_to_numpy(backbone.model(ids)), expected, atol=1e-5)


def test_a_roberta_folder_reads_bytes(tmp_path):
    tokenizer = keras_hub.models.RobertaTokenizer(vocabulary=BYTES, merges=MERGES)
    keras_hub.models.RobertaBackbone(10, 1, 2, 8, 16, max_sequence_length=10).save_to_preset(str(tmp_path / "preset"))
    tokenizer.save_to_preset(str(tmp_path / "preset"))
    backbone = backbones.load(str(tmp_path / "preset"))
    _, rows = inputs(backbone.vocabulary, ["ab a b"])
    assert rows[0] == [0, *np.asarray(tokenizer("ab a b")).tolist(), 2]


def test_other_tokenizers_are_refused(tmp_path):
    vocabulary = {"<|endoftext|>": 0, **{token: number for token, number in BYTES.items() if number > 4}}
    keras_hub.models.GPT2Backbone(10, 1, 2, 8, 16, max_sequence_length=10).save_to_preset(str(tmp_path / "preset"))
    keras_hub.models.GPT2Tokenizer(vocabulary=vocabulary, merges=MERGES).save_to_preset(str(tmp_path / "preset"))
    with pytest.raises(UserError, match="GPT2Tokenizer; presets of BERT, DistilBERT, ELECTRA and RoBERTa are read"):
        backbones.load(str(tmp_path / "preset"))


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
