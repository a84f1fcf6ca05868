"""Whether what a worker stands on really answers; each check gives one line of text."""

from __future__ import annotations

from collections.abc import Container, Mapping
from typing import TYPE_CHECKING

from django.conf import settings
from django.db import connection

from gateway.snapshot import Snapshot
from gateway.snapshot_store import DATABASE_AWAY

if TYPE_CHECKING:
    from rag.vectorstore import VectorStore

OK = "ok"
OFF = "off"
IDLE = "idle"
DOWN = "down"
DEGRADED = "degraded"
STORE_TIMEOUT_S = 4.0  # the first question also imports its client
NOT_SERVING = frozenset({"open", "cooling"})  # breakers


class DeepChecks:
    """Asks the database and the vector store, and looks for the embedder's files.

    Never asks a provider, and loads no model. Each check blocks, for a few seconds at
    most, and never raises for what it finds. What they give is `ok`, `off`, or
    `degraded:` and why.
    """

    def __init__(self) -> None:
        """Connect to nothing yet."""
        self._store: VectorStore | None = None
        self._has_looked = False

    def database(self) -> str:
        """Ask the database; for a thread that may."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                cursor.fetchone()
            self._find_store()
        except DATABASE_AWAY as error:
            return degraded(f"it cannot be reached ({type(error).__name__})")
        return OK

    def vector_store(self) -> str:
        """Ask the vector store what it has, after `database`; for any thread."""
        if not has_vectors():
            return OFF
        if self._store is None:
            return degraded(
                "there is none: set CHROMA_URL, or start everything with `serve`"
                if self._has_looked
                else "the database, which knows its name there, cannot be reached"
            )
        # Numpy comes with it: only for who has vectors.
        from rag.errors import VectorStoreUnavailable  # noqa: PLC0415

        try:
            self._store.spaces()
        except VectorStoreUnavailable as error:
            return degraded(str(error))
        return OK

    def embedder(self) -> str:
        """Look whether the embedding model could be loaded; for any thread."""
        if not has_vectors():
            return OFF
        from rag.configured import embedder_problem  # noqa: PLC0415  # as above

        problem = embedder_problem()
        return degraded(problem) if problem else OK

    def _find_store(self) -> None:
        """Find the vector store, whose name is in the database."""
        if self._store is not None or not has_vectors():
            return
        from rag.configured import make_store  # noqa: PLC0415  # as above

        self._store = make_store(timeout_s=STORE_TIMEOUT_S)
        self._has_looked = True


def has_vectors() -> bool:
    """Say whether memory or documents are on."""
    return bool(settings.ENABLE_MEMORY or settings.ENABLE_RAG)


def provider_checks(
    snapshot: Snapshot,
    breakers: Mapping[str, Mapping[str, str]],
    unreadable: Container[str] = (),
) -> dict[str, str]:
    """Say how each provider stands by the workers' breakers: provider, upstream model.

    `idle` where nothing is asked of it, `down` where none of its models may be asked, or
    where its credential is `unreadable` to a worker.
    """
    checks = {}
    for name in snapshot.providers:
        states = breakers.get(name, {})
        out = sorted(model for model, state in states.items() if state in NOT_SERVING)
        if not states:
            checks[name] = IDLE
        elif name in unreadable:
            checks[name] = f"{DOWN}: its credential cannot be read"
        elif len(out) == len(states):
            checks[name] = f"{DOWN}: {', '.join(out)}"
        else:
            checks[name] = degraded(f"{', '.join(out)} not asked") if out else OK
    return checks


def providers_check(checks: Mapping[str, str]) -> str:
    """Sum the providers up: `down` when none that is used may be asked."""
    used = {name: found for name, found in checks.items() if found != IDLE}
    if not used:
        return degraded("no provider has a model that serves")
    down = sorted(name for name, found in used.items() if found.startswith(DOWN))
    if len(down) == len(used):
        return f"{DOWN}: {', '.join(down)}"
    bad = sorted(name for name, found in used.items() if found != OK)
    return degraded(", ".join(bad)) if bad else OK


def degraded(why: str) -> str:
    """Write what is not whole."""
    return f"{DEGRADED}: {why}"
