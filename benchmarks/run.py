"""`make bench`: AILB on one core against a fixed upstream, beside it and beside less."""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from benchmarks import gateway, upstream
from benchmarks.load import Run, drive, median
from benchmarks.processes import (
    BenchmarkFailed,
    Cores,
    choose_cores,
    cpu_seconds,
    pin,
)

PACKAGES = ("wrk", "nginx", "libnginx-mod-http-echo", "util-linux")
WHOLE_CONNECTIONS = (1, 16, 64)
STREAM_CONNECTIONS = (16,)
WARM_UP_S = 2
_HEADINGS = (
    f"{'answer':<8}{'conns':>6}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}"
    f"{'CPU s/1000':>12}{'direct req/s':>14}{'ratio':>7}"
)
_BARE_HEADINGS = (
    f"{'as shipped against bare':<24}{'conns':>6}{'shipped':>9}{'bare':>9}{'cost':>8}"
    f"{'CPU s/1000':>16}{'cost':>8}"
)
BARE_CONNECTIONS = (16, 64)
PAIR_S = 2
PAIRS_PER_START = 6


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often each row is measured, and where."""

    seconds: int
    repeats: int
    cores: Cores


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: AILB, and the same load on the upstream itself."""

    answer: str
    connections: int
    ailb: Run
    direct: Run
    cpu_s_per_1000: float

    @override
    def __str__(self) -> str:
        """Lay it out under the headings."""
        ratio = self.ailb.requests_per_s / self.direct.requests_per_s
        return (
            f"{self.answer:<8}{self.connections:>6}{self.ailb.requests_per_s:>9.0f}"
            f"{self.ailb.p50_ms:>9.2f}{self.ailb.p99_ms:>9.2f}"
            f"{self.cpu_s_per_1000:>12.3f}{self.direct.requests_per_s:>14.0f}{ratio:>7.3f}"
        )


@dataclass(frozen=True, slots=True)
class BareRow:
    """What access, limits, budgets and the ledger cost: with them, and without."""

    connections: int
    shipped: Run
    bare: Run
    cost: float  # the share of requests per second lost, median of the pairs of runs
    shipped_cpu_s: float  # for 1,000 requests
    bare_cpu_s: float

    @override
    def __str__(self) -> str:
        """Lay it out under its headings: the share of requests lost, of CPU gained."""
        return (
            f"{'whole, requests per s':<24}{self.connections:>6}"
            f"{self.shipped.requests_per_s:>9.0f}{self.bare.requests_per_s:>9.0f}"
            f"{self.cost:>8.1%}{self.shipped_cpu_s:>8.3f}{self.bare_cpu_s:>8.3f}"
            f"{self.shipped_cpu_s / self.bare_cpu_s - 1:>8.1%}"
        )


