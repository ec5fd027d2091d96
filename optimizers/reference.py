"""The update of every optimizer in plain NumPy, to be read beside its paper; the tests hold the optimizers to it.

Each function takes the weights `w` and the gradient `g` (arrays of one shape), the state `s` (a dictionary, empty at
the first step), the number of the step `t` (from 1) and the learning rate `lr`; it changes the state and returns the
new weights. `prodigy` and `momentum_sam` look at all weights at once and take lists. Weight decay, where it is
decoupled, is the same for all and stands in `decay`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.linalg import eigh, norm, qr

State: TypeAlias = dict[str, Any]
Array: TypeAlias = np.ndarray


def decay(w: Array, lr: float, weight_decay: float) -> Array:
    """Decoupled weight decay (Loshchilov & Hutter, 2019); the update follows it."""
    return w - lr * weight_decay * w


def average(s: State, name: str, value: Array, beta: float) -> Array:
    """An exponential moving average that begins at zero."""
    s[name] = beta * s.get(name, 0.0) + (1 - beta) * value
    return s[name]


def sgd(w: Array, g: Array, s: State, t: int, lr: float) -> Array:
    return w - lr * g


def momentum(w: Array, g: Array, s: State, t: int, lr: float, mu: float = 0.9, nesterov: bool = False) -> Array:
    s["m"] = mu * s.get("m", 0.0) - lr * g
    return w + (mu * s["m"] - lr * g if nesterov else s["m"])


def nesterov(w: Array, g: Array, s: State, t: int, lr: float) -> Array:
    return momentum(w, g, s, t, lr, nesterov=True)


def adagrad(w: Array, g: Array, s: State, t: int, lr: float, start: float = 0.1, eps: float = 1e-7) -> Array:
    s["sum"] = s.get("sum", start) + g**2
    return w - lr * g / np.sqrt(s["sum"] + eps)


def adadelta(w: Array, g: Array, s: State, t: int, lr: float, rho: float = 0.95, eps: float = 1e-7) -> Array:
    v = average(s, "v", g**2, rho)
    step = np.sqrt(s.get("u", 0.0) + eps) / np.sqrt(v + eps) * g
    average(s, "u", step**2, rho)
    return w - lr * step


def rmsprop(w: Array, g: Array, s: State, t: int, lr: float, rho: float = 0.9, eps: float = 1e-7) -> Array:
    return w - lr * g / np.sqrt(average(s, "v", g**2, rho) + eps)


def adam(
    w: Array, g: Array, s: State, t: int, lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-7,
    amsgrad: bool = False,
) -> Array:  # fmt: skip
    """Kingma & Ba's shorter form, which adds epsilon before the bias correction, as Keras does."""
    m, v = average(s, "m", g, b1), average(s, "v", g**2, b2)
    if amsgrad:
        v = s["largest"] = np.maximum(s.get("largest", 0.0), v)
    return w - lr * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)


def amsgrad(w: Array, g: Array, s: State, t: int, lr: float) -> Array:
    return adam(w, g, s, t, lr, amsgrad=True)


def adamax(
    w: Array, g: Array, s: State, t: int, lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-7
) -> Array:
    m = average(s, "m", g, b1)
    s["u"] = np.maximum(b2 * s.get("u", 0.0), np.abs(g))
    return w - lr / (1 - b1**t) * m / (s["u"] + eps)


def nadam(
    w: Array, g: Array, s: State, t: int, lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-7
) -> Array:
    m, v = average(s, "m", g, b1), average(s, "v", g**2, b2)
    now, later = (b1 * (1 - 0.5 * 0.96**i) for i in (t, t + 1))
    s["product"] = s.get("product", 1.0) * now
    ahead = later * m / (1 - s["product"] * later) + (1 - now) * g / (1 - s["product"])
    return w - lr * ahead / (np.sqrt(v / (1 - b2**t)) + eps)


def ftrl(w: Array, g: Array, s: State, t: int, lr: float, start: float = 0.1) -> Array:
    old = s.get("n", start)
    s["n"] = old + g**2
    s["z"] = s.get("z", 0.0) + g - (np.sqrt(s["n"]) - np.sqrt(old)) / lr * w
    return -s["z"] * lr / np.sqrt(s["n"])


