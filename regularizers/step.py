"""Penalties that need the training step: a second pass, a gradient, or the predictions with their weights.

They stand in the model's `compute_loss`, which all backends call in the same place. The model itself stays as it is:
its class, its layers, its optimizer and what is saved.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
from keras import ops

SEED_STATE = "seed_generator_state"
# Names of losses, as classes and as functions.
_REGRESSION = {
    "meansquarederror", "meanabsoluteerror", "meanabsolutepercentageerror", "meansquaredlogarithmicerror", "huber",
    "logcosh", "poisson", "cosinesimilarity",
}  # fmt: skip
_BINARY = {"binarycrossentropy", "binaryfocalcrossentropy"}


@dataclass(frozen=True)
class Batch:
    """One batch in the training step.

    Args:
        model: The model.
        x: Its inputs.
        y: Its targets.
        y_pred: Its outputs for `x` in training mode.
        sample_weight: Weights of the samples, or none.
        compute_loss: The model's own loss of `(x, y, y_pred, sample_weight)`.
    """

    model: keras.Model
    x: Any
    y: Any
    y_pred: Any
    sample_weight: Any
    compute_loss: Callable[[Any, Any, Any, Any], Any]

    def forward(self, x: Any) -> tuple[Any, list[tuple[keras.Variable, Any]]]:
        """One more pass in training mode, without side effects.

        Returns:
            The outputs, and the states of the random generators after it, to be given to `advance`. What the pass did
            to other variables (statistics of norms) is forgotten: the batch has already counted.
        """
        model = self.model
        training = {"training": True} if "training" in inspect.signature(model.call).parameters else {}
        before = model.non_trainable_variables
        outputs, after = model.stateless_call(
            [v.value for v in model.trainable_variables], [v.value for v in before], x, **training
        )
        return outputs, [(v, new) for v, new in zip(before, after, strict=True) if v.name == SEED_STATE]

    def mean(self, values: Any) -> Any:
        """(B,) penalties of the samples to their mean, weighted as Keras weighs their losses."""
        weights = self.sample_weight
        if weights is not None and len(weights.shape) > 1:
            weights = ops.mean(ops.reshape(weights, (ops.shape(weights)[0], -1)), axis=1)
        return _Mean(name="mean")(values, values, weights)


class _Mean(keras.losses.Loss):
    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred


def advance(states: list[tuple[keras.Variable, Any]]) -> None:
    """Puts random generators into the state in which a pass has left them."""
    for variable, value in states:
        variable.assign(value)


class StepPenalty:
    """A penalty computed in each training step; not part of the validation loss.

    Subclasses define `penalty`. `regularizers.apply(model, penalty)` puts it on a model.

    Args:
        strength: Factor of the penalty in the loss.
    """

    def __init__(self, strength: float) -> None:
        if not strength >= 0:
            raise ValueError(f"strength must not be negative, got {strength}")
        self.strength = strength
        self.seed_generator: keras.random.SeedGenerator | None = None

    def check(self, model: keras.Model) -> None:
        """Raises `ValueError` where the model cannot have this penalty."""

    def penalty(self, batch: Batch) -> Any:
        """What is added to the loss, a scalar with the strength in it."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        return {"strength": self.strength}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> StepPenalty:
        return cls(**config)


