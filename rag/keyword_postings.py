"""Which chunks have a term: what the two databases are asked, and how."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from django.db import connections, transaction
from typing_extensions import override

from rag.keyword_terms import IndexSize

# PostgreSQL counts no further; what is known to be commoner is not counted at all.
MAX_COUNTED = 4_000
# As the migration wrote it: only so is the index on it used.
KEYS = (
    "string_to_array(index_id::text || 'x' || "
    "replace(terms, ' ', ' ' || index_id::text || 'x'), ' ')"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Some chunks that have all of some terms and, if given, any one of others."""

    every: tuple[str, ...]
    limit: int
    any_one: tuple[str, ...] = ()


class Postings(Protocol):
    """The keyword index of one database. An index is given by its primary key."""

    def frequencies(self, index: int, terms: Sequence[str]) -> dict[str, int]:
        """Say how many chunks have each term, about; what none has is left out."""

    def chunks(self, index: int, wanted: Sequence[Wanted]) -> Iterator[tuple[int, int]]:
        """Give the position in `wanted` and the primary key of each that is found."""


def sizes(indexes: Iterable[int], *, using: str) -> dict[int, IndexSize]:
    """Give the sizes of those indexes that have any chunks with terms."""
    with connections[using].cursor() as cursor:
        numbers = [int(index) for index in indexes]
        cursor.execute(
            "SELECT index_id, sum(chunks), sum(terms) FROM rag_indexsize "  # noqa: S608 - places
            f"WHERE index_id IN ({_places(numbers)}) GROUP BY index_id",
            numbers,
        )
        rows = cursor.fetchall()
    return {
        int(index): IndexSize(chunks=int(chunks), terms=int(terms))
        for index, chunks, terms in rows
        if chunks > 0
    }


@contextmanager
def opened(using: str) -> Iterator[Postings]:
    """Give the keyword index of a database."""
    if connections[using].vendor == "sqlite":
        yield SQLitePostings(using)
        return
    with transaction.atomic(using):
        with connections[using].cursor() as cursor:
            # It would read every chunk for the first thousands of a common term.
            cursor.execute("SET LOCAL enable_seqscan = off")
        yield PostgreSQLPostings(using)


@dataclass(frozen=True, slots=True)
class SQLitePostings(Postings):
    """A table of FTS5, and its vocabulary."""

    using: str

    @override
    def frequencies(self, index: int, terms: Sequence[str]) -> dict[str, int]:
        scoped = {_scoped(index, term): term for term in terms}
        with connections[self.using].cursor() as cursor:
            cursor.execute(
                "SELECT term, doc FROM rag_keywordterm "  # noqa: S608 - places
                f"WHERE term IN ({_places(scoped)})",
                list(scoped),
            )
            return {scoped[term]: int(chunks) for term, chunks in cursor.fetchall()}

    @override
    def chunks(self, index: int, wanted: Sequence[Wanted]) -> Iterator[tuple[int, int]]:
        one = (
            "SELECT * FROM (SELECT %s, rowid FROM rag_keyword "
            "WHERE rag_keyword MATCH %s LIMIT %s)"
        )
        parameters = [
            value
            for position, each in enumerate(wanted)
            for value in (position, _match(index, each), each.limit)
        ]
        with connections[self.using].cursor() as cursor:
            cursor.execute(" UNION ALL ".join([one] * len(wanted)), parameters)
            yield from cursor.fetchall()


@dataclass(frozen=True, slots=True)
class PostgreSQLPostings(Postings):
    """A GIN index, and what the planner knows of its commonest terms.

    Inside a transaction.
    """

    using: str

    @override
    def frequencies(self, index: int, terms: Sequence[str]) -> dict[str, int]:
        scoped = {_scoped(index, term): term for term in terms}
        with connections[self.using].cursor() as cursor:
            cursor.execute(
                f"""
                WITH common AS MATERIALIZED (
                    SELECT each.term, round(each.share * greatest(reltuples, 0)) AS chunks
                    FROM pg_stats, pg_class, unnest(
                        most_common_elems::text::text[], most_common_elem_freqs
                    ) AS each (term, share)
                    WHERE schemaname = current_schema() AND tablename = 'rag_chunk_keywords'
                    AND pg_class.oid = 'rag_chunk'::regclass AND each.term = ANY(%s)
                )
                SELECT asked.term, coalesce(
                    (SELECT chunks FROM common WHERE common.term = asked.term),
                    (SELECT count(*) FROM (
                        SELECT 1 FROM rag_chunk WHERE {KEYS} @> ARRAY[asked.term] LIMIT %s
                    ) AS counted)
                ) FROM unnest(%s::text[]) AS asked (term)
                """,  # noqa: S608 - our expression
                [list(scoped), MAX_COUNTED, list(scoped)],
            )
            return {scoped[term]: int(found) for term, found in cursor if found}

    @override
    def chunks(self, index: int, wanted: Sequence[Wanted]) -> Iterator[tuple[int, int]]:
        statements: list[str] = []
        parameters: list[int | list[str]] = []
        for position, each in enumerate(wanted):
            condition = f"{KEYS} @> %s::text[]"
            values = [[_scoped(index, term) for term in each.every]]
            if each.any_one:
                condition += f" AND {KEYS} && %s::text[]"
                values.append([_scoped(index, term) for term in each.any_one])
            statements.append(
                f"(SELECT %s, id FROM rag_chunk WHERE {condition} LIMIT %s)"  # noqa: S608 - our expression
            )
            parameters += [position, *values, each.limit]
        with connections[self.using].cursor() as cursor:
            cursor.execute(" UNION ALL ".join(statements), parameters)
            yield from cursor.fetchall()


def _scoped(index: int, term: str) -> str:
    """Write a term as it is indexed: it bears its index."""
    return f"{index}x{term}"


def _match(index: int, wanted: Wanted) -> str:
    """Write what FTS5 is asked; every term is quoted, so that none is syntax."""
    every = " AND ".join(_quoted(index, term) for term in wanted.every)
    if not wanted.any_one:
        return every
    any_one = " OR ".join(_quoted(index, term) for term in wanted.any_one)
    return f"({any_one}) AND {every}"


def _quoted(index: int, term: str) -> str:
    doubled = _scoped(index, term).replace('"', '""')
    return f'"{doubled}"'


def _places(values: Iterable[object]) -> str:
    return ", ".join("%s" for _ in values)
