import json
from math import erf, sqrt

import keras
import keras_hub
import numpy as np
import pytest
from keras import ops

from pipelines.core.errors import UserError
from pipelines.texts import backbones
from pipelines.texts import explain as explain_text
from pipelines.texts import models as text_models
from pipelines.texts.vocabulary import Vocabulary, sentence_pieces, wordpieces

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
        states, apart = ops.convert_to_numpy(model(ids, training=False)), []
        for state, row in zip(states, rows, strict=True):
            expected = reference(weights, row, approximate=activation == "gelu_new")
            np.testing.assert_allclose(state[: len(row)], expected, atol=1e-4)
            other = reference(weights, row, approximate=activation == "gelu")
            apart.append(np.abs(state[: len(row)] - other).max())
        assert max(apart) > 1e-4  # else this test could not see the difference


# BERT's names of weights in DistilBERT; the first that fits counts.
DISTILLED = {
    "attention.self.query": "attention.q_lin", "attention.self.key": "attention.k_lin",
    "attention.self.value": "attention.v_lin", "attention.output.dense": "attention.out_lin",
    "attention.output.LayerNorm": "sa_layer_norm", "output.LayerNorm": "output_layer_norm",
    "intermediate.dense": "ffn.lin1", "output.dense": "ffn.lin2",
}  # fmt: skip
BYTES = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4, "a": 5, "b": 6, "Ġ": 7, "Ġa": 8, "ab": 9}
MERGES = ["Ġ a", "a b"]


SIZES = {"num_layers": 1, "num_heads": 2, "hidden_dim": 8, "intermediate_dim": 16, "max_sequence_length": 40}
# How the SentencePiece models of the families are trained.
PIECES = {
    "Albert": {
        "pad_id": 0, "unk_id": 1, "bos_id": -1, "eos_id": -1, "pad_piece": "<pad>",
        "control_symbols": ["[CLS]", "[SEP]", "[MASK]"], "user_defined_symbols": ["(", ")", "€", "fil"],
    },
    "DebertaV3": {
        "pad_id": 0, "bos_id": 1, "eos_id": 2, "unk_id": 3, "pad_piece": "[PAD]", "bos_piece": "[CLS]",
        "eos_piece": "[SEP]", "unk_piece": "[UNK]",
    },
    "XLMRoberta": {"unk_id": 0, "bos_id": 1, "eos_id": 2, "normalization_rule_name": "nmt_nfkc_cf"},
}  # fmt: skip
CORPUS = ["The quick brown fox jumped.", "A café (naïve) – 3.14 €!", "films and film's worth of films, again"]
AWKWARD = [
    "  The quick  (brown) films ", "日本 film 日本語 x", "ＦＵＬＬ ﬁne ⅷ ½ ﷺ", "a\tb\nc\u200bd", "▁a ▁", "👩‍👧 (€5.00)",
    "[CLS] <s> </s> [SEP] <pad> <unk> [UNK] [MASK]", "مرحبا film", "e\u0301 naïve",
]  # fmt: skip


def sentence_piece_model(**options):
    import io

    import sentencepiece

    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(CORPUS * 30),
        model_writer=proto,
        minloglevel=2,
        **{"vocab_size": 90, "hard_vocab_limit": False, **options},
    )
    return proto.getvalue()


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
    if family == "xlm-roberta":
        (folder / "tokenizer.json").unlink()
        (folder / "sentencepiece.bpe.model").write_bytes(sentence_piece_model(**PIECES["XLMRoberta"]))
        words = np.random.default_rng(1).normal(0, 1.5, (120, WIDTH))
        weights["embeddings.word_embeddings.weight"] = words.astype(np.float32)
        config |= {"vocab_size": 120, "pad_token_id": 1, "max_position_embeddings": 14}
    if family == "distilbert":
        config = {
            "model_type": "distilbert", "activation": "gelu", "vocab_size": len(WORDS), "n_layers": LAYERS,
            "n_heads": HEADS, "dim": WIDTH, "hidden_dim": INNER, "dropout": 0.1, "max_position_embeddings": 12,
        }  # fmt: skip
    (folder / "config.json").write_text(json.dumps({**config, "model_type": family}))
    (folder / "vocab.txt").unlink()
    if family == "bert":
        return
    if family == "distilbert":
        weights["embeddings.token_type_embeddings.weight"][:] = 0  # it has none
    stored = {}
    for name, values in weights.items():
        if family == "distilbert":
            old = next((old for old in DISTILLED if old in name), "")
            name = name.replace(old, DISTILLED.get(old, "")).replace("encoder.", "transformer.")
        if "roberta" in family and "position" in name:  # its positions begin at 2
            values = np.concatenate([np.full((2, WIDTH), 99, np.float32), values])
        if "pooler" not in name and (family != "distilbert" or "token_type" not in name):
            stored[f"{family.removeprefix('xlm-')}.{name}"] = values
    save_file(stored, folder / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "xlm-roberta"])
