"""Who may enter, and that nothing a client sends leads or leaks anywhere else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import openai
import orjson
import pytest

from tests.ailb_project.raw_http import Answer, Connection
from tests.api.gateway_process import Gateway, fresh
from tests.api.vendors import KINDS, sdk
from tests.upstreams.fixed_answers import FixedAnswers, fixed_answers
from tests.upstreams.simulators import RunningSimulator, running_simulator

CHAT = "/v1/chat/completions"
KEY = "sk-ailb-canary-key-of-the-client"
MESSAGES = [{"role": "user", "content": "hi"}]
GUARDED = ("/v1/models", "/v1/models/m", "/api/routing/stats")
OPEN_TO_ALL = ("/livez", "/readyz", "/healthz")


@dataclass(frozen=True, slots=True)
class Doors:
    """Three gateways, one for each way that a door can stand."""

    local: Gateway  # auto, on loopback, no key
    closed: Gateway  # auto, on loopback, with a key
    open: Gateway


@pytest.fixture(scope="module")
def doors(start_gateway: Callable[..., Gateway]) -> Iterator[Doors]:
    doors = Doors(
        local=start_gateway(),
        closed=start_gateway(AILB_API_KEY=KEY),
        open=start_gateway(AILB_AUTH="open", AILB_METRICS_TOKEN="metrics-canary-token"),
    )
    with running_simulator() as sim:
        for gateway in (doors.local, doors.closed, doors.open):
            gateway.add_provider("one", "openai", sim, models=["m"])
            gateway.apply()
        yield doors


def ask(gateway: Gateway, *headers: str, host: str = "localhost") -> Answer:
    """Ask for a chat by the letter."""
    body = orjson.dumps({"model": "m", "messages": MESSAGES})
    lines = [f"POST {CHAT} HTTP/1.1", f"host: {host}", f"content-length: {len(body)}"]
    lines += ["content-type: application/json", *headers, "", ""]
    with Connection(gateway.address) as connection:
        connection.send("\r\n".join(lines).encode() + body)
        return connection.answer()


# --- The door ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        "accept: */*",
        "authorization: Bearer wrong",
        "authorization: Basic d3Jvbmc=",
        "x-api-key: wrong",
        "origin: http://localhost:3000",
        "origin: http://127.0.0.1",
    ],
)
def test_without_a_key_a_program_on_this_machine_is_served(
    doors: Doors, header: str
) -> None:
    assert ask(doors.local, header).status == 200


@pytest.mark.parametrize(
    "header",
    [
        "x-forwarded-for: 127.0.0.1",
        "x-forwarded-host: localhost",
        "x-forwarded-proto: https",
        "x-real-ip: 127.0.0.1",
        "forwarded: for=127.0.0.1",
        "via: 1.1 proxy",
        "origin: https://evil.example",
        "origin: https://localhost.evil.example",
        "origin: null",
    ],
)
def test_what_came_through_others_is_not_this_machine(
    doors: Doors, header: str
) -> None:
    for more in ((), ("authorization: Bearer anything",)):
        answer = ask(doors.local, header, *more)
        assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
    assert ask(doors.open, header).status == 200


def test_a_name_that_rebinds_to_us_is_refused_by_every_door(doors: Doors) -> None:
    for gateway in (doors.local, doors.closed, doors.open):
        answer = ask(gateway, f"authorization: Bearer {KEY}", host="evil.example")
        assert (answer.status, answer.error["code"]) == (400, "host_not_allowed")


@pytest.mark.parametrize(
    "header",
    [
        f"authorization: Bearer {KEY}",
        f"authorization: bearer {KEY}",
        f"authorization: Bearer   {KEY} ",
        f"x-api-key: {KEY}",
    ],
)
def test_the_key_opens_the_door_it_closed(doors: Doors, header: str) -> None:
    assert ask(doors.closed, header).status == 200
    assert ask(doors.closed, header, "x-forwarded-for: 10.1.2.3").status == 200


WRONG = [
    "authorization: Bearer wrong",
    f"authorization: Bearer {KEY}x",
    f"authorization: Bearer {KEY[:-1]}",
    f"authorization: Bearer {KEY.upper()}",
    "x-api-key: wrong",
]


def test_every_wrong_key_gets_the_same_answer_and_so_does_every_missing_one(
    doors: Doors,
) -> None:
    wrong = {ask(doors.closed, header).body for header in WRONG}
    none = ["accept: */*", f"authorization: {KEY}", f"authorization: Basic {KEY}",
            "authorization: Bearer", "authorization:"]  # fmt: skip
    missing = [ask(doors.closed, header) for header in none]
    assert len(wrong) == 1
    assert len({answer.body for answer in missing}) == 1
    assert {answer.status for answer in missing} == {401}
    for body in (*wrong, missing[0].body):
        error = orjson.loads(body)["error"]
        assert error["code"] == "invalid_api_key"
        assert "wrong" not in error["message"]
        assert KEY not in error["message"]


def test_the_sdk_sees_its_own_key_refused_and_accepted(doors: Doors) -> None:
    stranger = sdk(doors.closed, api_key="sk-wrong")
    with stranger, pytest.raises(openai.AuthenticationError) as raised:
        stranger.chat.completions.create(model="m", messages=MESSAGES)  # type: ignore[arg-type]
    assert raised.value.status_code == 401
    with sdk(doors.closed, api_key=KEY) as owner:
        assert [model.id for model in owner.models.list()] == ["auto", "m"]


@pytest.mark.parametrize("path", GUARDED)
def test_every_route_but_health_wants_the_key(doors: Doors, path: str) -> None:
    assert doors.closed.client.get(path).status == 401
    assert doors.closed.client.get(path, authorization=f"Bearer {KEY}").status == 200
    assert doors.local.client.get(path).status == 200


@pytest.mark.parametrize("path", OPEN_TO_ALL)
def test_health_is_open_to_all(doors: Doors, path: str) -> None:
    for gateway in (doors.local, doors.closed, doors.open):
        given = {"x-forwarded-for": "10.1.2.3", "host": "10.9.9.9"}
        assert gateway.client.get(path, **given).status == 200


def test_health_tells_strangers_no_addresses_and_no_credentials(doors: Doors) -> None:
    for path in OPEN_TO_ALL:
        assert b"127.0.0.1" not in doors.closed.client.get(path).body


def test_metrics_are_for_this_machine_or_for_the_token(doors: Doors) -> None:
    local, guarded = doors.local.client, doors.open.client
    assert local.get("/metrics").status == 200
    assert doors.closed.client.get("/metrics").status == 200
    assert local.get("/metrics", **{"x-forwarded-for": "127.0.0.1"}).status == 401
    assert local.get("/metrics", origin="https://evil.example").status == 401
    token = {"authorization": "Bearer metrics-canary-token"}
    assert guarded.get("/metrics").status == 401
    assert guarded.get("/metrics", authorization="Bearer wrong").status == 401
    assert guarded.get("/metrics", **token).status == 200
    assert guarded.get("/metrics", **token, **{"x-real-ip": "1.2.3.4"}).status == 200


def test_a_refused_request_reaches_no_provider(doors: Doors) -> None:
    stats = doors.closed.client.get(
        "/api/routing/stats", authorization=f"Bearer {KEY}"
    ).json
    total = stats["provider_stats"]["one"]["total_requests"]
    assert ask(doors.closed, WRONG[0]).status == 401
    after = doors.closed.client.get(
        "/api/routing/stats", authorization=f"Bearer {KEY}"
    ).json
    assert after["provider_stats"]["one"]["total_requests"] == total


# --- What leaves the gateway ---------------------------------------------------------------

CANARIES = {
    "authorization": "Bearer canary-authorization-value",
    "cookie": "session=canary-cookie",
    "x-api-key": "canary-x-api-key",
    "api-key": "canary-api-key",
    "openai-organization": "canary-organization",
    "anthropic-version": "canary-version",
    "anthropic-beta": "canary-beta",
    "x-canary": "canary-custom",
    "user-agent": "canary-agent",
    "referer": "http://localhost/canary-referer",
    "x-http-method-override": "DELETE-canary",
    "proxy-authorization": "Basic canary-proxy",
    "x-session-id": "canary-session",
    "x-request-id": "canary-request-id",
}
STEERING = {
    "api_base": "http://canary.example/v1",
    "base_url": "http://canary.example/v1",
    "api_key": "canary-body-key",
    "api_version": "canary-body-version",
    "custom_llm_provider": "canary",
    "extra_headers": {"x-canary": "canary-body-header"},
    "headers": {"authorization": "Bearer canary-body-header"},
    "timeout": 1,
    "organization": "canary-organization",
}
CREDENTIAL = "credential-canary-of-the-provider"
ANSWERS = {
    "openai": ("/v1/chat/completions", {"id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}),
    "anthropic": ("/v1/messages", {"id": "m", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": "hello"}], "stop_reason": "end_turn", "stop_sequence": None,
        "usage": {"input_tokens": 1, "output_tokens": 1}}),
    "ollama": ("/api/chat", {"model": "m", "created_at": "2026-01-01T00:00:00Z", "done": True, "done_reason": "stop",
        "message": {"role": "assistant", "content": "hello"}, "prompt_eval_count": 1, "eval_count": 1}),
}  # fmt: skip


@pytest.fixture
def listener() -> Iterator[FixedAnswers]:
    """Run an upstream that keeps every header: the simulator keeps no secrets."""
    routes = {path: (200, answer) for path, answer in ANSWERS.values()}
    with fixed_answers(routes) as running:
        yield running


@pytest.mark.parametrize("kind", KINDS)
def test_a_client_steers_neither_address_nor_credential_nor_headers(
    doors: Doors, listener: FixedAnswers, kind: str
) -> None:
    gateway, model = doors.local, fresh("steered")
    url = listener.url + ("/v1" if kind == "openai" else "")
    gateway.add_provider(model, kind, url, models=[model], credential=CREDENTIAL)
    gateway.apply()
    reply = gateway.client.post(
        CHAT, {"model": model, "messages": MESSAGES, **STEERING}, **CANARIES
    )
    assert reply.status == 200, reply.body
    ((method, path, sent),) = listener.requests
    assert (method, path) == ("POST", ANSWERS[kind][0])
    headers = {name.lower(): value for name, value in sent.items()}
    assert not [name for name, value in headers.items() if "canary" in value and CREDENTIAL not in value]  # fmt: skip
    shown = {"x-api-key": CREDENTIAL} if kind == "anthropic" else {"authorization": f"Bearer {CREDENTIAL}"}  # fmt: skip
    assert {n: v for n, v in headers.items() if CREDENTIAL in v} == shown
    assert headers["host"] == listener.url.removeprefix("http://")
    allowed = {"host", "accept", "accept-encoding", "content-type", "content-length",
               "user-agent", "connection", "anthropic-version", "x-request-id", *shown}  # fmt: skip
    assert set(headers) <= allowed


FAULTS = ["ok", "status:400", "status:401", "status:429", "status:500", "garbage", "bad_json"]  # fmt: skip


def answers_to_faults(
    gateway: Gateway, kind: str, upstream: RunningSimulator
) -> Iterator[bytes]:
    """Ask through a new provider that does what FAULTS says; give all that is answered."""
    model = fresh(f"secretive-{kind}")
    gateway.add_provider(model, kind, upstream, models=[model], credential=CREDENTIAL)
    gateway.apply()
    upstream.plan.replace(FAULTS)
    for stream in (False, True) * len(FAULTS):
        body = {"model": model, "messages": MESSAGES, "stream": stream}
        reply = gateway.client.post(CHAT, body, authorization=f"Bearer {KEY}")
        yield reply.body + str(reply.headers).encode()


def test_no_credential_and_no_key_is_ever_shown_or_logged(doors: Doors) -> None:
    gateway, said = doors.closed, [b""]
    strict = running_simulator(api_key="another-key-than-the-rows")
    with strict as refusing, running_simulator() as failing:
        for kind in KINDS:
            for upstream in (refusing, failing):
                said.extend(answers_to_faults(gateway, kind, upstream))
    said.append(ask(gateway, "authorization: Bearer canary-wrong-key").body)
    said.extend(
        gateway.client.get(path, authorization=f"Bearer {KEY}").body
        for path in (*GUARDED, *OPEN_TO_ALL, "/metrics")
    )
    assert len(gateway.log("request")) > 30
    kept = (gateway.data_dir / "snapshot.json").read_bytes()
    shown = [*said, gateway.log_text().encode(), kept, gateway.database.read_bytes()]
    for secret in (CREDENTIAL, KEY, "canary-wrong-key", "another-key-than-the-rows"):
        assert not [text for text in shown if secret.encode() in text]
