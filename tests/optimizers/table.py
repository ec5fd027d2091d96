"""Every optimizer of the registry with its NumPy reference, and the settings at which the two are compared."""

from functools import partial

from quadratics import SHAPES, SQUARE, STEPS

from optimizers import reference, registry

AdamW = partial(reference.adam, b1=0.0)

# name in the registry -> reference, learning rate, arguments
TABLE = {
    "sgd": (reference.sgd, 0.1, {}),
    "momentum": (reference.momentum, 0.05, {}),
    "nesterov": (reference.nesterov, 0.05, {}),
    "adagrad": (reference.adagrad, 0.05, {}),
    "adadelta": (reference.adadelta, 1.0, {}),
    "rmsprop": (reference.rmsprop, 0.01, {}),
    "adam": (reference.adam, 0.01, {}),
    "adamw": (reference.adam, 0.01, {}),
    "amsgrad": (reference.amsgrad, 0.01, {}),
    "adamax": (reference.adamax, 0.01, {}),
    "nadam": (reference.nadam, 0.01, {}),
    "ftrl": (reference.ftrl, 0.05, {}),
    "lion": (reference.lion, 0.01, {}),
    "lamb": (reference.lamb, 0.01, {}),
    "adafactor": (reference.adafactor, 0.05, {}),
    "muon": (reference.muon, 0.01, {"adam_weight_decay": 0.0}),
    "conv-muon": (reference.conv_muon, 0.01, {}),
    "adabelief": (reference.adabelief, 0.01, {}),
    "radam": (reference.radam, 0.01, {}),
    "adan": (reference.adan, 0.02, {}),
    "ademamix": (partial(reference.ademamix, steps=15, b3=0.99), 0.01, {"slow_steps": 15, "beta_3": 0.99}),
    "lars": (partial(reference.lars, weight_decay=0.01, trust=0.02), 0.1, {"weight_decay": 0.01}),
    "prodigy": (partial(reference.prodigy, d0=1e-2), 1.0, {"initial_distance": 1e-2}),
    "momentum-sam": (reference.momentum_sam, 0.02, {}),
    "shampoo": (partial(reference.shampoo, refresh=4), 0.01, {"refresh": 4}),
    "soap": (partial(reference.soap, refresh=4), 0.01, {"refresh": 4}),
    "schedule-free": (partial(reference.schedule_free, inner=AdamW), 0.01, {}),
    "cautious-adamw": (partial(reference.cautious, inner=reference.adam), 0.01, {}),
    "ranger": (
        partial(reference.lookahead, inner=partial(reference.centralized, inner=reference.radam)), 0.01, {},
    ),
}  # fmt: skip


def decayed(inner):
    return lambda w, g, s, t, lr: inner(reference.decay(w, lr, 0.1), g, s, t, lr)


# Where weight decay of 0.1 is not simply the first part of a step.
DECAYED = {
    "prodigy": partial(reference.prodigy, d0=1e-2, weight_decay=0.1),
    "momentum-sam": partial(reference.momentum_sam, weight_decay=0.1),
    "schedule-free": partial(reference.schedule_free, inner=AdamW, weight_decay=0.1),
    "ranger": partial(reference.lookahead, inner=decayed(partial(reference.centralized, inner=reference.radam))),
}
OWN = [n for n, r in registry.RECORDS.items() if ":" in r.factory or r.wrap]
WHOLLY_OWN = [n for n in OWN if "optimizers." in registry.RECORDS[n].factory and n != "conv-muon"]
WHOLE = ("prodigy", "momentum-sam")  # their references take all weights at once


def shapes_for(name):
    return SQUARE if name in ("soap", "shampoo") else SHAPES


def run_reference(name, update, problem, lr, decay=0.0):
    weights = [w.astype("float64") for w in problem.starts]
    if name in WHOLE:
        state = {}
        for t in range(STEPS):
            weights = update(weights, problem.gradients(weights, t), state, t + 1, lr)
        return weights
    states = [{} for _ in weights]
    for t in range(STEPS):
        gradients = problem.gradients(weights, t)
        weights = [reference.decay(w, lr, decay) if w.ndim > 1 else w for w in weights]
        weights = [update(w, g, s, t + 1, lr) for w, g, s in zip(weights, gradients, states, strict=True)]
    return weights


def make(name, **settings):
    _, lr, extra = TABLE[name]
    return registry.get(name, **{"learning_rate": lr, "weight_decay": 0.0, **extra, **settings})
