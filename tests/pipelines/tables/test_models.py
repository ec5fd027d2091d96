"""Our networks against the authors' own PyTorch code, and against what they must do."""

import keras
import numpy as np
import pytest
from keras import ops

from pipelines.losses import SquaredErrorOfMembers
from pipelines.tables.layers import (
    BatchEnsembleDense,
    FrontScale,
    MemberDense,
    MemberMean,
    MemberSpread,
    NTKDense,
    Periodic,
    PiecewiseLinear,
    Tokens,
)
from pipelines.tables.models import Layout, averaged, bins_of, ft_transformer, mlp, tabm

X = np.random.default_rng(0).normal(size=(200, 5)).astype("float32")
X[:, 4] = np.round(X[:, 4])
HOT = np.eye(3, dtype="float32")[np.arange(200) % 3]
LAYOUT = Layout(5, [3])
ROWS = np.concatenate([X, HOT], 1)


def array(x):
    return ops.convert_to_numpy(x)


def tensor(torch, x):
    return torch.tensor(np.asarray(x))


@pytest.mark.parametrize("kind", ["piecewise", "periodic", "none"])
def test_tabm_is_that_of_its_authors(kind):
    """Their weights in our network give their outputs."""
    tabm_package = pytest.importorskip("tabm")
    import rtdl_num_embeddings as rtdl
    import torch

    torch.manual_seed(0)
    bins = bins_of(X, 16)
    theirs_bins = [tensor(torch, np.array(edges, "float32")) for edges in bins]
    embeddings = {
        "piecewise": lambda: rtdl.PiecewiseLinearEmbeddings(theirs_bins, 6, activation=False, version="B"),
        "periodic": lambda: rtdl.PeriodicEmbeddings(5, 6, n_frequencies=12, frequency_init_scale=0.1, lite=False),
        "none": lambda: None,
    }[kind]()
    theirs = tabm_package.TabM.make(
        n_num_features=5, cat_cardinalities=[3], d_out=4, num_embeddings=embeddings, n_blocks=2, d_block=24, k=8
    )
    with torch.no_grad():
        for p in theirs.parameters():  # factors and pieces that begin with ones and zeros would hide mistakes
            p.add_(0.1 * torch.randn_like(p))
    ours = tabm(LAYOUT, (4,), True, bins, members=8, width=24, embedding=kind, embedding_width=6, scale=0.1)
    layers = [layer for layer in ours.layers if layer.weights]
    if kind == "piecewise":
        e = theirs.num_module
        layers.pop(0).set_weights([x.detach().numpy() for x in (e.linear0.weight, e.linear0.bias, e.linear.weight)])
    if kind == "periodic":
        e = theirs.num_module
        layers.pop(0).set_weights([x.detach().numpy() for x in (e.periodic.weight, e.linear.weight, e.linear.bias)])
    for layer, block in zip(layers[:2], theirs.backbone.blocks, strict=True):
        b = block[0]
        layer.set_weights([x.detach().numpy() for x in (b.weight.T, b.r, b.s, b.bias)])
    layers[2].set_weights([x.detach().numpy() for x in (theirs.output.weight, theirs.output.bias)])
    theirs.eval()
    with torch.no_grad():
        logits = theirs(tensor(torch, X), tensor(torch, HOT.argmax(1)[:, None]))
        expected = logits.softmax(-1).mean(1).log().numpy()
    np.testing.assert_allclose(array(averaged(ours, True)(ROWS, training=False)), expected, atol=1e-5)


