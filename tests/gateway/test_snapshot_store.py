"""Which snapshot serves: it follows the rows, and keeps the last good one."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from gateway.errors import NotReady
from gateway.kinds import Source
from gateway.models import Deployment, Model, Provider
from gateway.snapshot_store import SnapshotStore

pytestmark = pytest.mark.django_db


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "snapshot.json"


def store_at(path: Path) -> SnapshotStore:
    return SnapshotStore(
        keys=settings.AILB_ENCRYPTION_KEYS,
        default_strategy="load_balanced",
        last_good=path,
    )


def add_model(name: str) -> None:
    provider, _ = Provider.objects.get_or_create(
        name="p", kind="openai", base_url="http://127.0.0.1:1/v1"
    )
    model = Model.objects.create(name=name)
    Deployment.objects.create(model=model, provider=provider, upstream_model=name)


@contextmanager
def tables_away() -> Iterator[None]:
    """Let every query for a revision fail, as without a database."""
    table = "gateway_configrevision"
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO away")
        yield
        cursor.execute(f"ALTER TABLE away RENAME TO {table}")


def test_nothing_serves_before_the_first_refresh(path: Path) -> None:
    store = store_at(path)
    assert not store.is_loaded
    with pytest.raises(NotReady):
        _ = store.current


def test_a_refresh_without_a_change_changes_nothing(path: Path) -> None:
    add_model("m")
    store = store_at(path)
    assert store.refresh()
    before, written = store.current, path.stat().st_mtime_ns
    assert not store.refresh()
    assert store.current is before
    assert path.stat().st_mtime_ns == written


def test_a_change_is_followed_and_kept(path: Path) -> None:
    add_model("m")
    store = store_at(path)
    store.refresh()
    revision = store.current.revision
    add_model("n")
    assert store.refresh()
    assert store.current.revision > revision
    assert {"m", "n"} <= set(store.current.models)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["snapshot.json"]


def test_a_bad_set_keeps_the_old_one_until_it_is_mended(path: Path) -> None:
    add_model("m")
    store = store_at(path)
    store.refresh()
    good, kept = store.current, path.read_bytes()
    Provider.objects.update(kind="klingon")
    assert not store.refresh()
    assert store.current is good
    assert path.read_bytes() == kept
    assert "klingon" in (store.problem or "")
    Provider.objects.update(kind="openai")
    assert store.refresh()
    assert store.problem is None


def test_without_a_database_the_kept_one_serves(path: Path) -> None:
    add_model("m")
    first = store_at(path)
    first.refresh()
    second = store_at(path)
    with tables_away():
        assert second.refresh()
        assert second.current == first.current
        assert "database" in (second.problem or "")
        assert not second.refresh()
    assert not second.refresh(), "the same revision serves already"
    assert (second.is_database_away, second.problem) == (False, None)


@pytest.mark.parametrize(
    "content", [None, b"", b"[]", b'{"revision": 1}', b"\xff", b'{"revision": 1, "pro']
)
def test_a_kept_file_that_cannot_be_read_is_no_configuration(
    path: Path, content: bytes | None
) -> None:
    if content is not None:
        path.write_bytes(content)
    store = store_at(path)
    with tables_away():
        assert not store.refresh()
    assert not store.is_loaded


def test_a_kept_set_that_this_version_refuses_is_no_configuration(path: Path) -> None:
    add_model("m")
    store_at(path).refresh()
    path.write_bytes(path.read_bytes().replace(b'"openai"', b'"klingon"'))
    store = store_at(path)
    with tables_away():
        assert not store.refresh()
    assert not store.is_loaded


def test_a_folder_that_cannot_be_written_does_not_stop_the_change(
    tmp_path: Path,
) -> None:
    add_model("m")
    store = store_at(tmp_path / "missing" / "snapshot.json")
    assert store.refresh()
    assert "m" in store.current.models


def test_what_is_kept_names_no_simulator(path: Path) -> None:
    add_model("m")
    Provider.objects.update(source=Source.SIMULATOR)
    assert store_at(path).refresh()
    with tables_away():
        store = store_at(path)
        store.refresh()
        assert store.current.models == {}
