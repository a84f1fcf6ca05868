"""Tests of what `make bench-memory` calls broken."""

from __future__ import annotations

import pytest

from benchmarks.memory_quality import Method, Quality
from benchmarks.memory_report import broken_bounds
from benchmarks.memory_timing import Import, Recall, Times


def quality(method: Method, found: float, *, tokens: float = 300) -> Quality:
    recall = dict.fromkeys((5, 10, 25), found)
    return Quality("set", "int8", method, recall, by_kind={}, tokens=tokens)


def rows(whole: float, *, tokens: float = 300) -> list[Quality]:
    singles = [quality(Method.DENSE, 0.5), quality(Method.KEYWORDS, 0.4)]
    return [*singles, quality(Method.SMOOTHED, whole, tokens=tokens)]


@pytest.mark.parametrize(
    ("whole", "tokens", "is_public", "broken"),
    [
        (0.75, 400, True, []),
        (0.65, 300, True, ["set, int8, fused, smoothed: recall@10 is below 0.71"]),
        (0.65, 300, False, []),
        (0.75, 401, False, ["set, int8, fused, smoothed: more than 400 tokens"]),
        (
            0.5,
            300,
            False,
            [
                "set, int8, fused, smoothed: recall@5 is not above that of dense alone",
                "set, int8, fused, smoothed: recall@10 is not above that of dense alone",
            ],
        ),
    ],
)
def test_quality_that_falls_short_is_named(
    whole: float, tokens: float, is_public: bool, broken: list[str]
) -> None:
    found = list(broken_bounds(rows(whole, tokens=tokens), is_public=is_public))
    assert len(found) == len(broken)
    assert all(
        line.startswith(start) for line, start in zip(found, broken, strict=True)
    )


@pytest.mark.parametrize(
    ("p50_ms", "p95_ms", "broken"),
    [
        (6.0, 29.0, []),
        (10.5, 29.0, ["p50 is over 10 ms", "p50 is 2 ms over that beside fewer turns"]),
        (6.0, 31.0, ["p95 is over 30 ms"]),
        (8.5, 20.0, ["p50 is 2 ms over that beside fewer turns"]),
    ],
)
def test_a_slow_recall_is_named(
    p50_ms: float, p95_ms: float, broken: list[str]
) -> None:
    times = Times(p50_ms, p95_ms, cpu_ms=5)
    row = Recall("warm", 100_000, times, is_bounded=True, first_p50_ms=6.0)
    assert list(row.broken()) == [
        f"warm beside 100000 turns: {text}" for text in broken
    ]


def test_a_row_without_a_bound_breaks_none() -> None:
    row = Recall("cold", 1_000, Times(90, 90, 90), is_bounded=False, first_p50_ms=1.0)
    assert list(row.broken()) == []


def test_a_slow_import_is_named() -> None:
    assert list(Import(119).broken()) == []
    assert list(Import(121).broken()) == ["import of 5000 turns: over 120 s"]
