"""Whoever brings or deletes a document at the same time as others breaks nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.postgresql import empty_database

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "from tests.rag.bringing_at_once import bring_at_once; bring_at_once({!r})"
ON_POSTGRESQL = (
    "documents_on_postgresql.py", "test_catalogue.py", "test_documents.py",
    "test_stored_files.py",
)  # fmt: skip


def in_process(*command: str, url: str, data: Path) -> None:
    done = subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": url, "AILB_DATA_DIR": str(data)},
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_threads_that_bring_the_same_make_one_document(
    database_template: Path, tmp_path: Path
) -> None:
    path = tmp_path / "ailb.sqlite3"
    path.write_bytes(database_template.read_bytes())
    script = SCRIPT.format(str(tmp_path / "documents"))
    in_process(
        "manage.py", "shell", "--no-imports", "-c", script,
        url=f"sqlite:///{path}", data=tmp_path,
    )  # fmt: skip


def test_all_of_it_holds_on_postgresql(tmp_path: Path) -> None:
    with empty_database() as url:
        in_process(
            "-m", "pytest", "-q", "-p", "no:cacheprovider", "--no-migrations",
            *(f"tests/rag/{name}" for name in ON_POSTGRESQL),
            url=url, data=tmp_path,
        )  # fmt: skip