def lion(w: Array, g: Array, s: State, t: int, lr: float, b1: float = 0.9, b2: float = 0.99) -> Array:
    direction = np.sign(b1 * s.get("m", 0.0) + (1 - b1) * g)
    average(s, "m", g, b2)
    return w - lr * direction


def lamb(
    w: Array, g: Array, s: State, t: int, lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-7
) -> Array:
    m, v = average(s, "m", g, b1) / (1 - b1**t), average(s, "v", g**2, b2) / (1 - b2**t)
    u = m / (np.sqrt(v) + eps)
    trust = norm(w) / norm(u) if norm(w) > 0 and norm(u) > 0 else 1.0
    return w - lr * trust * u


def adafactor(
    w: Array, g: Array, s: State, t: int, lr: float, power: float = -0.8, eps1: float = 1e-30, eps2: float = 1e-3
) -> Array:
    def rms(x: Array) -> float:
        return float(np.sqrt(np.mean(x**2)))

    beta, square = 1 - float(t) ** power, g**2 + eps1
    if g.ndim < 2:
        v = average(s, "v", square, beta)
    else:
        rows, columns = average(s, "r", square.mean(-1), beta), average(s, "c", square.mean(-2), beta)
        v = (rows / rows.mean(-1, keepdims=True))[..., None] * columns[..., None, :]
    u = g / np.sqrt(v)
    return w - max(eps2, rms(w)) * min(lr, t**-0.5) * u / max(1.0, rms(u))


def muon(
    w: Array, g: Array, s: State, t: int, lr: float, mu: float = 0.95, rms: float = 0.2, iterations: int = 5,
    axes: tuple[int, ...] = (2,),
) -> Array:  # fmt: skip
    """Orthogonalized Nesterov momentum for arrays of so many axes as matrices (-1, out); Adam for the others."""
    if g.ndim not in axes:
        return adam(w, g, s, t, lr)
    m = average(s, "m", g / (1 - mu), mu)
    x = (g + mu * m).reshape(-1, g.shape[-1])
    tall = x.shape[0] > x.shape[1]
    x = (x.T if tall else x) / (norm(x) + 1e-7)
    for _ in range(iterations):
        a = x @ x.T
        x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
    return w - lr * rms * np.sqrt(max(x.shape)) * (x.T if tall else x).reshape(w.shape)


def conv_muon(w: Array, g: Array, s: State, t: int, lr: float) -> Array:
    return muon(w, g, s, t, lr, mu=0.9, iterations=4, axes=(2, 3, 4, 5))


def adabelief(
    w: Array, g: Array, s: State, t: int, lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-16
) -> Array:
    m = average(s, "m", g, b1)
    v = s["v"] = average(s, "v", (g - m) ** 2, b2) + eps
    return w - lr * m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)


def radam(
    w: Array, g: Array, s: State, t: int, lr: float, b1: float = 0.9, b2: float = 0.999, eps: float = 1e-8
) -> Array:
    m, v = average(s, "m", g, b1), average(s, "v", g**2, b2)
    longest = 2 / (1 - b2) - 1
    length = longest - 2 * t * b2**t / (1 - b2**t)
    step = lr * m / (1 - b1**t)
    if length <= 5:
        return w - step
    rectifier = np.sqrt((length - 4) * (length - 2) * longest / ((longest - 4) * (longest - 2) * length))
    return w - step * rectifier * np.sqrt(1 - b2**t) / (np.sqrt(v) + eps)


def adan(
    w: Array, g: Array, s: State, t: int, lr: float, b1: float = 0.98, b2: float = 0.92, b3: float = 0.99,
    eps: float = 1e-8,
) -> Array:  # fmt: skip
    change = g - s.get("g", g)
    s["g"] = g
    m, d = average(s, "m", g, b1), average(s, "d", change, b2)
    v = average(s, "v", (g + b2 * change) ** 2, b3)
    ahead = m / (1 - b1**t) + b2 * d / (1 - b2**t)
    return w - lr * ahead / (np.sqrt(v / (1 - b3**t)) + eps)


