"""Layers of networks for tables; all run on every backend."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import keras
import numpy as np
from keras import ops

FAR = 1e30


def _uniform(fan_in: int) -> keras.initializers.Initializer:
    """What PyTorch's linear layers begin with; made anew for each weight, since one gives the same values each time."""
    return keras.initializers.RandomUniform(-(fan_in**-0.5), fan_in**-0.5)


@keras.saving.register_keras_serializable(package="pipelines")
class PiecewiseLinear(keras.layers.Layer):
    """Numbers (B, F) to embeddings (B, F, units): a line, plus a learned piece for each bin that begins at zero.

    Args:
        bins: Edges of the bins of each number, rising.
        units: Size of an embedding.

    Reference:
        Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022; the version
        with the line is that of TabM (ICLR 2025).
    """

    def __init__(self, bins: Sequence[Sequence[float]], units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.bins = [[float(x) for x in edges] for edges in bins]
        self.units = units
        if not self.bins or any(len(e) < 2 or any(b <= a for a, b in pairwise(e)) for e in self.bins):
            raise ValueError("bins must hold at least two rising edges for each number")
        most = max(len(edges) - 1 for edges in self.bins)
        self._slope, self._offset = np.zeros((2, len(self.bins), most), np.float32)
        self._low = np.zeros((len(self.bins), most), np.float32)
        self._high = np.ones((len(self.bins), most), np.float32)
        for i, edges in enumerate(self.bins):
            slope = 1 / np.diff(edges)
            offset = -np.array(edges[:-1]) * slope
            # The last bin stands in the last place whatever their number: outside of the bins the line goes on.
            places = [*range(len(slope) - 1), most - 1]
            self._slope[i, places], self._offset[i, places] = slope, offset
            self._low[i, places[0]] = -FAR
            self._high[i, places[-1]] = FAR

    def build(self, input_shape: Any) -> None:
        number, most = self._slope.shape
        self.line = self.add_weight(name="line", shape=(number, self.units), initializer=_uniform(self.units))
        self.bias = self.add_weight(name="bias", shape=(number, self.units), initializer=_uniform(self.units))
        self.kernel = self.add_weight(name="kernel", shape=(number, most, self.units), initializer="zeros")

    def call(self, inputs: Any) -> Any:
        x = ops.expand_dims(inputs, -1)
        # As tensors: NumPy would take a PyTorch tensor over, and lose its gradient. Bins may be too narrow for halves.
        slope, offset, low, high = map(ops.convert_to_tensor, (self._slope, self._offset, self._low, self._high))
        pieces = ops.clip(ops.cast(x, "float32") * slope + offset, low, high)
        return x * self.line + self.bias + ops.einsum("bfm,fmu->bfu", ops.cast(pieces, self.compute_dtype), self.kernel)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "bins": self.bins, "units": self.units}


@keras.saving.register_keras_serializable(package="pipelines")
class Periodic(keras.layers.Layer):
    """Numbers (B, F) to embeddings (B, F, units) by learned frequencies.

    Args:
        frequencies: Frequencies of a number.
        units: Size of an embedding.
        scale: Spread of the first frequencies.
        dense: Keep the number itself beside `units - 1` others, without an activation, as RealMLP does; else a
            rectified layer of each number's own, as TabM does.

    Reference:
        Gorishniy et al., "On Embeddings for Numerical Features in Tabular Deep Learning", NeurIPS 2022; `dense`:
        Holzmüller et al., "Better by Default", NeurIPS 2024.
    """

    def __init__(self, frequencies: int, units: int, scale: float, dense: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if frequencies < 1 or units < 1 + dense or scale <= 0:
            raise ValueError(f"frequencies, units and scale are too small: {frequencies}, {units}, {scale}")
        self.frequencies, self.units, self.scale, self.dense = frequencies, units, scale, dense

    def build(self, input_shape: Any) -> None:
        number, hidden = input_shape[-1], self.frequencies * (1 if self.dense else 2)
        units = self.units - self.dense
        spread = keras.initializers.TruncatedNormal(stddev=self.scale)
        phase = keras.initializers.RandomUniform(-math.pi, math.pi)
        self.rate = self.add_weight(name="rate", shape=(number, self.frequencies), initializer=spread)
        self.phase = self.add_weight(name="phase", shape=(number, hidden), initializer=phase) if self.dense else None
        self.kernel = self.add_weight(name="kernel", shape=(number, hidden, units), initializer=_uniform(hidden))
        self.bias = self.add_weight(name="bias", shape=(number, units), initializer=_uniform(hidden))

    def call(self, inputs: Any) -> Any:
        x = ops.expand_dims(inputs, -1)
        angle = 2 * math.pi * x * self.rate
        waves = ops.cos(angle + self.phase) if self.dense else ops.concatenate([ops.cos(angle), ops.sin(angle)], -1)
        mixed = ops.einsum("bfm,fmu->bfu", waves, self.kernel) + self.bias
        return ops.concatenate([x, mixed], -1) if self.dense else ops.relu(mixed)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape, self.units)

    def get_config(self) -> dict[str, Any]:
        own = {"frequencies": self.frequencies, "units": self.units, "scale": self.scale, "dense": self.dense}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="pipelines")
