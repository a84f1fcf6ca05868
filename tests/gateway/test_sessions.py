"""What a session adds to a chat changes only the messages, and what they need."""

from __future__ import annotations

import orjson
from hypothesis import given, strategies as st

from gateway.dialects.openai.request import parse_chat

TEXTS = st.lists(st.text(min_size=1), min_size=1, max_size=5)


@given(TEXTS, TEXTS)
def test_other_messages_need_what_they_would_have_needed_themselves(
    own: list[str], others: list[str]
) -> None:
    def body(texts: list[str]) -> bytes:
        messages = [{"role": "user", "content": text} for text in texts]
        return orjson.dumps({"model": "m", "messages": messages, "store": True})

    call, wanted = parse_chat(body(own)), parse_chat(body(others))
    woven = call.with_messages(wanted.messages)
    assert woven.body == wanted.body
    assert list(woven.body) == ["model", "messages", "store"]
    assert abs(woven.needs.prompt_tokens - wanted.needs.prompt_tokens) <= 1
    assert call == parse_chat(body(own)), "the client's own stays as it was"