def ademamix(
    w: Array, g: Array, s: State, t: int, lr: float, b1: float = 0.9, b2: float = 0.999, b3: float = 0.9999,
    alpha: float = 5.0, steps: int | None = None, eps: float = 1e-8,
) -> Array:  # fmt: skip
    if steps is not None:
        part = min(t / steps, 1.0)
        fast, slow = np.log(b1), np.log(b3)
        alpha, b3 = alpha * part, float(np.exp(fast * slow / ((1 - part) * slow + part * fast)))
    m, old, v = average(s, "m", g, b1), average(s, "slow", g, b3), average(s, "v", g**2, b2)
    return w - lr * (m / (1 - b1**t) + alpha * old) / (np.sqrt(v / (1 - b2**t)) + eps)


def lars(
    w: Array, g: Array, s: State, t: int, lr: float, mu: float = 0.9, trust: float = 0.001, weight_decay: float = 0.0
) -> Array:
    g = g + weight_decay * w
    if g.ndim > 1 and norm(w) > 0 and norm(g) > 0:
        lr = lr * trust * norm(w) / norm(g)
    s["v"] = mu * s.get("v", 0.0) + lr * g
    return w - s["v"]


def soap(
    w: Array, g: Array, s: State, t: int, lr: float, b1: float = 0.95, b2: float = 0.95, refresh: int = 10,
    eps: float = 1e-8,
) -> Array:  # fmt: skip
    """The first step only finds the bases; a matrix is (-1, out), in one block."""
    done, matrix = t - 1, g.ndim > 1
    x = g.reshape(-1, g.shape[-1]) if matrix else g
    if done:
        left, right = s.get("bases", (None, None))
        turned = left.T @ x @ right if matrix else x
        m, v = average(s, "m", turned, b1), average(s, "v", turned**2, b2)
        step = m / (np.sqrt(v) + eps)
        step = (left @ step @ right.T if matrix else step).reshape(w.shape)
        w = w - lr * np.sqrt(1 - b2**done) / (1 - b1**done) * step
    if not matrix:
        return w
    covariances = average(s, "L", x @ x.T, b2), average(s, "R", x.T @ x, b2)
    if not done:
        s["bases"] = tuple(eigh(c)[1][:, ::-1] for c in covariances)
    elif done % refresh == 0:
        products = [c @ q for c, q in zip(covariances, s["bases"], strict=True)]
        orders = [np.argsort(-(q * p).sum(0)) for q, p in zip(s["bases"], products, strict=True)]
        new = [qr(p[:, order])[0] for p, order in zip(products, orders, strict=True)]
        s["m"] = new[0].T @ (left @ s["m"] @ right.T) @ new[1]
        s["v"] = s["v"][orders[0]][:, orders[1]]
        s["bases"] = tuple(new)
    return w


def shampoo(
    w: Array, g: Array, s: State, t: int, lr: float, b1: float = 0.9, b2: float = 0.99, refresh: int = 10,
    graft: str = "adam", ridge: float = 1e-6, eps: float = 1e-8,
) -> Array:  # fmt: skip
    m = average(s, "m", g, b1) / (1 - b1**t)
    root = np.sqrt(average(s, "v", g**2, b2) / (1 - b2**t)) + eps
    simple = {"adam": m / root, "rmsprop": g / root, "sgd": m, "none": m}[graft]
    if g.ndim < 2:
        return w - lr * simple
    x = g.reshape(-1, g.shape[-1])
    covariances = average(s, "L", x @ x.T, b2), average(s, "R", x.T @ x, b2)
    if t % refresh == 0:
        s["roots"] = []
        for covariance in covariances:
            values, vectors = eigh(covariance / (1 - b2**t))
            values = np.maximum(values, 0) + ridge * values[-1]
            s["roots"].append((vectors * values**-0.25) @ vectors.T)
    if t < refresh:
        return w - lr * simple
    step = s["roots"][0] @ m.reshape(x.shape) @ s["roots"][1]
    length = norm(step) if graft == "none" else norm(simple)
    return w - lr * (step * length / norm(step)).reshape(w.shape)


