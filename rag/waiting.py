"""What an index and its documents wait for, said where people look."""

from __future__ import annotations

from rag.models import DocumentState, Index, IndexState, Version


def note_problem(index: Index, problem: str) -> None:
    """Say what an index waits for; "" when it goes on, or nothing is in its way.

    The documents that wait with it say the same. Writes only what is not said yet.
    """
    before, index.problem = index.problem, problem
    if problem != before:
        Index.objects.filter(pk=index.pk).update(problem=problem)
    if index.state != IndexState.ACTIVE:
        return
    waiting = Version.objects.filter(
        state=DocumentState.EMBEDDING, document__collection=index.collection_id
    )
    if problem:
        waiting = waiting.exclude(reason=problem)
    elif before:
        waiting = waiting.filter(reason=before)
    else:
        return
    if waiting.exists():
        waiting.update(reason=problem)
