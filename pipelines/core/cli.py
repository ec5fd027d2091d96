"""From `argv` to typed options, with errors that a user can act on."""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar, cast, get_args, get_type_hints

from pipelines.core.errors import UserError

# A group of options may be named alone: `--data photos/` is `--data.source photos/`.
MAIN_OPTIONS = ("source", "name", "builder")

# What `--help` shows, where the task has it; `--help_all` shows every option.
COMMON_OPTIONS = (
    "data.source", "data.target", "data.limit", "model.builder", "model.name", "fit.epochs", "fit.batch_size",
    "optimizer.name", "optimizer.learning_rate", "early_stopping.patience", "run.name", "run.out", "run.seed",
    "run.init_from",
)  # fmt: skip

C = TypeVar("C")


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are exceptions, to be printed as one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(explain(message, _flags(self)))


def train_parser(config: type, prog: str, description: str, verbs: str) -> Any:
    """The jsonargparse parser of a task's configuration."""
    import jsonargparse

    parser = jsonargparse.ArgumentParser(
        prog=prog,
        usage=f"{prog}{f' [{verbs}]' if verbs else ''} [options]",
        description=description,
        exit_on_error=False,
        allow_abbrev=False,
        formatter_class=_Formatter,
    )
    parser.add_argument(
        "--config",
        action=jsonargparse.ActionConfigFile,
        help="YAML file with options; options that follow it on the command line win. Each run saves a config.yaml.",
    )
    parser.add_argument(
        "--resume",
        metavar="DIR",
        help="Continue the interrupted run in this directory, as if it had not been interrupted.",
    )
    parser.add_argument("--help_all", action="help", help="Show all options, and exit.")
    parser.add_class_arguments(config, None)
    names = option_names(config)
    for action in parser._actions:
        if action.dest == "print_config":
            action.help = "Print all options as YAML for --config, and exit; `=skip_default` omits the defaults."
        elif action.dest == "help":
            action.help = "Show the most used options, and exit."
        elif action.help == _GROUP_FILE:
            main = _full_name(action.dest, names)
            action.help = f"Same as --{main}." if main in names else "YAML file of the options of this group."
            action.metavar = main.rpartition(".")[2].upper() if main in names else "FILE"
    return parser


_GROUP_FILE = "Path to a configuration file."  # what jsonargparse says of each group of options


class _Formatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the line breaks of the description, and adds the default value to the help of each option."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=32, width=min(110, max(70, _columns())))

    def _format_action_invocation(self, action: argparse.Action) -> str:
        return super()._format_action_invocation(action).replace(" \b", "")  # jsonargparse erases with a control code

    def _get_default_metavar_for_optional(self, action: argparse.Action) -> str:
        return action.dest.rpartition(".")[2].upper()

    def _get_help_string(self, action: argparse.Action) -> str:
        text, default = action.help or "", action.default
        if "." not in action.dest or default in (None, "", argparse.SUPPRESS) or default in ([], {}, ()):
            return text.replace("%", "%%")
        shown = str(default).lower() if isinstance(default, bool) else default
        return f"{text} (default: {shown})".replace("%", "%%")


def short_help(config: type, prog: str, description: str, verbs: Sequence[str]) -> str:
    """What `--help` prints: usage, examples and the options that people use most, in their short forms."""
    whole = train_parser(config, prog, description, "|".join(verbs))
    names = option_names(config)
    actions = {action.dest: action for action in whole._actions}
    parser = argparse.ArgumentParser(
        prog=prog, usage=whole.usage, description=description, add_help=False, formatter_class=_Formatter
    )
    if verbs:
        text = "train is the default. `VERB --help` shows what another verb takes."
        parser.add_argument_group("verbs", f"{', '.join(verbs)}\n{text}")
    group = parser.add_argument_group("the most used options")
    for name in COMMON_OPTIONS:
        if name not in names:
            continue
        action = actions[name]
        metavar = action.metavar or ("{" + ",".join(action.choices) + "}" if action.choices else None)
        group.add_argument(
            f"--{_shortest(name, names)}", dest=name, default=action.default, help=action.help, metavar=metavar
        )
    general = parser.add_argument_group("configuration")
    for name in ("config", "print_config", "resume", "help_all"):
        flag = [flag for flag in actions[name].option_strings if flag.startswith("--")]
        keywords: dict[str, Any] = {"metavar": "FILE" if name == "config" else "DIR"}
        if name not in ("config", "resume"):
            keywords = {"action": "store_true"}
        general.add_argument(*flag, help=actions[name].help, **keywords)
    return parser.format_help()


