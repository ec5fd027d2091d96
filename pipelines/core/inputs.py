"""The files that a command line names: folders, globs and standard input expanded."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from pipelines.core.errors import UserError


def expand(arguments: Sequence[str], suffixes: Collection[str], what: str) -> Iterator[str]:
    """Files for files, folders (all files of these kinds in them), globs, and `-` for paths on standard input.

    Raises:
        UserError: Nothing is found under a name.
    """
    for name in arguments:
        if not name:  # an unset variable of the shell; as a path it would be the current folder
            raise UserError("input not found: the name is empty")
        if name == "-":
            yield from (line.rstrip("\r\n") for line in sys.stdin if line.strip())
        elif os.path.isdir(name):  # unlike a Path's methods, these do not mind a name that is too long
            below = (p for p in Path(name).rglob("*") if p.suffix.lower() in suffixes)
            found = sorted(str(p) for p in below if not _hidden(p.relative_to(name)))
            if not found:
                raise UserError(f"no {what} in the folder {name}")
            yield from found
        elif os.path.exists(name):
            yield name
        else:
            matches = sorted(glob.glob(name, recursive=True))
            if not matches:
                raise UserError(f"input not found: {name}")
            yield from (match for match in matches if Path(match).is_file())


def _hidden(path: Path) -> bool:
    """Whether a path below a folder is or lies in what file managers, notebooks and network drives leave there."""
    return any(part.startswith(".") or part.lower() in ("__macosx", "@eadir") for part in path.parts)
