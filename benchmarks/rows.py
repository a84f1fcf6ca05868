"""The rows of the tables, by which targets and plots find their figures."""

from __future__ import annotations

from benchmarks.calls import Size
from benchmarks.figures import Row
from benchmarks.plan import Plan
from benchmarks.upstream import DELAY_S

ADDED_P50 = Row("added p50, 1 connection", "ms")
ADDED_P95 = Row("added p95, 1 connection", "ms")
ADDED_P99 = Row("added p99, 1 connection", "ms")
_RATE = f"fixed rate, answer after {DELAY_S * 1000:.0f} ms"
RATE_P50 = Row(f"added p50, {_RATE}", "ms")
RATE_P95 = Row(f"added p95, {_RATE}", "ms")
RATE_P99 = Row(f"added p99, {_RATE}", "ms")
ADDED_TTFT = Row("added time to first token, 50 streams", "ms")
ADDED_GAP = Row("added gap between events, mean", "ms")
ADDED_GAP_P99 = Row("added gap between events, p99", "ms")
BURST = Row("stream events, 16 connections", "events/s")
IDLE_WORKER = Row("one worker, idle", "MiB")
IDLE_TREE = Row("all processes, idle, each page once", "MiB")
IDLE_TREE_SUM = Row("all processes, idle, added up", "MiB")
SCALING_KEYS = Row("CPU of a request, 10,000 keys against 10", "ratio")
SCALING_DEPLOYMENTS = Row("CPU of a request, 1,000 deployments against 3", "ratio")
SCALING_MODELS = Row("CPU of a request, 50 models against 1", "ratio")
SCALING_ALL = Row("CPU of a request, all three together", "ratio")
SCALING = (SCALING_KEYS, SCALING_DEPLOYMENTS, SCALING_MODELS, SCALING_ALL)


def throughput(size: Size, connections: int) -> Row:
    """Name whole requests in a closed loop."""
    return Row(f"{size}, {connections} connections", "req/s")


def growth(plan: Plan) -> Row:
    """Name what one worker grew by under the plan's load."""
    return Row(
        f"one worker, growth: {plan.requests:,} requests, "
        f"{plan.aborted_streams:,} aborted streams",
        "MiB",
    )


def peer_growth(plan: Plan) -> Row:
    """Name what a peer's worker grew by under its load."""
    return Row(f"one worker, growth: {plan.peer_requests:,} requests", "MiB")


def further_growth(plan: Plan) -> Row:
    """Name what one worker grew by after that."""
    return Row(f"one worker, growth: {plan.more_requests:,} requests more", "MiB")
