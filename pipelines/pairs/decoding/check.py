"""What a translation must share with its source: numbers, placeholders, tags and addresses."""

from __future__ import annotations

import re
from collections import Counter

_URL = re.compile(r"(?:https?://|ftp://|www\.)[^\s<>\"')\]]+|[\w.+-]+@[\w-]+\.[\w.-]+\w")
_TAG = re.compile(r"</?[A-Za-z][\w:-]*(?:\s[^<>]*)?/?>|&(?:\w+|#\d+);")
_PLACEHOLDER = re.compile(
    r"%(?:\d+\$|\([\w.]+\))?[-+#0]*\d*(?:\.\d+)?(?:l{1,2}|h)?[sdiufFgGxXeEcr@](?![a-z])|%\d+(?![\d.,]*\s*%)\b|\$?\{\{?[^{}\s]*\}?\}"
)
_DIGITS = re.compile(r"\d+")


def placeholders(text: str) -> Counter[str]:
    """Placeholders of programs (`%s`, `%(name)d`, `{0}`, `${x}`), tags and entities."""
    return Counter(_TAG.findall(text)) + Counter(_PLACEHOLDER.findall(_TAG.sub(" ", text)))


def addresses(text: str) -> Counter[str]:
    """Addresses of pages and of mail."""
    return Counter(found.rstrip(".,;:!?") for found in _URL.findall(text))


def numbers(text: str) -> Counter[str]:
    """Runs of digits without leading zeros, outside of placeholders, tags and addresses."""
    rest = _PLACEHOLDER.sub(" ", _TAG.sub(" ", _URL.sub(" ", text)))
    return Counter(run.lstrip("0") or "0" for run in _DIGITS.findall(rest))


def warnings(source: str, translation: str) -> list[str]:
    """What differs, in a few words each; empty where nothing is suspicious."""
    found = []
    if numbers(source) != numbers(translation):
        found.append("digits differ")
    if placeholders(source) != placeholders(translation):
        found.append("placeholders differ")
    if addresses(source) != addresses(translation):
        found.append("addresses differ")
    if source.strip() and not translation.strip():
        found.append("empty")
    return found
