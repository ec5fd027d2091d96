"""Images by the names that annotations give them."""

from __future__ import annotations

import re
from pathlib import Path

from pipelines.core.errors import UserError
from pipelines.images.sources import EXTENSIONS


class Finder:
    """Finds images below a folder by relative path, by file name or by its stem.

    Args:
        folders: Where to look, the first having precedence.
    """

    def __init__(self, *folders: Path) -> None:
        self.folders = folders
        self._index: dict[str, Path | None] | None = None

    def find(self, name: str) -> Path | None:
        """The image, or None where there is none; a name that several images have must come with its folder."""
        name = re.sub(r"[\\/]+", "/", name.strip())
        for folder in self.folders:
            path = folder / name
            if path.is_file():
                return path
        return self._indexed().get(name.rpartition("/")[2].lower())

    def stem(self, stem: str) -> Path | None:
        """The image with this name but for its suffix."""
        index = self._indexed()
        return next((path for suffix in sorted(EXTENSIONS) if (path := index.get(stem.lower() + suffix))), None)

    def _indexed(self) -> dict[str, Path | None]:
        if self._index is None:
            self._index = {}
            for path in images_below(*self.folders):
                key = path.name.lower()
                self._index[key] = None if key in self._index and self._index[key] != path else path
        return self._index


def images_below(*folders: Path) -> list[Path]:
    """All images below some folders, sorted."""
    found = (p for folder in folders for p in folder.rglob("*") if p.suffix.lower() in EXTENSIONS and p.is_file())
    return sorted({p for p in found if not p.name.startswith(".")})


def text_of(path: Path) -> str:
    """The text of a small file.

    Raises:
        UserError: It cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {error}") from None
