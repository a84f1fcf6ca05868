"""What of documents can only be seen on a server; run by `test_documents_at_once`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.db import connection, transaction

from rag.erasure import lock
from rag.models import Collection, Document
from tests.rag.bringing_at_once import bring_at_once, delete
from tests.rag.library_scenes import (
    Parts,
    add_document,
    make_collection,
    make_scope,
    running_parts,
)


@pytest.fixture
def parts(tmp_path: Path) -> Iterator[Parts]:
    with running_parts(tmp_path / "documents") as parts:
        yield parts


@pytest.mark.django_db(transaction=True)
def test_threads_do_so_on_a_server(tmp_path: Path) -> None:
    bring_at_once(str(tmp_path / "documents"))


@pytest.mark.django_db(transaction=True)
def test_who_deletes_waits_for_the_collection_before_it_locks_documents(
    parts: Parts,
) -> None:
    scope = make_scope()
    make_collection(parts, scope)
    added = add_document(parts, scope)

    def delete_and_close() -> None:
        delete(parts, scope, added.id)
        connection.close()

    deleting = threading.Thread(target=delete_and_close)
    with transaction.atomic():
        lock(Collection.objects.all())
        deleting.start()
        wait_until(is_somebody_waiting)
        free = Document.objects.select_for_update(skip_locked=True)
        assert [*free.values_list("uid", flat=True)] == [added.id]
    deleting.join(60)
    assert not Document.objects.exists()


def is_somebody_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        (waiting,) = cursor.fetchone()
    return bool(waiting)


def wait_until(is_so: Callable[[], bool]) -> None:
    until_s = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < until_s
        time.sleep(0.01)
