"""The tables of a run, and the same as JSON."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from benchmarks.books import HEADINGS, BareRow
from benchmarks.figures import PEERS, Contender, Readings, Row
from benchmarks.targets import State, Verdict

_TITLE, _COLUMN, _RATIO = 66, 11, 14
_EMPTY = "-"


@dataclass(frozen=True, slots=True)
class Report:
    """Everything that one run found."""

    about: str  # who ran where, and how often
    server: str  # AILB's HTTP server
    readings: Readings
    books: Sequence[BareRow]
    verdicts: Sequence[Verdict]

    @property
    def is_broken(self) -> bool:
        """Whether a target was missed."""
        return any(verdict.state is State.BROKEN for verdict in self.verdicts)

    def lines(self) -> Iterator[str]:
        """Lay everything out."""
        yield self.about
        yield from table(self.readings)
        if self.books:
            yield ""
            yield HEADINGS
            yield from map(str, self.books)
        yield ""
        for verdict in self.verdicts:
            found = "" if verdict.found is None else f" (is {verdict.found:.3g})"
            yield f"{verdict.state}: {verdict.name}{found}"

    def as_json(self) -> dict[str, Any]:
        """Give all of it as JSON has it."""
        return {
            "about": self.about,
            "server": self.server,
            "rows": [row_as_json(self.readings, row) for row in self.readings.rows()],
            "books": [asdict(row) for row in self.books],
            "verdicts": [asdict(verdict) for verdict in self.verdicts],
        }


def table(readings: Readings) -> Iterator[str]:
    """Lay out the medians; below, the CPU seconds of 1,000 requests.

    Rows of the same requests have them once, below the first.
    """
    heads = "".join(f"{contender:>{_COLUMN}}" for contender in Contender)
    ratios = "".join(f"{f'AILB/{peer}':>{_RATIO}}" for peer in PEERS)
    yield f"{'':<{_TITLE}}{heads}{ratios}"
    above: list[float | None] = []
    for row in readings.rows():
        medians = (_figure(readings.median(row, each)) for each in Contender)
        yield _line(f"{row.title}, {row.unit}", medians, _ratios(readings, row))
        spent = [readings.cpu_s(row, each) for each in Contender]
        if spent != above and any(cpu_s is not None for cpu_s in spent):
            yield _line("  CPU s/1000", map(_figure, spent), ())
        above = spent


def row_as_json(readings: Readings, row: Row) -> dict[str, Any]:
    """Give one row: every reading, and what the table shows of them."""
    found = {
        str(contender): {
            "median": readings.median(row, contender),
            "values": readings.values(row, contender),
            "cpu_s_per_1000": readings.cpu_s(row, contender),
        }
        for contender in Contender
        if readings.values(row, contender)
    }
    ratios = {str(p): readings.ratio(row, Contender.AILB, p) for p in PEERS}
    return asdict(row) | {"contenders": found, "ailb_to_peer": ratios}


def _ratios(readings: Readings, row: Row) -> Iterator[str]:
    return (_figure(readings.ratio(row, Contender.AILB, peer)) for peer in PEERS)


def _line(title: str, figures: Iterator[str], ratios: Iterator[str] | tuple[()]) -> str:
    cells = "".join(f"{figure:>{_COLUMN}}" for figure in figures)
    return f"{title:<{_TITLE}}{cells}{''.join(f'{r:>{_RATIO}}' for r in ratios)}"


def _figure(value: float | None) -> str:
    """Write three digits at least; all of those before the point."""
    if value is None:
        return _EMPTY
    size = abs(value)
    digits = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:,.{digits}f}"
