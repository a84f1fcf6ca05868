"""HTTP to providers: what is sent, and how every failure is called."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from gateway.errors import UpstreamError
from gateway.kinds import Fault
from gateway.simulator import Simulator
from gateway.snapshot import Provider, Timeouts
from gateway.upstream import MAX_RETRY_AFTER_S, Upstream, parse_retry_after

NOW = datetime(2026, 1, 1, 12, 0, 0, tzinfo=UTC)
BODY = b'{"model": "m", "messages": [{"role": "user", "content": "hi"}]}'


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    made = Upstream()
    yield made
    await made.aclose()


@pytest.fixture
async def sim() -> AsyncIterator[Simulator]:
    async with Simulator() as running:
        yield running


@pytest.fixture
def closed_port() -> Iterator[int]:
    with socket.socket() as taken:  # bound but not listening: nobody else gets it
        taken.bind(("127.0.0.1", 0))
        yield taken.getsockname()[1]


def provider(url: str, *, ca_file: str | None = None) -> Provider:
    return Provider(
        id=1,
        name="p",
        kind="openai",
        base_url=url,
        urls={},
        models_url=f"{url}/models",
        headers=(("content-type", "application/json"), ("x-extra", "kept")),
        fingerprint="f",
        timeouts=Timeouts(connect_s=1.0),
        ca_file=ca_file,
    )


async def post(upstream: Upstream, url: str, *, timeout_s: float = 5.0) -> bytes:
    reply = await upstream.post(
        provider(url), f"{url}/chat/completions", BODY, timeout_s=timeout_s
    )
    return reply.body


async def fault_of(upstream: Upstream, url: str, *, timeout_s: float = 5.0) -> Fault:
    with pytest.raises(UpstreamError) as raised:
        await post(upstream, url, timeout_s=timeout_s)
    assert "127.0.0.1" not in raised.value.message, "our words, not the library's"
    return raised.value.fault


async def test_only_what_we_want_is_sent(upstream: Upstream, sim: Simulator) -> None:
    assert b"choices" in await post(upstream, sim.openai_url)
    (entry,) = sim.journal.entries
    assert entry.body["model"] == "m"
    assert dict(entry.headers) == {
        "host": f"127.0.0.1:{sim.port}",
        "accept-encoding": "identity",
        "user-agent": "ailb",
        "content-type": "application/json",
        "x-extra": "kept",
        "content-length": str(len(BODY)),
    }


async def test_connections_are_kept(upstream: Upstream, sim: Simulator) -> None:
    for _ in range(3):
        await post(upstream, sim.openai_url)
    assert {entry.connection for entry in sim.journal.entries} == {1}


async def test_a_connection_whose_answer_was_not_read_is_closed(
    upstream: Upstream, sim: Simulator
) -> None:
    sim.plan.replace(["hang_after_headers"])
    incoming = await upstream.send(
        provider(sim.openai_url),
        f"{sim.openai_url}/chat/completions",
        BODY,
        connect_timeout_s=1.0,
    )
    assert incoming.status == 200
    await incoming.aclose()
    await sim.wait_for(lambda seen: seen[0].closed_after_s is not None)
    await post(upstream, sim.openai_url)
    assert [entry.connection for entry in sim.journal.entries] == [1, 2]


async def test_a_redirect_is_not_followed(upstream: Upstream, sim: Simulator) -> None:
    sim.plan.replace(["redirect"])
    url = sim.openai_url
    reply = await upstream.post(
        provider(url), f"{url}/chat/completions", BODY, timeout_s=5
    )
    assert reply.status == 307
    assert len(sim.journal.entries) == 1


async def test_the_environments_proxy_is_not_used(
    upstream: Upstream, sim: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert await post(upstream, sim.openai_url)


async def test_what_cannot_be_reached_is_unreachable(
    upstream: Upstream, closed_port: int, sim: Simulator
) -> None:
    for url in (
        f"http://127.0.0.1:{closed_port}",
        "http://nobody.invalid",
        sim.openai_url.replace("http:", "https:"),
    ):
        assert await fault_of(upstream, url) is Fault.UNREACHABLE, url


@pytest.mark.parametrize(
    ("step", "fault"),
    [
        ("fin_at:30", Fault.INVALID_RESPONSE),
        ("reset_at:30", Fault.INVALID_RESPONSE),
        ("fin_at:0", Fault.STALE_CONNECTION),
        ("truncated_chunk", Fault.INVALID_RESPONSE),
        ("wrong_length", Fault.INVALID_RESPONSE),
        ("hang", Fault.TIMEOUT),
        ("hang_after_headers", Fault.TIMEOUT),
    ],
)
async def test_a_failure_is_called_by_its_phase(
    upstream: Upstream, sim: Simulator, step: str, fault: Fault
) -> None:
    sim.plan.replace([step])
    timeout_s = 0.2 if fault is Fault.TIMEOUT else 5.0
    assert await fault_of(upstream, sim.openai_url, timeout_s=timeout_s) is fault


async def test_a_stale_connection_is_told_apart(
    upstream: Upstream, sim: Simulator
) -> None:
    await post(upstream, sim.openai_url)
    sim.plan.replace(["stale_keepalive"])
    assert await fault_of(upstream, sim.openai_url) is Fault.STALE_CONNECTION
    assert await post(upstream, sim.openai_url)


async def test_an_answer_is_bounded_however_small_it_travels(
    upstream: Upstream, sim: Simulator
) -> None:
    sim.plan.replace(["huge_line:100000"])
    incoming = await upstream.send(
        provider(sim.openai_url),
        f"{sim.openai_url}/chat/completions",
        BODY,
        connect_timeout_s=1.0,
    )
    with pytest.raises(UpstreamError) as raised:
        await incoming.read(50_000)
    assert raised.value.fault is Fault.INVALID_RESPONSE
    await incoming.aclose()


async def test_a_ca_file_that_cannot_be_read_is_named(
    upstream: Upstream, sim: Simulator, tmp_path: Path
) -> None:
    path = str(tmp_path / "none.pem")
    with pytest.raises(UpstreamError, match=r"none\.pem") as raised:
        await upstream.get(
            provider(sim.openai_url, ca_file=path), sim.openai_url, timeout_s=5
        )
    assert raised.value.fault is Fault.UNREACHABLE


@pytest.mark.parametrize(
    ("milliseconds", "value", "expected"),
    [
        (None, None, None),
        (None, "7", 7.0),
        (None, "0.5", 0.5),
        (None, "0", 0.0),
        (None, "-1", None),
        (None, "soon", None),
        (None, "", None),
        (None, "1e9", MAX_RETRY_AFTER_S),
        ("1500", "9", 1.5),
        ("x", "9", 9.0),
        (None, "Thu, 01 Jan 2026 12:00:30 GMT", 30.0),
        (None, "Thu, 01 Jan 2026 11:00:00 GMT", 0.0),
        (None, "Thu, 01 Jan 2099 00:00:00 GMT", MAX_RETRY_AFTER_S),
    ],
)
def test_retry_after_is_read_in_every_form(
    milliseconds: str | None, value: str | None, expected: float | None
) -> None:
    assert parse_retry_after(milliseconds, value, now=NOW) == expected


@given(text=st.text(max_size=40))
def test_no_text_breaks_retry_after(text: str) -> None:
    found = parse_retry_after(None, text, now=NOW)
    assert found is None or 0.0 <= found <= MAX_RETRY_AFTER_S


@pytest.mark.parametrize("text", ["nan", "inf", "-inf", "1_0"])
def test_odd_numbers_give_a_bounded_wait_or_none(text: str) -> None:
    found = parse_retry_after(text, text, now=NOW)
    assert found is None or 0.0 <= found <= MAX_RETRY_AFTER_S
