"""The file of a checkpoint: arrays and JSON in NumPy's archive, whole or not at all, checked when it is read."""

from __future__ import annotations

import io
import json
import os
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

FORMAT = 1


def newest_first(directory: Path) -> list[tuple[tuple[int, int], Path]]:
    """The checkpoints of a folder, each with its epoch and step."""
    named = re.compile(r"epoch-(\d+)-step-(\d+)\.npz")
    found = [(m, p) for p in directory.glob("epoch-*.npz") if (m := named.fullmatch(p.name))]
    return sorted((((int(m[1]), int(m[2])), p) for m, p in found), reverse=True)


def plain(array: np.ndarray) -> np.ndarray:
    """NumPy's file format knows no bfloat16: its bits travel as integers."""
    return array.view(np.uint16) if array.dtype.name == "bfloat16" else array


def pack(value: Any, arrays: list[np.ndarray]) -> Any:
    """The value as JSON has it; its arrays are appended to a list, and stand there by their number."""
    if isinstance(value, np.ndarray):
        arrays.append(plain(value))
        return {"__array__": len(arrays) - 1, "dtype": value.dtype.name}
    if isinstance(value, Mapping):
        return {str(key): pack(item, arrays) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [pack(item, arrays) for item in value]
    return value.item() if isinstance(value, np.generic) else value


def unpack(value: Any, arrays: list[np.ndarray]) -> Any:
    """What `pack` was given."""
    if isinstance(value, dict):
        if "__array__" in value:
            array = arrays[value["__array__"]]
            if value["dtype"] == "bfloat16":
                import ml_dtypes

                array = array.view(ml_dtypes.bfloat16)
            return array
        return {key: unpack(item, arrays) for key, item in value.items()}
    return [unpack(item, arrays) for item in value] if isinstance(value, list) else value


def write_whole(path: Path, entries: Mapping[str, np.ndarray]) -> None:
    """Writes aside, flushes to the disk and renames."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(aside, "wb") as file:
            np.savez(file, **entries)
            file.flush()
            os.fsync(file.fileno())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def read(path: Path) -> tuple[dict[str, Any], dict[str, list[np.ndarray]]]:
    """What was written, by group and in order.

    Raises:
        OSError, ValueError, KeyError, EOFError, BadZipFile: The file is damaged, or of another format.
    """
    content = path.read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"checksum of {damaged} is wrong")
    groups: dict[str, list[np.ndarray]] = {
        "model": [],
        "optimizer": [],
        "metrics": [],
        "random": [],
        "state": [],
    }
    with np.load(io.BytesIO(content), allow_pickle=False) as stored:
        meta = json.loads(stored["meta"].tobytes())
        if meta["format"] != FORMAT:
            raise ValueError(f"its format is {meta['format']}, this version reads {FORMAT}")
        for key in sorted(stored.files):
            if key != "meta":
                groups[key.split("/")[0]].append(stored[key])
    return meta, groups