def prodigy(
    ws: list[Array], gs: list[Array], s: State, t: int, lr: float, b1: float = 0.9, b2: float = 0.999,
    d0: float = 1e-6, eps: float = 1e-8, weight_decay: float = 0.0,
) -> list[Array]:  # fmt: skip
    b3, d = np.sqrt(b2), s.get("d", d0)
    starts, sums = s.setdefault("start", ws), s.get("sums", [0.0] * len(ws))
    progress = sum(float(np.sum(g * (start - w))) for g, start, w in zip(gs, starts, ws, strict=True))
    s["numerator"] = b3 * s.get("numerator", 0.0) + d / d0 * d * lr * progress
    s["sums"] = [b3 * x + d / d0 * d * lr * g for x, g in zip(sums, gs, strict=True)]
    s["m"] = [b1 * m + (1 - b1) * d * g for m, g in zip(s.get("m", [0.0] * len(ws)), gs, strict=True)]
    s["v"] = [b2 * v + (1 - b2) * (d * g) ** 2 for v, g in zip(s.get("v", [0.0] * len(ws)), gs, strict=True)]
    found = s["numerator"] / sum(float(np.abs(x).sum()) for x in s["sums"])
    s["d"] = max(d, found)
    step = d * lr
    return [
        w - step * (m / (np.sqrt(v) + s["d"] * eps) + weight_decay * w)
        for w, m, v in zip(ws, s["m"], s["v"], strict=True)
    ]


def momentum_sam(
    ws: list[Array], gs: list[Array], s: State, t: int, lr: float, mu: float = 0.9, rho: float = 0.3,
    weight_decay: float = 0.0,
) -> list[Array]:  # fmt: skip
    """Takes and returns the shifted weights, at which the gradients are taken."""
    vs, shift = s.get("v", [0.0] * len(ws)), s.get("shift", 0.0)
    plain = [decay(w + shift * v, lr, weight_decay) for w, v in zip(ws, vs, strict=True)]
    s["v"] = [mu * v + g for v, g in zip(vs, gs, strict=True)]
    s["plain"] = [w - lr * v for w, v in zip(plain, s["v"], strict=True)]
    s["shift"] = rho / (np.sqrt(sum(float(np.sum(v**2)) for v in s["v"])) + 1e-12)
    return [w - s["shift"] * v for w, v in zip(s["plain"], s["v"], strict=True)]


def lookahead(
    w: Array, g: Array, s: State, t: int, lr: float, inner: Callable[..., Array], period: int = 5, alpha: float = 0.5
) -> Array:
    slow = s.setdefault("slow", w)
    w = inner(w, g, s, t, lr)
    if t % period == 0:
        w = s["slow"] = slow + alpha * (w - slow)
    return w


def cautious(w: Array, g: Array, s: State, t: int, lr: float, inner: Callable[..., Array]) -> Array:
    update = w - inner(w, g, s, t, lr)
    agrees = update * g > 0
    return w - update * agrees * ((g != 0).sum() / (agrees.sum() + 1))


def centralized(w: Array, g: Array, s: State, t: int, lr: float, inner: Callable[..., Array]) -> Array:
    mean = g.mean(tuple(range(g.ndim - 1)), keepdims=True) if g.ndim > 1 else 0.0
    return inner(w, g - mean, s, t, lr)


def schedule_free(
    w: Array, g: Array, s: State, t: int, lr: float, inner: Callable[..., Array], beta: float = 0.9, power: float = 2.0,
    weight_decay: float = 0.0,
) -> Array:  # fmt: skip
    """Takes and returns y, to which weight decay is in proportion; x is in the state."""
    z, x = s.get("z", w), s.get("x", w)
    s["z"] = inner(z - lr * weight_decay * w, g, s, t, lr)
    s["largest"] = max(s.get("largest", 0.0), lr)
    weight = s["largest"] ** power
    s["total"] = s.get("total", 0.0) + weight
    s["x"] = x + weight / s["total"] * (s["z"] - x)
    return beta * s["x"] + (1 - beta) * s["z"]
