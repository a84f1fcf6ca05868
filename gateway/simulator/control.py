"""The control API under /_sim/: the plan and the journal over HTTP."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Protocol

import orjson
from aiohttp import web

from gateway.simulator.journal import Journal
from gateway.simulator.plan import Fault, Plan

CONTROL_PREFIX = "/_sim/"


class Controlled(Protocol):
    """What the control API reads and changes of a simulator."""

    plan: Plan
    listings_plan: Plan
    journal: Journal


@dataclass(frozen=True, slots=True)
class PlanDocument:
    """A plan as JSON: a list of specs, or an object with `steps` and options."""

    steps: tuple[Fault, ...]
    repeat: bool = False
    is_for_listings: bool = False

    @classmethod
    def parse(cls, raw: bytes) -> PlanDocument:
        """Read the document; raise ValueError that says what is accepted."""
        try:
            document = orjson.loads(raw)
        except orjson.JSONDecodeError as error:
            raise ValueError(f"the plan is not JSON: {error}") from error
        if isinstance(document, list):
            document = {"steps": document}
        steps = document.get("steps") if isinstance(document, dict) else None
        if not isinstance(steps, list) or not all(isinstance(s, str) for s in steps):
            raise ValueError(
                'write a list of fault specs, or {"steps": [...], "repeat": false,'
                ' "applies_to": "calls" or "listings"}'
            )
        target = document.get("applies_to", "calls")
        if target not in ("calls", "listings"):
            raise ValueError('applies_to must be "calls" or "listings"')
        return cls(
            tuple(map(Fault.parse, steps)),
            repeat=document.get("repeat") is True,
            is_for_listings=target == "listings",
        )

    def apply(self, simulator: Controlled) -> Plan:
        """Replace the plan it is for, and return that plan."""
        plan = simulator.listings_plan if self.is_for_listings else simulator.plan
        plan.replace(self.steps, repeat=self.repeat)
        return plan


async def control(request: web.BaseRequest, simulator: Controlled) -> web.Response:
    """Answer a request under /_sim/."""
    match request.method, request.path.removeprefix(CONTROL_PREFIX):
        case "GET", "journal":
            entries = [asdict(entry) for entry in simulator.journal.entries]
            return _json({"entries": entries})
        case "DELETE", "journal":
            simulator.journal.clear()
            return _json({"entries": []})
        case "GET", "plan":
            return _plan(simulator.plan)
        case "POST", "plan":
            try:
                document = PlanDocument.parse(await request.read())
            except ValueError as error:
                return _json({"error": str(error)}, status=400)
            return _plan(document.apply(simulator))
        case _:
            known = "GET or DELETE /_sim/journal, GET or POST /_sim/plan"
            return _json({"error": f"unknown; there is {known}"}, status=404)


def _plan(plan: Plan) -> web.Response:
    return _json({"remaining": [step.spec for step in plan.remaining]})


def _json(body: dict[str, Any], *, status: int = 200) -> web.Response:
    return web.Response(
        body=orjson.dumps(body), status=status, content_type="application/json"
    )