def test_ft_transformer_is_that_of_its_authors():
    """Their weights in our network give their outputs."""
    package = pytest.importorskip("rtdl_revisiting_models")
    import torch

    torch.manual_seed(0)
    theirs = package.FTTransformer(
        n_cont_features=5, cat_cardinalities=[3], d_out=4, n_blocks=2, d_block=24, attention_n_heads=8,
        attention_dropout=0.1, ffn_d_hidden=32, ffn_d_hidden_multiplier=None, ffn_dropout=0.1, residual_dropout=0.0,
    ).eval()  # fmt: skip
    with torch.no_grad():
        for p in theirs.parameters():  # norms and biases that begin with ones and zeros would hide mistakes
            p.add_(0.1 * torch.randn_like(p))
    ours = ft_transformer(LAYOUT, (4,), True, width=24, depth=2)

    def of(kind, **properties):
        layers = [layer for layer in ours.layers if isinstance(layer, kind)]
        return iter([layer for layer in layers if all(getattr(layer, k) == v for k, v in properties.items())])

    def put(layer, *weights):
        layer.set_weights([w.detach().numpy().reshape(v.shape) for w, v in zip(weights, layer.weights, strict=True)])

    numbers, words = theirs.cont_embeddings, theirs.cat_embeddings
    put(
        next(of(Tokens)),
        torch.cat([numbers.weight, words.embeddings[0].weight]),
        torch.cat([numbers.bias, words.bias]),
        theirs.cls_embedding.weight,
    )
    norms, attentions = of(keras.layers.LayerNormalization), of(keras.layers.MultiHeadAttention)
    values = of(keras.layers.Dense, units=32, activation=keras.activations.linear)
    gates, backs = of(keras.layers.Dense, units=32, activation=keras.activations.relu), of(keras.layers.Dense, units=24)
    for block in theirs.backbone.blocks:
        if "attention_normalization" in block:
            put(next(norms), block["attention_normalization"].weight, block["attention_normalization"].bias)
        a, f = block["attention"], block["ffn"]
        heads = [x for w in (a.W_q, a.W_k, a.W_v, a.W_out) for x in (w.weight.T, w.bias)]
        put(next(attentions), *heads)
        put(next(norms), block["ffn_normalization"].weight, block["ffn_normalization"].bias)
        put(next(values), f.linear1.weight[:32].T, f.linear1.bias[:32])
        put(next(gates), f.linear1.weight[32:].T, f.linear1.bias[32:])
        put(next(backs), f.linear2.weight.T, f.linear2.bias)
    out = theirs.backbone.output
    put(next(norms), out.normalization.weight, out.normalization.bias)
    put(next(of(keras.layers.Dense, units=4)), out.linear.weight.T, out.linear.bias)
    with torch.no_grad():
        logits = theirs(tensor(torch, X), tensor(torch, HOT.argmax(1)[:, None]))
    np.testing.assert_allclose(
        array(averaged(ours, True)(ROWS, training=False)), logits.log_softmax(-1).numpy(), atol=1e-5
    )


def test_piecewise_encoding_is_that_of_the_paper():
    """Equation 1 of the paper, one number at a time."""
    bins = [[-1.0, 0.0, 2.0], [0.0, 1.0]]
    layer = PiecewiseLinear(bins, 2)
    layer.build((None, 2))
    kernel = np.random.default_rng(0).normal(size=(2, 2, 2)).astype("float32")
    layer.set_weights([np.zeros((2, 2)), np.zeros((2, 2)), kernel])
    points = np.array([[-1.5, -1], [-0.5, 0.5], [1.0, 2.0], [3.0, 0.0]], "float32")
    got = array(layer(points))
    for row, (a, b) in enumerate(points):
        first = [min((a + 1) / 1, 1), max((a - 0) / 2, 0)]  # the ends go on past the bins
        np.testing.assert_allclose(got[row, 0], np.array(first) @ kernel[0], rtol=1e-5)
        np.testing.assert_allclose(got[row, 1], b * kernel[1, 1], rtol=1e-5, atol=1e-6)


def test_bins_are_the_quantiles_of_the_authors():
    rtdl = pytest.importorskip("rtdl_num_embeddings")
    import torch

    ours, theirs = bins_of(X, 16), rtdl.compute_bins(tensor(torch, X), n_bins=16)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b.numpy(), atol=1e-6)
    assert bins_of(np.ones((4, 1)), 8) == [[1.0, 2.0]]


@pytest.mark.backend
def test_members_learn_alone_and_are_judged_together():
    logits = np.random.default_rng(1).normal(size=(6, 4, 3)).astype("float32")
    target = np.eye(3, dtype="float32")[[0, 1, 2, 0, 1, 2]]
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    layer = MemberMean(True)
    own = -(target[:, None] * log_p).sum(-1).mean(1)
    np.testing.assert_allclose(-(target * array(layer(logits, training=True))).sum(-1), own, rtol=1e-5)
    together = np.log(np.exp(log_p).mean(1))
    np.testing.assert_allclose(array(layer(logits, training=False)), together, rtol=1e-5, atol=1e-6)


@pytest.mark.backend
def test_numbers_are_learned_by_each_member_of_each_copy_from_the_rows_it_sees():
    """The loss is the mean of the members' own squared errors, with five copies of which each leaves out a fold."""
    model = tabm(LAYOUT, (2,), False, bins_of(X, 8), members=4, width=8, ensemble=5, dropout=0.0)
    members = keras.Model(model.input, [model.get_layer(f"mean_{e}").input for e in range(5)])(ROWS)
    answers = np.stack([array(of_copy) for of_copy in members], 1)  # (B, E, K, T)
    y = X[:, 1:3]
    weight = (np.arange(200)[:, None] % 5 != np.arange(5)).astype("float32")
    own = np.square(y[:, None, None] - answers).mean((2, 3))
    model.compile(keras.optimizers.SGD(0.0), SquaredErrorOfMembers(), jit_compile=keras.backend.backend() == "jax")
    copied = np.repeat(y[:, None], 5, 1)
    trained = model.train_on_batch(ROWS, copied, sample_weight=weight)
    assert float(trained) == pytest.approx((weight * own).mean(), rel=1e-4)
    # Judged is the mean of a copy's members.
    judged = np.square(y[:, None] - answers.mean(2)).mean(2)
    tested = model.test_on_batch(ROWS, copied, sample_weight=1 - weight)
    assert float(tested) == pytest.approx(((1 - weight) * judged).mean(), rel=1e-4)
    together = array(averaged(model, False)(ROWS, training=False))
    np.testing.assert_allclose(together, answers.mean((1, 2)), rtol=1e-4, atol=1e-5)


