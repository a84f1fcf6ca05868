"""Prints what `make bench-memory` measures, and names the bounds that are broken."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from benchmarks import memory_quality, memory_timing
from benchmarks.conversations import Conversation, generate
from benchmarks.locomo import read_conversations
from benchmarks.memory_quality import Method, Quality
from benchmarks.processes import BenchmarkFailed
from rag.embedding import Embedder, load_embedder
from rag.embedding_lanes import EmbeddingLanes
from rag.errors import EmbedderUnavailable
from rag.packaged_model import INSTALLED

PRECISIONS = ("int8", "fp32")
# Of turns that answer, among the first 5 and the first 10, in the public set.
PUBLIC_RECALL = {5: 0.60, 10: 0.71}
MOST_TOKENS = 400


def main(*, locomo: str | None, turns: int, repeats: int) -> int:
    """Measure and print; 1 when a bound is broken or nothing could be measured."""
    try:
        broken = [*_print_quality(locomo), *_print_timing(turns, repeats)]
    except BenchmarkFailed as failure:
        print(f"No result: {failure}", file=sys.stderr)
        return 1
    for row in broken:
        print(f"BROKEN: {row}")
    return 1 if broken else 0


def broken_bounds(rows: Sequence[Quality], *, is_public: bool) -> Iterator[str]:
    """Name what the rows of one set and one embedder fail to reach."""
    by_method = {row.method: row for row in rows}
    whole = by_method[Method.SMOOTHED]
    for depth in PUBLIC_RECALL:
        for single in (Method.DENSE, Method.KEYWORDS):
            if whole.recall[depth] <= by_method[single].recall[depth]:
                yield f"{whole.title}: recall@{depth} is not above that of {single}"
        if is_public and whole.recall[depth] < PUBLIC_RECALL[depth]:
            yield f"{whole.title}: recall@{depth} is below {PUBLIC_RECALL[depth]:.2f}"
    if whole.tokens > MOST_TOKENS:
        yield f"{whole.title}: more than {MOST_TOKENS} tokens among the first 10"


def _print_quality(locomo: str | None) -> list[str]:
    sets: dict[str, list[Conversation]] = {
        "generated": [generate(seed, often=3, turns=220) for seed in (1, 2, 3)],
        "generated, 1,000 turns": [generate(11, often=5, turns=1000)],
    }
    if locomo:
        sets["LoCoMo"] = read_conversations(Path(locomo))
    embedders = [_embedder(precision) for precision in PRECISIONS]
    broken: list[str] = []
    for name, conversations in sets.items():
        print(memory_quality.headings(name, conversations), flush=True)
        for embedder in embedders:
            rows = memory_quality.measure(name, conversations, embedder)
            print(*rows, sep="\n", flush=True)
            broken += broken_bounds(rows, is_public=name == "LoCoMo")
    return broken


def _print_timing(turns: int, repeats: int) -> list[str]:
    call_command("migrate", verbosity=0, interactive=False)
    embedder = _embedder("int8")
    lanes = EmbeddingLanes(lambda: embedder)
    broken: list[str] = []
    print(memory_timing.HEADINGS, flush=True)
    try:
        for row in memory_timing.measure(
            lanes, embedder.id, others=turns, rounds=repeats
        ):
            print(row, flush=True)
            broken += row.broken()
    finally:
        lanes.close()
    return broken


def _embedder(precision: str) -> Embedder:
    try:
        return load_embedder(
            model="",
            precision=precision,
            allow_downloads=False,
            folders=[INSTALLED, settings.AILB_DATA_DIR / "embedders"],
        )
    except EmbedderUnavailable as error:
        raise BenchmarkFailed(str(error)) from error
