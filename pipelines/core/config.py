"""Helpers of the options of all tasks; nothing slow is imported here."""

from __future__ import annotations

from typing import Any


def check(condition: bool, option: str, expected: str, value: Any) -> None:
    """Raises a `ValueError` about an option, in the form that all options use."""
    if not condition:
        raise ValueError(f"{option} must be {expected}, got {value!r}")


def check_data(options: Any) -> None:
    """Checks the options that all kinds of data have.

    Raises:
        ValueError: One is out of range.
    """
    check(bool(options.source), "data.source", "a source", options.source)
    check(0 < options.val_fraction < 1, "data.val_fraction", "between 0 and 1", options.val_fraction)
    check(0 < options.test_fraction < 1, "data.test_fraction", "between 0 and 1", options.test_fraction)
    check(options.max_broken >= 0, "data.max_broken", "0 or more", options.max_broken)
    check(options.limit is None or options.limit >= 1, "data.limit", "at least 1", options.limit)


def to_dict(config: Any) -> dict[str, Any]:
    """The configuration as plain nested dictionaries, in the order of its fields."""
    import dataclasses

    return dataclasses.asdict(config)


def to_yaml(config: Any) -> str:
    """The configuration as YAML that feeds back into `--config`."""
    import yaml

    return yaml.safe_dump(to_dict(config), sort_keys=False, allow_unicode=True)
