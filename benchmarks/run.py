"""`make bench`: AILB on one core beside its peers, in one run."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks import (
    closed_loops,
    contest,
    gateway,
    latencies,
    peers,
    resident,
    rows,
    scaling,
    upstream,
)
from benchmarks.books import CONNECTIONS as BOOKS_CONNECTIONS, Tally, compare
from benchmarks.calls import Size
from benchmarks.figures import Contender, Readings
from benchmarks.plan import Plan, full, quick
from benchmarks.processes import ROOT, BenchmarkFailed, choose_cores
from benchmarks.report import Report
from benchmarks.servers import Server
from benchmarks.targets import verdicts

PACKAGES = ("wrk", "nginx", "libnginx-mod-http-echo", "util-linux")
SKIPPED = 77  # as automake has it: nothing was measured, and nothing is wrong


def main() -> int:
    """Print the tables; 1 when a target is missed or a figure would be worth nothing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--quick", action="store_true", help="a few minutes, for a look"
    )
    parser.add_argument("--json", type=Path, help="file for all figures")
    arguments = parser.parse_args()
    try:
        _install_packages()
        peers.install()
        cores = choose_cores()
        os.sched_setaffinity(0, {cores.load})  # our own client is part of the load
        report = run(quick(cores) if arguments.quick else full(cores))
    except BenchmarkFailed as failure:
        print(f"No result: {failure}", file=sys.stderr)
        return 1
    except gateway.ServerRefused as refusal:
        print(
            f"Skipped: AILB does not serve with {gateway.server_name()!r}: {refusal}",
            file=sys.stderr,
        )
        return SKIPPED
    for line in report.lines():
        print(line)
    if arguments.json:
        arguments.json.write_text(json.dumps(report.as_json(), indent=1) + "\n")
    print("Compare figures of one run; docs/performance.md says how to read them.")
    return 1 if report.is_broken else 0


def run(plan: Plan) -> Report:
    """Measure everything.

    Raises:
        BenchmarkFailed: A figure would be worth nothing.
        ServerRefused: AILB does not know the server it is asked to use.

    """
    readings = Readings()
    tallies = [Tally(count) for count in BOOKS_CONNECTIONS]
    with tempfile.TemporaryDirectory(prefix="ailb-bench-") as folder:
        for start in range(plan.starts):
            _tell(f"start {start + 1} of {plan.starts}")
            home = Path(folder) / f"start-{start}"
            home.mkdir()
            with (
                upstream.serving(home, core=plan.cores.upstream) as urls,
                contest.running_all(home, urls, plan.cores) as servers,
            ):
                _measure_start(plan, servers, readings, tallies, start=start)
        _tell("many keys, deployments and models")
        home = Path(folder) / "scaling"
        home.mkdir()
        with upstream.serving(home, core=plan.cores.upstream) as urls:
            grown = scaling.SINGLE if plan.starts > 1 else scaling.TOGETHER
            readings.add(scaling.measure(plan, home, urls, grown))
    server = gateway.server_name()
    return Report(
        about=(
            f"{plan.cores}; AILB on {server}; medians of {plan.starts} starts with "
            f"{plan.rounds} rounds each."
        ),
        server=server,
        readings=readings,
        books=[tally.row() for tally in tallies],
        verdicts=verdicts(readings, plan, server),
    )


def _measure_start(
    plan: Plan,
    servers: list[Server],
    readings: Readings,
    tallies: list[Tally],
    *,
    start: int,
) -> None:
    readings.add(resident.measure_idle(servers))
    if start == 0:
        _tell("memory after much work")
        readings.add(resident.measure_growth(plan, servers))
    for server in servers:
        contest.check_sizes(server)
    for number in range(plan.rounds):
        _tell(f"round {number + 1} of {plan.rounds}: closed loops")
        readings.add(closed_loops.measure(plan, servers, number=number))
        _tell(f"round {number + 1} of {plan.rounds}: latency and streams")
        slowest_per_s = _slowest_per_s(readings, servers)
        readings.add(
            latencies.measure(plan, servers, number=number, slowest_per_s=slowest_per_s)
        )
    _tell("as shipped against bare")
    by_name = {server.contender: server for server in servers}
    compare(plan, by_name[Contender.AILB], by_name[Contender.BARE], tallies)


def _slowest_per_s(readings: Readings, servers: list[Server]) -> float:
    row = rows.throughput(Size.SMALL, 16)
    return min(min(readings.values(row, server.contender)) for server in servers)


def _install_packages() -> None:
    script = ROOT / "deploy" / "debian_packages.sh"
    if subprocess.run([str(script), *PACKAGES], check=False).returncode != 0:
        raise BenchmarkFailed("the programs it measures with are not all installed")


def _tell(progress: str) -> None:
    print(f"... {progress}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
