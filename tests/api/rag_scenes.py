"""What end-to-end tests of documents share: a jobs process, documents, and asking.

The fixture `start_library` of `tests/api/conftest.py` starts gateways whose collections
are those of `fill` here, indexed already; no jobs process need run. To index others:

    gateway = start_gateway(**RAG)
    with running_jobs(gateway):
        librarian = Librarian(gateway.client)        # of tests.api.documents_client
        librarian.make("plans")
        add_ready(gateway, librarian, "plans", {"plan.txt": "..."})

In both, `ask_documents(gateway, QUESTION, "handbook")` asks.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from django.conf import settings

from rag.models import DocumentState, Version
from tests.api.documents_client import Librarian
from tests.api.gateway_process import ROOT, Gateway, wait_until
from tests.client import Reply

# A busy machine must not fail a test that is not about time.
RAG = {"ENABLE_RAG": "true", "AILB_CONTEXT_DEADLINE_MS": "15000"}
READY_S = 60.0  # the embedder is loaded by then, and a few documents indexed
STOP_S = 20.0
LEAVE = "The parental leave is fourteen weeks long. It begins with the birth.\n"
TRAVEL = "Trains are paid for in second class, and so are rented bicycles.\n"
QUESTION = "How many weeks is the parental leave?"


@contextmanager
def running_jobs(gateway: Gateway) -> Iterator[None]:
    """Run the jobs process of a gateway until the block ends."""
    with (gateway.data_dir / "jobs.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "runjobs"],
            cwd=ROOT,
            env={
                "PATH": os.environ["PATH"],
                "HOME": str(gateway.data_dir),
                "AILB_DATA_DIR": str(gateway.data_dir),
                "AILB_ENCRYPTION_KEYS": ",".join(settings.AILB_ENCRYPTION_KEYS),
                "ENABLE_MEMORY": "false",
                **gateway.environment,
            },
            stdout=log,
            stderr=log,
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def wait_until_done(gateway: Gateway) -> None:
    """Wait until every document that was brought is ready or has failed."""
    done = [DocumentState.READY, DocumentState.FAILED]
    wait_until(
        lambda: not gateway.rows(Version).exclude(state__in=done).exists(),
        "every document is ready or has failed",
        limit_s=READY_S,
    )


def add_ready(
    gateway: Gateway,
    librarian: Librarian,
    collection: str,
    texts: Mapping[str, str],
    *,
    attributes: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Add documents by file name, and wait until they are found; give their ids.

    A jobs process must be running.
    """
    ids = {
        filename: librarian.add(
            collection, text.encode(), filename, attributes=attributes
        )
        for filename, text in texts.items()
    }
    wait_until_done(gateway)
    failed = gateway.rows(Version).filter(state=DocumentState.FAILED)
    assert not failed.exists(), [version.reason for version in failed]
    return ids


def fill(gateway: Gateway) -> None:
    """Make the collections of the anonymous tenant that `start_library` has.

    `handbook`, `strict`, `required` and `ranked` hold both documents, of the years 2025
    (leave) and 2026 (travel); `empty` and `strict-empty` none.
    """
    librarian = Librarian(gateway.client)
    filled: dict[str, dict[str, Any]] = {
        "handbook": {},
        "strict": {"is_strict": True},
        "required": {"is_required": True},
        "ranked": {},
    }
    for name, fields in filled.items():
        librarian.make(name, **fields)
        librarian.add(name, LEAVE.encode(), "leave.txt", attributes={"year": 2025})
        librarian.add(name, TRAVEL.encode(), "travel.txt", attributes={"year": 2026})
    librarian.make("empty")
    librarian.make("strict-empty", is_strict=True)
    wait_until_done(gateway)
    states = {version.state for version in gateway.rows(Version)}
    assert states == {DocumentState.READY}


def ask_documents(
    gateway: Gateway,
    text: str,
    collection: str | list[str],
    *,
    model: str = "openai-model",
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> Reply:
    """Ask with this one message unless `messages` are given; it may be refused."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "rag_collection": collection,
        **fields,
    }
    return gateway.client.post("/v1/chat/completions", body, **(headers or {}))


def sources_of(reply: Reply) -> list[dict[str, Any]]:
    """Give the sources that an answer tells, whole or streamed."""
    if reply.is_stream:
        told = [chunk["ailb"] for chunk in reply.chunks if "ailb" in chunk]
        assert len(told) == 1
        sources: list[dict[str, Any]] = told[0]["sources"]
        return sources
    found: list[dict[str, Any]] = reply.json["ailb"]["sources"]
    return found
