"""Retrieval on PostgreSQL: every test of it holds there, too."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from django.conf import settings
from django.db import connection

from tests.postgresql import empty_database

TESTS = ("test_retrieval.py", "test_isolation.py")


def test_all_of_retrieval_holds_on_postgresql() -> None:
    if connection.vendor == "postgresql":
        pytest.skip("it is what this is")
    with empty_database() as url:
        run = subprocess.run(
            [
                sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
                *(f"tests/rag/{name}" for name in TESTS),
            ],
            cwd=settings.BASE_DIR,
            env={**os.environ, "DATABASE_URL": url},
            capture_output=True,
            text=True,
            check=False,
            timeout=170,
        )  # fmt: skip
    assert run.returncode == 0, run.stdout
