"""Our optimizers against what others have written: the authors' own code where it is packaged, else a well-known one.

The packages are the extra `peers`; a missing one skips its rows.
"""

import importlib

import keras
import numpy as np
import pytest
from quadratics import SHAPES, SQUARE, STEPS, Problem, run, values

from optimizers import registry

torch = pytest.importorskip("torch")


def peer(module, name):
    """A class of a package that may be missing."""
    return lambda: getattr(pytest.importorskip(module), name)


def torch_lookahead():
    """Zhang et al.'s wrapper around PyTorch's Adam."""
    module = pytest.importorskip("pytorch_optimizer")
    return lambda weights, **arguments: module.Lookahead(torch.optim.Adam(weights, **arguments), k=5, alpha=0.5)


class Falling(keras.optimizers.schedules.LearningRateSchedule):
    """0.01 over the root of the step, from 1."""

    def __call__(self, step):
        return 0.01 / keras.ops.sqrt(keras.ops.cast(step, "float32") + 1)


# name here, settings here, theirs, settings there, shapes.
# Where a convention differs, both are set to the same: the place of epsilon by making it small, a term by naming it.
TABLE = {
    "sgd": ({}, lambda: torch.optim.SGD, {}, SHAPES),
    "momentum": ({}, lambda: torch.optim.SGD, {"momentum": 0.9}, SHAPES),
    "nesterov": ({}, lambda: torch.optim.SGD, {"momentum": 0.9, "nesterov": True}, SHAPES),
    "adam": ({"epsilon": 1e-12}, lambda: torch.optim.Adam, {"eps": 1e-12}, SHAPES),
    "lion": ({}, peer("pytorch_optimizer", "Lion"), {"betas": (0.9, 0.99)}, SHAPES),
    "radam": ({}, lambda: torch.optim.RAdam, {}, SHAPES),
    "adabelief": ({}, peer("pytorch_optimizer", "AdaBelief"), {}, SHAPES),
    "adan": ({}, peer("pytorch_optimizer", "Adan"), {}, SHAPES),
    "ademamix": (
        {"slow_steps": 15, "beta_3": 0.99}, peer("pytorch_optimizer", "AdEMAMix"),
        {"betas": (0.9, 0.999, 0.99), "alpha": 5.0, "t_alpha_beta3": 15.0}, SHAPES,
    ),
    "prodigy": ({"initial_distance": 1e-2, "learning_rate": 1.0}, peer("prodigyopt", "Prodigy"), {"d0": 1e-2}, SHAPES),
    "soap": (
        {"refresh": 4}, peer("pytorch_optimizer", "SOAP"), {"precondition_frequency": 4, "weight_decay": 0.0},
        [s for s in SQUARE if len(s) in (1, 2)],
    ),
    # Gupta et al.: sums where ours, with this beta_2, has means over all steps. They are t times less, and their fourth
    # roots on both sides make a step longer by the root of t, which the falling rate takes back. Epsilon joins the
    # eigenvalues in both, here in relation to the largest.
    "shampoo": (
        {"learning_rate": Falling(), "beta_1": 0.0, "beta_2": 1 - 1e-7, "refresh": 1, "graft": "none",
         "matrix_epsilon": 1e-9},
        peer("pytorch_optimizer", "Shampoo"), {"lr": 0.01, "matrix_eps": 1e-9}, [(4, 4), (6, 4), (5, 5)],
    ),
    # Anil et al.: moving averages, roots every few steps, the length of the gradient, and until the first roots the
    # gradient alone. Momentum, which comes after the roots there and before them here, is off; so are blocks, whose
    # lengths are grafted one by one here and together there.
    "shampoo with graft": (
        {"beta_1": 0.0, "beta_2": 0.9, "refresh": 4, "graft": "sgd", "matrix_epsilon": 1e-9},
        peer("pytorch_optimizer", "ScalableShampoo"),
        {"betas": (0.0, 0.9), "start_preconditioning_step": 4, "preconditioning_compute_steps": 4, "use_svd": True,
         "matrix_eps": 1e-9, "nesterov": False, "shape_interpretation": False}, [(5,), (4, 4), (6, 4), (5, 5)],
    ),
    "schedule-free": (
        {}, peer("schedulefree", "AdamWScheduleFree"), {"betas": (0.9, 0.999), "eps": 1e-12, "foreach": False}, SHAPES,
    ),
    "adamw with decay": (
        {"epsilon": 1e-12, "weight_decay": 0.1}, lambda: torch.optim.AdamW, {"eps": 1e-12, "weight_decay": 0.1}, SHAPES,
    ),
    "adan with decay": (
        {"weight_decay": 0.1}, peer("pytorch_optimizer", "Adan"),
        {"weight_decay": 0.1, "weight_decouple": True}, SHAPES,
    ),
    "prodigy with decay": (
        {"initial_distance": 1e-2, "learning_rate": 1.0, "weight_decay": 0.1}, peer("prodigyopt", "Prodigy"),
        {"d0": 1e-2, "weight_decay": 0.1}, SHAPES,
    ),
    "soap with decay": (
        {"refresh": 4, "weight_decay": 0.1}, peer("pytorch_optimizer", "SOAP"),
        {"precondition_frequency": 4, "weight_decay": 0.1}, [s for s in SQUARE if len(s) in (1, 2)],
    ),
    "schedule-free with decay": (
        {"weight_decay": 0.1}, peer("schedulefree", "AdamWScheduleFree"),
        {"betas": (0.9, 0.999), "eps": 1e-12, "foreach": False, "weight_decay": 0.1}, SHAPES,
    ),
    "ranger": (
        {}, peer("pytorch_optimizer", "Ranger"),
        {"betas": (0.9, 0.999), "eps": 1e-8, "k": 5, "degenerated_to_sgd": True}, [(), (5,)],
    ),
    "conv-muon": (
        {"momentum": 0.95, "ns_steps": 5}, lambda: torch.optim.Muon,
        {"momentum": 0.95, "weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}, [(6, 4), (4, 6), (5, 5)],
    ),
}  # fmt: skip

# PyTorch's Muon iterates in bfloat16; the other SOAP decays after the update, and not in the first step.
# Prodigy's rate is a ratio of sums over all weights, in float32.
LOOSE = {"conv-muon": 1e-3, "soap with decay": 2e-3, "prodigy": 1e-4, "prodigy with decay": 1e-4}


def theirs(optimizer, problem, weights):
    for t in range(STEPS):
        gradients = problem.gradients([w.detach().numpy() for w in weights], t)
        for weight, gradient in zip(weights, gradients, strict=True):
            weight.grad = torch.tensor(np.asarray(gradient, "float32"))
        optimizer.step()


@pytest.mark.parametrize("name", TABLE)
def test_twenty_steps_are_those_of_the_peer(name):
    settings, find, arguments, shapes = TABLE[name]
    tolerance = LOOSE.get(name, 2e-5)
    name = name.partition(" ")[0]
    rate = settings.get("learning_rate", 0.01)
    problem = Problem(shapes)
    ours = registry.get(name, **{"learning_rate": rate, "weight_decay": 0.0, **settings})
    if name == "schedule-free":
        ours.inner.epsilon = 1e-12
    got = values(run(ours, problem))
    weights = [torch.nn.Parameter(torch.tensor(w)) for w in problem.starts]
    other = find()(weights, **{"lr": rate, **arguments})
    if hasattr(other, "train") and name == "schedule-free":
        other.train()
    theirs(other, problem, weights)
    for mine, weight in zip(got, weights, strict=True):
        np.testing.assert_allclose(mine, weight.detach().numpy(), rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("name", ["adabelief", "lars", "ademamix"])
def test_twenty_steps_are_those_of_optax(name):
    optax = pytest.importorskip("optax")
    jax = importlib.import_module("jax")
    settings, make = {
        "adabelief": ({}, lambda: optax.adabelief(0.01)),
        "lars": (
            {"learning_rate": 0.1, "weight_decay": 0.01, "trust": 0.02},
            lambda: optax.lars(
                0.1,
                weight_decay=0.01,
                trust_coefficient=0.02,
                trust_ratio_mask=lambda tree: [w.ndim > 1 for w in tree],
                momentum=0.9,
            ),
        ),
        "ademamix": (
            {"beta_3": 0.99, "slow_steps": None},
            lambda: optax.contrib.ademamix(0.01, b3=0.99, alpha=5.0),
        ),
    }[name]
    problem = Problem(SHAPES)
    ours = registry.get(name, **{"learning_rate": 0.01, "weight_decay": 0.0, **settings})
    got = values(run(ours, problem))
    weights = [jax.numpy.asarray(w) for w in problem.starts]
    transformation = make()
    state = transformation.init(weights)
    for t in range(STEPS):
        gradients = [jax.numpy.asarray(np.asarray(g, "float32")) for g in problem.gradients(weights, t)]
        updates, state = transformation.update(gradients, state, weights)
        weights = optax.apply_updates(weights, updates)
    for mine, weight in zip(got, weights, strict=True):
        np.testing.assert_allclose(mine, weight, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("shape", [(6, 4), (3, 2, 4)])
def test_centralized_gradients_are_those_of_the_peer(shape):
    module = pytest.importorskip("pytorch_optimizer.optimizer.gradient_centralization")
    from optimizers.centralized import centralize

    gradient = np.random.default_rng(0).normal(size=shape).astype("float32")
    other = torch.tensor(np.moveaxis(gradient, -1, 0).copy())  # PyTorch has the outputs first
    module.centralize_gradient(other)
    got = values([centralize(keras.ops.convert_to_tensor(gradient))])[0]
    np.testing.assert_allclose(np.moveaxis(got, -1, 0), other.numpy(), rtol=1e-5, atol=1e-6)


def test_lookahead_is_that_of_the_peer():
    from optimizers.lookahead import Lookahead

    problem = Problem(SHAPES)
    got = values(run(Lookahead(keras.optimizers.Adam(0.01, epsilon=1e-12), period=5, alpha=0.5), problem))
    weights = [torch.nn.Parameter(torch.tensor(w)) for w in problem.starts]
    theirs(torch_lookahead()(weights, lr=0.01, eps=1e-12), problem, weights)
    for mine, weight in zip(got, weights, strict=True):
        np.testing.assert_allclose(mine, weight.detach().numpy(), rtol=2e-5, atol=2e-5)
