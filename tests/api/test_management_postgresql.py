"""The management API on PostgreSQL, which is stricter than SQLite."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.management import KINDS, MANAGEMENT, ManagerOf, path_of
from tests.api.serve_process import Serve, serving
from tests.postgresql import empty_database

NUL = "a\0b"


@pytest.fixture(scope="module")
def postgres_url(postgresql_template: str) -> Iterator[str]:
    with empty_database(template=postgresql_template) as url:
        yield url


@pytest.fixture(scope="module")
def manager(
    postgres_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ManagerOf[Serve]]:
    """Serve with a key that may manage, made before the start."""
    folder = tmp_path_factory.mktemp("postgresql")
    serve = Serve(folder, {"DATABASE_URL": postgres_url})
    rights = ",".join(MANAGEMENT)
    key = serve.run("create_api_key", "manager", f"--rights={rights}").stdout.strip()
    with serving(folder, DATABASE_URL=postgres_url) as running:
        yield ManagerOf(running, key)


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_is_made_listed_changed_and_deleted(
    manager: ManagerOf[Serve], kind: str
) -> None:
    made = manager.make(kind)
    path = path_of(kind, made)
    made.pop("key", None) if kind == "keys" else None
    assert made in manager.get(f"{kind}?limit=1000")["results"]
    assert manager.change(path)["created_at"] == made["created_at"]
    manager.delete(path)
    assert manager.send("GET", path).status == 404


def test_a_key_is_rotated_with_its_everyday_limits(manager: ManagerOf[Serve]) -> None:
    made = manager.make("keys", requests_per_minute=5, budget_usd_per_month=2.5)
    assert manager.change(f"keys/{made['id']}", requests_per_minute=6)["limits"]
    rotated = manager.send("POST", f"keys/{made['id']}/rotate").json
    assert rotated["requests_per_minute"] == 6
    assert rotated["budget_usd_per_month"] == 2.5
    assert rotated["key"] != made["key"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "keys", {"name": "n", "tenant": NUL}),
        ("POST", "models", {"name": "n", "defaults": {"a": NUL}}),
        ("GET", "tenants/a%00b", None),
        ("PATCH", "models/a%00b", {}),
        ("DELETE", "providers/a%00b", None),
        ("GET", "tenants?after=a%00b", None),
        ("GET", "limits?tenant=a%00b", None),
        ("GET", "usage?model=a%00b", None),
    ],
)
def test_what_postgresql_cannot_keep_is_refused(
    manager: ManagerOf[Serve], method: str, path: str, body: dict[str, Any] | None
) -> None:
    assert manager.send(method, path, body).status == 400


def test_numbers_beyond_64_bits_name_no_row(manager: ManagerOf[Serve]) -> None:
    assert manager.send("GET", "limits/99999999999999999999").status == 404
