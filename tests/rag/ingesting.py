"""Runs documents through, as the jobs process does, until each is ready or has failed."""

from __future__ import annotations

import time

from rag.ingest import Ingest
from rag.models import DocumentState, Index, IndexState, Version
from tests.rag.library_scenes import Parts

LIMIT_S = 60.0
PAUSE_S = 0.01


def ingest_all(parts: Parts) -> None:
    """Work until no document waits and no index is being built."""
    ingest = Ingest(parts.embedders, parts.store, parts.files)
    until_s = time.monotonic() + LIMIT_S
    while is_unfinished():
        if not ingest.do_round():
            assert time.monotonic() < until_s, ingest.problem
            time.sleep(PAUSE_S)


def is_unfinished() -> bool:
    """Tell whether there is anything left to do."""
    done = [DocumentState.READY, DocumentState.FAILED]
    waiting = Version.objects.exclude(state__in=done)
    return waiting.exists() or Index.objects.filter(state=IndexState.BUILDING).exists()