class BatchEnsembleDense(keras.layers.Layer):
    """Dense layers of K members that share a kernel: (B, K, D) or (B, D) to (B, K, units).

    Each member has factors of its own on the inputs and on the outputs, and a bias of its own.

    Args:
        units: Outputs of a member.
        members: K.
        factors: First factors on the inputs: `ones`, `normal` or `signs`.
        chunks: Sizes of neighbouring inputs that begin with the same factor, or none where each has its own.

    Reference:
        Wen et al., "BatchEnsemble", ICLR 2020; first values after TabM (Gorishniy et al., ICLR 2025).
    """

    def __init__(
        self, units: int, members: int, factors: str = "ones", chunks: Sequence[int] | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        if factors not in ("ones", "normal", "signs"):
            raise ValueError(f"factors must be ones, normal or signs, got {factors!r}")
        self.units, self.members, self.factors = units, members, factors
        self.chunks = list(chunks) if chunks is not None else None

    def build(self, input_shape: Any) -> None:
        inputs = input_shape[-1]
        if self.chunks is not None and sum(self.chunks) != inputs:
            raise ValueError(f"chunks add up to {sum(self.chunks)}, but there are {inputs} inputs")
        self.kernel = self.add_weight(name="kernel", shape=(inputs, self.units), initializer=_uniform(inputs))
        self.input_factors = self.add_weight(
            name="input_factors", shape=(self.members, inputs), initializer=self._first_factors
        )
        self.output_factors = self.add_weight(
            name="output_factors", shape=(self.members, self.units), initializer="ones"
        )
        # All members begin with the same bias.
        self.bias = self.add_weight(
            name="bias", shape=(self.members, self.units),
            initializer=lambda shape, dtype: ops.tile(_uniform(inputs)((1, shape[1]), dtype), (shape[0], 1)),
        )  # fmt: skip

    def _first_factors(self, shape: Sequence[int], dtype: Any) -> Any:
        if self.factors == "ones":
            return ops.ones(shape, dtype)
        chunks = self.chunks or [1] * shape[1]
        drawn = keras.initializers.RandomNormal(stddev=1.0)((shape[0], len(chunks)), dtype)
        if self.factors == "signs":
            drawn = ops.where(drawn > 0, ops.ones_like(drawn), -ops.ones_like(drawn))
        return ops.take(drawn, np.repeat(np.arange(len(chunks)), chunks), axis=1)

    def call(self, inputs: Any) -> Any:
        x = inputs if len(inputs.shape) == 3 else ops.expand_dims(inputs, 1)
        return ops.matmul(x * self.input_factors, self.kernel) * self.output_factors + self.bias

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], self.members, self.units)

    def get_config(self) -> dict[str, Any]:
        own = {"units": self.units, "members": self.members, "factors": self.factors, "chunks": self.chunks}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="pipelines")
class MemberDense(keras.layers.Layer):
    """A dense layer of each member's own: (B, K, D) to (B, K, units).

    Args:
        units: Outputs of a member.
    """

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units = units

    def build(self, input_shape: Any) -> None:
        _, members, inputs = input_shape
        self.kernel = self.add_weight(name="kernel", shape=(members, inputs, self.units), initializer=_uniform(inputs))
        self.bias = self.add_weight(name="bias", shape=(members, self.units), initializer=_uniform(inputs))

    def call(self, inputs: Any) -> Any:
        return ops.einsum("bkd,kdu->bku", inputs, self.kernel) + self.bias

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="pipelines")
class MemberMean(keras.layers.Layer):
    """One answer out of those of K members, such that each learns alone and all are judged together.

    With classes, logits (B, K, ..., C) become log-probabilities (B, ..., C). In training they are the mean of the
    members' log-probabilities: the loss -sum(target * output) is then the mean of the members' own losses. Else they
    are the logarithm of the mean of the members' probabilities.
    With numbers (B, K, T), the mean (B, T): see `MemberSpread` for how they learn alone.

    Args:
        classes: Whether the last axis holds the logits of classes.
    """

    def __init__(self, classes: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = ops.cast(inputs, "float32")
        if not self.classes:
            return ops.mean(x, axis=1)
        log_p = ops.log_softmax(x)
        if training:
            return ops.mean(log_p, axis=1)
        return ops.logsumexp(log_p, axis=1) - math.log(x.shape[1])

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *input_shape[2:])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes}


