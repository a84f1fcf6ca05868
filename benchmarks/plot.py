"""Draws a run's JSON as an SVG: `python -m benchmarks.plot bench.json docs/performance.svg`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks import rows
from benchmarks.calls import Size
from benchmarks.figures import Contender, Row

# Above the line more is better, below it less.
PANELS = (
    (rows.throughput(Size.SMALL, 16), "more is better"),
    (rows.throughput(Size.PROMPT, 16), "more is better"),
    (rows.BURST, "more is better"),
    (rows.ADDED_P50, "less is better"),
    (rows.ADDED_TTFT, "less is better"),
    (rows.IDLE_WORKER, "less is better"),
)
SHOWN = (Contender.AILB, Contender.BARE, Contender.LITELLM, Contender.PORTKEY)
_COLOURS = {
    Contender.AILB: "#1f6feb",
    Contender.BARE: "#79b0ff",
    Contender.LITELLM: "#8c8c8c",
    Contender.PORTKEY: "#b5b5b5",
}
_WIDTH, _LABEL, _BAR, _GAP, _HEAD = 720, 90, 16, 4, 34
_LONGEST = _WIDTH - _LABEL - 90  # room for the figure at its end


def main(arguments: Sequence[str]) -> int:
    """Read the first file, write the second."""
    source, target = map(Path, arguments)
    target.write_text(draw(json.loads(source.read_text())))
    return 0


def draw(report: Mapping[str, Any]) -> str:
    """Draw a panel for each row of PANELS that was measured: a bar for each server."""
    parts: list[str] = []
    y = 10
    for row, direction in PANELS:
        medians = medians_of(report, row)
        if not medians:
            continue
        title = f"{row.title}, {row.unit} ({direction})"
        parts.append(f'<text x="0" y="{y + 18}" class="head">{escape(title)}</text>')
        y += _HEAD
        parts += _bars(medians, y)
        y += len(medians) * (_BAR + _GAP) + 10
    return _document(parts, height=y)


def medians_of(report: Mapping[str, Any], row: Row) -> dict[Contender, float]:
    """Find the medians of the servers that are shown."""
    for found in report["rows"]:
        if (found["title"], found["unit"]) == (row.title, row.unit):
            contenders = found["contenders"]
            return {c: contenders[c]["median"] for c in SHOWN if c in contenders}
    return {}


def _bars(medians: Mapping[Contender, float], y: int) -> Iterator[str]:
    longest = max(*medians.values(), 0.001)
    for contender, value in medians.items():
        width = max(value, 0) / longest * _LONGEST
        middle = y + _BAR - 4
        yield f'<text x="0" y="{middle}">{contender}</text>'
        yield (
            f'<rect x="{_LABEL}" y="{y}" width="{width:.1f}" height="{_BAR}" '
            f'fill="{_COLOURS[contender]}"/>'
        )
        figure = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        yield f'<text x="{_LABEL + width + 6:.1f}" y="{middle}">{figure}</text>'
        y += _BAR + _GAP


def _document(parts: Sequence[str], *, height: int) -> str:
    body = "\n".join(f"  {part}" for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-10 0 {_WIDTH + 20} {height}" '
        f'width="{_WIDTH + 20}" height="{height}" role="img">\n'
        "  <title>AILB beside its peers in one run of make bench</title>\n"
        "  <style>text { font: 12px sans-serif; fill: #24292f } "
        ".head { font-weight: bold; font-size: 13px }</style>\n"
        f'  <rect x="-10" width="{_WIDTH + 20}" height="{height}" fill="#ffffff"/>\n'
        f"{body}\n</svg>\n"
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