@dataclass(frozen=True)
class PenalizedLoss:
    """Stands in the place of a model's `compute_loss`."""

    model: keras.Model
    plain: Callable[..., Any]
    penalties: dict[type, StepPenalty] = field(default_factory=dict)

    def __call__(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        loss = self.plain(x, y, y_pred, sample_weight, training=training)
        if not training:
            return loss

        def compute_loss(x: Any, y: Any, y_pred: Any, sample_weight: Any) -> Any:
            return self.plain(x, y, y_pred, sample_weight, training=True)

        batch = Batch(self.model, x, y, y_pred, sample_weight, compute_loss)
        for penalty in self.penalties.values():
            loss = loss + ops.cast(penalty.penalty(batch), loss.dtype)
        return loss


def attach(model: keras.Model, penalty: StepPenalty) -> Callable[[], None]:
    """Adds a penalty to a model's training step, in the place of one of the same class.

    Returns:
        A function that takes it off again.

    Raises:
        ValueError: The model has a training step of its own, or cannot have this penalty.
    """
    if type(model).train_step is not keras.Model.train_step:
        raise ValueError(f"{type(model).__name__} has a train_step of its own, into which no penalty can be put")
    current: Any = model.compute_loss
    stacked = isinstance(current, PenalizedLoss)
    if not stacked and "training" not in inspect.signature(current).parameters:
        raise ValueError(f"compute_loss of {type(model).__name__} must take the argument training")
    penalty.check(model)
    if penalty.seed_generator is not None:
        # Among the model's generators its state is carried through JAX's steps and into checkpoints, but not into the
        # saved model. The public way, an attribute, is closed once a model is built.
        model._seed_generators.append(penalty.seed_generator)
    penalties = {**current.penalties, type(penalty): penalty} if stacked else {type(penalty): penalty}
    model.compute_loss = PenalizedLoss(model, current.plain if stacked else current, penalties)

    def detach() -> None:
        if penalty.seed_generator is not None:
            model._seed_generators.remove(penalty.seed_generator)
        if stacked:
            model.compute_loss = current
        else:
            del model.compute_loss

    return detach


def one_output(y_pred: Any, name: str) -> Any:
    """The model's single output.

    Raises:
        ValueError: There are several.
    """
    if isinstance(y_pred, (list, tuple, dict)):
        raise ValueError(f"{name} needs a model with one output, this one has {len(y_pred)}")
    return y_pred


@dataclass(frozen=True)
class Outputs:
    """How to read the outputs of a classifier (..., K).

    Args:
        form: `softmax`, `sigmoid`, or `logits`.
        several: Whether each of the K outputs is a yes or no of its own, and not one class of K.
    """

    form: str = "logits"
    several: bool = False

    def log_probabilities(self, outputs: Any) -> Any:
        """(..., K) outputs to log-probabilities (..., K), (..., 2) for K = 1, or (..., K, 2) for several labels."""
        if self.form == "softmax":
            return ops.log(ops.maximum(outputs, 1e-7))
        if not self.several and outputs.shape[-1] > 1:
            return ops.log_softmax(outputs)
        logits = outputs if self.form == "logits" else _logit(outputs)
        logits = logits if outputs.shape[-1] == 1 else logits[..., None]
        return ops.concatenate([ops.log_sigmoid(-logits), ops.log_sigmoid(logits)], axis=-1)

    def per_sample(self, values: Any) -> Any:
        """Terms of the log-probabilities' shape to one a sample: summed over classes, averaged over labels."""
        values = ops.sum(values, axis=-1)
        return ops.mean(values, axis=-1) if self.several else values


def _logit(probabilities: Any) -> Any:
    probabilities = ops.clip(probabilities, 1e-7, 1 - 1e-7)
    return ops.log(probabilities) - ops.log(1 - probabilities)


def classifier_outputs(model: keras.Model, name: str) -> Outputs:
    """How a compiled classifier's outputs are to be read, by its last activation and its loss.

    Raises:
        ValueError: The loss is one of regression.
    """
    loss = keras.losses.get(getattr(model, "loss", None))
    kinds = {c.__name__ for c in type(loss).__mro__} | {getattr(loss, "__name__", "")}
    kinds = {kind.replace("_", "").lower() for kind in kinds}
    if kinds & _REGRESSION:
        raise ValueError(f"{name} needs a classifier, but the model's loss is {model.loss}")
    form = _last_activation(model)
    several = bool(kinds & _BINARY) or form == "sigmoid"
    return Outputs(form, several and model.output_shape[-1] > 1)


def _last_activation(model: keras.Model) -> str:
    while model is not None:
        outputs = getattr(model, "outputs", None)
        last = outputs[0]._keras_history.operation if outputs else None
        activation = getattr(last, "activation", None)
        for form in ("softmax", "sigmoid"):
            if activation is getattr(keras.activations, form):
                return form
        if isinstance(last, keras.layers.Softmax):
            return "softmax"
        model = last if isinstance(last, keras.Model) else None
    return "logits"
