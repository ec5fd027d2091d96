import io
import json
import unicodedata

import numpy as np
import pytest
from keras import ops

from pipelines.core.errors import UserError
from pipelines.pairs import marian
from pipelines.pairs.config import DecodeConfig
from pipelines.pairs.decoding.decoder import Decoder
from pipelines.pairs.pieces import BEGIN, END
from pipelines.pairs.sample import cldr_pairs
from pipelines.pairs.subwords import from_json

PAIRS = list(cldr_pairs("en", "de", size=400))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as OPUS-MT's are, with random weights, and the model that Hugging Face makes of it."""
    transformers = pytest.importorskip("transformers")
    sentencepiece = pytest.importorskip("sentencepiece")
    torch = pytest.importorskip("torch")
    root = tmp_path_factory.mktemp("marian")
    vocabulary = {"</s>": 0, "<unk>": 1}
    for side, name in enumerate(("source", "target")):
        model = io.BytesIO()
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter([pair[side] for pair in PAIRS]), model_writer=model, vocab_size=200, minloglevel=2
        )
        (root / f"{name}.spm").write_bytes(model.getvalue())
        loaded = sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())
        for number in range(3, 200):
            vocabulary.setdefault(loaded.id_to_piece(number), len(vocabulary))
    vocabulary["<pad>"] = len(vocabulary)
    (root / "vocab.json").write_text(json.dumps(vocabulary), encoding="utf-8")
    pad = vocabulary["<pad>"]
    torch.manual_seed(0)
    theirs = transformers.MarianMTModel(
        transformers.MarianConfig(
            vocab_size=len(vocabulary), d_model=16, encoder_layers=2, decoder_layers=2, encoder_attention_heads=2,
            decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, activation_function="swish",
            scale_embedding=True, max_position_embeddings=64, pad_token_id=pad, eos_token_id=0,
            decoder_start_token_id=pad, init_std=0.3, static_position_embeddings=True,
        )
    ).eval()  # fmt: skip
    with torch.no_grad():
        theirs.final_logits_bias.normal_()
        theirs.model.shared.weight[pad] = torch.randn(16)
    theirs.save_pretrained(root)
    return root, theirs, torch


def test_logits_are_those_of_hugging_face(folder):
    root, theirs, torch = folder
    ours, subwords = marian.load(str(root), 0.0), marian.subwords_of(str(root))
    order = [number for _, number in marian._order(root)]
    source, target = [subwords.encode([pair[side] for pair in PAIRS[:3]], side) for side in (0, 1)]
    length = max(map(len, [*source, *target])) + 1
    ids = np.zeros((3, length), np.int32)
    before = np.zeros((3, length), np.int32)
    for row, (a, b) in enumerate(zip(source, target, strict=True)):
        ids[row, : len(a) + 1], before[row, : len(b) + 1] = [*a, END], [BEGIN, *b]
    numbers = np.array(order)
    with torch.no_grad():
        expected = theirs(
            input_ids=torch.from_numpy(numbers[ids]), attention_mask=torch.from_numpy((ids > 0).astype(np.int64)),
            decoder_input_ids=torch.from_numpy(numbers[before]),
        ).logits.numpy()  # fmt: skip
    found = np.array(ops.convert_to_numpy(ours([ids, before])))
    kept = [place for place in range(len(order)) if place != BEGIN]
    for row, pieces in enumerate(target):
        np.testing.assert_allclose(
            found[row, : len(pieces) + 1][:, kept], expected[row, : len(pieces) + 1][:, numbers[kept]], atol=1e-4
        )
    assert found[..., BEGIN].max() < -1e3


def test_pieces_are_those_of_hugging_face(folder):
    root, *_ = folder
    import transformers

    theirs = transformers.MarianTokenizer(
        str(root / "source.spm"), str(root / "target.spm"), str(root / "vocab.json"), source_lang="en", target_lang="de"
    )
    subwords = from_json(marian.subwords_of(str(root)).to_json())
    order = [number for _, number in marian._order(root)]
    for source, target in PAIRS[:20]:
        assert [order[i] for i in subwords.encode([source])[0]] + [0] == theirs(source)["input_ids"]
        ids = subwords.encode([target], 1)[0]
        assert [order[i] for i in ids] + [0] == theirs(text_target=target)["input_ids"]
        assert subwords.decode(ids) == unicodedata.normalize("NFKC", target)


def test_it_translates_and_damaged_folders_are_named(folder, tmp_path):
    root, *_ = folder
    subwords = marian.subwords_of(str(root))
    decoder = Decoder(marian.load(str(root), 0.1), subwords, DecodeConfig(beam=2), usual=20, most=40)
    (found,) = decoder.translate(["Monday"])
    assert isinstance(found.best[0].text, str)
    with pytest.raises(UserError, match=r"has no config\.json"):
        marian.load(str(tmp_path), 0.0)
    for name in marian.FILES:
        (tmp_path / name).write_bytes((root / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"x")
    with pytest.raises(UserError, match="weights cannot be read"):
        marian.load(str(tmp_path), 0.0)
    config = json.loads((root / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "normalize_before": True}))
    with pytest.raises(UserError, match="normalize_before"):
        marian.load(str(tmp_path), 0.0)
