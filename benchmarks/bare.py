"""AILB without its books, to be measured beside AILB as shipped: an ASGI application.

Run with AILB_AUTH=open and no limits: what is left of a request is routing, translation,
metrics and its log line.
"""

from __future__ import annotations

from typing_extensions import override

from ailb_project.asgi import application
from gateway.ledger import Entry, Ledger, observe
from gateway.runtime import runtime

__all__ = ["application"]


class NoLedger(Ledger):
    """Counts and logs a request, and keeps nothing of it."""

    @override
    def settle(self, entry: Entry) -> None:
        """Leave out the usage."""
        observe(entry, runtime.figures)


runtime.ledger = NoLedger(
    runtime.spool, worker=runtime.pulse.worker, figures=runtime.figures
)
