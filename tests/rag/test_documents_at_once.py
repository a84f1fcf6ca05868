"""Whoever brings or deletes a document at the same time as others breaks nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.postgresql import pass_on_postgresql

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "from tests.rag.bringing_at_once import bring_at_once; bring_at_once({!r})"
ON_POSTGRESQL = (
    "documents_on_postgresql.py", "test_catalogue.py", "test_documents.py",
    "test_stored_files.py",
)  # fmt: skip


def test_threads_that_bring_the_same_make_one_document(
    database_template: Path, tmp_path: Path
) -> None:
    path = tmp_path / "ailb.sqlite3"
    path.write_bytes(database_template.read_bytes())
    script = SCRIPT.format(str(tmp_path / "documents"))
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "--no-imports", "-c", script],
        cwd=ROOT,
        env={
            **os.environ,
            "DATABASE_URL": f"sqlite:///{path}",
            "AILB_DATA_DIR": str(tmp_path),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=170,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_all_of_it_holds_on_postgresql(postgresql_template: str) -> None:
    pass_on_postgresql(
        *(f"tests/rag/{name}" for name in ON_POSTGRESQL), template=postgresql_template
    )
