"""Bar charts as numbers for a template to draw: no scripts (pure)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 360.0, 132.0
TOP, BOTTOM = 18.0, 112.0  # of the bars
GAP = 0.25  # between bars, as a share of their distance
MIN_BAR = 1.5  # what is little is not nothing


@dataclass(frozen=True, slots=True)
class Point:
    """One column: its values from the bottom up, and what a pointer on it reads."""

    label: str
    values: tuple[float, ...]
    tooltip: str


@dataclass(frozen=True, slots=True)
class Rectangle:
    """A part of a column, in the units of the drawing; `style` is a class of CSS."""

    style: str
    y: float
    height: float


@dataclass(frozen=True, slots=True)
class Column:
    """One column with its parts from the bottom up."""

    x: float
    width: float
    slot_x: float
    slot_width: float
    parts: tuple[Rectangle, ...]
    tooltip: str


@dataclass(frozen=True, slots=True)
class Label:
    """A text under the columns; `anchor` is SVG's."""

    text: str
    x: float
    anchor: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart with its headline; `is_empty` says that every value is 0."""

    title: str
    headline: str
    remark: str
    top_label: str
    columns: tuple[Column, ...]
    labels: tuple[Label, ...]
    is_empty: bool


def chart(
    *,
    title: str,
    headline: str,
    remark: str,
    points: Sequence[Point],
    styles: Sequence[str],
    written: Callable[[float], str],
) -> Chart:
    """Lay out the columns of a chart.

    `styles` are the classes of a column's parts, `written` writes the value at the top.
    """
    top = max((sum(point.values) for point in points), default=0)
    distance = WIDTH / max(1, len(points))
    columns = tuple(
        column(point, styles, top=top, slot_x=index * distance, distance=distance)
        for index, point in enumerate(points)
    )
    return Chart(
        title=title,
        headline=headline,
        remark=remark,
        top_label=written(top),
        columns=columns,
        labels=labels([point.label for point in points]),
        is_empty=top == 0,
    )


def column(
    point: Point,
    styles: Sequence[str],
    *,
    top: float,
    slot_x: float,
    distance: float,
) -> Column:
    """Lay out one column of a chart whose highest is `top`."""
    parts, y = [], BOTTOM
    for style, value in zip(styles, point.values, strict=True):
        if value <= 0:
            continue
        height = max(MIN_BAR, value / top * (BOTTOM - TOP))
        y -= height
        parts.append(Rectangle(style, round(y, 2), round(height, 2)))
    return Column(
        x=round(slot_x + distance * GAP / 2, 2),
        width=round(distance * (1 - GAP), 2),
        slot_x=round(slot_x, 2),
        slot_width=round(distance, 2),
        parts=tuple(parts),
        tooltip=point.tooltip,
    )


def labels(texts: Sequence[str]) -> tuple[Label, ...]:
    """Place the first, the middle and the last label under their columns."""
    if not texts:
        return ()
    middle = len(texts) // 2
    distance = WIDTH / len(texts)
    return (
        Label(texts[0], 0, "start"),
        Label(texts[middle], round((middle + 0.5) * distance, 2), "middle"),
        Label(texts[-1], WIDTH, "end"),
    )
