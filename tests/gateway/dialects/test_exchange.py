"""One attempt's translation: what is sent, and how its answer is read."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.dialects.exchange import Exchange, open_chat, open_embeddings
from gateway.dialects.openai.encoder import Envelope
from gateway.dialects.openai.request import parse_chat, parse_embeddings
from gateway.errors import UpstreamError
from gateway.kinds import Fault
from gateway.snapshot import Deployment, Provider

ENVELOPE = Envelope(answer_id="chatcmpl-1", model="asked", created_s=7)
HELLO = [{"role": "user", "content": "hello"}]
ANSWER = {
    "choices": [{"message": {"content": "Hi."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 2},
}


def deployment(kind: str = "openai", **options: object) -> Deployment:
    provider = Provider(
        id=1,
        name="p",
        kind=kind,
        base_url="http://127.0.0.1:1",
        urls={},
        models_url="",
        headers=(),
        fingerprint="f",
    )
    return Deployment(
        id=1, model="asked", upstream_model="theirs", provider=provider, options=options
    )


def chat(kind: str = "openai", *, options: Any = None, **fields: Any) -> Exchange:
    body = {"model": "asked", "messages": HELLO, **fields}
    call = parse_chat(orjson.dumps(body))
    return open_chat(call, deployment(kind, **(options or {})), ENVELOPE)


def sent(exchange: Exchange) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(exchange.body)
    return found


def test_unknown_fields_survive_and_our_own_stay_here() -> None:
    body = sent(
        chat(
            vendor_extension={"deep": [1, None, "ü"]},
            session_id="s",
            rag_collection="c",
            rag_top_k=2,
            rag_filters={"type": "eq", "key": "a", "value": 1},
            seed=7,
        )
    )
    assert body == {
        "model": "theirs",
        "messages": HELLO,
        "vendor_extension": {"deep": [1, None, "ü"]},
        "seed": 7,
    }


def test_a_deployments_options_are_defaults_for_what_the_client_left_out() -> None:
    options = {"seed": 1, "service_tier": "flex", "model": "never"}
    body = sent(chat(options=options, seed=7))
    assert (body["seed"], body["service_tier"], body["model"]) == (7, "flex", "theirs")


@pytest.mark.parametrize(
    ("given_options", "expected"),
    [
        (None, {"include_usage": True}),
        ({"include_usage": False}, {"include_usage": True}),
        (
            {"include_obfuscation": False},
            {"include_obfuscation": False, "include_usage": True},
        ),
    ],
)
def test_a_stream_always_asks_for_usage(
    given_options: dict[str, bool] | None, expected: dict[str, bool]
) -> None:
    fields: dict[str, Any] = (
        {} if given_options is None else {"stream_options": given_options}
    )
    assert sent(chat(stream=True, **fields))["stream_options"] == expected


def test_a_body_is_built_anew_for_each_deployment() -> None:
    call = parse_chat(orjson.dumps({"model": "asked", "messages": HELLO}))
    first = open_chat(call, deployment(seed=1), ENVELOPE)
    second = open_chat(call, deployment(), ENVELOPE)
    assert "seed" in sent(first)
    assert "seed" not in sent(second)


def test_a_whole_answer_passes_byte_by_byte() -> None:
    data = orjson.dumps({**ANSWER, "vendor": "x"}, option=orjson.OPT_INDENT_2)
    whole = chat().whole(data)
    assert whole.body == data
    assert (whole.usage.prompt_tokens, whole.usage.output_tokens) == (3, 2)
    assert whole.finish_reason == "stop"
    assert not whole.usage.is_estimated


def test_missing_usage_is_estimated_and_marked() -> None:
    whole = chat().whole(orjson.dumps({"choices": ANSWER["choices"]}))
    assert whole.usage.is_estimated
    assert whole.usage.output_tokens > 0


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (b"", Fault.INVALID_RESPONSE),
        (b"<html>", Fault.INVALID_RESPONSE),
        (b"[]", Fault.INVALID_RESPONSE),
        (b"{}", Fault.INVALID_RESPONSE),
        (b'{"choices": {}}', Fault.INVALID_RESPONSE),
        (b'{"choices": ["\xff"]}', Fault.INVALID_RESPONSE),
        (b'{"error": {"code": "rate_limit_exceeded"}}', Fault.RATE_LIMITED),
        (b'{"error": {"message": "down"}}', Fault.SERVER_ERROR),
    ],
)
def test_what_is_no_answer_is_the_providers_fault(data: bytes, fault: Fault) -> None:
    with pytest.raises(UpstreamError) as raised:
        chat().whole(data)
    assert raised.value.fault is fault


OLLAMA = b"".join(
    orjson.dumps(line) + b"\n"
    for line in (
        {"message": {"role": "assistant", "content": "Hel"}, "done": False},
        {"message": {"role": "assistant", "content": "lo ☃"}, "done": False},
        {
            "message": {"role": "assistant", "content": ""},
            "done": True,
            "done_reason": "stop",
            "prompt_eval_count": 3,
            "eval_count": 2,
        },
    )
)


@given(cuts=st.lists(st.integers(0, len(OLLAMA)), max_size=10))
def test_a_translated_stream_does_not_mind_where_it_is_split(cuts: list[int]) -> None:
    stream = chat("ollama", stream=True).stream()
    given_bytes, start = b"", 0
    for cut in [*sorted(cuts), len(OLLAMA)]:
        if not stream.is_finished:
            given_bytes += stream.feed(OLLAMA[start:cut])
            start = cut
    assert stream.is_finished
    assert stream.usage is not None
    assert (stream.usage.prompt_tokens, stream.usage.output_tokens) == (3, 2)
    blocks = given_bytes.split(b"\n\n")
    assert blocks[-2] == b"data: [DONE]"
    chunks = [orjson.loads(block[6:]) for block in blocks[:-2]]
    said = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks)
    assert said == "Hello ☃"


def test_a_translated_stream_that_ends_early_is_interrupted() -> None:
    stream = chat("ollama", stream=True).stream()
    stream.feed(OLLAMA[:70])
    assert stream.close() == b""
    assert stream.error is not None
    assert stream.error.fault is Fault.INTERRUPTED


@pytest.mark.parametrize("kind", ["openai", "ollama"])
def test_embeddings_are_relayed_or_translated(kind: str) -> None:
    body = {"model": "asked", "input": ["a", "b"], "encoding_format": "float"}
    call = parse_embeddings(orjson.dumps(body))
    exchange = open_embeddings(call, deployment(kind), ENVELOPE)
    assert sent(exchange)["model"] == "theirs"
    answer = (
        {
            "data": [{"embedding": [1.0]}, {"embedding": [2.0]}],
            "usage": {"prompt_tokens": 2},
        }
        if kind == "openai"
        else {"embeddings": [[1.0], [2.0]], "prompt_eval_count": 2}
    )
    whole = exchange.whole(orjson.dumps(answer))
    vectors = [entry["embedding"] for entry in orjson.loads(whole.body)["data"]]
    assert vectors == [[1.0], [2.0]]
    assert whole.usage.prompt_tokens == 2
    with pytest.raises(UpstreamError):
        exchange.whole(b'{"data": 1}')