def test_first_factors_are_the_same_within_a_chunk():
    layer = BatchEnsembleDense(4, 6, "signs", [2, 3])
    layer.build((None, 5))
    factors = array(layer.input_factors)
    assert set(np.unique(factors)) == {-1.0, 1.0}
    assert (factors[:, 0] == factors[:, 1]).all()
    assert (factors[:, 2:] == factors[:, 2:3]).all()
    biases = array(layer.bias)
    assert (biases == biases[0]).all()
    with pytest.raises(ValueError, match="chunks add up to 5, but there are 7 inputs"):
        BatchEnsembleDense(4, 6, "signs", [2, 3]).build((None, 7))
    with pytest.raises(ValueError, match="factors must be"):
        BatchEnsembleDense(4, 6, "zeros")


BUILD = {
    "tabm": lambda outputs, classes: tabm(LAYOUT, outputs, classes, bins_of(X, 8), members=4, width=16, ensemble=2),
    "periodic": lambda outputs, classes: tabm(
        LAYOUT, outputs, classes, bins_of(X, 8), members=4, width=16, embedding="periodic"
    ),
    "mlp": lambda outputs, classes: mlp(LAYOUT, outputs, classes, bins_of(X, 8), width=16, ensemble=2),
    "ft": lambda outputs, classes: ft_transformer(LAYOUT, outputs, classes, width=16, depth=1, ensemble=2),
}


@pytest.mark.backend
@pytest.mark.parametrize("name", BUILD)
@pytest.mark.parametrize(("outputs", "classes"), [((3,), True), ((2,), False), ((4, 2), True)])
def test_networks_learn_and_survive_saving(name, outputs, classes, tmp_path):
    keras.utils.set_random_seed(0)
    model = BUILD[name](outputs, classes)
    y = np.stack([X[:, 0] * X[:, 1], X[:, 2]], 1)
    if classes:
        shape = (len(X), *outputs[:-1])
        y = np.eye(outputs[-1], dtype="float32")[
            np.broadcast_to((X[:, 0] > 0).astype(int).reshape(-1, *[1] * (len(shape) - 1)), shape)
        ]

    def likelihood(true, got):
        return -ops.mean(ops.sum(true * got, -1))

    loss = likelihood if classes else SquaredErrorOfMembers()
    copied = np.repeat(y[:, None], model.output_shape[1], 1)  # a target for each copy
    model.compile(keras.optimizers.Adam(0.01), loss, jit_compile=keras.backend.backend() == "jax")
    before = model.evaluate(ROWS, copied, verbose=0)
    model.fit(ROWS, copied, epochs=15, verbose=0)
    assert model.evaluate(ROWS, copied, verbose=0) < 0.7 * before
    model = averaged(model, classes)
    expected = model.predict(ROWS, verbose=0)
    assert expected.shape == (len(X), *outputs)
    if classes:
        np.testing.assert_allclose(np.exp(expected).sum(-1), 1, rtol=1e-4)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras", compile=False)
    np.testing.assert_allclose(again.predict(ROWS, verbose=0), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.backend
@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (PiecewiseLinear(bins_of(X, 4), 3), (2, 5)), (Periodic(3, 4, 0.5), (2, 5)), (Periodic(3, 4, 0.5, True), (2, 5)),
        (BatchEnsembleDense(4, 3), (2, 5)), (MemberDense(4), (2, 3, 5)), (MemberMean(True), (2, 3, 5)),
        (MemberMean(False), (2, 3, 5)), (MemberSpread(), (2, 3, 5)),
        (FrontScale(), (2, 5)), (NTKDense(3), (2, 5)), (Tokens(2, [1, 2], 4), (2, 5)),
    ],
    ids=lambda value: getattr(value, "name", ""),
)  # fmt: skip
def test_shapes_and_configurations(layer, shape):
    x = np.ones(shape, "float32")
    y = layer(x)
    assert tuple(y.shape) == tuple(layer.compute_output_shape(shape))
    copy = type(layer).from_config(layer.get_config())
    copy.build(shape)
    copy.set_weights(layer.get_weights())
    np.testing.assert_allclose(array(copy(x)), array(y), rtol=1e-6)


def test_bad_arguments():
    with pytest.raises(ValueError, match="rising edges"):
        PiecewiseLinear([[1.0, 1.0]], 3)
    with pytest.raises(ValueError, match="too small"):
        Periodic(0, 4, 0.5)
