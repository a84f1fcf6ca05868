"""One gateway with a provider of each kind behind it, and the SDK's clients for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import openai

from tests.api.gateway_process import Gateway, fresh
from tests.upstreams.simulators import RunningSimulator, running_simulator

KINDS = ("openai", "anthropic", "ollama")
SPARES = 36  # models of each kind whose provider no other test has made fail


@dataclass(frozen=True, slots=True)
class Vendor:
    """A provider of one kind, and models of it.

    `model` always answers; `take_model()` gives one with a provider of its own, which may
    be made to fail without harm to others. `thinker` is a model that can reason.
    """

    kind: str
    sim: RunningSimulator
    model: str
    thinker: str
    embedder: str
    spares: list[str] = field(default_factory=list)

    def take_model(self) -> str:
        return self.spares.pop()

    @property
    def last_body(self) -> dict[str, object]:
        """What the last call said, in the vendor's own words."""
        body: dict[str, object] = self.sim.calls[-1].body
        return body


@dataclass(frozen=True, slots=True)
class Vendors:
    """A vendor of each kind behind one gateway."""

    gateway: Gateway
    by_kind: dict[str, Vendor]

    def __getitem__(self, kind: str) -> Vendor:
        """Give the vendor, answering normally."""
        vendor = self.by_kind[kind]
        vendor.sim.plan.replace([])
        return vendor


def add_vendor(gateway: Gateway, kind: str, sim: RunningSimulator) -> Vendor:
    """Make a vendor's rows, one provider for each spare."""
    vendor = Vendor(
        kind=kind,
        sim=sim,
        model=fresh(kind),
        thinker=fresh(f"{kind}-thinker"),
        embedder=fresh(f"{kind}-embedder"),
        spares=[fresh(f"{kind}-spare") for _ in range(SPARES)],
    )
    gateway.add_provider(
        fresh(kind), kind, sim, models=[vendor.model], credential=f"secret-of-{kind}"
    )
    gateway.add_provider(
        fresh(kind),
        kind,
        sim,
        models=[vendor.thinker],
        deployment={"capabilities": {"reasoning": "budget"}},
    )
    gateway.add_provider(fresh(kind), kind, sim, models=[vendor.embedder])
    for name in vendor.spares:
        gateway.add_provider(name, kind, sim, models=[name])
    return vendor


@contextmanager
def running_vendors(start_gateway: Callable[..., Gateway]) -> Iterator[Vendors]:
    """Run three simulators behind a gateway of their own until the block ends."""
    gateway = start_gateway()
    with ExitStack() as stack:
        vendors = Vendors(
            gateway,
            {
                kind: add_vendor(
                    gateway, kind, stack.enter_context(running_simulator())
                )
                for kind in KINDS
            },
        )
        gateway.apply()
        yield vendors


def sdk(gateway: Gateway, **options: object) -> openai.OpenAI:
    """Make the official client; it does not retry unless `options` say so."""
    given = {"max_retries": 0, "api_key": "sk-any", "timeout": 20, **options}
    return openai.OpenAI(base_url=f"{gateway.url}/v1", **given)  # type: ignore[arg-type]


def async_sdk(gateway: Gateway, **options: object) -> openai.AsyncOpenAI:
    """Make the official asynchronous client."""
    given = {"max_retries": 0, "api_key": "sk-any", "timeout": 20, **options}
    return openai.AsyncOpenAI(base_url=f"{gateway.url}/v1", **given)  # type: ignore[arg-type]
