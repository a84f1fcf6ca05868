"""What processes load: not what their libraries merely offer."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import import_module, util
from pathlib import Path

import pytest

from ailb_project.lean_imports import as_if_missing

ROOT = Path(__file__).parents[2]
WORKER = "import ailb_project.server, ailb_project.asgi"
SUPERVISION = "import ailb_project.supervision"
COMMAND = "import django; django.setup(); import {}"


def loaded_by(code: str, folder: Path, *argv: str, **env: str) -> set[str]:
    """List the top-level packages that a fresh process has loaded after some code."""
    program = f"import sys\nsys.argv[1:] = {list(argv)!r}\n{code}\n"
    program += "print(*{name.partition('.')[0] for name in sys.modules})"
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        env={
            "PATH": os.environ["PATH"],
            "DJANGO_SETTINGS_MODULE": "ailb_project.settings",
            "AILB_DATA_DIR": str(folder),
            "ENABLE_MEMORY": "false",
            **env,
        },
        check=True,
        capture_output=True,
        text=True,
    )
    return set(done.stdout.split())


def test_a_package_is_missing_only_within() -> None:
    sys.modules.pop("this", None)
    with as_if_missing("this"), pytest.raises(ModuleNotFoundError):
        import_module("this")
    assert util.find_spec("this") is not None


def test_a_package_that_is_loaded_stays() -> None:
    with as_if_missing("os"):
        assert import_module("os") is os
    assert sys.modules["os"] is os


def test_a_worker_leaves_out_what_it_never_uses(tmp_path: Path) -> None:
    loaded = loaded_by(WORKER, tmp_path)
    assert {"daphne", "httpx", "rest_framework", "unfold"} <= loaded
    unused = {"OpenSSL", "cbor2", "click", "jinja2", "numpy", "psycopg", "pygments"}
    unused |= {"chromadb", "requests", "rich", "semantic_text_splitter"}
    assert not loaded & unused


def test_a_worker_on_postgresql_has_its_driver(tmp_path: Path) -> None:
    url = "postgresql://nobody@127.0.0.1:1/none"
    assert "psycopg" in loaded_by(WORKER, tmp_path, DATABASE_URL=url)


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("ailb_project.management.commands.runjobs", "runjobs"),
        ("ailb_project.management.commands.runmoduleservice", "runmoduleservice"),
    ],
)
def test_the_background_loads_no_pages_and_nothing_that_is_off(
    module: str, command: str, tmp_path: Path
) -> None:
    loaded = loaded_by(COMMAND.format(module), tmp_path, command)
    unused = {"aiohttp", "cryptography", "daphne", "httpx", "numpy", "rest_framework"}
    assert not loaded & (unused | {"semantic_text_splitter", "unfold"})


def test_the_supervisor_is_light(tmp_path: Path) -> None:
    loaded = loaded_by(SUPERVISION, tmp_path)
    assert not loaded & {"django", "prometheus_client", "ssl", "_ssl"}
