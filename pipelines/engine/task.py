"""A task: its verbs from the command line and from Python. Nothing slow is imported before it is needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.core import cli
from pipelines.core.errors import UserError
from pipelines.engine.config import TrainConfig
from pipelines.engine.record import TaskRecord

if TYPE_CHECKING:
    from pipelines.engine.train import Run

EXPORTS = ("savedmodel", "litert", "onnx")


class Task(TaskRecord):
    """A task with its verbs: from the command line by `main`, from Python by `train`."""

    def main(self, argv: Sequence[str] | None = None) -> None:
        """Runs the verb that `argv` names; a UserError ends with one line and exit status 2."""
        argv = list(sys.argv[1:] if argv is None else argv)
        verb = argv.pop(0) if argv and argv[0] in self.verbs else "train"
        try:
            if verb == "train":
                if argv and not argv[0].startswith("-"):
                    near = cli.suggestion(argv[0], self.verbs) or f"; the verbs are {', '.join(self.verbs)}"
                    raise UserError(f"unknown verb {argv[0]!r}{near}")
                config, resume = cli.parse_train(self.config, self.prog, self.description, self.verbs, argv)
                self.run(config, resume)
            elif verb in self.commands:
                self.commands[verb](self, argv)
            else:
                getattr(self, f"_{verb.replace('-', '_')}_command")(argv)
        except UserError as error:
            cli.fail(self.prog, str(error))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            raise SystemExit(130) from None
        except BrokenPipeError:  # the reader of our output has gone
            sys.stderr.close()
            raise SystemExit(0) from None

    def train(self, *, resume: str | None = None, **options: Any) -> Run:
        """Trains from Python: `train(data="photos/", epochs=5)`, options named as on the command line.

        Raises:
            UserError: An option or the data cannot be used.
        """
        if resume is not None and options:
            raise UserError(f"resume continues a run with its own config.yaml: remove {', '.join(options)}")
        return self.run(cli.from_keywords(self.config, options), resume)

    def run(self, config: TrainConfig, resume: str | None = None) -> Run:
        """Trains with a configuration, or resumes a run."""
        if resume is not None:
            config = self.config_of(resume)
        from pipelines.engine import backend

        backend.select(config.run.backend)
        from pipelines.engine import train

        return train.train(self, config, resume)

    def _parser(self, verb: str, description: str) -> argparse.ArgumentParser:
        parser = cli.OneLineParser(prog=f"{self.prog} {verb}", description=description)
        parser.add_argument("run", help="directory of the run")
        parser.add_argument(
            "--trust_code", action="store_true", help="allow the run to import modules that are not part of the suite"
        )
        return parser

    def _evaluate_command(self, argv: Sequence[str]) -> None:
        parser = self._parser("evaluate", "Score a run's model on its test set, or on other data.")
        if self.load_test is not None:
            parser.add_argument("--data", help="another source: its test set where it has one, else all of it")
        options = parser.parse_args(argv)
        source = getattr(options, "data", None)
        with self._opened(options, source) as config:
            from pipelines.engine import apply

            apply.evaluate(self, config, options.run, source)

    def _predict_command(self, argv: Sequence[str]) -> None:
        parser = self._parser("predict", f"Predict for {self.inputs_help}.")
        parser.add_argument("inputs", nargs="+", help=self.inputs_help)
        parser.add_argument("--out", help="file to write; without it CSV goes to standard output")
        formats = ("csv", "jsonl", *self.formats)
        parser.add_argument("--format", choices=formats, help="without it the suffix of --out decides")
        parser.add_argument("--overwrite", action="store_true", help="replace an existing --out")
        for name, about in self.predict_options.items():
            parser.add_argument(f"--{name}", **about)
        options = parser.parse_args(argv)
        with self._opened(options):
            from pipelines.engine import apply

            given = {name: getattr(options, name) for name in self.predict_options}
            more = {name: value for name, value in given.items() if value is not None}
            apply.predict(self, options.run, options.inputs, options.out, options.format, options.overwrite, more)

    def _export_command(self, argv: Sequence[str]) -> None:
        parser = self._parser("export", "Export a run's model, and check that its outputs equal the original's.")
        parser.add_argument("--format", choices=EXPORTS, default="onnx", help="file format (default: onnx)")
        parser.add_argument("--out", help="file or folder to write; without it a folder in the run directory")
        options = parser.parse_args(argv)
        with self._opened(options):
            if self.exporter is not None:
                self.exporter(self, options.run, options.format, options.out)
                return
            from pipelines.engine import export

            export.export(self, options.run, options.format, options.out)

    def _explain_command(self, argv: Sequence[str]) -> None:
        parser = self._parser("explain", "Show which features of an input the model's answer depends on.")
        parser.add_argument("inputs", nargs="*", help=f"{self.inputs_help}; without any, samples of the test set")
        options = parser.parse_args(argv)
        with self._opened(options) as config:
            from pipelines.engine import apply

            apply.explain(self, config, options.run, options.inputs)

    def _find_lr_command(self, argv: Sequence[str]) -> None:
        description = "Find a learning rate in a short run. It takes the same options as train."
        config, resume = cli.parse_train(self.config, f"{self.prog} find-lr", description, (), argv)
        if resume is not None:
            raise UserError("find-lr does not resume a run: pass the run's options by --config DIR/config.yaml")
        from pipelines.engine import backend

        backend.select(config.run.backend)
        from pipelines.engine import find_lr

        find_lr.find(self, config)

    def _tune_command(self, argv: Sequence[str]) -> None:
        description = "Search for better options. Options of train may follow: they are the same in all trials."
        parser = cli.OneLineParser(prog=f"{self.prog} tune", description=description, allow_abbrev=False)
        parser.add_argument("--trials", type=int, default=30, help="number of trials of the study (default: 30)")
        parser.add_argument("--processes", type=int, default=1, help="number of processes that run trials (default: 1)")
        parser.add_argument(
            "--space", help="YAML file of options with {low, high, log} or {choices}; without it the task's own"
        )
        parser.add_argument(
            "--study", default="study", help="name of the study; an existing one is continued (default: study)"
        )
        parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
        options, rest = parser.parse_known_args(argv)
        if options.trials < 1 or options.processes < 1:
            raise UserError("--trials and --processes must be at least 1")
        config, resume = cli.parse_train(self.config, f"{self.prog} tune", self.description, (), rest)
        if resume is not None:
            raise UserError("tune continues a study by --study NAME, not by --resume")
        from pipelines.engine import backend

        backend.select(config.run.backend)
        from pipelines.engine import tune

        tune.tune(
            self, config, trials=options.trials, processes=options.processes, space=options.space, study=options.study,
            worker=options.worker, argv=["tune", *argv],
        )  # fmt: skip

    @contextmanager
    def _opened(self, options: argparse.Namespace, source: str | None = None) -> Iterator[Any]:
        """The configuration of the run in `options`, with the backend chosen and the run's code under control."""
        from pipelines.core import functions
        from pipelines.core.run_dir import RunDir
        from pipelines.engine import backend
        from pipelines.engine.load import check_modules

        config = self.config_of(options.run)
        allowed = {source.partition(":")[0]} if source else set()
        with nullcontext() if options.trust_code else functions.untrusted(options.run, allowed):
            check_modules(RunDir.open(options.run, self.name))
            backend.select(config.run.backend)
            yield config


def open_run(directory: str | Path, tasks: Collection[str], trust_code: bool = False) -> Run:
    """Opens a finished run of any task.

    Args:
        directory: The run directory.
        tasks: Names of all tasks.
        trust_code: Whether the run may import modules that are not part of the suite.

    Raises:
        UserError: It does not hold a finished run.
    """
    from importlib import import_module

    from pipelines.core import functions
    from pipelines.core.files import read_json
    from pipelines.core.run_dir import RunDir

    name = read_json(Path(directory) / "spec.json", "spec of the run").get("task")
    if name not in tasks:
        raise UserError(f"{directory} is a run of an unknown task {name!r}; the tasks are {', '.join(tasks)}")
    task: Task = import_module(f"pipelines.{name}").TASK
    config, run = task.config_of(directory), RunDir.open(directory, name)
    if not run.complete:
        raise UserError(f"{directory} has not finished: continue it with {task.prog} --resume {directory}")
    from pipelines.engine import backend

    backend.select(config.run.backend)
    from pipelines.engine.load import load_model
    from pipelines.engine.train import Run

    with nullcontext() if trust_code else functions.untrusted(str(directory)):
        return Run(task, run, load_model(run), read_json(run.metrics, "metrics"))
