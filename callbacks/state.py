"""All that a training step changes, kept and put back."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from callbacks.weights import all_variables, in_evaluation, to_array


def training_begins(model: keras.Model) -> None:
    """What the model holds now is trained, whatever an earlier training that was broken off has left there."""
    in_evaluation.discard(model)


def check_training(model: keras.Model) -> None:
    """Raises `ValueError` while the model holds other weights than those that are trained."""
    if model in in_evaluation:
        raise ValueError(
            "the model holds its evaluation weights, with which training cannot go on: in the list of callbacks, "
            "NanGuard and Checkpoint must stand before EvaluationWeights(swap_on_epoch=True)"
        )


def optimizer_variables(model: keras.Model) -> list[keras.Variable]:
    """The optimizer's variables, those behind a loss-scaling wrapper included, each once."""
    inner = getattr(model.optimizer, "inner_optimizer", None)
    variables = [*model.optimizer.variables, *(inner.variables if inner is not None else ())]
    return list({id(v): v for v in variables}.values())


def training_variables(model: keras.Model) -> list[keras.Variable]:
    """Weights, statistics and random generators of a compiled model, then the variables of its optimizer."""
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return [*all_variables(model), *optimizer_variables(model)]


def training_state(model: keras.Model) -> list[np.ndarray]:
    """Copies of `training_variables` on the host."""
    return [to_array(variable) for variable in training_variables(model)]


def set_training_state(model: keras.Model, arrays: Sequence[np.ndarray]) -> None:
    """Assigns what `training_state` gave."""
    for variable, array in zip(training_variables(model), arrays, strict=True):
        variable.assign(array)


def global_random_state() -> list[np.ndarray]:
    """PyTorch's dropout draws from its global generators; the other backends draw from the model's variables."""
    if keras.backend.backend() != "torch":
        return []
    import torch

    return [state.numpy() for state in (torch.get_rng_state(), *torch.cuda.get_rng_state_all())]


def set_global_random_state(states: Sequence[np.ndarray]) -> None:
    """Puts back what `global_random_state` gave."""
    if keras.backend.backend() == "torch" and states:
        import torch

        torch.set_rng_state(torch.from_numpy(states[0].copy()))
        if len(states) - 1 == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([torch.from_numpy(state.copy()) for state in states[1:]])
