"""A task: its verbs from the command line and from Python. Nothing slow is imported before it is needed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
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
        """Runs the verb that `argv` names; errors of the user end with one line and exit status 2."""
        argv = list(sys.argv[1:] if argv is None else argv)
        verb = argv.pop(0) if argv and argv[0] in self.verbs else "train"
        try:
            if verb == "train":
                config, resume = cli.parse_train(self.config, self.prog, self.description, "|".join(self.verbs), argv)
                self.run(config, resume)
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

    def _parser(self, verb: str, description: str) -> argparse.ArgumentParser:
        parser = cli.OneLineParser(prog=f"{self.prog} {verb}", description=description)
        parser.add_argument("run", help="directory of the run")
        return parser

    def _evaluate_command(self, argv: Sequence[str]) -> None:
        parser = self._parser("evaluate", "Score a run's model on its test part, or on other data.")
        if self.load_test is not None:
            parser.add_argument("--data", help="another source; all of it (or its own test part) is the test part")
        options = parser.parse_args(argv)
        config = self._prepare(options.run)
        from pipelines.engine import apply

        apply.evaluate(self, config, options.run, getattr(options, "data", None))

    def _predict_command(self, argv: Sequence[str]) -> None:
        parser = self._parser("predict", f"Predict for {self.inputs_help}.")
        parser.add_argument("inputs", nargs="+", help=self.inputs_help)
        parser.add_argument("--out", help="file to write; by default CSV on standard output")
        formats = ("csv", "jsonl", *self.formats)
        parser.add_argument("--format", choices=formats, help="by default what the name of --out says")
        parser.add_argument("--overwrite", action="store_true", help="replace an existing --out")
        options = parser.parse_args(argv)
        self._prepare(options.run)
        from pipelines.engine import apply

        apply.predict(self, options.run, options.inputs, options.out, options.format, options.overwrite)

    def _export_command(self, argv: Sequence[str]) -> None:
        parser = self._parser("export", "Export a run's model, and check that it answers as the original does.")
        parser.add_argument("--format", choices=EXPORTS, default="onnx", help="kind of file (default: onnx)")
        parser.add_argument("--out", help="file or folder to write; by default in the run's directory")
        options = parser.parse_args(argv)
        self._prepare(options.run)
        from pipelines.engine import export

        export.export(self, options.run, options.format, options.out)

    def _explain_command(self, argv: Sequence[str]) -> None:
        parser = self._parser("explain", "Show what the model looked at.")
        parser.add_argument("inputs", nargs="*", help=f"{self.inputs_help}; none takes test samples of the run")
        options = parser.parse_args(argv)
        config = self._prepare(options.run)
        from pipelines.engine import apply

        apply.explain(self, config, options.run, options.inputs)

    def _find_lr_command(self, argv: Sequence[str]) -> None:
        description = "Search a learning rate; it takes the options of a training."
        config, resume = cli.parse_train(self.config, f"{self.prog} find-lr", description, "", argv)
        if resume is not None:
            raise UserError("find-lr searches for a new training: --config takes the options of a run")
        from pipelines.engine import backend

        backend.select(config.run.backend)
        from pipelines.engine import find_lr

        find_lr.find(self, config)

    def _tune_command(self, argv: Sequence[str]) -> None:
        description = "Search for better options; all options of train may follow and are the same for all trials."
        parser = cli.OneLineParser(prog=f"{self.prog} tune", description=description, allow_abbrev=False)
        parser.add_argument("--trials", type=int, default=30, help="trials of the study in all (default: 30)")
        parser.add_argument("--processes", type=int, default=1, help="processes that work on it (default: 1)")
        parser.add_argument(
            "--space", help="YAML file: options with {low, high, log} or {choices}; by default the task's"
        )
        parser.add_argument("--study", default="study", help="its name; the same goes on where it was (default: study)")
        parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
        options, rest = parser.parse_known_args(argv)
        if options.trials < 1 or options.processes < 1:
            raise UserError("--trials and --processes must be at least 1")
        config, resume = cli.parse_train(self.config, self.prog, self.description, "tune", rest)
        if resume is not None:
            raise UserError("tune goes on with a study by --study, not by --resume")
        from pipelines.engine import backend

        backend.select(config.run.backend)
        from pipelines.engine import tune

        tune.tune(
            self, config, trials=options.trials, processes=options.processes, space=options.space, study=options.study,
            worker=options.worker, argv=["tune", *argv],
        )  # fmt: skip

    def _prepare(self, path: str) -> Any:
        from pipelines.engine import backend

        config = self.config_of(path)
        backend.select(config.run.backend)
        return config
