"""Random problems on which an optimizer is compared with another one, step by step."""

import keras
import numpy as np

STEPS = 20
SQUARE = [(), (5,), (4, 4), (2, 2, 4), (2, 2, 1, 4)]  # where a basis of a null space would be arbitrary
SHAPES = [(), (5,), (6, 4), (2, 3, 4), (3, 2, 2, 4)]


class Problem:
    """Noisy quadratics: the gradient of step t at w is curvature * (w - target) + noise[t]."""

    def __init__(self, shapes, steps=STEPS, seed=0):
        draw = np.random.default_rng(seed)
        self.starts = [draw.normal(size=s).astype("float32") for s in shapes]
        self.targets = [draw.normal(size=s) for s in shapes]
        self.curvatures = [draw.uniform(0.5, 2, size=s) for s in shapes]
        self.noise = [[0.3 * draw.normal(size=s) for s in shapes] for _ in range(steps)]

    def gradients(self, weights, t):
        rows = zip(self.curvatures, weights, self.targets, self.noise[t], strict=True)
        return [(c * (np.asarray(w, "float64") - g) + n) for c, w, g, n in rows]

    def variables(self):
        return [keras.Variable(w, name=f"w{i}") for i, w in enumerate(self.starts)]


def values(variables):
    return [keras.ops.convert_to_numpy(v) for v in variables]


def run(optimizer, problem, variables=None, first=0, steps=STEPS):
    variables = variables or problem.variables()
    optimizer.build(variables)
    apply = _compiled(optimizer, variables) if keras.backend.backend() == "jax" else optimizer.apply
    for t in range(first, steps):
        gradients = problem.gradients(values(variables), t)
        apply([keras.ops.convert_to_tensor(g.astype("float32")) for g in gradients], variables)
    return variables


def _compiled(optimizer, variables):
    """`optimizer.apply` as JAX's `fit` does it; outside of it each condition would be compiled in each step."""
    import jax

    step = jax.jit(optimizer.stateless_apply)

    def apply(gradients, _):
        kept = optimizer.variables
        weights, states = step([v.value for v in kept], gradients, [v.value for v in variables])
        for variable, value in zip([*variables, *kept], [*weights, *states], strict=True):
            variable.assign(value)

    return apply