def _shortest(name: str, names: Sequence[str]) -> str:
    """The shortest form of an option that stands for it alone: `data` for data.source, `epochs` for fit.epochs."""
    group, _, leaf = name.rpartition(".")
    for short in (group, leaf):
        try:
            if short and _full_name(short, names) == name:
                return short
        except UserError:
            continue
    return name


def _columns() -> int:
    import shutil

    return shutil.get_terminal_size((100, 24)).columns


def parse_train(
    config: type[C], prog: str, description: str, verbs: Sequence[str], argv: Sequence[str]
) -> tuple[C, str | None]:
    """Options of `train`: the configuration, and the run directory to resume.

    Raises:
        UserError: An option is unknown, or a value is not valid.
        SystemExit: After `--help`, `--help_all` or `--print_config`, with status 0.
    """
    import jsonargparse

    if {"-h", "--help"} & set(argv):
        print(short_help(config, prog, description, verbs))
        raise SystemExit(0)
    parser = train_parser(config, prog, description, "|".join(verbs))
    names = option_names(config)
    argv = [expand(argument, names) for argument in argv]
    try:
        parsed = parser.parse_args(argv)
    except (argparse.ArgumentError, jsonargparse.ArgumentError, TypeError, ValueError) as error:
        known = dict.fromkeys(f"--{option}" for name in names for option in (_shortest(name, names), name))
        raise UserError(explain(str(error), known)) from None
    values = parsed.as_dict()
    given = [a for a in argv if a.startswith("--") and not a.startswith("--resume")]
    if values.get("resume") and given:
        raise UserError(f"--resume continues a run with its own config.yaml: remove {given[0].partition('=')[0]}")
    return build(config, values), values.get("resume")


def option_names(config: type, prefix: str = "") -> list[str]:
    """Dotted names of all options of a nested dataclass."""
    names: list[str] = []
    hints = get_type_hints(config)
    for field in dataclasses.fields(config):
        if dataclasses.is_dataclass(hints[field.name]):
            names += option_names(hints[field.name], f"{prefix}{field.name}.")
        else:
            names.append(prefix + field.name)
    return names


def expand(argument: str, names: Sequence[str]) -> str:
    """Turns the short form of an option into its dotted one: `--epochs` into `--fit.epochs`.

    Raises:
        UserError: The short form stands for several options.
    """
    flag, equals, value = argument.partition("=")
    if not flag.startswith("--") or "." in flag:
        return argument
    return f"--{_full_name(flag[2:], names)}{equals}{value}"


def _full_name(name: str, names: Sequence[str]) -> str:
    if name in names or name in ("config", "resume", "print_config", "help", "help_all", ""):
        return name
    for main in MAIN_OPTIONS:
        if f"{name}.{main}" in names:
            return f"{name}.{main}"
    matches = [full for full in names if full.rpartition(".")[2] == name]
    if len(matches) > 1:
        raise UserError(f"--{name} is ambiguous: write {_either('--' + full for full in matches)}")
    return matches[0] if matches else name


