"""The geometry of the charts."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from gateway.admin.charts import BOTTOM, TOP, WIDTH, Chart, Point, chart

VALUES = st.lists(
    st.tuples(st.integers(0, 10**12), st.integers(0, 10**12)), min_size=1, max_size=40
)


def drawn(*values: tuple[float, ...]) -> Chart:
    return chart(
        title="Requests",
        headline="3",
        remark="",
        points=[Point(f"p{index}", each, "") for index, each in enumerate(values)],
        styles=("a", "b"),
        written=str,
    )


def test_the_highest_column_reaches_the_top_and_half_of_it_the_middle() -> None:
    half, whole = drawn((5, 0), (6, 4)).columns
    assert half.parts[-1].y == (TOP + BOTTOM) / 2
    assert whole.parts[-1].y == TOP
    assert [part.style for part in whole.parts] == ["a", "b"]


def test_little_is_seen_and_nothing_is_not() -> None:
    little, nothing, _ = drawn((1, 0), (0, 0), (10**9, 0)).columns
    assert little.parts[0].height > 1
    assert nothing.parts == ()


def test_a_chart_of_nothing_says_so() -> None:
    assert drawn((0, 0), (0, 0)).is_empty
    assert drawn().is_empty
    assert not drawn((1, 0)).is_empty


def test_the_first_the_middle_and_the_last_are_labelled() -> None:
    labels = drawn((1, 0), (1, 0), (1, 0)).labels
    assert [label.text for label in labels] == ["p0", "p1", "p2"]
    assert [label.x for label in labels] == [0, WIDTH / 2, WIDTH]


@given(VALUES)
def test_columns_stay_inside_and_apart(values: list[tuple[float, ...]]) -> None:
    columns = drawn(*values).columns
    edges = [edge for column in columns for edge in (column.x, column.x + column.width)]
    assert edges == sorted(edges)
    assert edges[0] >= 0
    assert edges[-1] <= WIDTH
    for column in columns:
        for part in column.parts:
            assert part.height > 0
            assert part.y + part.height <= BOTTOM + 0.01
            assert part.y >= TOP - 2


def test_each_value_needs_a_style() -> None:
    with pytest.raises(ValueError, match="zip"):
        drawn((1, 2, 3))
