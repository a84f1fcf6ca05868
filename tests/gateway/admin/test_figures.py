"""How numbers are written."""

from __future__ import annotations

import pytest

from gateway.admin import figures


@pytest.mark.parametrize(
    ("nano_usd", "text"),
    [
        (None, "unknown price"),
        (0, "$0.00"),
        (1, "$0.000000001"),
        (12_340_000, "$0.01234"),
        (12_345_600, "$0.01235"),
        (500_000_000, "$0.50"),
        (999_999_999, "$1.00"),
        (1_000_000_000, "$1.00"),
        (1_234_567_890_000, "$1,234.57"),
        (-28_420_000_000, "-$28.42"),
        (-1_230_000, "-$0.00123"),
    ],
)
def test_sums_of_money(nano_usd: int | None, text: str) -> None:
    assert figures.usd(nano_usd) == text


@pytest.mark.parametrize(
    ("requests", "unpriced", "text"),
    [
        (5, 0, "$1.00"),
        (5, 2, "$1.00 + 2 of unknown price"),
        (5, 5, "unknown price"),
        (0, 0, "$1.00"),
    ],
)
def test_a_cost_says_what_it_does_not_know(
    requests: int, unpriced: int, text: str
) -> None:
    assert figures.cost(10**9, requests=requests, unpriced=unpriced) == text


@pytest.mark.parametrize(
    ("duration_ms", "text"),
    [
        (None, "-"),
        (0.4, "0 ms"),
        (12.3, "12 ms"),
        (1234, "1.2 s"),
        (125_000, "2 min 5 s"),
    ],
)
def test_durations(duration_ms: float | None, text: str) -> None:
    assert figures.duration(duration_ms) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (14, "14"),
        (999, "999"),
        (1500, "1.5k"),
        (2e6, "2M"),
        (3.21e9, "3.21G"),
    ],
)
def test_numbers_at_an_axis(number: float, text: str) -> None:
    assert figures.compact(number) == text


def test_counts() -> None:
    assert [figures.count(number) for number in (None, 0, 1234567)] == [
        "-",
        "0",
        "1,234,567",
    ]