def from_keywords(config: type[C], keywords: Mapping[str, Any]) -> C:
    """A configuration from keyword arguments, long (`fit={"epochs": 5}`) or short (`epochs=5`).

    Raises:
        UserError: A keyword is unknown, or a value is not valid.
    """
    names = option_names(config)
    fields = {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for key, value in keywords.items():
        if key in fields and (dataclasses.is_dataclass(value) or isinstance(value, Mapping)):
            values[key] = value if dataclasses.is_dataclass(value) else {**values.get(key, {}), **value}
            continue
        full = _full_name(key.replace("__", "."), names)
        if full not in names:
            raise UserError(explain(f"unrecognized arguments: {key}", names))
        group, _, leaf = full.partition(".")
        if leaf:
            values.setdefault(group, {})[leaf] = value
        else:
            values[group] = value
    return from_dict(config, values)


def from_dict(config: type[C], values: Mapping[str, Any]) -> C:
    """A configuration from nested dictionaries, each value checked as on the command line."""
    import jsonargparse

    names = option_names(config)
    groups = {name.partition(".")[0] for name in names}
    for key in values:
        if key not in groups:
            raise UserError(f"unknown option {key}{_suggestion(str(key), [*groups, *names])}")
    whole = {key: value for key, value in values.items() if dataclasses.is_dataclass(value)}
    parser = train_parser(config, "", "", "")
    try:
        parsed = parser.parse_object({key: value for key, value in values.items() if key not in whole})
    except (argparse.ArgumentError, jsonargparse.ArgumentError, TypeError, ValueError) as error:
        raise UserError(explain(str(error), option_names(config))) from None
    return build(config, {**parsed.as_dict(), **whole})


def build(config: type[C], values: Mapping[str, Any], prefix: str = "") -> C:
    """Nested dictionaries into the nested dataclass, which checks its values.

    Raises:
        UserError: A value is missing or out of range.
    """
    hints = get_type_hints(config)
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        kind, value, name = hints[field.name], values[field.name], prefix + field.name
        if dataclasses.is_dataclass(kind) and not dataclasses.is_dataclass(value):
            if not isinstance(value, Mapping):
                raise UserError(f"{name}: expected a mapping of options, got {value!r}")
            value = build(cast(type, kind), value, f"{name}.")
        elif value is None and type(None) not in get_args(kind):
            raise UserError(f"{name}: expected {_kind(str(kind))}, got null")
        arguments[field.name] = value
    try:
        return config(**arguments)
    except ValueError as error:
        raise UserError(str(error)) from None


def explain(message: str, known: Iterable[str]) -> str:
    """A parser's message as one line that a user understands."""
    text = " ".join(message.split())
    known = list(known)
    if match := re.match(r"unrecognized arguments: (\S+)", text):
        name = match[1].partition("=")[0]
        if not name.startswith("-") and all(option.startswith("-") for option in known):
            return f"unexpected argument {name!r}; options begin with --"
        return f"unknown option {name}{_suggestion(name, known)}"
    if match := re.search(r"(?:Group '([^']+)' |Key |parser )?does not accept (?:option|nested key) '([^']+)'", text):
        name = f"{match[1]}.{match[2]}" if match[1] else match[2]
        return f"unknown option {name}{_suggestion(name, [option.lstrip('-') for option in known])}"
    if match := re.search(r"Parser key \"([^\"]+)\":.*?Expected an? (.+?)\.? Got value: (.*)", text):
        name, kind, value = match.groups()
        return f"{name}: expected {_kind(kind)}, got {_quoted(value)}{_near(kind, value)}"
    union = (
        r"\"([^\"]+)\":? Does not validate against any of the Union subtypes Subtypes: (\[.*?\]) Errors:.*value: (.*)"
    )
    if match := re.search(union, text):
        name, kind, value = match.groups()
        return f"{name}: expected {_kind(kind)}, got {_quoted(value)}{_near(kind, value)}"
    if match := re.search(r"File does not exist: '?([^']+)'?", text):
        return f"config file not found: {match[1]}"
    if "Problems parsing config" in text or "Unable to load config" in text:
        return "config: not valid YAML: " + text.partition(": ")[2]
    text = re.sub(r"^(error: |Parser key )", "", text).replace("<class 'int'>", "a whole number")
    return text[:1].lower() + text[1:] if text[:2].istitle() else text


def _kind(kind: str) -> str:
    simple = {
        "int": "a whole number",
        "float": "a number",
        "bool": "true or false",
        "str": "text",
        "dict": "a mapping",
    }
    if options := _literals(kind):
        classes = [simple.get(name, name) for name in re.findall(r"<class '(\w+)'>", kind) if name != "NoneType"]
        options = [option for option in options if option != "NoneType"]
        return f"{' or '.join([*classes, *options])}" if classes else f"one of {', '.join(options)}"
    if match := re.fullmatch(r"<class '(\w+)'>", kind.strip()):
        return simple.get(match[1], match[1])
    found = [word for word in simple if re.search(rf"\b{word}\b", kind)]
    none = " or null" if "None" in kind else ""
    return (simple[found[0]] if found else kind) + none


def _literals(kind: str) -> list[str]:
    return re.findall(r"'([^']+)'", re.sub(r"<class '\w+'>", "", kind)) if "Literal" in kind else []


def _quoted(value: str) -> str:
    return repr(value if len(value) <= 80 else value[:79] + "…")


def _near(kind: str, value: str) -> str:
    return _suggestion(value, _literals(kind))


def suggestion(name: str, known: Iterable[str]) -> str:
    """`; did you mean NAME?` with the most similar known name, or nothing."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def _suggestion(name: str, known: Sequence[str]) -> str:
    leaves = {option.lstrip("-").rpartition(".")[2]: option for option in reversed(known)}
    near = difflib.get_close_matches(name.lstrip("-").rpartition(".")[2], leaves, n=1)
    return suggestion(name, known) or (f"; did you mean {leaves[near[0]]}?" if near else "")


def _either(options: Iterable[str]) -> str:
    *first, last = options
    return f"{', '.join(first)} or {last}" if first else last


def _flags(parser: argparse.ArgumentParser) -> list[str]:
    return [flag for action in parser._actions for flag in action.option_strings if flag.startswith("--")]


def fail(prog: str, message: str) -> NoReturn:
    """One line on standard error, exit status 2."""
    print(f"{prog}: error: {' '.join(message.split())}", file=sys.stderr, flush=True)
    raise SystemExit(2)
