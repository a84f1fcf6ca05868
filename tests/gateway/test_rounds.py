"""What the jobs process does for memory and documents, and what these share."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from django.conf import settings as project
from pytest_django import Settings

from gateway import rounds
from gateway.rounds import Rounds
from rag.configured import make_embedders
from rag.embedders import Embedders
from rag.files import DocumentFiles
from rag.library import Library
from rag.models import Version
from tests.rag.library_scenes import (
    Parts,
    add_document,
    make_collection,
    make_scope,
    running_parts,
)

pytestmark = pytest.mark.django_db(transaction=True)
LIMIT_S = 60.0


@pytest.fixture(autouse=True)
def _settings(settings: Settings, tmp_path: Path) -> None:
    settings.AILB_DOCUMENTS_DIR = tmp_path
    settings.CHROMA_URL = ""


def test_a_document_becomes_ready_with_the_embedder_of_the_settings(
    tmp_path: Path,
) -> None:
    with running_parts(tmp_path) as parts:
        library = Library(
            parts.embedders,
            None,
            files=DocumentFiles(tmp_path),
            model=project.EMBEDDING_MODEL,
            precision=project.AILB_EMBEDDING_PRECISION,
        )
        given = Parts(library, parts.embedders, None, parts.files)
        scope = make_scope()
        make_collection(given, scope)
        add_document(given, scope)
    mine = Rounds()
    until_s = time.monotonic() + LIMIT_S
    while not Version.objects.filter(state="ready").exists():
        if not mine.keep_documents():
            version = Version.objects.get()
            assert time.monotonic() < until_s, version.reason
    mine.close()
    assert Version.objects.get().chunks_done == 1


def test_memory_and_documents_have_one_embedder_and_nothing_is_made_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = list[Embedders]()
    make = make_embedders

    def make_and_note() -> Embedders:
        made.append(make())
        return made[-1]

    monkeypatch.setattr(rounds, "make_embedders", make_and_note)
    mine = Rounds()
    mine.keep_database()
    assert not made
    mine.keep_memory()
    mine.keep_documents()
    assert len(made) == 1
    assert made[0].default.id is None, "nobody has asked for it"
    mine.close()


def test_a_process_that_stops_does_no_more_of_documents(tmp_path: Path) -> None:
    with running_parts(tmp_path) as parts:
        scope = make_scope()
        make_collection(parts, scope)
        add_document(parts, scope)
    mine = Rounds()
    mine.end_documents()
    assert not mine.keep_documents()
    mine.leave_documents()
    assert Version.objects.get().state == "queued"
    mine.close()
