"""Requests that no client should send: each gets a clear answer, and nothing is lost."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import orjson
import pytest

from tests.ailb_project.raw_http import Answer, Connection
from tests.api.gateway_process import Gateway
from tests.upstreams.simulators import RunningSimulator, running_simulator

MEBIBYTE = 1024 * 1024
CHAT = "/v1/chat/completions"
MESSAGES = [{"role": "user", "content": "hi"}]
FUZZED = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """A gateway with a body limit of one mebibyte, and its one upstream."""

    gateway: Gateway
    sim: RunningSimulator

    def ask(
        self,
        body: bytes = b"",
        *headers: str,
        method: str = "POST",
        target: str = CHAT,
        host: str = "localhost",
        has_body: bool = True,
    ) -> Answer:
        """Send one request by the letter on a connection of its own."""
        with Connection(self.gateway.address) as connection:
            connection.send(
                head(method, target, host, f"content-length: {len(body)}", *headers)
                + body
            )
            return connection.answer(has_body=has_body)

    def ask_json(self, body: bytes, target: str = CHAT) -> Answer:
        return self.ask(body, "content-type: application/json", target=target)


def head(method: str, target: str, host: str, *headers: str) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", f"host: {host}", *headers, "", ""]
    return "\r\n".join(lines).encode("latin-1")


def chat(**fields: Any) -> bytes:
    return orjson.dumps({"model": "m", "messages": MESSAGES, **fields})


@pytest.fixture(scope="module")
def place(start_gateway: Callable[..., Gateway]) -> Iterator[Place]:
    """After all of it, the gateway still answers and has logged no failure of its own."""
    gateway = start_gateway(AILB_MAX_BODY_MB="1")
    with running_simulator() as sim:
        gateway.add_provider("one", "openai", sim, models=["m", "org/m"])
        gateway.apply()
        yield Place(gateway, sim)
        assert gateway.client.chat("m").status == 200
        assert not [line for line in gateway.log() if line["level"] == "error"]
        assert gateway.stop() == {0}


def assert_refused(
    answer: Answer, status: int, param: str | None, code: str | None
) -> None:
    assert (answer.status, answer.error["param"], answer.error["code"]) == (
        status,
        param,
        code,
    ), answer.body
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"]
    assert answer.error["type"] == "invalid_request_error"


# --- Bodies --------------------------------------------------------------------------------

BODIES = {
    "empty": b"",
    "no JSON": b"hello",
    "half of it": b'{"model": "m", "messa',
    "two of it": chat() + chat(),
    "null": b"null",
    "an array": b"[]",
    "a string": b'"hi"',
    "NaN": chat().replace(b"}]", b'}], "temperature": NaN', 1),
    "an infinity": chat().replace(b"}]", b'}], "temperature": 1e999', 1),
    "Latin-1": chat().replace(b"hi", b"caf\xe9"),
    "a lone surrogate": chat().replace(b"hi", b"\\ud800"),
    "a byte order mark": b"\xef\xbb\xbf" + chat(),
    "UTF-16": chat().decode().encode("utf-16"),
    "zeros": bytes(1000),
    "too deep": chat(metadata={}).replace(b"{}", b"[" * 5000 + b"]" * 5000),
    "much too deep": b"[" * 500_000 + b"]" * 500_000,
    "too many values": chat().replace(b'"hi"', b"[" + b"0," * 400_000 + b"0]"),
    "gzip": bytes.fromhex("1f8b08000000000000030300000000000000000000"),
}


@pytest.mark.parametrize("target", [CHAT, "/v1/embeddings"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_a_body_that_is_no_json_object_is_a_400(
    place: Place, body: bytes, target: str
) -> None:
    answer = place.ask_json(body, target)
    assert_refused(answer, 400, None, None)
    assert len(answer.error["message"]) > 20


FIELDS: list[tuple[dict[str, Any], str, str]] = [
    ({"model": None}, "model", "missing_required_parameter"),
    ({"model": 1}, "model", "invalid_type"),
    ({"model": ""}, "model", "invalid_value"),
    ({"model": "x" * 257}, "model", "invalid_value"),
    ({"model": "a\nb"}, "model", "invalid_value"),
    ({"messages": None}, "messages", "missing_required_parameter"),
    ({"messages": "hi"}, "messages", "invalid_type"),
    ({"messages": []}, "messages", "invalid_value"),
    ({"messages": ["hi"]}, "messages[0]", "invalid_type"),
    ({"messages": [{}]}, "messages[0].role", "missing_required_parameter"),
    ({"messages": [{"role": 1}]}, "messages[0].role", "invalid_type"),
    ({"messages": [{"role": "boss"}]}, "messages[0].role", "invalid_value"),
    ({"messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
    ({"messages": [*MESSAGES, {"role": "user", "content": 1}]}, "messages[1].content", "invalid_type"),
    ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text", "invalid_type"),
    ({"stream": "yes"}, "stream", "invalid_type"),
    ({"stream_options": []}, "stream_options", "invalid_type"),
    ({"temperature": "hot"}, "temperature", "invalid_type"),
    ({"temperature": True}, "temperature", "invalid_type"),
    ({"temperature": 2.1}, "temperature", "invalid_value"),
    ({"top_p": -0.1}, "top_p", "invalid_value"),
    ({"n": 0}, "n", "invalid_value"),
    ({"n": 1.5}, "n", "invalid_type"),
    ({"max_tokens": -1}, "max_tokens", "invalid_value"),
    ({"max_completion_tokens": "9"}, "max_completion_tokens", "invalid_type"),
    ({"stop": ["a", "b", "c", "d", "e"]}, "stop", "invalid_value"),
    ({"stop": [1]}, "stop[0]", "invalid_type"),
    ({"tools": {}}, "tools", "invalid_type"),
    ({"tools": [1]}, "tools[0]", "invalid_type"),
    ({"tool_choice": 1}, "tool_choice", "invalid_type"),
    ({"response_format": "json"}, "response_format", "invalid_type"),
    ({"session_id": 1}, "session_id", "invalid_type"),
    ({"rag_collection": "handbook"}, "rag_collection", "rag_disabled"),
    ({"rag_collection": ""}, "rag_collection", "rag_disabled"),
    ({"rag_collection": []}, "rag_collection", "rag_disabled"),
    ({"rag_top_k": 3}, "rag_top_k", "rag_disabled"),
    ({"rag_top_k": "many"}, "rag_top_k", "rag_disabled"),
    ({"rag_filters": {}}, "rag_filters", "rag_disabled"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "param", "code"), FIELDS)
def test_a_bad_field_of_a_chat_is_named(
    place: Place, fields: dict[str, Any], param: str, code: str
) -> None:
    assert_refused(place.ask_json(chat(**fields)), 400, param, code)


def test_where_documents_are_off_the_refusal_names_the_setting(place: Place) -> None:
    refused = place.ask_json(chat(rag_collection="handbook"))
    assert "ENABLE_RAG=true" in refused.error["message"]
    fields = dict.fromkeys(("rag_collection", "rag_top_k", "rag_filters"))
    assert place.ask_json(chat(**fields)).status == 200, "null counts as absent"


EMBEDDINGS: list[tuple[dict[str, Any], str, str]] = [
    ({}, "input", "missing_required_parameter"),
    ({"input": ""}, "input", "invalid_value"),
    ({"input": []}, "input", "invalid_value"),
    ({"input": {}}, "input", "invalid_type"),
    ({"input": ["a", ""]}, "input[1]", "invalid_value"),
    ({"input": ["a", 1]}, "input[1]", "invalid_type"),
    ({"input": [1, "a"]}, "input", "invalid_value"),
    ({"input": [[1], []]}, "input[1]", "invalid_value"),
    ({"input": [-1]}, "input", "invalid_value"),
    ({"input": ["a"] * 2049}, "input", "invalid_value"),
    ({"input": "a", "dimensions": 0}, "dimensions", "invalid_value"),
    ({"input": "a", "encoding_format": "hex"}, "encoding_format", "invalid_value"),
    ({"input": "a", "model": 1}, "model", "invalid_type"),
]


@pytest.mark.parametrize(("fields", "param", "code"), EMBEDDINGS)
def test_a_bad_field_of_an_embeddings_request_is_named(
    place: Place, fields: dict[str, Any], param: str, code: str
) -> None:
    body = orjson.dumps({"model": "m", **fields})
    assert_refused(place.ask_json(body, "/v1/embeddings"), 400, param, code)


def test_a_session_header_that_no_one_could_keep_is_named(place: Place) -> None:
    answer = place.ask(
        chat(), "content-type: application/json", f"x-session-id: {'s' * 257}"
    )
    assert_refused(answer, 400, "X-Session-ID", None)


# --- Size and framing ------------------------------------------------------------------------


def test_an_announced_length_over_the_limit_is_a_413_before_the_body(
    place: Place,
) -> None:
    with Connection(place.gateway.address) as connection:
        connection.send(head("POST", CHAT, "localhost", f"content-length: {10**12}"))
        answer = connection.answer()
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


def test_a_body_over_the_operators_limit_is_a_413(place: Place) -> None:
    answer = place.ask_json(chat().ljust(MEBIBYTE + 1))
    assert_refused(answer, 413, None, "request_too_large")


def test_a_chunked_body_over_the_limit_is_a_413(place: Place) -> None:
    with Connection(place.gateway.address) as connection:
        connection.send(
            head("POST", CHAT, "localhost", "transfer-encoding: chunked")
            + b"%x\r\n%b\r\n0\r\n\r\n" % (MEBIBYTE + 1, b" " * (MEBIBYTE + 1))
        )
        answer = connection.answer()
    assert (answer.status, answer.error["code"]) == (413, "request_too_large")


def test_a_chunked_body_within_the_limit_is_answered(place: Place) -> None:
    with Connection(place.gateway.address) as connection:
        connection.send(
            head(
                "POST",
                CHAT,
                "localhost",
                "transfer-encoding: chunked",
                "content-type: application/json",
            )
        )
        for piece in (chat()[:10], chat()[10:]):
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        connection.send(b"0\r\n\r\n")
        answer = connection.answer()
    assert answer.status == 200
    assert answer.json["choices"][0]["message"]["content"].endswith("hi")


def test_a_body_of_exactly_the_limit_is_read(place: Place) -> None:
    body = chat().ljust(MEBIBYTE)
    assert place.ask_json(body).status == 200


@pytest.mark.parametrize(
    "media_type",
    ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""],
)
def test_what_a_web_form_can_send_is_a_415(place: Place, media_type: str) -> None:
    answer = place.ask(chat(), f"content-type: {media_type}")
    assert_refused(answer, 415, None, "unsupported_media_type")
    assert_refused(place.ask(chat()), 415, None, "unsupported_media_type")


def test_a_media_type_with_parameters_is_json(place: Place) -> None:
    answer = place.ask(chat(), "content-type: Application/JSON; charset=utf-8")
    assert answer.status == 200


# --- Routes, methods and hosts --------------------------------------------------------------

METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
UNKNOWN = [
    "/v1",
    "/v1/",
    "/v1/responses",
    "/v1/chat",
    "/v1/chat/completions/",
    "/v1/models/",
    "/v1/embeddings/x",
    "/v1//models",
    "/v1/../v1/nothing",
    "/v1/%00",
    "/v1/%ff%fe",
    "/api/nothing",
]


@pytest.mark.parametrize("target", UNKNOWN)
@pytest.mark.parametrize("method", METHODS)
def test_an_unknown_route_is_a_404_whatever_the_method(
    place: Place, method: str, target: str
) -> None:
    answer = place.ask(method=method, target=target)
    assert_refused(answer, 404, None, "unknown_url")


@pytest.mark.parametrize("target", ["//v1/models", "/V1/models", "/v1models", "/v"])
def test_what_only_looks_like_our_api_is_a_404(place: Place, target: str) -> None:
    assert place.ask(method="GET", target=target).status == 404


ROUTES = [
    (CHAT, "POST"),
    ("/v1/embeddings", "POST"),
    ("/v1/models", "GET, HEAD"),
    ("/v1/models/m", "GET, HEAD"),
    ("/api/routing/stats", "GET, HEAD"),
    ("/healthz", "GET, HEAD"),
    ("/livez", "GET, HEAD"),
    ("/readyz", "GET, HEAD"),
    ("/metrics", "GET, HEAD"),
]


@pytest.mark.parametrize(("target", "allowed"), ROUTES)
@pytest.mark.parametrize("method", [*METHODS, "TRACE", "BREW"])
def test_a_wrong_method_is_a_405_that_names_the_right_ones(
    place: Place, method: str, target: str, allowed: str
) -> None:
    if method in allowed:
        return
    if method == "BREW" and place.gateway.server == "uvicorn":
        pytest.skip("its parser refuses methods that are not registered with a 400")
    answer = place.ask(method=method, target=target)
    assert_refused(answer, 405, None, "method_not_allowed")
    assert answer.headers["allow"] == allowed


@pytest.mark.parametrize("target", [t for t, allowed in ROUTES if "GET" in allowed])
def test_head_is_get_without_the_body(place: Place, target: str) -> None:
    with Connection(place.gateway.address) as connection:
        connection.send(head("HEAD", target, "localhost"))
        answer = connection.answer(has_body=False)
        assert answer.status == 200
        assert int(answer.headers["content-length"]) > 0
        assert connection.ask("/livez").json["status"] == "alive"


def test_a_query_changes_nothing(place: Place) -> None:
    query = "?api-version=2024-01-01&limit=%00&a[]=b"
    listed = place.ask(method="GET", target=f"/v1/models{query}")
    assert [model["id"] for model in listed.json["data"]] == ["auto", "m", "org/m"]
    answer = place.ask_json(chat(), CHAT + query)
    assert answer.status == 200


@pytest.mark.parametrize("model", ["org/m", "org%2Fm"])
def test_a_model_name_may_hold_a_slash(place: Place, model: str) -> None:
    answer = place.ask(method="GET", target=f"/v1/models/{model}")
    assert answer.json["id"] == "org/m"


@pytest.mark.parametrize(
    "host", ["evil.example", "localhost.evil.example", "a@localhost", "[::1", "", "x y"]
)
def test_a_host_that_is_not_ours_is_refused(place: Place, host: str) -> None:
    answer = place.ask(chat(), "content-type: application/json", host=host)
    assert answer.status == 400
    assert answer.error["code"] in {"host_not_allowed", "bad_request"}


@pytest.mark.parametrize(
    "host", ["localhost", "127.0.0.1:1", "[::1]:8080", "LOCALHOST"]
)
def test_the_local_names_are_served(place: Place, host: str) -> None:
    answer = place.ask(chat(), "content-type: application/json", host=host)
    assert answer.status == 200


@pytest.mark.parametrize("target", ["/healthz", "/livez", "/readyz"])
def test_orchestrators_may_probe_by_any_name(place: Place, target: str) -> None:
    answer = place.ask(method="GET", target=target, host="10.1.2.3:8080")
    assert answer.status == 200


# --- Chance ----------------------------------------------------------------------------------

VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 0.5, 1e308, 2**53, 2**63 - 1, -(2**63), "", "a", "auto", "m",
    "\x00", "\u2028", "💥", "x" * 300, [], [[]], {}, {"": ""}, [None], ["a"], [{}], [{"type": "text"}],
    {"type": "function"}, {"type": "function", "function": {"name": "f"}}, {"url": "data:x"},
    {"role": "assistant", "tool_calls": [{}]},
]  # fmt: skip
SEEDS: list[dict[str, Any]] = [
    {"model": "m", "messages": MESSAGES, "stream": False},
    {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": [{"type": "text", "text": "t"}]},
            {
                "role": "assistant",
                "tool_calls": [
                    {
                        "id": "c",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}"},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "c", "content": "r"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "f", "parameters": {"type": "object"}},
            }
        ],
        "tool_choice": "none",
        "stop": ["x"],
        "temperature": 1,
        "max_tokens": 5,
        "response_format": {"type": "text"},
        "top_p": 0.5,
    },
]
FIELD_NAMES = ["model", "messages", "stream", "n", "stop", "tools", "tool_choice", "logprobs",
               "max_tokens", "seed", "user", "session_id", "rag_collection", "rag_top_k", "rag_filters", "x"]  # fmt: skip


def mutated(draw: random.Random) -> bytes:
    """Change one or two places of a good request, then perhaps its bytes."""
    body: Any = orjson.loads(orjson.dumps(draw.choice(SEEDS)))
    for _ in range(draw.randint(1, 2)):
        mutate(body, draw)
    data = orjson.dumps(body)
    if draw.random() < 0.3:
        at, size = draw.randrange(len(data)), draw.randint(0, 4)
        data = data[:at] + draw.randbytes(draw.randint(0, 3)) + data[at + size :]
    return data


def mutate(value: Any, draw: random.Random) -> None:
    """Put a strange value somewhere inside a container."""
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if isinstance(value, dict) and draw.random() < 0.2:
            keys.append(draw.choice(FIELD_NAMES))
        if not keys:
            return
        key = draw.choice(keys)
        inner = value.get(key) if isinstance(value, dict) else value[key]
        if not isinstance(inner, (dict, list)) or not inner or draw.random() < 0.4:
            value[key] = deepcopy(draw.choice(VALUES))
            return
        value = inner


def test_ten_thousand_mutated_bodies_never_make_the_gateway_fail(place: Place) -> None:
    draw = random.Random(20_261_123)  # noqa: S311 - repeatable on purpose
    seen: dict[int, int] = {}
    before = len(place.sim.calls)
    with Connection(place.gateway.address) as connection:
        for _ in range(FUZZED):
            body = mutated(draw)
            connection.send(
                head(
                    "POST",
                    CHAT,
                    "localhost",
                    "content-type: application/json",
                    f"content-length: {len(body)}",
                )
                + body
            )
            answer = connection.answer()
            seen[answer.status] = seen.get(answer.status, 0) + 1
            assert answer.status < 500, (body, answer.body)
            if answer.status >= 400:
                assert answer.error["message"], body
    # Some are refused here, some by the provider, and some are good enough.
    assert seen[400] > FUZZED / 10, seen
    assert seen[200] > FUZZED / 50, seen
    assert len(place.sim.calls) - before >= seen[200]
