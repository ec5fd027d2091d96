"""`python -m pipelines`: the tasks; `python -m pipelines doctor`: versions, backend, devices."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from pipelines import TASKS


def main(argv: Sequence[str] | None = None) -> None:
    """Lists the tasks, or examines the installation."""
    argv = list(sys.argv[1:] if argv is None else argv)
    if argv == ["doctor"]:
        doctor()
    elif argv in ([], ["-h"], ["--help"]):
        print("Tasks (python -m pipelines.TASK trains on embedded data; --help tells the rest):\n")
        for name, question in TASKS.items():
            print(f"  {name:16} {question}")
        print("\npython -m pipelines doctor   versions, backend, devices")
        print("python -m optimizers         the optimizers\npython -m regularizers       the regularizers")
    else:
        hint = f"; did you mean python -m pipelines.{argv[0]}?" if argv[0] in TASKS else ""
        print(
            f"python -m pipelines: error: unknown command {argv[0]!r}{hint} (expected nothing or doctor)",
            file=sys.stderr,
        )
        raise SystemExit(2)


def doctor() -> None:
    """Prints what results depend on, and whether a training step runs."""
    from pipelines.core.cli import fail
    from pipelines.core.errors import UserError
    from pipelines.engine import backend

    try:
        backend.select(None)
    except UserError as error:
        fail("python -m pipelines doctor", str(error))
    import keras
    import numpy as np

    environment = backend.environment()
    for name in ("python", "platform", "cores", "backend"):
        print(f"{name:20} {environment[name]}")
    print(f"{'devices':20} {', '.join(environment['devices'])}")
    for package, version in environment["versions"].items():
        print(f"{package:20} {version or 'not installed'}")
    print(f"{'keras home':20} {os.environ.get('KERAS_HOME', '~/.keras')}")
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    loss = model.train_on_batch(np.ones((8, 4), "float32"), np.zeros((8, 1), "float32"))
    print(f"{'a training step':20} {'runs' if np.isfinite(loss) else 'gives no finite loss'}")


if __name__ == "__main__":
    main()
