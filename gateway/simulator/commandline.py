"""The options of `simulate` and the process that runs simulators until told to stop."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import orjson

from gateway.simulator.control import PlanDocument
from gateway.simulator.exchange import Vendor
from gateway.simulator.plan import FAULT_HELP, Behaviour
from gateway.simulator.server import Simulator

DEFAULT_PORT = 9100
_JOURNAL_LIMIT = 1_000
_PR_SET_PDEATHSIG = 1
_MAX_PORT = 65_535

DESCRIPTION = (
    "Run local servers that speak the OpenAI, Anthropic and Ollama wire formats.\n"
    "Faults (in --plan, POST /_sim/plan and, if allowed, the header x-sim-fault):\n"
    + "\n".join(f"  {text}" for text in FAULT_HELP.values())
)


class SimulatorStartError(Exception):
    """The simulators could not start; the message says what to change."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that `simulate` and `python -m gateway.simulator` share."""
    add = parser.add_argument
    add(
        "--port",
        type=_port,
        action="append",
        help=f"port, repeatable, 0 for a free one (default {DEFAULT_PORT})",
    )
    add("--host", default="127.0.0.1", help="address to listen on")
    add("--kind", choices=["all", *Vendor], default="all", help="formats to speak")
    add("--models", type=_names, help="known models, a,b (default: any name)")
    add("--latency-ms", type=_positive, default=0.0, help="before the first byte")
    add("--jitter-ms", type=_positive, default=0.0, help="latency varies by this much")
    add("--tokens-per-s", type=_positive, default=0.0, help="0: as fast as possible")
    add("--error-rate", type=_share, default=0.0, help="share of calls that fail, 0..1")
    add("--error-status", type=_status, default=500, help="status of those")
    add("--seed", type=int, default=0, help="makes chance repeatable")
    add(
        "--float-embeddings",
        action="store_true",
        help="answer float lists where base64 was asked for, as many servers do",
    )
    add("--api-key", help="the one key that is accepted (default: any)")
    add(
        "--allow-fault-header",
        action="store_true",
        help="honour the request header x-sim-fault",
    )
    add(
        "--plan", type=Path, help="JSON file with fault specs, as POST /_sim/plan takes"
    )
    add("--quiet", action="store_true", help="do not print the addresses")
    add("--ready-fd", type=int, help='write {"ports": [...]} to this descriptor')
    add(
        "--die-with-parent",
        action="store_true",
        help="stop when the process that started this one ends (Linux)",
    )


def run(options: Mapping[str, Any]) -> int:
    """Run until SIGTERM or SIGINT; return the exit status.

    0 after a signal, 1 with one line on stderr when it cannot start.
    """
    try:
        asyncio.run(serve(options))
    except SimulatorStartError as error:
        sys.stderr.write(f"simulate: {error}\n")
        return 1
    return 0


async def serve(options: Mapping[str, Any]) -> None:
    """Start one simulator a port, tell where they are, and wait for a signal.

    Raises SimulatorStartError when a port or the plan cannot be used.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    if options["die_with_parent"]:
        die_with_parent()
    async with AsyncExitStack() as stack:
        simulators = [
            await _start(stack, options, port)
            for port in options["port"] or [DEFAULT_PORT]
        ]
        if not options["quiet"]:
            _announce(simulators)
        if options["ready_fd"] is not None:
            _report_ready(simulators, options["ready_fd"])
        await stop.wait()


async def _start(
    stack: AsyncExitStack, options: Mapping[str, Any], port: int
) -> Simulator:
    simulator = build(options, port)
    try:
        return await stack.enter_async_context(simulator)
    except OSError as error:
        raise SimulatorStartError(
            f"cannot listen on {options['host']} port {port} ({error.strerror});"
            " choose another with --port, or 0 for a free one"
        ) from error


def build(options: Mapping[str, Any], port: int) -> Simulator:
    """Make the simulator the options describe; raises SimulatorStartError."""
    kind = options["kind"]
    simulator = Simulator(
        host=options["host"],
        port=port,
        spoken=tuple(Vendor) if kind == "all" else (Vendor(kind),),
        models=options["models"],
        behaviour=Behaviour(
            latency_s=options["latency_ms"] / 1000,
            jitter_s=options["jitter_ms"] / 1000,
            tokens_per_s=options["tokens_per_s"],
            error_rate=options["error_rate"],
            error_status=options["error_status"],
            seed=options["seed"],
            floats_only=options["float_embeddings"],
        ),
        api_key=options["api_key"],
        allows_fault_header=options["allow_fault_header"],
        journal_limit=_JOURNAL_LIMIT,
    )
    if options["plan"] is not None:
        _load_plan(simulator, options["plan"])
    return simulator


def _load_plan(simulator: Simulator, path: Path) -> None:
    try:
        document = PlanDocument.parse(path.read_bytes())
    except (OSError, ValueError) as error:
        raise SimulatorStartError(f"--plan {path}: {error}") from error
    document.apply(simulator)


def die_with_parent() -> None:
    """Get SIGTERM when the parent ends; no effect where there is no prctl(2).

    Linux sends it when the parent *thread* ends, so start this from a main thread.
    """
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    # The parent may have ended before the kernel was asked.
    if os.getppid() != parent:
        signal.raise_signal(signal.SIGTERM)


def _announce(simulators: list[Simulator]) -> None:
    for simulator in simulators:
        sys.stdout.write(
            f"AILB simulator on {simulator.url} (its answers are simulated)\n"
            f"  OpenAI     base_url={simulator.openai_url}"
            f"   OPENAI_BASE_URL={simulator.openai_url}\n"
            f"  Anthropic  base_url={simulator.url}   ANTHROPIC_BASE_URL={simulator.url}\n"
            f"  Ollama     host={simulator.url}   OLLAMA_BASE_URL={simulator.url}\n"
            f"  journal    {simulator.url}/_sim/journal   plan: POST {simulator.url}"
            "/_sim/plan\n"
        )
    sys.stdout.flush()


def _report_ready(simulators: list[Simulator], ready_fd: int) -> None:
    line = orjson.dumps({"ports": [s.port for s in simulators]}) + b"\n"
    with os.fdopen(ready_fd, "wb") as ready:
        ready.write(line)


def _port(text: str) -> int:
    value = int(text)
    if not 0 <= value <= _MAX_PORT:
        raise argparse.ArgumentTypeError(f"must be 0 to {_MAX_PORT}")
    return value


def _positive(text: str) -> float:
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError("must be 0 or more")
    return value


def _share(text: str) -> float:
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError("must be between 0 and 1")
    return value


def _status(text: str) -> int:
    value = int(text)
    if not 400 <= value <= 599:
        raise argparse.ArgumentTypeError("must be 400 to 599")
    return value


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise argparse.ArgumentTypeError("name at least one model, as in a,b")
    return names
