"""What the Ollama dialect sends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest

from gateway.dialects.base import Built
from gateway.dialects.ollama import OllamaDialect
from gateway.dialects.record import (
    Audio,
    ChatRequest,
    EmbeddingsRequest,
    File,
    Image,
    JsonFormat,
    Message,
    Role,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolMode,
)
from gateway.errors import UpstreamError
from gateway.kinds import Fault, Operation
from gateway.snapshot import Capabilities, Deployment, Provider

DIALECT = OllamaDialect()
HELLO = Message(Role.USER, (Text("hello"),))
WEATHER = Tool("weather", "The weather.", {"type": "object", "properties": {}})


def a_deployment(capabilities: Capabilities | None = None, **options: object):
    provider = Provider(
        id=1,
        name="ollama",
        kind="ollama",
        base_url="http://127.0.0.1:11434",
        urls={},
        models_url="",
        headers=(),
        fingerprint="f",
    )
    return Deployment(
        id=1,
        model="small",
        upstream_model="llama3:latest",
        provider=provider,
        capabilities=capabilities or Capabilities(),
        options=options,
    )


def sent(
    request: ChatRequest, capabilities: Capabilities | None = None, **options: object
) -> dict[str, Any]:
    body: dict[str, Any] = orjson.loads(body_of(request, capabilities, **options).body)
    return body


def body_of(
    request: ChatRequest, capabilities: Capabilities | None = None, **options: object
) -> Built:
    return DIALECT.build_chat(request, a_deployment(capabilities, **options))


def chat(*messages: Message, **fields: Any) -> ChatRequest:
    return replace(ChatRequest(messages or (HELLO,)), **fields)


@pytest.mark.parametrize(
    "base_url",
    [
        "http://127.0.0.1:11434",
        "http://127.0.0.1:11434/v1",
        "http://127.0.0.1:11434/api",
        "http://127.0.0.1:11434/api/",
    ],
)
def test_every_spelling_of_the_address_leads_to_the_native_api(base_url):
    root = "http://127.0.0.1:11434"
    assert DIALECT.urls(base_url) == {
        Operation.CHAT: f"{root}/api/chat",
        Operation.EMBEDDINGS: f"{root}/api/embed",
    }
    assert DIALECT.models_url(base_url) == f"{root}/api/tags"


def test_a_path_in_front_of_the_api_is_kept():
    urls = DIALECT.urls("https://host/ollama/v1")
    assert urls[Operation.CHAT] == "https://host/ollama/api/chat"


def test_a_bearer_is_sent_only_when_there_is_a_credential():
    assert DIALECT.headers(None) == {"content-type": "application/json"}
    assert DIALECT.headers("")["content-type"] == "application/json"
    assert "authorization" not in DIALECT.headers("")
    assert DIALECT.headers("k")["authorization"] == "Bearer k"


def test_a_bare_request_says_nothing_the_client_did_not_say():
    assert sent(chat()) == {
        "model": "llama3:latest",
        "messages": [{"role": "user", "content": "hello"}],
        "stream": False,
        "truncate": False,
    }


def test_streaming_is_asked_for_in_so_many_words():
    assert sent(chat(stream=True))["stream"] is True


def test_text_parts_become_one_message_joined_by_newlines():
    message = Message(Role.USER, (Text("a"), Image(data="QUJD"), Text("b")))
    assert sent(chat(message))["messages"] == [
        {"role": "user", "content": "a\nb", "images": ["QUJD"]}
    ]


@pytest.mark.parametrize(
    "part",
    [
        Image(url="https://host/a.png"),
        Audio("wav", "QUJD"),
        File(filename="a.pdf", data="QUJD"),
        File(file_id="file-1"),
    ],
)
def test_what_ollama_cannot_be_shown_is_refused_and_never_dropped(part):
    with pytest.raises(UpstreamError) as caught:
        body_of(chat(Message(Role.USER, (Text("see"), part))))
    assert caught.value.fault is Fault.UNSUPPORTED_PARAMETER
    assert caught.value.param == "messages"


def test_sampling_and_limits_go_into_the_options():
    request = chat(
        max_tokens=5,
        temperature=0.0,
        top_p=0.9,
        top_k=40,
        min_p=0.1,
        frequency_penalty=0.5,
        presence_penalty=-0.5,
        seed=-7,
        stop=("a", "b"),
    )
    assert sent(request)["options"] == {
        "num_predict": 5,
        "temperature": 0.0,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "frequency_penalty": 0.5,
        "presence_penalty": -0.5,
        "seed": -7,
        "stop": ["a", "b"],
    }


def test_zero_tokens_do_not_become_an_endless_answer():
    assert sent(chat(max_tokens=0))["options"] == {"num_predict": 1}


def test_a_model_without_sampling_gets_none_and_the_client_is_told():
    built = body_of(chat(temperature=1.0, seed=1), Capabilities(sampling=False))
    assert orjson.loads(built.body)["options"] == {"seed": 1}
    assert built.dropped == ("temperature",)


def test_the_deployments_options_are_kept_under_the_clients():
    body = sent(chat(temperature=0.5), num_ctx=8192, temperature=0.1, keep_alive="10m")
    assert body["options"] == {"num_ctx": 8192, "temperature": 0.5}
    assert body["keep_alive"] == "10m"


@pytest.mark.parametrize(
    ("json_format", "expected"),
    [
        (JsonFormat(), "json"),
        (JsonFormat(schema={"type": "object"}), {"type": "object"}),
    ],
)
def test_json_formats_are_ollamas_own(json_format, expected):
    assert sent(chat(json_format=json_format))["format"] == expected


@pytest.mark.parametrize(
    ("effort", "reasoning", "think", "dropped"),
    [
        ("none", None, False, ()),
        ("minimal", None, "low", ()),
        ("low", "adaptive", "low", ()),
        ("medium", None, "medium", ()),
        ("xhigh", "always", "high", ()),
        ("high", "budget", True, ()),
        ("none", "budget", False, ()),
        ("none", "none", False, ()),
        ("high", "none", None, ("reasoning_effort",)),
        ("none", "always", None, ("reasoning_effort",)),
        ("odd", None, None, ("reasoning_effort",)),
    ],
)
def test_reasoning_effort_becomes_think(effort, reasoning, think, dropped):
    built = body_of(chat(reasoning_effort=effort), Capabilities(reasoning=reasoning))
    assert orjson.loads(built.body).get("think") == think
    assert built.dropped == dropped


def test_tools_go_out_in_openais_shape():
    tools = (WEATHER, Tool("bare", strict=True))
    assert sent(chat(tools=tools))["tools"] == [
        {
            "type": "function",
            "function": {
                "name": "weather",
                "description": "The weather.",
                "parameters": {"type": "object", "properties": {}},
            },
        },
        {
            "type": "function",
            "function": {
                "name": "bare",
                "parameters": {"type": "object", "properties": {}},
            },
        },
    ]


def test_tool_choice_none_sends_no_tools_even_where_there_are_none():
    request = chat(tools=(WEATHER,), tool_choice=ToolChoice(ToolMode.NONE))
    assert "tools" not in sent(request, Capabilities(tools=False))


def test_tool_choice_auto_is_what_ollama_does_anyway():
    body = sent(chat(tools=(WEATHER,), tool_choice=ToolChoice(ToolMode.AUTO)))
    assert "tools" in body
    assert "tool_choice" not in body


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tool_choice": ToolChoice(ToolMode.REQUIRED)}, "tool_choice"),
        ({"tool_choice": ToolChoice(ToolMode.NAMED, "weather")}, "tool_choice"),
        ({"choices": 2}, "n"),
        ({"extras": {"modalities": ["text", "audio"]}}, "modalities"),
    ],
)
def test_what_cannot_be_expressed_is_refused_by_name(fields, param):
    with pytest.raises(UpstreamError) as caught:
        body_of(chat(tools=(WEATHER,), **fields))
    assert caught.value.fault is Fault.UNSUPPORTED_PARAMETER
    assert caught.value.param == param


def test_tools_are_refused_for_a_model_known_to_have_none():
    with pytest.raises(UpstreamError) as caught:
        body_of(chat(tools=(WEATHER,)), Capabilities(tools=False))
    assert caught.value.param == "tools"


def test_tool_history_has_arguments_as_objects_and_names_of_tools():
    calls = (
        ToolCall("call_a", "weather", '{"z": 1, "a": 12345678901234567890123}'),
        ToolCall("call_b", "clock", ""),
        ToolCall("call_c", "clock", "{broken"),
        ToolCall("call_d", "clock", "[1]"),
    )
    body = body_of(
        chat(
            Message(Role.ASSISTANT, (), calls, reasoning="hm"),
            Message(Role.TOOL, (Text("noon"),), tool_call_id="call_b"),
            Message(Role.TOOL, (Text("sun"),), tool_call_id="call_a"),
            Message(Role.TOOL, (Text("?"),), tool_call_id="lost"),
        )
    ).body
    assistant, second, first, orphan = orjson.loads(body)["messages"]
    assert assistant["thinking"] == "hm"
    assert [call["id"] for call in assistant["tool_calls"]] == [c.id for c in calls]
    assert [call["function"]["arguments"] for call in assistant["tool_calls"][1:]] == [
        {},
        {"_raw": "{broken"},
        {"_raw": "[1]"},
    ]
    # Key order and long numbers stay as the model wrote them.
    assert b'"arguments":{"z": 1, "a": 12345678901234567890123}' in body
    assert (second["tool_name"], second["tool_call_id"]) == ("clock", "call_b")
    assert (first["tool_name"], first["tool_call_id"]) == ("weather", "call_a")
    assert "tool_name" not in orphan


def test_a_refusal_in_the_history_is_still_said():
    refused = Message(Role.ASSISTANT, refusal="I will not.")
    assert sent(chat(refused))["messages"] == [
        {"role": "assistant", "content": "I will not."}
    ]


def test_logprobs_are_asked_for_at_the_top():
    body = sent(chat(logprobs=True, top_logprobs=3))
    assert (body["logprobs"], body["top_logprobs"]) == (True, 3)


def test_what_has_no_place_is_dropped_and_reported():
    built = body_of(
        chat(user="u", service_tier="flex", extras={"logit_bias": {}, "odd": 1})
    )
    assert built.dropped == ("user", "service_tier", "logit_bias", "odd")
    assert b"odd" not in built.body


def test_building_twice_gives_the_same_bytes():
    request = chat(tools=(WEATHER,), temperature=1.0, extras={"odd": 1})
    assert body_of(request, num_ctx=1).body == body_of(request, num_ctx=1).body


def test_embeddings_are_asked_for_as_a_list_and_never_cut():
    built = DIALECT.build_embeddings(
        EmbeddingsRequest(("a", "b"), dimensions=8),
        a_deployment(num_ctx=512, keep_alive=-1),
    )
    assert orjson.loads(built.body) == {
        "model": "llama3:latest",
        "input": ["a", "b"],
        "truncate": False,
        "dimensions": 8,
        "options": {"num_ctx": 512},
        "keep_alive": -1,
    }
