"""Reads a Dockerfile into instructions, and tells which files its context holds."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


@dataclass(frozen=True, slots=True)
class Instruction:
    """One instruction: its upper-case keyword, the rest as written, and where."""

    keyword: str
    rest: str
    line: int


def parse(text: str) -> tuple[Instruction, ...]:
    """Join continued lines and drop comments; heredocs are not understood.

    Raises:
        ValueError: A line is no instruction, or uses a heredoc.

    """
    found: list[Instruction] = []
    pending, start = "", 0
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        start = start or number
        if line.endswith("\\"):
            pending += line[:-1].rstrip() + " "
            continue
        keyword, _, rest = (pending + line).partition(" ")
        if not keyword.isalpha() or "<<" in rest:
            raise ValueError(f"line {start}: cannot read {pending + line!r}")
        found.append(Instruction(keyword.upper(), rest.strip(), start))
        pending, start = "", 0
    return tuple(found)


def expand(text: str, env: Mapping[str, str]) -> str:
    """Put variables in; an unknown one is empty, as Docker has it."""
    return _VARIABLE.sub(lambda m: env.get(m[1] or m[2], ""), text)


def assignments(rest: str, env: Mapping[str, str]) -> dict[str, str]:
    """Read the `NAME=value ...` of an ENV or ARG; a bare name gets no entry."""
    pairs = (word.partition("=") for word in shlex.split(rest))
    return {name: expand(value, env) for name, sep, value in pairs if sep}


def exec_form(rest: str) -> list[str]:
    """Read a command in its exec form, the only one that hands signals on.

    Raises:
        ValueError: It is the shell form.

    """
    words = json.loads(rest) if rest.startswith("[") else None
    if not isinstance(words, list) or not all(isinstance(w, str) for w in words):
        raise ValueError(f"not in exec form: {rest}")
    return words


def ignore_rules(text: str) -> tuple[tuple[re.Pattern[str], bool], ...]:
    """Read a .dockerignore: (pattern, whether it excludes), in order."""
    lines = (line.strip() for line in text.splitlines())
    return tuple(
        (_pattern(line.lstrip("!").strip("/")), not line.startswith("!"))
        for line in lines
        if line and not line.startswith("#")
    )


def is_ignored(path: str, rules: tuple[tuple[re.Pattern[str], bool], ...]) -> bool:
    """Tell whether the context lacks this path: the last rule that fits decides.

    A rule fits a path when it fits the path itself or a folder above it.
    """
    parts = PurePosixPath(path).parts
    names = ["/".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
    ignored = False
    for pattern, excludes in rules:
        if any(pattern.fullmatch(name) for name in names):
            ignored = excludes
    return ignored


def context_files(root: Path) -> Iterator[str]:
    """Yield the files of the build context at `root`, as paths relative to it."""
    ignore_file = root / ".dockerignore"
    rules = ignore_rules(ignore_file.read_text() if ignore_file.exists() else "")
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_file() and not is_ignored(name, rules):
            yield name


def _pattern(glob: str) -> re.Pattern[str]:
    regex = ""
    for piece in re.split(r"(\*\*/?|\*|\?|\[[^]]+\])", glob):
        match piece:
            case "**/":
                regex += "(?:.*/)?"
            case "**":
                regex += ".*"
            case "*":
                regex += "[^/]*"
            case "?":
                regex += "[^/]"
            case _ if piece.startswith("["):
                regex += piece
            case _:
                regex += re.escape(piece)
    return re.compile(regex)