def test_relatives_of_bert_with_a_tokenizer_of_their_own(bert, family):
    folder, weights = bert
    become(family, folder, weights)
    backbone = backbones.load(str(folder))
    ids, rows = inputs(backbone.vocabulary, ["ab a b" if family == "roberta" else TEXTS[0], "a"])
    if family == "xlm-roberta":
        tokenizer = keras_hub.models.XLMRobertaTokenizer.from_preset(str(folder))
        assert rows[0] == [0, *np.asarray(tokenizer(TEXTS[0])).tolist(), 2]
    else:
        assert rows[0] == ([0, 9, 8, 7, 6, 2] if family == "roberta" else [2, 4, 5, 6, 8, 3])
    assert (backbone.length, backbone.width, backbone.vocabulary.pad) == (12, WIDTH, int("roberta" in family))
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


@pytest.mark.parametrize("family", list(PIECES))
def test_sentence_pieces_are_those_of_kerashub(tmp_path, family):
    keras.utils.set_random_seed(0)
    tokenizer = getattr(keras_hub.models, f"{family}Tokenizer")(proto=sentence_piece_model(**PIECES[family]))
    sizes = {**SIZES, "vocabulary_size": 120, **({"embedding_dim": 4} if family == "Albert" else {})}
    theirs = getattr(keras_hub.models, f"{family}Backbone")(**sizes)
    theirs.save_to_preset(str(tmp_path / "preset"))
    tokenizer.save_to_preset(str(tmp_path / "preset"))
    backbone = backbones.load(str(tmp_path / "preset"))
    vocabulary = Vocabulary.from_json(backbone.vocabulary.to_json())
    assert (vocabulary.prefix, vocabulary.suffix) == ([tokenizer.start_token_id], [tokenizer.end_token_id])
    assert vocabulary.pad == tokenizer.pad_token_id
    generator = np.random.default_rng(0)
    texts = ["".join(generator.choice(list("abcdefghi lmno  .,é日€()\n’'"), 40)).strip() for _ in range(50)]
    for text, encoded in zip(AWKWARD + texts, vocabulary.encode(AWKWARD + texts), strict=True):
        assert encoded.ids == np.asarray(tokenizer(text)).tolist(), text
        # Together the places are the text; the first token can be the blank that SentencePiece puts before all.
        places = [text[slice(*place)] for place in encoded.offsets]
        first = vocabulary.tokens()[encoded.ids[0]] == "▁"
        if text in texts:
            assert "".join("".join(places[first:]).split()) == "".join(text.split())
    ids, _ = inputs(vocabulary, ["The quick brown fox", "films"])
    given = {"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": (ids != vocabulary.pad).astype("int32")}
    states = theirs({name: given[name] for name in theirs.input})
    expected = ops.convert_to_numpy(states["sequence_output"] if isinstance(states, dict) else states)
    np.testing.assert_allclose(ops.convert_to_numpy(backbone.model(ids)), expected, atol=1e-5)


def test_bytes_stand_for_unknown_pieces():
    proto = sentence_piece_model(byte_fallback=True, vocab_size=400)
    tokenizer = keras_hub.tokenizers.SentencePieceTokenizer(proto=proto)
    numbers = range(tokenizer.vocabulary_size())
    vocabulary = sentence_pieces(tokenizer.proto, numbers, start=1, end=2, pad=0)
    for text, encoded in zip(AWKWARD, vocabulary.encode(AWKWARD), strict=True):
        assert encoded.ids == np.asarray(tokenizer(text)).tolist(), text


