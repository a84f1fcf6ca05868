"""Messages as clients send them, and turns as a session holds them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from memory.alignment import Alignment, WritePlan, align, plan
from memory.turns import Said, StoredTurn, answer_of, said_in, said_of

Message = dict[str, Any]
NOON_S = 1_795_694_640.0  # 2026-11-26 12:04 UTC


def user(content: Any) -> Message:
    return {"role": "user", "content": content}


def assistant(content: Any) -> Message:
    return {"role": "assistant", "content": content}


def call(arguments: str, name: str = "search") -> Message:
    function = {"name": name, "arguments": arguments}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    return {"role": "assistant", "content": None, "tool_calls": calls}


def result(text: str) -> Message:
    return {"role": "tool", "tool_call_id": "call_1", "content": text}


def said(message: Message) -> Said:
    found = said_of(message)
    assert found is not None
    return found


def stored_turn(message: Message, seq: int, **changes: Any) -> StoredTurn:
    """Give a message as it is stored."""
    what = said(message)
    turn = StoredTurn(
        uid=f"turn-{seq}",
        seq=seq,
        role=what.role,
        text=what.text,
        content_hash=what.content_hash,
        tokens=what.tokens,
        created_s=NOON_S + 60 * seq,
    )
    return replace(turn, **changes)


def stored_turns(messages: Sequence[Message], **changes: Any) -> list[StoredTurn]:
    return [stored_turn(message, n, **changes) for n, message in enumerate(messages, 1)]


class Session:
    """A session's turns, those left behind included; does what a plan says."""

    def __init__(self) -> None:
        self.turns: list[StoredTurn] = []
        self.superseded: set[int] = set()

    @property
    def active(self) -> list[StoredTurn]:
        return [turn for turn in self.turns if turn.seq not in self.superseded]

    def execute(self, plan: WritePlan, *, request_id: str, is_partial: bool) -> None:
        assert plan.supersede <= {turn.seq for turn in self.active}
        self.superseded |= plan.supersede
        for index, what in enumerate(plan.new, 1):
            is_answer = plan.has_answer and index == len(plan.new)
            seq = len(self.turns) + 1
            self.turns.append(
                StoredTurn(
                    uid=f"turn-{seq}",
                    seq=seq,
                    role=what.role,
                    text=what.text,
                    content_hash=what.content_hash,
                    tokens=what.tokens,
                    created_s=NOON_S + seq,
                    is_partial=is_partial and is_answer,
                    request_id=request_id,
                )
            )


def answer_as_said(message: Message) -> Said | None:
    """Give an answer as the gateway collects it: its text, its calls by name."""
    calls = [
        (item["function"]["name"], item["function"]["arguments"])
        for item in message.get("tool_calls", [])
    ]
    return answer_of(message["content"] or "", calls)


def planned(
    stored: Sequence[StoredTurn],
    sent: Sequence[Message],
    answer: Message | None = None,
    *,
    request_id: str = "r-2",
    is_retry: bool = False,
    is_partial: bool = False,
    known: Collection[str] = (),
) -> WritePlan:
    """Plan for messages as they are on the wire."""
    return plan(
        stored,
        said_in(sent),
        answer_as_said(answer) if answer else None,
        request_id=request_id,
        is_retry=is_retry,
        is_partial=is_partial,
        known=known,
    )


def laid(
    stored: Sequence[StoredTurn],
    sent: Sequence[Message],
    *,
    request_id: str = "r-2",
    is_retry: bool = False,
    known: Collection[str] = (),
) -> Alignment:
    """Align messages as they are on the wire."""
    return align(
        stored, said_in(sent), request_id=request_id, is_retry=is_retry, known=known
    )
