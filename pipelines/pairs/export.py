"""A translator as ONNX: the encoder, a step of the decoder with what it keeps, and a script that decodes with both."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from pipelines.core.console import say
from pipelines.core.errors import UserError
from pipelines.core.files import one_line, write_json
from pipelines.core.run_dir import RunDir
from pipelines.engine.load import load_model
from pipelines.pairs.config import DecodeConfig
from pipelines.pairs.decoding import standalone
from pipelines.pairs.decoding.decoder import MORE
from pipelines.pairs.decoding.search import Search
from pipelines.pairs.models import Translator
from pipelines.pairs.pieces import END
from pipelines.pairs.subwords import from_json

if TYPE_CHECKING:
    from pipelines.engine.record import TaskRecord

TOLERANCE = 1e-3
SCRIPT = "translate_onnx.py"


class EncoderPart(keras.Model):
    """Sources (B, S) to keys and values (B, H, S, d) for each block of the decoder."""

    def __init__(self, model: Translator) -> None:
        super().__init__()
        self.model = model

    def call(self, source: Any) -> Any:
        states, _ = self.model.encode(source)
        return [x for memory in self.model.memories(states) for x in memory]


class StepPart(keras.Model):
    """One piece more: pieces (B·K,), position (1,), sources, kept keys and values, and those of the encoder.

    Gives logits (B·K, V), and the keys and values with this position's behind them.
    """

    def __init__(self, model: Translator) -> None:
        super().__init__()
        self.model = model

    def call(self, inputs: Any) -> Any:
        tokens, position, source, *rest = inputs
        kept, memory = rest[: len(rest) // 2], rest[len(rest) // 2 :]
        memories = list(zip(memory[::2], memory[1::2], strict=True))
        mask = ops.not_equal(source, self.model.pad)[:, None, None, :]

        def keep(number: int, keys: Any, values: Any) -> tuple[Any, Any, Any]:
            keys = ops.concatenate([kept[2 * number], keys], axis=2)
            values = ops.concatenate([kept[2 * number + 1], values], axis=2)
            return keys, values, ops.ones_like(keys[:1, :1, None, :, 0]) > 0

        logits, found = self.model.step(tokens, position, keep, memories, mask)
        return [logits, *(x for both in found for x in both)]


def export(task: TaskRecord, path: str, kind: str, out: str | None) -> Path:
    """Writes a folder with the two parts, the subwords, the options and the script, and checks one translation.

    Returns:
        The folder.

    Raises:
        UserError: A package is missing, the target exists, exporting fails, or the outputs differ.
    """
    if kind != "onnx":
        raise UserError(f"{task.name} is exported to onnx, as encoder and decoder step, not to {kind}")
    run = RunDir.open(path, task.name)
    target = Path(out) if out is not None else run.path / "export" / "onnx"
    if target.exists():
        raise UserError(f"{target} exists: give another --out")
    try:
        import onnxruntime  # noqa: F401
    except ImportError:
        raise UserError("export needs the package onnxruntime: pip install 'keras-task-pipelines[export]'") from None
    model, spec = load_model(run), run.read_spec()
    if spec["subwords"]["kind"] != "sentencepiece":
        raise UserError("a fine-tuned OPUS-MT is not exported here: it has two SentencePiece models and a vocabulary")
    if not isinstance(model, Translator):
        raise UserError("a model of your own has no encoder and decoder step that can be exported here")
    aside = target.with_name(f".{os.getpid()}-{target.name}")
    try:
        aside.mkdir(parents=True)
        try:
            _write(model, aside)
        except Exception as error:
            raise UserError(f"export to onnx fails: {type(error).__name__}: {one_line(error)}") from None
        options = DecodeConfig(**spec["decode"])
        search = Search(options.beam, options.alpha, 1, options.repetition)
        write_json(aside / "config.json", {
            "languages": spec["languages"], "beam": search.beam, "alpha": search.alpha, "wanted": search.wanted,
            "repetition": search.repetition, "begin": model.begin, "end": search.end, "never": list(search.never),
            "max_length": spec["max_length"], "max_ratio": options.max_ratio, "more": MORE,
        })  # fmt: skip
        (aside / "subwords.model").write_bytes(from_json(spec["subwords"]).proto)
        shutil.copyfile(standalone.__file__, aside / SCRIPT)
        difference = _difference(model, aside)
        if not difference <= TOLERANCE:
            raise UserError(f"export to onnx: its outputs differ by {difference:.1e}, more than {TOLERANCE:.0e}")
        os.replace(aside, target)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    say(f"onnx: {target} (logits differ from those of model.keras by at most {difference:.1e})")
    say(f'translate with it: python {target / SCRIPT} "A text."')
    return target


def _write(model: Translator, folder: Path) -> None:
    blocks, size = 2 * len(model.decoder), model.width // model.heads
    cache = [(None, model.heads, None, size)] * blocks
    for name, part, shapes in (
        ("encoder", EncoderPart(model), [(None, None)]),
        ("step", StepPart(model), [(None,), (1,), (None, None), *cache, *cache]),
    ):
        types = ["int32" if len(shape) < 4 else "float32" for shape in shapes]
        specs = [keras.InputSpec(shape=s, dtype=t) for s, t in zip(shapes, types, strict=True)]
        example = [np.ones([d or 2 for d in shape], t) for shape, t in zip(shapes, types, strict=True)]
        part(example[0] if name == "encoder" else [ops.convert_to_tensor(x) for x in example])
        signature = specs if name == "encoder" else [specs]
        part.export(folder / f"{name}.onnx", format="onnx", verbose=False, input_signature=signature)


def _difference(model: Translator, folder: Path) -> float:
    """How far the logits of the exported parts are from the model's, step by step on random pieces."""
    generator = np.random.default_rng(0)
    size, length = model.get_config()["size"], 6
    source = np.append(generator.integers(END + 1, size, 9), END)[None].astype(np.int32)
    target = np.append(model.begin, generator.integers(END + 1, size, length - 1))[None].astype(np.int32)
    expected = ops.convert_to_numpy(model([source, target], training=False))[0]
    translator = standalone.OnnxTranslator(folder)
    memory = translator.encoder.run(None, {translator.encoder.get_inputs()[0].name: source})
    kept = [x[:, :, :0] for x in memory]
    names = [given.name for given in translator.step.get_inputs()]
    worst = 0.0
    for position in range(length):
        given = [target[0, position : position + 1], np.array([position], np.int32), source, *kept, *memory]
        logits, *kept = translator.step.run(None, dict(zip(names, given, strict=True)))
        worst = max(worst, float(np.abs(logits[0] - expected[position]).max()))
    return worst
