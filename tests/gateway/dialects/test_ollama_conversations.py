"""Whole conversations in OpenAI's words, all the way to Ollama."""

from __future__ import annotations

import base64
from typing import Any

import orjson
from hypothesis import given, strategies as st

from gateway.dialects.ollama import OllamaDialect
from gateway.dialects.openai.request import parse_chat, read_record
from gateway.snapshot import Deployment, Provider


def a_call(call_id: str, name: str, arguments: str) -> dict[str, object]:
    function = {"name": name, "arguments": arguments}
    return {"id": call_id, "type": "function", "function": function}


DEPLOYMENT = Deployment(
    id=1,
    model="m",
    upstream_model="llama3",
    provider=Provider(
        id=1,
        name="o",
        kind="ollama",
        base_url="",
        urls={},
        models_url="",
        headers=(),
        fingerprint="",
    ),
)
TEXTS = st.text(max_size=10)
CONTENTS = st.lists(
    TEXTS.map(lambda text: {"type": "text", "text": text})
    | st.binary(min_size=1, max_size=6).map(
        lambda raw: {
            "type": "image_url",
            "image_url": {
                "url": "data:image/png;base64," + base64.b64encode(raw).decode()
            },
        }
    ),
    min_size=1,
    max_size=3,
)
ARGUMENTS = st.dictionaries(TEXTS, TEXTS | st.integers(0, 9), max_size=2)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    messages: list[dict[str, object]] = []
    for turn in range(draw(st.integers(1, 4))):
        role = draw(st.sampled_from(["system", "developer", "user"]))
        content = draw(TEXTS if role != "user" else TEXTS | CONTENTS)
        messages.append({"role": role, "content": content})
        names = draw(st.lists(st.sampled_from("fgh"), max_size=3))
        calls = [
            a_call(f"id{turn}_{i}", name, orjson.dumps(draw(ARGUMENTS)).decode())
            for i, name in enumerate(names)
        ]
        if calls:
            messages.append({"role": "assistant", "content": None, "tool_calls": calls})
        messages += [
            {"role": "tool", "tool_call_id": call["id"], "content": draw(TEXTS)}
            for call in draw(st.permutations(calls))
        ]
        messages.append({"role": "assistant", "content": draw(TEXTS)})
    return messages


def text_of(content: object) -> object:
    if not isinstance(content, list):
        return content or ""
    return "\n".join(p["text"] for p in content if p["type"] == "text")


@given(conversations())
def test_conversations_reach_ollama_in_order_with_roles_and_calls(messages):
    body = orjson.dumps({"model": "m", "messages": messages})
    built = OllamaDialect().build_chat(read_record(parse_chat(body)), DEPLOYMENT)
    sent = orjson.loads(built.body)["messages"]
    roles = [m["role"].replace("developer", "system") for m in messages]
    assert [m["role"] for m in sent] == roles
    assert [m["content"] for m in sent] == [text_of(m["content"]) for m in messages]
    names: dict[str, str] = {}
    for given_message, written in zip(messages, sent, strict=True):
        calls = given_message.get("tool_calls", [])
        names |= {call["id"]: call["function"]["name"] for call in calls}
        assert [
            (c["id"], c["function"]["name"], c["function"]["arguments"])
            for c in written.get("tool_calls", [])
        ] == [
            (c["id"], c["function"]["name"], orjson.loads(c["function"]["arguments"]))
            for c in calls
        ]
        if written["role"] == "tool":
            assert written["tool_call_id"] == given_message["tool_call_id"]
            assert written["tool_name"] == names[given_message["tool_call_id"]]
        images = [
            p["image_url"]["url"].partition(",")[2]
            for p in (given_message["content"] or [])
            if isinstance(p, dict) and p["type"] == "image_url"
        ]
        assert written.get("images", []) == images
