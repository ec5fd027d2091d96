"""The user's own functions, named on the command line as `module:function`."""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import Any

from pipelines.core.errors import UserError
from pipelines.core.files import one_line

# Packages whose code may run at the word of a run directory: the suite's own and those it is built on.
SUITE = ("pipelines", "optimizers", "regularizers", "callbacks", "keras", "keras_hub", "keras_rs")
TRUST = "PIPELINES_TRUST_CODE"
_untrusted: ContextVar[tuple[str, Collection[str]] | None] = ContextVar("untrusted", default=None)
_NAME = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def is_function_name(text: str) -> bool:
    """Whether the text reads as `module:function`."""
    return _NAME.fullmatch(text) is not None


@contextmanager
def untrusted(run: str, allowed: Collection[str] = ()) -> Iterator[None]:
    """Within the block only modules of the suite are imported: a run directory may come from somebody else.

    Args:
        run: The run directory, for the error.
        allowed: Further modules that the user named for this command.
    """
    if os.environ.get(TRUST, "") not in ("", "0"):
        yield
        return
    token = _untrusted.set((run, allowed))
    try:
        yield
    finally:
        _untrusted.reset(token)


def check_trusted(name: str, what: str) -> None:
    """Refuses a module that a run directory names, unless it is part of the suite or the user trusts the run.

    Raises:
        UserError: The run is not trusted.
    """
    context = _untrusted.get()
    if context is not None and name.partition(".")[0] not in SUITE and name not in context[1]:
        raise UserError(
            f"{what}: the run {context[0]} names the module {name!r}, and its code would run on this machine; if you "
            f"trust whoever made the run, add --trust_code, or set {TRUST}=1"
        )


def import_module(name: str, what: str) -> ModuleType:
    """Imports a module; the current folder counts, as it does for `python -m`.

    Raises:
        UserError: There is no such module, importing it fails, or it is named by a run directory that is not trusted.
    """
    check_trusted(name, what)
    here = os.getcwd()
    if here not in sys.path and "" not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(error.name + ".")):
            raise UserError(f"{what}: no module named {error.name!r} in {here} or among the installed") from None
        raise UserError(f"{what}: importing {name!r} fails: {one_line(error)}") from None
    except Exception as error:
        raise UserError(f"{what}: importing {name!r} fails: {type(error).__name__}: {one_line(error)}") from None


def import_function(text: str, what: str) -> Callable[..., Any]:
    """The function that `module:function` names; `what` names the option in errors.

    Raises:
        UserError: It cannot be imported or is not a function.
    """
    if not is_function_name(text):
        raise UserError(f"{what}: expected module:function, got {text!r}")
    module_name, _, name = text.partition(":")
    function = getattr(import_module(module_name, what), name, None)
    if not callable(function):
        raise UserError(f"{what}: module {module_name!r} has no function {name!r}")
    return function


def call(function: Callable[..., Any], *args: Any, what: str, **kwargs: Any) -> Any:
    """Calls the user's function; what it raises becomes one line that names it.

    Raises:
        UserError: The function fails.
    """
    try:
        return function(*args, **kwargs)
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what} fails: {type(error).__name__}: {one_line(error)}") from error
