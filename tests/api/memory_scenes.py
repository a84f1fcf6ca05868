"""What end-to-end tests of memory share: asking in a session, and what became of it."""

from __future__ import annotations

from typing import Any

from memory.models import Turn
from tests.api.gateway_process import Gateway, wait_until
from tests.client import Reply
from tests.upstreams.simulators import RunningSimulator

# A busy machine must not fail a test that is not about time.
MEMORY = {"ENABLE_MEMORY": "true", "AILB_CONTEXT_DEADLINE_MS": "15000"}
ALICE = "My name is Alice"
WHO = "What is my name?"
NICE = "Nice to meet you, Alice."


def ask(
    gateway: Gateway,
    text: str,
    session_id: str,
    *,
    model: str = "openai-model",
    headers: dict[str, str] | None = None,
    **fields: Any,
) -> Reply:
    """Ask in a session, with this one message unless `messages` are given."""
    body = {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "session_id": session_id,
        **fields,
    }
    reply = gateway.client.post("/v1/chat/completions", body, **(headers or {}))
    assert reply.is_whole, reply
    return reply


def received(sim: RunningSimulator) -> list[dict[str, Any]]:
    """Give the messages that the vendor received last."""
    messages: list[dict[str, Any]] = sim.calls[-1].body["messages"]
    return messages


def plain(messages: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each["role"], each["content"]) for each in messages]


def turns_of(gateway: Gateway, session_id: str) -> list[Turn]:
    """Give all stored turns of a session, in order."""
    found = gateway.rows(Turn).filter(session__session_id=session_id)
    return list(found.order_by("seq"))


def wait_for_turns(gateway: Gateway, session_id: str, count: int) -> list[Turn]:
    wait_until(
        lambda: len(turns_of(gateway, session_id)) >= count,
        f"{count} turns of {session_id}",
    )
    return turns_of(gateway, session_id)
