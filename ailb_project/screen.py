"""The one screen that a start prints: where, who may enter, what serves, what is amiss."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from gateway.snapshot import Snapshot

RULE = "─" * 72
MODELS_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Facts:
    """What the screen tells; the secrets are shown this once."""

    url: str
    version: str
    door: str
    is_open_to_all: bool
    workers: int
    server: str
    strategy: str
    vectors: str
    module_service: str
    providers: Sequence[str]
    models: Sequence[str]
    is_simulated: bool
    warnings: Sequence[str] = ()
    admin_password: str | None = field(default=None, repr=False)
    api_key: str | None = field(default=None, repr=False)


def draw(facts: Facts) -> str:
    """Write the screen."""
    return "\n".join([RULE, *lines_of(facts), RULE])


def lines_of(facts: Facts) -> Iterator[str]:
    """Give its lines."""
    yield f"AILB {facts.version} serves at {facts.url}"
    yield ""
    yield row("API", f"{facts.url}/v1   (base URL for any OpenAI client)")
    yield row("Admin", f"{facts.url}/admin/")
    if facts.admin_password:
        yield row("", f"user admin, password {facts.admin_password}   (shown once)")
    yield row("API docs", f"{facts.url}/docs")
    yield row("Health", f"{facts.url}/healthz   metrics: {facts.url}/metrics")
    yield row("Door", ("!! " if facts.is_open_to_all else "") + facts.door)
    if facts.api_key:
        yield row("API key", f"{facts.api_key}   (shown once)")
    yield row("Routing", f"{facts.strategy}, {workers_of(facts)}")
    yield row("Vectors", facts.vectors)
    yield row("NLB/gRPC", facts.module_service)
    yield row(
        "Providers", "; ".join(facts.providers) or "none yet: add one in the admin"
    )
    yield row("Models", shortened(facts.models) or "none yet")
    if facts.is_simulated:
        yield ""
        yield "No provider is configured, so simulators answer: their answers are made up."
        yield "Set OPENAI_API_KEY, ANTHROPIC_API_KEY or OLLAMA_BASE_URL, or use the admin."
    if facts.warnings:
        yield ""
        yield "To be looked at:"
        yield from (f"  - {warning}" for warning in facts.warnings)


def workers_of(facts: Facts) -> str:
    """Say how many workers there are, and of which server if it is not the usual one."""
    of_server = "" if facts.server == "daphne" else f" ({facts.server})"
    return counted(facts.workers, "worker") + of_server


def row(name: str, text: str) -> str:
    """Write one fact."""
    return f"  {name:<10} {text}"


def counted(number: int, noun: str) -> str:
    """Write a number with its noun."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def shortened(names: Sequence[str]) -> str:
    """List names, the first dozen of many."""
    shown = ", ".join(names[:MODELS_SHOWN])
    more = len(names) - MODELS_SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def provider_lines(snapshot: Snapshot) -> list[str]:
    """Describe the providers that serve."""
    return [
        f"{provider.name} ({provider.kind}{', simulated' if provider.is_simulated else ''})"
        for provider in snapshot.providers.values()
    ]
