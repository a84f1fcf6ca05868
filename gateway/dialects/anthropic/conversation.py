"""A chat's messages as Anthropic's alternating turns (pure)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import orjson

from gateway.dialects.anthropic.media import content_blocks, text_blocks
from gateway.dialects.anthropic.tools import tool_name
from gateway.dialects.faults import unsupported
from gateway.dialects.record import Message, Role, Text, ToolCall
from gateway.snapshot import Capabilities

OPENING_TURN = "(start of the conversation)"
"""The user turn put before a conversation that the assistant starts."""

MISSING_RESULT = "This tool call was not answered."
"""The error result given to a call that the client left unanswered."""

_NOT_ID = re.compile(r"[^A-Za-z0-9_-]")

Block = dict[str, object]


@dataclass(frozen=True, slots=True)
class Turn:
    """One turn; `role` is user, assistant or, where the model allows it, system."""

    role: str
    blocks: tuple[Block, ...]

    @property
    def has_tool_use(self) -> bool:
        """Say whether the turn calls a tool."""
        return any(block["type"] == "tool_use" for block in self.blocks)

    @property
    def starts_with_thinking(self) -> bool:
        """Say whether the turn has kept the thinking before its calls."""
        return bool(self.blocks) and self.blocks[0]["type"] in _THINKING


_THINKING = ("thinking", "redacted_thinking")


@dataclass(frozen=True, slots=True)
class Conversation:
    """The instructions and the turns after them; the first turn is the user's."""

    system: str
    turns: tuple[Turn, ...]

    @property
    def is_prefilled(self) -> bool:
        """Say whether the model is asked to continue its own last turn."""
        return self.turns[-1].role == "assistant"

    @property
    def lost_thinking(self) -> bool:
        """Say whether the last calls of tools stand without the thinking before them."""
        own = [turn for turn in self.turns if turn.role == "assistant"]
        return bool(own) and own[-1].has_tool_use and not own[-1].starts_with_thinking

    @property
    def called_tools(self) -> list[str]:
        """Names of the tools called so far, as sent, in order."""
        blocks = (block for turn in self.turns for block in turn.blocks)
        return [str(block["name"]) for block in blocks if block["type"] == "tool_use"]


def read_conversation(
    messages: Sequence[Message], capabilities: Capabilities
) -> Conversation:
    """Arrange messages by Anthropic's grammar.

    Roles alternate, no text is blank, and every call of a tool is answered in the user
    turn after it: by its result, or by an error when the client left it out. Instructions
    further down stay where they are, for moving them would change the cached prefix.

    Raises:
        UpstreamError: UNSUPPORTED_PARAMETER for parts without a block, and for a last
            assistant message when the model does not continue one.

    """
    start = next(
        (at for at, said in enumerate(messages) if said.role is not Role.SYSTEM),
        len(messages),
    )
    leading = [said.text for said in messages[:start] if said.text.strip()]
    turns = _merged(_turns(messages[start:], capabilities))
    in_place = capabilities.mid_conversation_system is True
    turns = _merged(_placed(turns, in_place=in_place))
    if not turns or turns[0].role != "user":
        turns.insert(0, Turn("user", (*text_blocks(OPENING_TURN),)))
    if turns[-1].role == "assistant":
        turns[-1] = _as_prefill(turns[-1], capabilities)
    return Conversation("\n\n".join(leading), tuple(turns))


def marked_instruction(text: str) -> str:
    """Mark instructions that have to travel as user text."""
    return f"<system>\n{text}\n</system>"


class _ToolIds:
    """Gives each call an id that is allowed and that no other call has."""

    def __init__(self) -> None:
        self._taken: set[str] = set()

    def new(self, raw: str) -> str:
        stem = _NOT_ID.sub("_", raw) or "call"
        found, count = stem, 1
        while found in self._taken:
            count += 1
            found = f"{stem}_{count}"
        self._taken.add(found)
        return found


def _turns(messages: Sequence[Message], capabilities: Capabilities) -> Iterator[Turn]:
    ids = _ToolIds()
    pending: list[tuple[str, ToolCall]] = []
    for is_assistant, run in groupby(messages, _is_assistant):
        if is_assistant:
            said = list(run)
            pending = [(ids.new(call.id), call) for m in said for call in m.tool_calls]
            yield Turn("assistant", (*_assistant_blocks(said, pending, capabilities),))
        else:
            yield from _replies(list(run), pending, capabilities)
            pending = []
    yield from _replies([], pending, capabilities)


