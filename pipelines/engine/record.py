"""What a task declares: the record with which the engine trains, evaluates and predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pipelines.core import cli
from pipelines.core.errors import UserError
from pipelines.engine.config import TrainConfig

VERBS = ("train", "evaluate", "predict", "export", "explain", "find-lr", "tune")


def _one_phase(config: TrainConfig) -> list[Any]:
    from pipelines.engine.fit import Phase

    return [Phase("main", config.fit.epochs)]


@dataclass(frozen=True)
class TaskRecord:
    """What a task file declares; the engine does the rest. A verb without its function is not offered.

    Args:
        name: Name of the module in `pipelines`.
        config: Its dataclass of options.
        description: What `--help` says.
        load_data: Options to data (`pipelines.data.summary.Data`).
        build_model: Options and data to a model.
        objective: Options and data to loss, metrics and the value to watch.
        batches: Options and data to the training stream and the validation batches.
        spec: Options and data to what `predict` needs beside the model, as JSON.
        assess: Options, data and model to metrics, predictions and the sections of the report.
        predict: Model, spec and raw inputs to one row each; a row that failed has an `error`.
        columns: Spec to the columns of `predict`.
        inputs: Spec and the arguments of `predict` to raw inputs.
        inputs_help: What these arguments can be.
        example: Spec and a NumPy generator to a batch of one model input, on which an export is checked.
        finish: Options, data and trained model to the model that is saved (for example calibrated), and to what is
            added to spec.json.
        phases: Options to the phases of training, where there are several.
        load_test: Options and spec of a run to data with a test set only.
        exporter: The verb `export` of a model of several parts: task, run, format and target to what was written.
        predict_options: Further options of `predict` by name, with what argparse takes; given, they are in the
            spec as `options`.
        explain: Options, model, spec and the arguments of `explain` to blocks of a report.
        files: Spec, a row of `predict` and a folder, which the option `files` names: writes what the row has beside its
            columns, under keys that begin with an underscore (masks, annotated images).
        formats: Further formats of `predict`: rows to text.
        commands: Further verbs by name: each takes the task and its arguments.
        space: Options that `tune` searches in addition to learning rate and weight decay, with their ranges.
        resolve: Options and data to options in which `auto` is replaced by values, and to lines that say what was
            chosen.
        shape_data: Prefixes of the options on which `load_data` depends.
    """

    name: str
    config: type[TrainConfig]
    description: str
    load_data: Callable[..., Any]
    build_model: Callable[..., Any]
    objective: Callable[..., Any]
    batches: Callable[..., Any]
    spec: Callable[..., dict[str, Any]]
    assess: Callable[..., Any]
    predict: Callable[..., Any]
    columns: Callable[..., list[str]]
    inputs: Callable[..., Iterable[Any]]
    inputs_help: str
    example: Callable[..., Any] | None = None
    finish: Callable[..., tuple[Any, dict[str, Any]]] | None = None
    phases: Callable[..., Any] = _one_phase
    load_test: Callable[..., Any] | None = None
    explain: Callable[..., Any] | None = None
    exporter: Callable[..., Any] | None = None
    predict_options: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    files: Callable[[dict[str, Any], dict[str, Any], Path], None] | None = None
    formats: Mapping[str, Callable[[Iterable[dict[str, Any]]], Iterator[str]]] = field(default_factory=dict)
    commands: Mapping[str, Callable[[Any, Sequence[str]], None]] = field(default_factory=dict)
    space: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    resolve: Callable[..., tuple[Any, list[str]]] | None = None
    shape_data: tuple[str, ...] = ("data.",)

    def resolved(self, config: Any, data: Any, say: Callable[[str], None] = lambda line: None) -> Any:
        """The options with values that follow the data; `say` gets the lines about them."""
        if self.resolve is None:
            return config
        config, lines = self.resolve(config, data)
        for line in lines:
            say(f"note: {line}")
        return config

    @property
    def verbs(self) -> tuple[str, ...]:
        """The verbs of this task."""
        missing = {"explain": self.explain, "export": self.example or self.exporter}
        return (*(verb for verb in VERBS if missing.get(verb, self) is not None), *self.commands)

    @property
    def prog(self) -> str:
        return f"python -m {self.module}"

    @property
    def module(self) -> str:
        return f"pipelines.{self.name}"

    def config_of(self, path: str | Path) -> Any:
        """The configuration of an existing run."""
        import yaml

        from pipelines.core.run_dir import RunDir

        run = RunDir.open(path, self.name)
        try:
            values = yaml.safe_load(run.config.read_text(encoding="utf-8"))
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{run.config} cannot be read: {' '.join(str(error).split())}") from None
        if not isinstance(values, dict):
            raise UserError(f"{run.config} is damaged: expected options, got {type(values).__name__}")
        return cli.from_dict(self.config, values)
