"""What is written is what TensorBoard's own reader, and its plug-ins, find."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from matplotlib.figure import Figure
from sklearn import metrics
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata as hparams_metadata
from tensorboard.plugins.projector.projector_plugin import _read_tensor_tsv_file
from tensorboard.util import tensor_util

import callbacks
from callbacks import events, figures

DRAW = np.random.default_rng(0)
LABELS = DRAW.integers(0, 3, 200)
PROBABILITIES = DRAW.dirichlet(np.ones(3), 200) * 0.5 + 0.5 * np.eye(3)[LABELS] * DRAW.uniform(size=(200, 1))
PROBABILITIES /= PROBABILITIES.sum(1, keepdims=True)
CLASSES = ("a", "b/c", "d")


def read(folder):
    found = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    found.Reload()
    return found


def tensor(found, tag):
    return tensor_util.make_ndarray(found.Tensors(tag)[0].tensor_proto)


def test_scalars_texts_pictures_histograms(tmp_path):
    callbacks.write_scalars(tmp_path / "s", {"x": 1.5}, 7)
    callbacks.write_texts(tmp_path / "s", {"t": "**bold** é"}, 7)
    callbacks.write_figures(tmp_path / "s", {"f": Figure()}, 7)
    callbacks.write_histograms(tmp_path / "s", {"h": np.array([[0, 1, np.nan], [2, 3, np.inf]])}, 7)
    found = read(tmp_path / "s")
    assert [(e.step, e.value) for e in found.Scalars("x")] == [(7, 1.5)]
    assert tensor(found, "t").item().decode() == "**bold** é"
    assert found.Images("f")[0].encoded_image_string.startswith(b"\x89PNG")
    rows = tensor(found, "h")
    assert rows.shape == (30, 3)
    assert (rows[0, 0], rows[-1, 1], rows[:, 2].sum()) == (0, 3, 4)
    assert found.SummaryMetadata("h").plugin_data.plugin_name == "histograms"


def test_empty_and_constant_histograms(tmp_path):
    callbacks.write_histograms(tmp_path, {"empty": np.array([]), "constant": np.ones(5), "nan": np.full(3, np.nan)}, 0)
    assert tensor(read(tmp_path), "constant")[:, 2].sum() == 5


def test_pr_curves_are_those_of_scikit_learn(tmp_path):
    callbacks.write_pr_curves(tmp_path, LABELS, PROBABILITIES, CLASSES, 3)
    found = read(tmp_path)
    for k, name in enumerate(("a", "b_c", "d")):
        tag = f"{name}/pr_curves"
        assert found.SummaryMetadata(tag).plugin_data.plugin_name == "pr_curves"
        hits, alarms, rejected, missed, precision, recall = tensor(found, tag)
        right, scores = k == LABELS, PROBABILITIES[:, k]
        assert set(hits + alarms + rejected + missed) == {200}
        for place in (0, 40, 100, 160):
            chosen = np.floor(scores * 200) >= place
            assert hits[place] == (chosen & right).sum()
            assert precision[place] == pytest.approx(metrics.precision_score(right, chosen, zero_division=0))
            assert recall[place] == pytest.approx(metrics.recall_score(right, chosen))


def test_pr_curves_want_shapes_that_fit(tmp_path):
    with pytest.raises(ValueError, match=r"\(N, 2\).*\(200, 3\)"):
        callbacks.write_pr_curves(tmp_path, LABELS, PROBABILITIES, ("a", "b"), 3)


def test_hparams_are_a_session_with_scores(tmp_path):
    settings = {"fit": {"epochs": 3, "ema": np.float32(0.5)}, "name": "adam", "on": True, "list": [1, 2], "no": None}
    callbacks.write_hparams(tmp_path, settings, {"accuracy": 0.5, "auc": float("nan")}, 9, started=12.0)
    found = read(tmp_path)
    content = found.SummaryMetadata(hparams_metadata.SESSION_START_INFO_TAG).plugin_data.content
    start = hparams_metadata.parse_session_start_info_plugin_data(content)
    values = {k: getattr(v, v.WhichOneof("kind")) for k, v in start.hparams.items()}
    assert values == {"fit.epochs": 3, "fit.ema": 0.5, "name": "adam", "on": True, "list": "[1, 2]"}
    assert start.start_time_secs == 12
    content = found.SummaryMetadata(hparams_metadata.SESSION_END_INFO_TAG).plugin_data.content
    end = hparams_metadata.parse_session_end_info_plugin_data(content)
    assert end.end_time_secs > 12
    assert found.Tags()["scalars"] == ["accuracy"]


def test_embeddings_are_what_the_projector_reads(tmp_path):
    from google.protobuf import text_format
    from PIL import Image
    from tensorboard.plugins.projector.projector_config_pb2 import ProjectorConfig

    points = DRAW.normal(size=(5, 4))
    images = DRAW.integers(0, 256, (5, 6, 9, 1), dtype=np.uint8)
    columns = {"label": ["a\tb", "c", "d", "e", "f"], "right": [True] * 5}
    callbacks.write_embeddings(tmp_path, {"last layer": points}, columns, images)
    config = text_format.Parse((tmp_path / "projector_config.pbtxt").read_text(), ProjectorConfig())
    (embedding,) = config.embeddings
    np.testing.assert_allclose(_read_tensor_tsv_file(str(tmp_path / embedding.tensor_path)), points, rtol=1e-4)
    lines = (tmp_path / embedding.metadata_path).read_text().splitlines()
    assert lines[:2] == ["label\tright", "a b\tTrue"]
    sprite = np.asarray(Image.open(tmp_path / embedding.sprite.image_path))
    width, height = embedding.sprite.single_image_dim
    assert (width, height) == (9, 6)
    np.testing.assert_array_equal(sprite[6:12, 0:9, 0], images[3, ..., 0])  # three in a row
    callbacks.write_embeddings(tmp_path / "one", {"x": points}, {"label": list("abcde")})
    assert (tmp_path / "one" / "metadata.tsv").read_text().splitlines() == list("abcde")
    callbacks.write_embeddings(tmp_path / "two", {"x": points[:, :2]})
    flat = _read_tensor_tsv_file(str(tmp_path / "two" / "x.tsv"))
    np.testing.assert_allclose(flat, np.column_stack([points[:, :2], np.zeros(5)]), rtol=1e-4)
    with pytest.raises(ValueError, match="one length"):
        callbacks.write_embeddings(tmp_path, {"x": points}, {"label": ["a"]})


@pytest.mark.backend
def test_features_are_the_inputs_of_the_last_layer():
    x = DRAW.normal(size=(4, 5)).astype("float32")
    model = keras.Sequential([keras.Input((5,)), keras.layers.Dense(3, "relu"), keras.layers.Dense(2)])
    kernel, bias = model.layers[0].get_weights()
    got = callbacks.features(model).predict(x, verbose=0)
    np.testing.assert_allclose(got, np.maximum(x @ kernel + bias, 0), rtol=1e-4, atol=1e-5)


class Subclassed(keras.Model):
    def __init__(self, what):
        super().__init__()
        self.dense = keras.layers.Dense(1)

    def call(self, x):
        return self.dense(x)


def test_models_that_cannot_be_written_down_are_named():
    model = Subclassed(object())
    for function in (events.graph, callbacks.features):
        with pytest.raises(ValueError, match=model.name):
            function(model)


def test_graph_has_the_layers(tmp_path):
    inputs = keras.Input((4,), name="in")
    hidden = keras.layers.Dense(4, name="hidden")(inputs)
    model = keras.Model(inputs, keras.layers.Add(name="sum")([inputs, hidden]))
    callbacks.write_graph(tmp_path, model)
    graph = read(tmp_path).Graph()
    assert [node.op for node in graph.node] == ["InputLayer in", "Dense hidden", "Add sum"]
    nodes = {node.name: list(node.input) for node in graph.node}
    assert nodes == {"in": [], "hidden": ["in"], "sum": ["in", "hidden"]}


def test_roc_is_that_of_scikit_learn():
    scores = np.round(PROBABILITIES[:, 0], 1)  # with ties
    false, true, area = figures.roc(LABELS == 0, scores)
    assert area == pytest.approx(metrics.roc_auc_score(LABELS == 0, scores))
    expected = metrics.roc_curve(LABELS == 0, scores, drop_intermediate=False)
    np.testing.assert_allclose(false, expected[0])
    np.testing.assert_allclose(true, expected[1])


@pytest.mark.parametrize("kind", ["probabilities", "logits", "sigmoid", "one logit"])
def test_outputs_become_probabilities(kind):
    logits = DRAW.normal(size=(6, 3))
    softmax = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    sigmoid = 1 / (1 + np.exp(-3 * logits[:, :1]))
    given, expected = {
        "probabilities": (softmax, softmax), "logits": (logits, softmax),
        "sigmoid": (sigmoid, np.hstack([1 - sigmoid, sigmoid])),
        "one logit": (3 * logits[:, :1], np.hstack([1 - sigmoid, sigmoid])),
    }[kind]  # fmt: skip
    np.testing.assert_allclose(figures.to_probabilities(given), expected, rtol=1e-6)


def test_classification_figures_are_drawn():
    images = DRAW.integers(0, 256, (200, 6, 6, 1), dtype=np.uint8)
    model = keras.Sequential([keras.Input((3,)), keras.layers.Softmax()])
    drawn = callbacks.classification_figures(np.log(PROBABILITIES), LABELS, CLASSES, images=images)(model, 0)
    assert set(drawn) == {"confusion_matrix", "roc", "reliability", "examples"}
    predicted = PROBABILITIES.argmax(1)
    counts = metrics.confusion_matrix(LABELS, predicted)
    texts = [int(t.get_text()) for t in drawn["confusion_matrix"].axes[0].texts]
    assert texts == counts[counts > 0].tolist()
    first = drawn["examples"].axes[0].get_title()
    worst = np.argmax(np.where(predicted != LABELS, PROBABILITIES.max(1), -1))
    assert first == f"{CLASSES[predicted[worst]]} {PROBABILITIES[worst].max():.0%}\nis {CLASSES[LABELS[worst]]}"


@pytest.mark.slow
def test_without_tensorflow_installed(tmp_path):
    pytest.importorskip("torch")
    script = f"""
import sys
sys.modules["tensorflow"] = None  # importing it fails
import keras, numpy as np
import callbacks
model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2)])
model.compile("sgd", "mse")
x = np.ones((8, 2), "float32")
board = callbacks.TensorBoard(r"{tmp_path}", histograms_every=1, text={{"a": "b"}})
model.fit(x, x, verbose=0, callbacks=[board])
callbacks.write_hparams(r"{tmp_path}/hparams", {{"a": 1}}, {{"b": 2.0}}, 1)
callbacks.write_embeddings(r"{tmp_path}/train", {{"x": x}}, {{"l": list("abcdefgh")}})
callbacks.write_pr_curves(r"{tmp_path}/train", np.zeros(8, int), x / 2, ("a", "b"), 1)
assert sys.modules["tensorflow"] is None
"""
    environment = {**os.environ, "KERAS_BACKEND": "torch", "PYTHONPATH": os.getcwd()}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert read(tmp_path / "train").Tags()["graph"]