def main() -> int:
    """Print the table; 1 and a reason when any figure would be worth nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=_positive, default=8, help="of each run")
    parser.add_argument("--repeats", type=_positive, default=3, help="runs of each row")
    arguments = parser.parse_args()
    try:
        _install_packages()
        plan = Plan(arguments.seconds, arguments.repeats, choose_cores())
        print(f"{plan.cores}; median of {plan.repeats} runs of {plan.seconds} s each.")
        print(_HEADINGS, flush=True)
        with tempfile.TemporaryDirectory(prefix="ailb-bench-") as folder:
            for row in _rows(plan, Path(folder)):
                print(row, flush=True)
            print(_BARE_HEADINGS, flush=True)
            for bare_row in _bare_rows(plan, Path(folder)):
                print(bare_row, flush=True)
    except BenchmarkFailed as failure:
        print(f"No result: {failure}", file=sys.stderr)
        return 1
    print("Compare rows of one run; docs/performance.md says how to read them.")
    return 0


def _rows(plan: Plan, folder: Path) -> Iterator[Row]:
    with upstream.serving(folder, core=plan.cores.upstream) as fixed:
        whole = (fixed.whole_url, False, WHOLE_CONNECTIONS)
        stream = (fixed.stream_url, True, STREAM_CONNECTIONS)
        for url, is_stream, connections in (whole, stream):
            home = folder / ("stream" if is_stream else "whole")
            home.mkdir()
            with gateway.serving(
                home, upstream_url=url, core=plan.cores.gateway
            ) as ailb:
                yield from _measure(plan, ailb, url, is_stream, connections)


def _bare_rows(plan: Plan, folder: Path) -> Iterator[BareRow]:
    """Compare several starts of both: two processes of the same code differ, too."""
    tallies = [Tally(count) for count in BARE_CONNECTIONS]
    for number in range(plan.repeats):
        home = folder / f"start-{number}"
        _compare_once(plan, home, tallies)
    yield from (tally.row() for tally in tallies)


@dataclass(slots=True)
class Tally:
    """Runs of both at so many connections, in pairs, and what they cost in CPU."""

    connections: int
    pairs: list[tuple[Run, Run]] = field(default_factory=list)
    cpu_s: list[tuple[float, float]] = field(default_factory=list)

    def row(self) -> BareRow:
        """Give the medians over all starts."""
        return BareRow(
            self.connections,
            median([shipped for shipped, _ in self.pairs]),
            median([bare for _, bare in self.pairs]),
            cost=statistics.median(
                1 - shipped.requests_per_s / bare.requests_per_s
                for shipped, bare in self.pairs
            ),
            shipped_cpu_s=statistics.median(shipped for shipped, _ in self.cpu_s),
            bare_cpu_s=statistics.median(bare for _, bare in self.cpu_s),
        )


def _compare_once(plan: Plan, folder: Path, tallies: Sequence[Tally]) -> None:
    """Start both, warm them up, and drive them in turn."""
    core, body = plan.cores.gateway, gateway.chat_body(stream=False)
    for name in ("upstream", "shipped", "bare"):
        (folder / name).mkdir(parents=True)
    with (
        upstream.serving(folder / "upstream", core=plan.cores.upstream) as fixed,
        gateway.serving(
            folder / "shipped", upstream_url=fixed.whole_url, core=core
        ) as shipped,
        gateway.serving_bare(
            folder / "bare", upstream_url=fixed.whole_url, core=core
        ) as bare,
    ):
        pin(shipped.background_pids(), core=plan.cores.load)
        for each in (shipped, bare):
            gateway.refuse_wrong_answer(
                each.url, stream=False, expected='"chat.completion"'
            )
            drive(
                each.url, body, connections=16, seconds=WARM_UP_S, core=plan.cores.load
            )
        for tally in tallies:
            _fill(tally, shipped, bare, body=body, core=plan.cores.load)


def _fill(
    tally: Tally,
    shipped: gateway.Gateway,
    bare: gateway.Gateway,
    *,
    body: bytes,
    core: int,
) -> None:
    """Drive both in turn, many times and shortly: the weather changes within seconds."""
    for number in range(PAIRS_PER_START):
        runs, cpu_s = {}, {}
        for each in (shipped, bare) if number % 2 else (bare, shipped):
            before_s = cpu_seconds(each.pid)
            run = drive(
                each.url,
                body,
                connections=tally.connections,
                seconds=PAIR_S,
                core=core,
            )
            spent_s = cpu_seconds(each.pid) - before_s
            runs[each.pid] = run
            cpu_s[each.pid] = spent_s / (run.requests_per_s * PAIR_S) * 1000
        tally.pairs.append((runs[shipped.pid], runs[bare.pid]))
        tally.cpu_s.append((cpu_s[shipped.pid], cpu_s[bare.pid]))


def _measure(
    plan: Plan,
    ailb: gateway.Gateway,
    direct_url: str,
    is_stream: bool,
    connections: tuple[int, ...],
) -> Iterator[Row]:
    expected = "data: [DONE]" if is_stream else '"chat.completion"'
    for url in (direct_url, ailb.url):
        gateway.refuse_wrong_answer(url, stream=is_stream, expected=expected)
    body, core = gateway.chat_body(stream=is_stream), plan.cores.load
    drive(ailb.url, body, connections=16, seconds=WARM_UP_S, core=core)
    for count in connections:
        runs: list[Run] = []
        direct: list[Run] = []
        cpu_s = 0.0
        for _ in range(plan.repeats):  # in turn, so that both meet the same weather
            load = {"connections": count, "seconds": plan.seconds, "core": core}
            direct.append(drive(direct_url, body, **load))
            before_s = cpu_seconds(ailb.pid)
            runs.append(drive(ailb.url, body, **load))
            cpu_s += cpu_seconds(ailb.pid) - before_s
        ailb_run = median(runs)
        yield Row(
            answer="stream" if is_stream else "whole",
            connections=count,
            ailb=ailb_run,
            direct=median(direct),
            cpu_s_per_1000=cpu_s / ailb_run.requests * 1000,
        )


def _install_packages() -> None:
    script = gateway.ROOT / "deploy" / "debian_packages.sh"
    if subprocess.run([str(script), *PACKAGES], check=False).returncode != 0:
        raise BenchmarkFailed("the programs it measures with are not all installed")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be 1 or more")
    return number


if __name__ == "__main__":
    sys.exit(main())
