"""The server over real sockets: every fault, the journal and the control API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import orjson
import pytest

from gateway.simulator import Behaviour, Plan, Simulator, State, Vendor

CHAT = {"model": "m", "messages": [{"role": "user", "content": "Say hello"}]}
STREAM = CHAT | {"stream": True}
PATHS: dict[Vendor, tuple[str, dict[str, Any]]] = {
    Vendor.OPENAI: ("/v1/chat/completions", STREAM),
    Vendor.ANTHROPIC: ("/v1/messages", STREAM | {"max_tokens": 99}),
    Vendor.OLLAMA: ("/api/chat", CHAT),
}
HEADERS = {"anthropic-version": "2023-06-01"}
# httpx and aiohttp both name a lost peer by one of these.
LOST = (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError)


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator(allows_fault_header=True) as running:
        yield running


@pytest.fixture
async def client(sim: Simulator) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(sim.url) as session:
        yield session


async def chat(
    client: aiohttp.ClientSession,
    body: dict[str, Any] = CHAT,
    *,
    headers: dict[str, str] | None = None,
) -> tuple[int, bytes]:
    """Send a chat; return status and body."""
    answer = client.post("/v1/chat/completions", json=body, headers=headers)
    async with answer as response:
        return response.status, await response.read()


async def read_until_lost(response: aiohttp.ClientResponse) -> bytes:
    """Read what comes until the connection is lost; fail if the body ends well."""
    received = bytearray()
    try:
        async with asyncio.timeout(10):
            while data := await response.content.readany():
                received += data
    except LOST:
        return bytes(received)
    raise AssertionError("the body came to its proper end")


def said_in(body: bytes) -> str:
    """Join the text of a whole chat answer or of the events of a stream."""
    if not body.startswith(b"data:"):
        return str(orjson.loads(body)["choices"][0]["message"]["content"])
    events = [line[6:] for line in body.split(b"\n\n") if line]
    assert events.pop() == b"[DONE]"
    deltas = [orjson.loads(event)["choices"][0]["delta"] for event in events]
    return "".join(delta.get("content", "") for delta in deltas)


async def raw_response(sim: Simulator, body: dict[str, Any]) -> tuple[bytes, bool]:
    """Read all bytes of one response; tell whether the connection was reset."""
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    payload = orjson.dumps(body)
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: sim\r\nconnection: close\r\n"
        f"content-length: {len(payload)}\r\n\r\n"
    )
    writer.write(head.encode() + payload)
    received = bytearray()
    was_reset = False
    try:
        while data := await reader.read(65536):
            received += data
    except ConnectionResetError:
        was_reset = True
    writer.close()
    return bytes(received), was_reset


@pytest.mark.parametrize("cut", [0, 1, 17, 120, 700])
@pytest.mark.parametrize("kind", ["reset_at", "fin_at"])
async def test_a_response_is_cut_at_the_very_byte(
    sim: Simulator, kind: str, cut: int
) -> None:
    sim.plan.replace([f"{kind}:{cut}"])
    received, was_reset = await raw_response(sim, STREAM)
    assert len(received) == cut
    assert was_reset == (kind == "reset_at")
    (entry,) = sim.journal.entries
    assert (entry.state, entry.fault) == (State.FAILED, f"{kind}:{cut}")


async def test_a_cut_beyond_the_end_sends_the_whole_response(sim: Simulator) -> None:
    sim.plan.replace(["fin_at:1000000"])
    received, _ = await raw_response(sim, CHAT)
    head, _, body = received.partition(b"\r\n\r\n")
    assert b"200 OK" in head
    assert orjson.loads(body)["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("vendor", list(Vendor))
async def test_a_stream_dies_after_so_many_events(
    sim: Simulator, client: aiohttp.ClientSession, vendor: Vendor
) -> None:
    path, body = PATHS[vendor]
    async with client.post(path, json=body, headers=HEADERS) as whole:
        events = (await whole.read()).splitlines()
    sim.plan.replace(["die_after:3"])
    async with client.post(path, json=body, headers=HEADERS) as response:
        received = await read_until_lost(response)
    end = b"\n" if vendor is Vendor.OLLAMA else b"\n\n"
    assert received.count(end) == 3
    assert len(events) > len(received.splitlines())
    assert sim.journal.entries[-1].bytes_sent == len(received)


@pytest.mark.parametrize(
    ("spec", "events"), [("stall_after:2", 2), ("hang_after_headers", 0)]
)
async def test_a_stalled_stream_is_silent_until_the_client_leaves(
    sim: Simulator, client: aiohttp.ClientSession, spec: str, events: int
) -> None:
    sim.plan.replace([spec])
    async with client.post("/v1/chat/completions", json=STREAM) as response:
        for _ in range(events):
            async with asyncio.timeout(10):
                assert await response.content.readuntil(b"\n\n")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await response.content.readany()
        response.close()
    (entry,) = await sim.wait_for(lambda seen: seen[0].state is not State.OPEN)
    assert entry.state is State.CANCELLED


async def test_a_client_that_leaves_a_hanging_call_is_noticed_at_once(
    sim: Simulator, client: aiohttp.ClientSession
) -> None:
    sim.plan.replace(["hang"])
    async with asyncio.TaskGroup() as group:
        task = group.create_task(chat(client))
        await sim.wait_for(lambda seen: len(seen) == 1)
        left_at_s = time.monotonic()
        task.cancel()
    (entry,) = await sim.wait_for(lambda seen: seen[0].state is State.CANCELLED)
    assert entry.closed_after_s is not None
    assert entry.at_s + entry.closed_after_s - left_at_s < 0.5


@pytest.mark.parametrize("spec", ["truncated_chunk", "wrong_length"])
@pytest.mark.parametrize("body", [CHAT, STREAM])
async def test_bad_framing_is_an_incomplete_body(
    sim: Simulator, client: aiohttp.ClientSession, spec: str, body: dict[str, Any]
) -> None:
    sim.plan.replace([spec])
    with pytest.raises(aiohttp.ClientPayloadError):
        await chat(client, body)


@pytest.mark.parametrize("spec", ["drip:1", "drip:7", "gzip", "slow_body:0.01"])
@pytest.mark.parametrize("body", [CHAT, STREAM])
async def test_odd_transport_changes_no_byte_of_the_content(
    sim: Simulator, client: aiohttp.ClientSession, spec: str, body: dict[str, Any]
) -> None:
    sim.plan.replace([spec])
    _, received = await chat(client, body)
    assert said_in(received).endswith("You said: Say hello")
    assert sim.journal.entries[-1].state is State.ANSWERED


async def test_dripping_splits_every_event(sim: Simulator) -> None:
    sim.plan.replace(["drip:5"])
    received, _ = await raw_response(sim, STREAM)
    body = received.partition(b"\r\n\r\n")[2]
    sizes = [int(line, 16) for line in body.split(b"\r\n")[::2] if line]
    assert set(sizes[:-2]) <= set(range(6))
    assert sizes.count(5) > 100


async def test_slow_headers_wait_before_the_first_byte(
    sim: Simulator, client: aiohttp.ClientSession
) -> None:
    sim.plan.replace(["slow_headers:0.05"])
    before_s = time.monotonic()
    status, _ = await chat(client)
    assert (status, time.monotonic() - before_s >= 0.05) == (200, True)


async def test_a_huge_line_is_one_event(
    sim: Simulator, client: aiohttp.ClientSession
) -> None:
    sim.plan.replace(["huge_line:300000"] * 2)
    _, whole = await chat(client)
    _, stream = await chat(client, STREAM)
    assert len(orjson.loads(whole)["choices"][0]["message"]["content"]) == 300_000
    assert max(map(len, stream.split(b"\n\n"))) > 300_000


async def test_a_stale_connection_is_dropped_only_when_reused(
    sim: Simulator, client: aiohttp.ClientSession
) -> None:
    sim.plan.replace(["stale_keepalive"])
    assert (await chat(client))[0] == 200
    with pytest.raises(LOST):
        await chat(client)
    assert (await chat(client))[0] == 200
    entries = sim.journal.entries
    assert [entry.connection for entry in entries] == [1, 1, 2]
    assert [entry.bytes_sent for entry in entries][1] == 0


async def test_an_empty_stream_ends_cleanly_without_an_event(
    sim: Simulator, client: aiohttp.ClientSession
) -> None:
    sim.plan.replace(["empty_stream"])
    async with client.post("/v1/chat/completions", json=STREAM) as response:
        assert response.content_type == "text/event-stream"
        assert await response.read() == b""


async def test_a_redirect_is_seen_in_the_journal_when_it_is_followed(
    sim: Simulator, client: aiohttp.ClientSession
) -> None:
    sim.plan.replace(["redirect"])
    status, _ = await chat(client)
    assert status == 404
    assert [e.path for e in sim.journal.entries] == [
        "/v1/chat/completions",
        "/simulated-redirect",
    ]


async def test_every_answer_says_that_it_is_simulated(
    sim: Simulator, client: aiohttp.ClientSession
) -> None:
    sim.plan.replace(["status:500", "garbage", "ok"])
    for _ in range(3):
        async with client.post("/v1/chat/completions", json=CHAT) as response:
            assert response.headers["x-ailb-simulated"] == "true"
            assert response.headers["x-request-id"].startswith("req_sim_")


async def test_the_fault_header_works_only_where_it_is_allowed(
    sim: Simulator, client: aiohttp.ClientSession
) -> None:
    assert (await chat(client, headers={"x-sim-fault": "status:503"}))[0] == 503
    assert (await chat(client, headers={"x-sim-fault": "explode"}))[0] == 400
    async with Simulator() as shut, aiohttp.ClientSession(shut.url) as other:
        assert (await chat(other, headers={"x-sim-fault": "status:503"}))[0] == 200


async def test_listings_do_not_eat_the_steps_meant_for_calls(
    sim: Simulator, client: aiohttp.ClientSession
) -> None:
    sim.plan.replace(["status:500"])
    sim.listings_plan.replace(["status:403"])
    statuses = []
    for path in ("/v1/models", "/api/tags"):
        async with client.get(path) as response:
            statuses.append(response.status)
    assert statuses == [403, 200]
    assert (await chat(client))[0] == 500


async def test_the_journal_tells_what_came_and_hides_credentials(
    sim: Simulator, client: aiohttp.ClientSession
) -> None:
    headers = {"authorization": "Bearer secret-1", "x-request-id": "abc"}
    _, body = await chat(client, headers=headers)
    (entry,) = sim.journal.entries
    assert (entry.n, entry.method, entry.path) == (1, "POST", "/v1/chat/completions")
    assert (entry.model, entry.body) == ("m", CHAT)
    assert (entry.has_authorization, entry.has_x_api_key) == (True, False)
    assert entry.headers["x-request-id"] == "abc"
    assert (entry.state, entry.bytes_sent) == (State.ANSWERED, len(body))
    assert "secret-1" not in repr(entry)


async def test_plan_and_journal_are_reached_over_http(
    sim: Simulator, client: aiohttp.ClientSession
) -> None:
    plan = {"steps": ["status:503", "ok"], "repeat": True}
    async with client.post("/_sim/plan", json=plan) as response:
        assert await response.json() == {"remaining": ["status:503", "ok"]}
    assert [(await chat(client))[0] for _ in range(4)] == [503, 200, 503, 200]
    async with client.get("/_sim/journal") as response:
        entries = (await response.json())["entries"]
    assert [entry["fault"] for entry in entries] == ["status:503", "ok"] * 2
    assert entries[0]["state"] == "answered"
    async with client.delete("/_sim/journal") as response:
        assert response.status == 200
    assert sim.journal.entries == ()


@pytest.mark.parametrize(
    "document", [b"{", b"3", b'{"steps": [1]}', b'["explode"]', b'{"repeat": true}']
)
async def test_a_bad_plan_is_refused_with_the_reason(
    sim: Simulator, client: aiohttp.ClientSession, document: bytes
) -> None:
    async with client.post("/_sim/plan", data=document) as response:
        assert response.status == 400
        assert (await response.json())["error"]
    assert sim.plan.remaining == ()


async def test_tokens_per_second_pace_stream_and_whole_answer_alike() -> None:
    behaviour = Behaviour(tokens_per_s=200, answer_tokens=20)
    async with (
        Simulator(behaviour=behaviour) as slow,
        aiohttp.ClientSession(slow.url) as client,
    ):
        for body in (CHAT, STREAM):
            before_s = time.monotonic()
            assert (await chat(client, body))[0] == 200
            assert time.monotonic() - before_s >= 0.1


async def test_the_error_rate_is_repeated_by_its_seed() -> None:
    async def statuses() -> list[int]:
        behaviour = Behaviour(error_rate=0.5, error_status=502, seed=7)
        async with (
            Simulator(behaviour=behaviour) as flaky,
            aiohttp.ClientSession(flaky.url) as client,
        ):
            return [(await chat(client))[0] for _ in range(40)]

    first = await statuses()
    assert first == await statuses()
    assert 8 < first.count(502) < 32


async def test_stopping_frees_whatever_hangs_and_the_port_can_be_used_again() -> None:
    simulator = Simulator(plan=Plan(["hang", "stall_after:1"]))
    await simulator.start()
    async with (
        aiohttp.ClientSession(simulator.url) as client,
        asyncio.TaskGroup() as group,
    ):
        tasks = [group.create_task(attempt(client)) for _ in range(2)]
        await simulator.wait_for(lambda seen: len(seen) == 2)
        async with asyncio.timeout(5):
            await simulator.stop()
    assert [task.result() for task in tasks] == ["lost", "lost"]
    port = simulator.port
    async with simulator, aiohttp.ClientSession(simulator.url) as client:
        assert (simulator.port, await attempt(client)) == (port, "answered")


async def attempt(client: aiohttp.ClientSession) -> str:
    try:
        await chat(client, STREAM)
    except LOST:
        return "lost"
    return "answered"


async def test_an_old_client_gets_its_stream_without_chunks(sim: Simulator) -> None:
    reader, writer = await asyncio.open_connection(sim.host, sim.port)
    payload = orjson.dumps(STREAM)
    head = f"POST /v1/chat/completions HTTP/1.0\r\ncontent-length: {len(payload)}\r\n"
    writer.write(head.encode() + b"\r\n" + payload)
    received = await reader.read()
    writer.close()
    assert b"chunked" not in received
    assert received.endswith(b"data: [DONE]\n\n")