@keras.saving.register_keras_serializable(package="pipelines")
class MemberSpread(keras.layers.Layer):
    """Variance of the numbers of K members, (B, K, T) to (B, T), in training; else zeros.

    The squared error of the members' mean and this together are the mean of the members' own squared errors, for each
    row and number: `pipelines.losses.SquaredErrorOfMembers` adds them before rows are weighed.
    """

    def call(self, inputs: Any, training: bool = False) -> Any:
        x = ops.cast(inputs, "float32")
        return ops.var(x, axis=1) if training else ops.zeros_like(x[:, 0])

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], input_shape[2])


@keras.saving.register_keras_serializable(package="pipelines")
class CopyMean(keras.layers.Layer):
    """One answer (B, ...) out of those of E models (B, E, ...): of log-probabilities that of the mean probabilities.

    Args:
        classes: Whether the last axis holds log-probabilities.
    """

    def __init__(self, classes: bool, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.classes = classes

    def call(self, inputs: Any) -> Any:
        if self.classes:
            return ops.logsumexp(inputs, axis=1) - math.log(inputs.shape[1])
        return ops.mean(inputs, axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], *input_shape[2:])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "classes": self.classes}


@keras.saving.register_keras_serializable(package="pipelines")
class FrontScale(keras.layers.Layer):
    """A learned factor for each input (B, D), that moves `rate` times as fast as other weights.

    Args:
        rate: Factor of the learning rate, under optimizers that normalize the gradient.

    Reference:
        Holzmüller et al., "Better by Default", NeurIPS 2024.
    """

    def __init__(self, rate: float = 6.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rate = rate

    def build(self, input_shape: Any) -> None:
        first = keras.initializers.Constant(1 / self.rate)
        self.factor = self.add_weight(name="factor", shape=(input_shape[-1],), initializer=first)

    def call(self, inputs: Any) -> Any:
        return inputs * self.factor * self.rate

    def compute_output_shape(self, input_shape: Any) -> Any:
        return input_shape

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable(package="pipelines")
class NTKDense(keras.layers.Layer):
    """A dense layer whose kernel is of size one and divided by the root of its inputs; the bias moves a tenth as fast.

    Args:
        units: Outputs.
        zeros: Begin with zeros, as the last layer does.

    Reference:
        Jacot et al., "Neural Tangent Kernel", 2018; here as in Holzmüller et al., "Better by Default", NeurIPS 2024.
    """

    def __init__(self, units: int, zeros: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.zeros = units, zeros

    def build(self, input_shape: Any) -> None:
        normal = "zeros" if self.zeros else keras.initializers.RandomNormal(stddev=1.0)
        bias = "zeros" if self.zeros else keras.initializers.RandomNormal(stddev=10.0)
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], self.units), initializer=normal)
        self.bias = self.add_weight(name="bias", shape=(self.units,), initializer=bias)

    def call(self, inputs: Any) -> Any:
        return ops.matmul(inputs, self.kernel) * inputs.shape[-1] ** -0.5 + 0.1 * self.bias

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (*input_shape[:-1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "zeros": self.zeros}


@keras.saving.register_keras_serializable(package="pipelines")
class Tokens(keras.layers.Layer):
    """Encoded rows (B, D) to tokens (B, 1 + columns, units): one that learns to sum up, then one a number or category.

    Args:
        numeric: Numbers that come first.
        sizes: Sizes of the blocks of zeros and ones after them.
        units: Size of a token.

    Reference:
        Gorishniy et al., "Revisiting Deep Learning Models for Tabular Data" (FT-Transformer), NeurIPS 2021.
    """

    def __init__(self, numeric: int, sizes: Sequence[int], units: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.numeric, self.sizes, self.units = numeric, list(sizes), units
        owner = [*range(numeric), *np.repeat(np.arange(len(sizes)) + numeric, self.sizes).tolist()]
        self._owner = np.eye(numeric + len(sizes), dtype=np.float32)[owner]

    def build(self, input_shape: Any) -> None:
        inputs, columns = self._owner.shape
        self.kernel = self.add_weight(name="kernel", shape=(inputs, self.units), initializer=_uniform(self.units))
        self.bias = self.add_weight(name="bias", shape=(columns, self.units), initializer=_uniform(self.units))
        self.first = self.add_weight(name="first", shape=(1, 1, self.units), initializer=_uniform(self.units))

    def call(self, inputs: Any) -> Any:
        owner = ops.cast(self._owner, self.compute_dtype)
        tokens = ops.einsum("bi,ij,iu->bju", inputs, owner, self.kernel) + self.bias
        return ops.concatenate([ops.repeat(self.first, ops.shape(inputs)[0], axis=0), tokens], axis=1)

    def compute_output_shape(self, input_shape: Any) -> Any:
        return (input_shape[0], 1 + self._owner.shape[1], self.units)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "numeric": self.numeric, "sizes": self.sizes, "units": self.units}
