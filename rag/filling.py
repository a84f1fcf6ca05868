"""Versions come into an index: their chunks, and the vectors of these."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q

from rag import chunk_vectors, version_texts
from rag.cutting import Toolbox, Tools, cut
from rag.errors import ParserUnavailable
from rag.files import DocumentFiles
from rag.models import (
    Chunk,
    Cut,
    DocumentState,
    Index,
    IndexState,
    VectorState,
    Version,
)
from rag.version_texts import TextAway

RETRY_S = 30.0  # what is missing was asked for not long ago
VERSIONS = 64  # that are filled in together


def lacks(**index: object) -> Q:
    """Say of versions that an index, given by its columns, has not all of them yet."""
    columns = {f"index__{name}": value for name, value in index.items()}
    mine = {"version": OuterRef("pk"), **columns}
    pending = Chunk.objects.filter(vector_state=VectorState.PENDING, **mine)
    return Q(~Exists(Cut.objects.filter(**mine))) | Q(Exists(pending))


@dataclass(frozen=True, slots=True)
class Aside:
    """A version that is not tried for a while; `until_s` is on the monotonic clock."""

    index: int
    problem: str
    until_s: float


class Filling:
    """Cuts and embeds versions, and sets those aside whose text is away. One thread."""

    def __init__(self, toolbox: Toolbox, files: DocumentFiles) -> None:
        """`toolbox` is used by this alone."""
        self._toolbox = toolbox
        self._files = files
        self._aside = dict[int, Aside]()

    @property
    def aside(self) -> list[int]:
        """Give the versions that are not to be tried now, by row."""
        now_s = time.monotonic()
        self._aside = {
            pk: aside for pk, aside in self._aside.items() if aside.until_s > now_s
        }
        return list(self._aside)

    def problem_of(self, index: Index) -> str:
        """Say why a version of an index is set aside; empty when none is."""
        mine = (each for each in self._aside.values() if each.index == index.pk)
        return next((each.problem for each in mine), "")

    def fill(self, index: Index, versions: Sequence[Version], until_s: float) -> bool:
        """Work until a time on the monotonic clock; tells whether anything was done.

        Raises:
            EmbedderUnavailable: There is none now, or it is still being loaded.
            IndexStuck: Nothing more can come into this index.

        """
        tools = self._toolbox.of(index)
        known = Cut.objects.filter(
            index=index, version__in=[each.pk for each in versions]
        )
        ready = list(known.values_list("version", flat=True))
        there = set(ready)
        has_cut = False
        for version in versions:
            if version.pk not in there and self._cut(version, index, tools):
                ready.append(version.pk)
                has_cut = True
            if time.monotonic() >= until_s:
                break
        return self._embed(index, ready, tools, until_s) or has_cut

    def _cut(self, version: Version, index: Index, tools: Tools) -> bool:
        try:
            is_cut = self._cut_text(version, index, tools)
        except (TextAway, ParserUnavailable) as error:
            problem = str(error)
            self._aside[version.pk] = Aside(
                index.pk, problem, time.monotonic() + RETRY_S
            )
            if index.state == IndexState.ACTIVE:
                Version.objects.filter(
                    pk=version.pk, state=DocumentState.EMBEDDING
                ).update(reason=problem)
            return False
        if is_cut and version.reason and index.state == IndexState.ACTIVE:
            Version.objects.filter(pk=version.pk).update(reason="")
        return is_cut

    def _cut_text(self, version: Version, index: Index, tools: Tools) -> bool:
        try:
            return cut(version, index, tools.chunker, self._files)
        except FileNotFoundError:
            version_texts.restore_text(version, self._files)
        except OSError as error:
            raise version_texts.away(version, error) from error
        return cut(version, index, tools.chunker, self._files)

    def _embed(
        self, index: Index, version_pks: Sequence[int], tools: Tools, until_s: float
    ) -> bool:
        """Embed batch after batch, the oldest version's first."""
        pending = (
            Chunk.objects.filter(
                index=index,
                version__in=version_pks,
                vector_state=VectorState.PENDING,
            )
            .order_by("version", "seq")
            .select_related("version")
            .only("text", "heading_path", "version__title")
        )
        has_done = False
        while chunks := list(pending[: chunk_vectors.BATCH]):
            has_done |= chunk_vectors.embed(chunks, index, tools) > 0
            if time.monotonic() >= until_s:
                break
        return has_done
