"""`make bench`: AILB on one core against a fixed upstream, beside that upstream bare."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import override

from benchmarks import gateway, upstream
from benchmarks.load import Run, drive, median
from benchmarks.processes import BenchmarkFailed, Cores, choose_cores, cpu_seconds

PACKAGES = ("wrk", "nginx", "libnginx-mod-http-echo", "util-linux")
WHOLE_CONNECTIONS = (1, 16, 64)
STREAM_CONNECTIONS = (16,)
WARM_UP_S = 2
_HEADINGS = (
    f"{'answer':<8}{'conns':>6}{'req/s':>9}{'p50 ms':>9}{'p99 ms':>9}"
    f"{'CPU s/1000':>12}{'bare req/s':>12}{'ratio':>7}"
)


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
    bare: Run
    cpu_s_per_1000: float

    @override
    def __str__(self) -> str:
        """Lay it out under the headings."""
        ratio = self.ailb.requests_per_s / self.bare.requests_per_s
        return (
            f"{self.answer:<8}{self.connections:>6}{self.ailb.requests_per_s:>9.0f}"
            f"{self.ailb.p50_ms:>9.2f}{self.ailb.p99_ms:>9.2f}"
            f"{self.cpu_s_per_1000:>12.3f}{self.bare.requests_per_s:>12.0f}{ratio:>7.3f}"
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


def _measure(
    plan: Plan,
    ailb: gateway.Gateway,
    bare_url: str,
    is_stream: bool,
    connections: tuple[int, ...],
) -> Iterator[Row]:
    expected = "data: [DONE]" if is_stream else '"chat.completion"'
    for url in (bare_url, ailb.url):
        gateway.refuse_wrong_answer(url, stream=is_stream, expected=expected)
    body, core = gateway.chat_body(stream=is_stream), plan.cores.load
    drive(ailb.url, body, connections=16, seconds=WARM_UP_S, core=core)
    for count in connections:
        runs: list[Run] = []
        bare: list[Run] = []
        cpu_s = 0.0
        for _ in range(plan.repeats):  # in turn, so that both meet the same weather
            load = {"connections": count, "seconds": plan.seconds, "core": core}
            bare.append(drive(bare_url, body, **load))
            before_s = cpu_seconds(ailb.pid)
            runs.append(drive(ailb.url, body, **load))
            cpu_s += cpu_seconds(ailb.pid) - before_s
        ailb_run = median(runs)
        yield Row(
            answer="stream" if is_stream else "whole",
            connections=count,
            ailb=ailb_run,
            bare=median(bare),
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
