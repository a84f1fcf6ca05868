"""Local servers that speak the real OpenAI, Anthropic and Ollama wire formats.

A simulator answers at once, names itself as simulated, and does to a request what its
plan says. It is the upstream of drills, load tests and this project's own tests, and
what `manage.py serve` offers when nothing else is configured. docs/simulator.md is its
manual; `plan.FAULT_HELP` describes each fault.
"""

from __future__ import annotations

from gateway.simulator.exchange import Vendor
from gateway.simulator.journal import Entry, Journal, State
from gateway.simulator.plan import Behaviour, Fault, FaultKind, FaultSpecError, Plan
from gateway.simulator.server import Simulator

__all__ = [
    "Behaviour",
    "Entry",
    "Fault",
    "FaultKind",
    "FaultSpecError",
    "Journal",
    "Plan",
    "Simulator",
    "State",
    "Vendor",
]
