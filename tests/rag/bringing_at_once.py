"""Threads that bring, replace and delete the same document at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from django.db import connections

from rag.errors import DocumentNotFound
from rag.models import Version
from rag.scope import Scope
from tests.rag.library_scenes import (
    Parts,
    make_collection,
    make_scope,
    make_upload,
    running_parts,
)

THREADS = 4

Result = TypeVar("Result")


def folders(parts: Parts) -> int:
    return len(list((parts.files.root / "versions").iterdir()))


def bring_at_once(folder: str) -> None:
    """Bring the same content from several threads, and replace it so; in a process."""
    with running_parts(Path(folder)) as parts:
        scope = make_scope()
        make_collection(parts, scope)
        added = at_once(
            lambda _: parts.library.add_document(scope, "handbook", make_upload())
        )
        (uid,) = {each.document.id for each in added}
        assert [each.is_new for each in added].count(True) == 1
        assert folders(parts) == Version.objects.count() == 1

        replaced = at_once(
            lambda number: parts.library.replace_document(
                scope, "handbook", uid, make_upload(f"text {number % 2}")
            )
        )
        numbers = sorted(each.document.version for each in replaced if each.is_new)
        assert numbers
        newest = parts.library.document(scope, "handbook", uid)
        assert newest.version == max(numbers)
        assert [*Version.objects.values_list("number", flat=True)] == [max(numbers)]
        assert folders(parts) == 1

        at_once(lambda _: delete(parts, scope, uid))
        assert not Version.objects.exists()
        assert folders(parts) == 0


def delete(parts: Parts, scope: Scope, uid: str) -> None:
    try:
        parts.library.delete_document(scope, "handbook", uid)
    except DocumentNotFound:
        return


def at_once(act: Callable[[int], Result]) -> list[Result]:
    """Do something in threads that begin together; give what each gave."""
    barrier = threading.Barrier(THREADS)
    gave = dict[int, Result]()
    failed = list[BaseException]()

    def work(number: int) -> None:
        try:
            barrier.wait(30)
            gave[number] = act(number)
        except BaseException as error:  # noqa: BLE001 - told to the test
            failed.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=work, args=[n]) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not failed, failed
    return list(gave.values())
