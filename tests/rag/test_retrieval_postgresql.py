"""Retrieval on PostgreSQL: every test of it holds there, too."""

from __future__ import annotations

from tests.postgresql import pass_on_postgresql

TESTS = ("tests/rag/test_retrieval.py", "tests/rag/test_isolation.py")


def test_all_of_retrieval_holds_on_postgresql(postgresql_template: str) -> None:
    pass_on_postgresql(*TESTS, template=postgresql_template)
