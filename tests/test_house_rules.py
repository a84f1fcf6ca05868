"""The rules of CONTRIBUTING.md that a program can check."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MAX_LINES = 500
GRAB_BAGS = {"utils", "helpers", "common", "misc", "manager", "managers"}
UNFINISHED = re.compile(r"\b(?:TODO|FIXME|XXX)\b(?!\(#\d+\))")
# Paths of the machine a change was made on, and its way to packages.
FOREIGN = re.compile(
    r"/(?:w[o]rk|root|home/\w+|Users/\w+)/|\.\./sh[a]red|extra[-_.]index|find[-_]links"
)
ENVIRONMENT_READ = re.compile(
    r"\benv_(?:str|int|float|bool|secret|list|choice|file|folder|networks)\(\s*\"([A-Z][A-Z0-9_]*)\""
)
OWN_VARIABLE = re.compile(r"\b(AILB_[A-Z0-9_]*[A-Z0-9])\b")
METRIC_NAME = re.compile(r"\"((?:ailb|gen_ai)_[a-z0-9_]+)\"")
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
INLINE_CODE = re.compile(r"`([^`\n]+)`")
MAKE_COMMAND = re.compile(
    r"(?:^|[$;&|])\s*(?:\w+=\S+ )*make (?:\w+=\S+ )*([a-z][a-z-]*)"
)
MAKE_TARGET = re.compile(r"^([a-z][a-z-]*):(?!=)", re.MULTILINE)
REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)(?:\[[a-z,]+\])?==", re.MULTILINE)
DEPENDENCY_ROW = re.compile(r"^\| `([A-Za-z0-9_.-]+)` \|", re.MULTILINE)


def tracked() -> list[Path]:
    """List the files that belong to the project, those not yet committed included."""
    listing = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
        text=True,
    )
    paths = (ROOT / name for name in listing.stdout.split("\0") if name)
    return sorted(path for path in paths if path.is_file())


def python_files() -> list[Path]:
    return [
        path
        for path in tracked()
        if path.suffix == ".py" and not {"migrations", "pb"} & set(path.parts)
    ]


def documents() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".md"]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")


def opening_faults(source: str) -> list[str]:
    """Say what a module lacks in its first lines; an empty one lacks nothing."""
    if not source.strip():
        return []
    body = ast.parse(source).body
    lines = source.splitlines()
    first = lines[1] if lines[0].startswith("#!") else lines[0]
    faults = [] if first.startswith('"""') else ["no docstring on its first line"]
    future = any(
        isinstance(node, ast.ImportFrom) and node.module == "__future__"
        for node in body[:2]
    )
    if len(body) > 1 and not future:
        faults.append("no future import of annotations")
    return faults


def make_targets_in(document: str) -> set[str]:
    """Find the targets a document tells its reader to make, in code only."""
    fences = FENCE.findall(document)
    commands = [line for block in fences for line in block.splitlines()]
    commands += INLINE_CODE.findall(FENCE.sub("", document))
    return {target for line in commands for target in MAKE_COMMAND.findall(line)}


def canonical(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def test_there_is_something_to_check() -> None:
    names = {name_of(path) for path in python_files()}
    assert "tests/test_house_rules.py" in names
    assert "manage.py" in names


def test_no_file_is_longer_than_500_lines() -> None:
    counts = {name_of(path): len(text_of(path).splitlines()) for path in python_files()}
    assert {name: n for name, n in counts.items() if n > MAX_LINES} == {}


def test_every_module_opens_with_its_docstring_and_the_future_import() -> None:
    faults = {name_of(path): opening_faults(text_of(path)) for path in python_files()}
    assert {name: found for name, found in faults.items() if found} == {}


def test_no_module_is_a_grab_bag() -> None:
    bags = [
        name_of(path)
        for path in python_files()
        if GRAB_BAGS & {path.stem, *path.relative_to(ROOT).parent.parts}
    ]
    assert bags == []


def test_nothing_unfinished_stands_without_a_reference() -> None:
    found = [
        f"{name_of(path)}: {line.strip()}"
        for path in [*python_files(), *documents()]
        if path != Path(__file__)
        for line in text_of(path).splitlines()
        if UNFINISHED.search(line)
    ]
    assert found == []


def test_no_file_names_the_machine_it_was_made_on() -> None:
    found = [
        f"{name_of(path)}: {line.strip()[:100]}"
        for path in tracked()
        if path != Path(__file__)
        for line in text_of(path).splitlines()
        if FOREIGN.search(line)
    ]
    assert found == []


def test_documents_name_only_make_targets_that_exist() -> None:
    targets = set(MAKE_TARGET.findall(text_of(ROOT / "Makefile")))
    assert {"install", "serve", "test", "check", "bench"} <= targets
    mentioned = {
        (name_of(path), target)
        for path in documents()
        for target in make_targets_in(text_of(path))
    }
    assert mentioned
    assert {(name, target) for name, target in mentioned if target not in targets} == (
        set()
    )


def test_every_required_package_has_its_reason_and_no_other_has() -> None:
    required = {
        canonical(package)
        for name in ("requirements.txt", "requirements-dev.txt")
        for package in REQUIREMENT.findall(text_of(ROOT / name))
    }
    rows = DEPENDENCY_ROW.findall(text_of(ROOT / "docs" / "dependencies.md"))
    assert required
    assert {canonical(row) for row in rows} == required


def variables_read() -> set[str]:
    """List the variables that settings read, under their plain names."""
    return {
        name
        for path in (ROOT / "ailb_project").rglob("*.py")
        for name in ENVIRONMENT_READ.findall(text_of(path))
    }


def test_every_variable_that_is_read_is_in_the_settings_document() -> None:
    document = text_of(ROOT / "docs" / "settings.md")
    read = variables_read()
    assert "HTTP_PORT" in read
    missing = {name for name in read if not re.search(rf"\b{name}\b", document)}
    assert missing == set()


def test_what_operators_read_names_no_variable_that_nothing_reads() -> None:
    pages = [ROOT / "README.md", ROOT / "compose.yaml", ROOT / "Dockerfile"]
    pages += [path for path in documents() if path.parent == ROOT / "docs"]
    named = {name for page in pages for name in OWN_VARIABLE.findall(text_of(page))}
    assert named
    assert {
        name for name in named if name.removesuffix("_FILE") not in variables_read()
    } == set()


def test_every_metric_is_in_the_metrics_document() -> None:
    document = text_of(ROOT / "docs" / "metrics.md")
    files = [ROOT / app / "metrics.py" for app in ("gateway", "memory", "rag")]
    names = {name for path in files for name in METRIC_NAME.findall(text_of(path))}
    assert names
    assert {name for name in names if not re.search(rf"\b{name}\b", document)} == set()


@pytest.mark.parametrize(
    ("source", "faults"),
    [
        ('"""What lives here."""\n', 0),
        ('"""What."""\n\nfrom __future__ import annotations\n\nx = 1\n', 0),
        ('#!/usr/bin/env python\n"""What."""\n', 0),
        ("", 0),
        ('\n"""Late."""\n', 1),
        ('"""What."""\n\nimport os\n', 1),
        ("import os\nimport re\n", 2),
    ],
)
def test_a_bad_opening_is_seen(source: str, faults: int) -> None:
    assert len(opening_faults(source)) == faults


def test_a_make_target_is_seen_in_code_and_not_in_prose() -> None:
    document = (
        "make sure that `make one` works\n```sh\n$ make two\nA=b make P=/x three\n```\n"
    )
    assert make_targets_in(document) == {"one", "two", "three"}
