"""One facade from a file to an answer."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from rag.questions import RetrievalRequest
from tests.rag.ingesting import ingest_all
from tests.rag.library_scenes import (
    add_document,
    make_collection,
    make_scope,
    make_upload,
    running_parts,
)

pytestmark = pytest.mark.django_db


def test_a_document_is_found_replaced_reindexed_and_forgotten(tmp_path: Path) -> None:
    with running_parts(tmp_path) as parts:
        library, scope = parts.library, make_scope()

        def found(question: str = "parental leave weeks") -> list[str]:
            request = RetrievalRequest(scope, ("handbook",), question)
            candidates = library.candidates(request, until_s=math.inf)
            return [candidates.passages[one.chunk_id].text for one in candidates.ranked]

        make_collection(parts, scope)
        assert found() == []
        added = add_document(parts, scope, "Parental leave: fourteen weeks.")
        ingest_all(parts)
        assert found() == ["Parental leave: fourteen weeks."]

        upload = make_upload("Parental leave: sixteen weeks.")
        library.replace_document(scope, "handbook", added.id, upload)
        assert found() == ["Parental leave: fourteen weeks."]
        ingest_all(parts)
        assert found() == ["Parental leave: sixteen weeks."]

        assert library.reindex(scope, "handbook", {"chunk_tokens": 100}).building
        ingest_all(parts)
        told = library.collection(scope, "handbook")
        assert told.index is not None
        assert (told.index.chunk_tokens, told.building) == (100, None)
        assert told.previous is not None
        assert found() == ["Parental leave: sixteen weeks."]

        assert library.rollback(scope, "handbook").building
        ingest_all(parts)
        told = library.collection(scope, "handbook")
        assert told.index is not None
        assert told.index.chunk_tokens == 200
        assert library.discard_previous(scope, "handbook").previous is None
        library.reindex(scope, "handbook", {})
        assert library.cancel_reindex(scope, "handbook").building is None

        library.delete_document(scope, "handbook", added.id)
        assert found() == []
