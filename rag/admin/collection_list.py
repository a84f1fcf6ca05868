"""The list of collections, with what is in each, however many there are."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from typing_extensions import override

from rag.admin.figures import counted, percent
from rag.admin.theme import ChangeList
from rag.catalogue import OperatorScope, records
from rag.records import CollectionRecord, Counts

# The theme's badges by state of the index.
SERVES, BUILDING, WAITS, NEVER = "serves", "re-indexing", "waits", "no index"
COLOURS = {SERVES: "success", BUILDING: "info", WAITS: "warning", NEVER: "danger"}


class CollectionList(ChangeList):
    """Counts the documents of all the shown collections at once."""

    @override
    def get_results(self, request: HttpRequest) -> None:
        """Hang on each row what the library tells of it, as `told`."""
        super().get_results(request)
        rows: list[Any] = list(self.result_list)
        # Whose the collections are makes no difference to counts and indexes.
        for row, told in zip(rows, records(rows, OperatorScope(0)), strict=True):
            row.told = told
        self.result_list = rows


def index_state(told: CollectionRecord) -> str:
    """Name the state of a collection's indexes in a word of `COLOURS`."""
    if told.index is None:
        return NEVER
    if told.building is not None:
        return BUILDING
    return WAITS if told.index.problem else SERVES


def index_words(told: CollectionRecord) -> str:
    """Say how far an index is that is being built; its state else."""
    state, building = index_state(told), told.building
    if building is None:
        return state
    return f"{state}, {percent(building.done, building.total)}%"


def document_words(counts: Counts) -> str:
    """Say how many documents there are, and which of them are not ready."""
    said = [counted(counts.ready, "ready document")]
    if counts.in_progress:
        said.append(f"{counts.in_progress:,} in progress")
    if counts.failed:
        said.append(f"{counts.failed:,} failed")
    return ", ".join(said)
