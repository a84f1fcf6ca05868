"""Reads a set of documents and questions in the form that the BEIR benchmark uses."""

from __future__ import annotations

import csv
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks.processes import BenchmarkFailed


@dataclass(frozen=True, slots=True)
class Entry:
    """One document of the set."""

    id: str
    title: str
    text: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A question, and how relevant documents are to it: 1 or more, by their id."""

    text: str
    relevant: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class DocumentSet:
    """A whole set; `name` is its folder's."""

    name: str
    entries: tuple[Entry, ...]
    questions: tuple[Judged, ...]


def read_set(folder: Path) -> DocumentSet:
    """Read `corpus.jsonl`, `queries.jsonl` and `qrels/test.tsv`.

    Raises:
        BenchmarkFailed: The folder is none of this form.

    """
    try:
        entries = tuple(
            Entry(row["_id"], row.get("title", ""), row["text"])
            for row in rows_of(folder / "corpus.jsonl")
        )
        texts = {row["_id"]: row["text"] for row in rows_of(folder / "queries.jsonl")}
        questions = tuple(
            Judged(texts[number], relevant)
            for number, relevant in judgements(folder / "qrels" / "test.tsv").items()
        )
    except (OSError, KeyError, ValueError) as error:
        raise BenchmarkFailed(f"{folder} is no set in BEIR's form: {error}") from error
    return DocumentSet(folder.resolve().name, entries, questions)


def rows_of(path: Path) -> Iterator[Mapping[str, str]]:
    """Yield the objects of a file with one on each line."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def judgements(path: Path) -> dict[str, dict[str, int]]:
    """Read which documents are relevant to which question."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    with path.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines, delimiter="\t")
        next(rows)  # the headings
        for question, document, score in rows:
            if int(score) > 0:
                found[question][document] = int(score)
    return dict(found)
