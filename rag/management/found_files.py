"""Which files a command is given, when it is given folders."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path


def find_files(paths: Sequence[Path], *, is_recursive: bool) -> list[Path]:
    """Give the files that are named, and those in the folders that are, each once.

    In folders, hidden files and what leads out of the folder are left out, and without
    `is_recursive` folders are.

    Raises:
        FileNotFoundError: A path leads to nothing, or to what is no file.

    """
    found = dict[Path, Path]()
    for path in paths:
        is_folder = path.is_dir()
        if not (is_folder or path.is_file()):
            raise FileNotFoundError(path)
        for file in _inside(path, is_recursive=is_recursive) if is_folder else [path]:
            found.setdefault(file.resolve(), file)
    return list(found.values())


def _inside(folder: Path, *, is_recursive: bool) -> Iterator[Path]:
    """Give a folder's files, those of one folder together, in the order of names."""
    root = folder.resolve()
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        if not is_recursive:
            folders.clear()
        for name in sorted(names):
            file = Path(place, name)
            is_inside = file.resolve().is_relative_to(root)
            if not name.startswith(".") and is_inside and file.is_file():
                yield file