@pytest.mark.parametrize("trim", [True, False])
@pytest.mark.parametrize("prefix", [True, False])
def test_blanks_are_those_of_the_model(trim, prefix):
    proto = sentence_piece_model(remove_extra_whitespaces=trim, add_dummy_prefix=prefix)
    tokenizer = keras_hub.tokenizers.SentencePieceTokenizer(proto=proto)
    vocabulary = sentence_pieces(tokenizer.proto, range(tokenizer.vocabulary_size()), start=1, end=2, pad=0)
    texts = [*AWKWARD, " film ", "  a  b", "a", "▁film"]
    for text, encoded in zip(texts, vocabulary.encode(texts), strict=True):
        assert encoded.ids == np.asarray(tokenizer(text)).tolist(), text


def test_an_uncased_folder_is_read_without_capitals_and_accents(tmp_path):
    (tmp_path / "spiece.model").write_bytes(sentence_piece_model(**PIECES["Albert"]))
    (tmp_path / "config.json").write_text('{"model_type": "albert"}')
    tokenizer = keras_hub.models.AlbertTokenizer.from_preset(str(tmp_path))

    def ids(text):
        return backbones._hugging_face_vocabulary(tmp_path, {"model_type": "albert"}, "").encode([text])[0].ids

    for text, plain in (("Films Again", "films again"), ("CAFÉ naïve", "cafe naive")):
        assert ids(text) == np.asarray(tokenizer(plain)).tolist()
    (tmp_path / "tokenizer_config.json").write_text('{"do_lower_case": false, "keep_accents": true}')
    assert ids("CAFÉ The") == np.asarray(tokenizer("CAFÉ The")).tolist() != ids("cafe the")
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(UserError, match="cannot be read"):
        ids("a")


def test_other_sentence_pieces_are_refused():
    with pytest.raises(ValueError, match="blanks behind words"):
        sentence_pieces(sentence_piece_model(treat_whitespace_as_suffix=True), [], start=1, end=2, pad=0)
    with pytest.raises(ValueError, match="of the kind bpe, not unigram"):
        sentence_pieces(sentence_piece_model(model_type="bpe"), [], start=1, end=2, pad=0)
    with pytest.raises(ValueError, match="no model of SentencePiece"):
        sentence_pieces(b"\xff", [], start=1, end=2, pad=0)


@pytest.mark.parametrize("family", ["Bert", "Albert", "DebertaV3", "RoformerV2"])
def test_explanations_of_an_encoder_add_up_to_the_difference_of_its_scores(tmp_path, family):
    keras.utils.set_random_seed(1)
    options = {"Albert": {"embedding_dim": 4}, "RoformerV2": {"head_size": 4}}.get(family, {})
    sizes = {name: size for name, size in SIZES.items() if family != "RoformerV2" or name != "max_sequence_length"}
    theirs = getattr(keras_hub.models, f"{family}Backbone")(vocabulary_size=120, dropout=0.0, **sizes, **options)
    theirs.save_to_preset(str(tmp_path / "preset"))
    if family in PIECES:
        tokenizer = getattr(keras_hub.models, f"{family}Tokenizer")(proto=sentence_piece_model(**PIECES[family]))
    else:
        tokenizer = getattr(keras_hub.models, f"{family}Tokenizer")(vocabulary=[*WORDS, "[MASK]"], lowercase=True)
    tokenizer.save_to_preset(str(tmp_path / "preset"))
    backbone = backbones.load(str(tmp_path / "preset"))
    model = text_models.pretrained(backbone, 2)
    pad = backbone.vocabulary.pad
    ids = ops.convert_to_tensor(inputs(backbone.vocabulary, ["a good film!"])[0])
    embed, answer = explain_text.split(model)
    found = explain_text.token_attributions(model, ids, [1], pad=pad, steps=64)
    vectors = embed(ids)
    np.testing.assert_allclose(ops.convert_to_numpy(answer(vectors, ids)), ops.convert_to_numpy(model(ids)), atol=1e-5)
    nothing = embed(ops.full_like(ids, pad))
    difference = ops.convert_to_numpy(answer(vectors, ids) - answer(nothing, ids))[0, 1]
    np.testing.assert_allclose(found.sum(), difference, rtol=0.02, atol=2e-3)


def test_decoders_and_other_models_are_refused(tmp_path):
    keras_hub.models.GPT2Backbone(10, 1, 2, 8, 16, max_sequence_length=10).save_to_preset(str(tmp_path / "preset"))
    with pytest.raises(UserError, match="is a GPT2Backbone; encoders are read: presets of ALBERT, BERT"):
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