def _is_assistant(message: Message) -> bool:
    return message.role is Role.ASSISTANT


def _assistant_blocks(
    messages: list[Message],
    calls: list[tuple[str, ToolCall]],
    capabilities: Capabilities,
) -> Iterator[Block]:
    """Thinking first and calls last, as the vendor demands."""
    if capabilities.reasoning != "none":
        for message in messages:
            yield from (
                dict(block) for block in message.thinking_blocks if _is_signed(block)
            )
    for message in messages:
        if any(not isinstance(part, Text) for part in message.parts):
            raise unsupported("messages", "An assistant message can only hold text.")
        yield from content_blocks(message.parts, capabilities)
        yield from text_blocks(message.refusal or "")
    for id_, call in calls:
        yield {
            "type": "tool_use",
            "id": id_,
            "name": tool_name(call.name),
            "input": _input(call.arguments),
        }


def _is_signed(block: Mapping[str, object]) -> bool:
    """Say whether Anthropic made the block: what it cannot verify, it refuses."""
    if block.get("type") == "redacted_thinking":
        return isinstance(block.get("data"), str)
    return (
        block.get("type") == "thinking"
        and isinstance(block.get("thinking"), str)
        and bool(block.get("signature"))
        and isinstance(block.get("signature"), str)
    )


def _input(arguments: str) -> object:
    """Give the object in the text, byte for byte: parsing rounds long numbers."""
    if not arguments.strip():
        return {}
    try:
        is_object = isinstance(orjson.loads(arguments), dict)
    except ValueError:
        is_object = False
    return orjson.Fragment(arguments) if is_object else {"_raw": arguments}


def _replies(
    messages: list[Message],
    calls: list[tuple[str, ToolCall]],
    capabilities: Capabilities,
) -> Iterator[Turn]:
    """Turn what follows an assistant turn: results first, in the order of the calls."""
    answers: dict[str, deque[Message]] = {}
    for message in messages:
        if message.role is Role.TOOL:
            answers.setdefault(message.tool_call_id or "", deque()).append(message)
    results = [_result(id_, answers.get(call.id), capabilities) for id_, call in calls]
    yield Turn("user", tuple(results))
    for message in messages:
        match message.role:
            case Role.USER:
                yield Turn("user", (*content_blocks(message.parts, capabilities),))
            case Role.SYSTEM:
                yield Turn("system", (*text_blocks(message.text),))
            case Role.TOOL | Role.ASSISTANT:
                pass  # answered above; a result without its call is dropped


def _result(
    id_: str, answers: deque[Message] | None, capabilities: Capabilities
) -> Block:
    block: Block = {"type": "tool_result", "tool_use_id": id_}
    if not answers:
        return {**block, "content": MISSING_RESULT, "is_error": True}
    parts = answers.popleft().parts
    if content := content_blocks(parts, capabilities):
        block["content"] = content
    return block


def _merged(turns: Iterable[Turn]) -> list[Turn]:
    """Leave out empty turns and join neighbours of one role."""
    filled = [turn for turn in turns if turn.blocks]
    return [
        Turn(role, tuple(block for turn in run for block in turn.blocks))
        for role, run in groupby(filled, lambda turn: turn.role)
    ]


def _placed(turns: list[Turn], *, in_place: bool) -> Iterator[Turn]:
    """Keep instructions where the vendor allows them, and mark the others.

    They may stand right after a user turn, last or before an assistant turn.
    """
    for at, turn in enumerate(turns):
        is_last = at + 1 == len(turns)
        follows_user = at > 0 and turns[at - 1].role == "user"
        if turn.role != "system" or (
            in_place and follows_user and (is_last or turns[at + 1].role == "assistant")
        ):
            yield turn
        else:
            texts = (marked_instruction(str(block["text"])) for block in turn.blocks)
            yield Turn("user", tuple(b for text in texts for b in text_blocks(text)))


def _as_prefill(turn: Turn, capabilities: Capabilities) -> Turn:
    if capabilities.prefill is False:
        raise unsupported(
            "messages",
            "This model does not continue an assistant message: end with a user message.",
        )
    last = turn.blocks[-1]
    if last["type"] == "text":  # trailing white space is refused
        last = {**last, "text": str(last["text"]).rstrip()}
    return Turn(turn.role, (*turn.blocks[:-1], last))
