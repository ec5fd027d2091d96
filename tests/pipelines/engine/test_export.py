import keras
import numpy as np
import pytest
from keras import ops

from pipelines import ner
from pipelines.core.errors import UserError
from pipelines.core.run_dir import RunDir
from pipelines.engine.export import RUN, export
from pipelines.tags import models as taggers
from pipelines.tags.config import TaggerConfig
from pipelines.tags.load import Tags
from pipelines.tags.word_features import WordEncoder, learn_features

PACKAGES = {"onnx": "onnxruntime", "litert": "ai_edge_litert"}


def untrained(folder, builder):
    """A run whose network has its first weights."""
    keras.utils.set_random_seed(0)
    tags = Tags(["town"], "bio")
    encoder = WordEncoder(["ada", "london"], learn_features([["Ada", "left", "London", "."]], 500, least=1))
    sizes = {"words": 4, "features": len(encoder.features) + 1}
    config = TaggerConfig(builder, width=8, embedding=8)
    model = taggers.tagger(config, len(tags.names), tags.forbidden(), **sizes)
    spec = {"task": "ner", "types": ["town"], "scheme": "bio", "max_tokens": 128, "encoder": encoder.to_json(),
            "modules": ["pipelines.tags.models"]}  # fmt: skip
    run = RunDir.create(folder, "ner", "untrained", texts={"config.yaml": ""}, values={"spec.json": spec})
    model.save(run.model)
    return run, model, encoder


@pytest.mark.parametrize("kind", PACKAGES)
def test_a_transformer_runs_elsewhere_on_sentences_of_any_length(tmp_path, kind):
    """Its exact GELU is made of erfc, which tf2onnx does not know by itself."""
    pytest.importorskip(PACKAGES[kind])
    run, model, encoder = untrained(tmp_path, "transformer")
    answer = RUN[kind](export(ner.TASK, str(run.path), kind, None))
    for tokens in (["Ada"], ["Ada", "left", "London", "in", "1843", "and", "wrote", "to", "no", "one", "👍🏽"]):
        rows = encoder(tokens)[None]
        np.testing.assert_allclose(answer(rows), ops.convert_to_numpy(model(rows)), atol=1e-5)


def test_what_litert_lacks_is_one_line(tmp_path):
    pytest.importorskip("ai_edge_litert")
    run, _, _ = untrained(tmp_path, "lstm")
    with pytest.raises(UserError, match=r"LiteRT lacks an operation of this network \(TensorList\w+;") as caught:
        export(ner.TASK, str(run.path), "litert", None)
    assert "\n" not in str(caught.value)
    assert not (run.path / "export" / "model.tflite").exists()
