"""Export a model, and run the exported file to check that its outputs equal those of the original."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pipelines.core.console import say
from pipelines.core.errors import UserError
from pipelines.core.files import one_line
from pipelines.core.run_dir import RunDir
from pipelines.engine.load import load_model

if TYPE_CHECKING:
    import keras

    from pipelines.engine.record import TaskRecord

TOLERANCE = 1e-3
NEEDS = {"savedmodel": ("tensorflow",), "litert": ("tensorflow", "ai_edge_litert"), "onnx": ("onnxruntime",)}
KERAS_FORMAT = {"savedmodel": "tf_saved_model", "litert": "litert", "onnx": "onnx"}
NAMES = {"savedmodel": "savedmodel", "litert": "model.tflite", "onnx": "model.onnx"}


def export(task: TaskRecord, path: str, kind: str, out: str | None) -> Path:
    """Writes the model in another format and compares its outputs on the task's example input.

    Returns:
        The file or folder.

    Raises:
        UserError: A package is missing, the target exists, exporting fails, or the outputs differ.
    """
    assert task.example is not None
    run = RunDir.open(path, task.name)
    target = Path(out) if out is not None else run.path / "export" / NAMES[kind]
    if target.exists():
        raise UserError(f"{target} exists: give another --out")
    for package in NEEDS[kind]:
        if find_spec(package) is None:
            raise UserError(f"export to {kind} needs the package {package}: pip install 'keras-task-pipelines[export]'")
    model = load_model(run)
    folder = target.with_name(f".{os.getpid()}-{target.name}")
    folder.mkdir(parents=True)
    aside = folder / NAMES[kind]  # exporters look at the suffix
    batch = task.example(run.read_spec(), np.random.default_rng(0))
    expected = _outputs(model, batch)  # also traces the model, which some exporters ask for
    if kind == "onnx":
        _know_erfc()
    try:
        try:
            model.export(aside, format=KERAS_FORMAT[kind], verbose=False)
            answer = RUN[kind](aside)(batch)
        except Exception as error:
            if lacking := re.search(r"\(Flex(\w+)\) failed to prepare", str(error)):
                raise UserError(
                    f"export to {kind} fails: LiteRT lacks an operation of this network ({lacking[1]}; recurrent "
                    "layers need such): export to onnx or savedmodel, or train another kind of network"
                ) from None
            raise UserError(f"export to {kind} fails: {type(error).__name__}: {one_line(error)}") from None
        difference = float(np.abs(answer - expected).max())
        if not difference <= TOLERANCE:
            raise UserError(f"export to {kind}: its outputs differ by {difference:.1e}, more than {TOLERANCE:.0e}")
        os.replace(aside, target)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    say(f"{kind}: {target} (inputs and outputs as in model.keras; they differ by at most {difference:.1e})")
    return target


def _outputs(model: keras.Model, batch: np.ndarray) -> np.ndarray:
    from keras import ops

    return np.asarray(ops.convert_to_numpy(model(batch, training=False)))


def _know_erfc() -> None:
    """Teaches tf2onnx the complementary error function, of which TensorFlow makes the exact GELU: 1 - erf(x)."""
    try:
        from tf2onnx.handler import tf_op
        from tf2onnx.utils import map_onnx_to_numpy_type
    except ImportError:
        return  # on PyTorch nothing needs it

    class Erfc:
        @classmethod
        def version_9(cls, ctx: Any, node: Any, **kwargs: Any) -> None:
            kind, shape = ctx.get_dtype(node.output[0]), ctx.get_shape(node.output[0])
            ctx.remove_node(node.name)
            one = ctx.make_const(f"{node.name}_one", np.ones((), map_onnx_to_numpy_type(kind)))
            erf = ctx.make_node("Erf", node.input, shapes=[shape], dtypes=[kind])
            given = [one.output[0], erf.output[0]]
            ctx.make_node("Sub", given, name=node.name, outputs=node.output, shapes=[shape], dtypes=[kind])

    tf_op("Erfc")(Erfc)


def _run_savedmodel(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda batch: np.asarray(loaded.serve(batch))


def _run_litert(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path))

    def run(batch: np.ndarray) -> np.ndarray:
        place = interpreter.get_input_details()[0]["index"]
        interpreter.resize_tensor_input(place, batch.shape)  # sizes that may vary are 1 in the file
        interpreter.allocate_tensors()
        interpreter.set_tensor(place, batch)
        interpreter.invoke()
        return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])

    return run


def _run_onnx(path: Path) -> Callable[[np.ndarray], np.ndarray]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    return lambda batch: np.asarray(session.run(None, {name: batch})[0])


RUN: dict[str, Callable[[Path], Any]] = {
    "savedmodel": _run_savedmodel,
    "litert": _run_litert,
    "onnx": _run_onnx,
}
