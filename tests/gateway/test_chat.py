"""A streamed chat whose first content is late: life at once, failover behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import orjson
import pytest
from prometheus_client import REGISTRY

from gateway import chat
from gateway.access import Tenant
from gateway.auth import Principal
from gateway.chat import KEEP_ALIVE, ChatStream, open_stream
from gateway.context import Context
from gateway.dialects.openai import OpenAIDialect
from gateway.dialects.openai.request import parse_chat
from gateway.dispatch import Dispatcher, OpenedStream
from gateway.errors import AilbError
from gateway.kinds import Algorithm, Operation, Right
from gateway.ledger import Ledger
from gateway.limits import Limiter
from gateway.process_figures import ProcessFigures
from gateway.simulator import Simulator
from gateway.snapshot import Deployment, Model, Provider, Snapshot, Strategy
from gateway.spool import Spool
from gateway.upstream import Upstream

CALL = parse_chat(
    b'{"model": "m", "stream": true, "messages": [{"role": "user", "content": "hi"}]}'
)
STRATEGY = Strategy(name="failover", algorithm=Algorithm.FAILOVER)


def snapshot_of(*urls: str) -> Snapshot:
    """Make a model `m` with a deployment at each address, tried in this order."""
    dialect = OpenAIDialect()
    providers = [
        Provider(
            id=number,
            name=f"p{number}",
            kind="openai",
            base_url=url,
            urls=dialect.urls(url),
            models_url=dialect.models_url(url),
            headers=tuple(dialect.headers(None).items()),
            fingerprint=url,
        )
        for number, url in enumerate(urls)
    ]
    deployments = [
        Deployment(id=each.id, model="m", upstream_model="m", provider=each)
        for each in providers
    ]
    model = Model(name="m", strategy=STRATEGY, deployments=tuple(deployments))
    named = {provider.name: provider for provider in providers}
    return Snapshot(1, named, {"m": model}, {}, STRATEGY)


def spawn(
    work: Coroutine[Any, Any, OpenedStream], *, name: str
) -> asyncio.Task[OpenedStream]:
    return asyncio.get_running_loop().create_task(work, name=name)


@asynccontextmanager
async def opened(*urls: str, patience_s: float) -> AsyncIterator[ChatStream]:
    """Open a stream, and close everything behind it."""
    upstream, limiter = Upstream(), Limiter(worker="w", redis_url=None)
    with TemporaryDirectory() as folder:
        spool = Spool(Path(folder), "w")
        context = Context(
            request_id="r",
            operation=Operation.CHAT,
            principal=Principal(Tenant(id=1, name="anonymous"), frozenset(Right)),
            snapshot=snapshot_of(*urls),
            dispatcher=Dispatcher(upstream, limiter),
            limiter=limiter,
            ledger=Ledger(spool, worker="w", figures=ProcessFigures()),
        )
        try:
            stream = await open_stream(CALL, context, spawn, patience_s=patience_s)
            yield stream
            await stream.aclose()
        finally:
            await upstream.aclose()
            spool.close()


async def test_without_content_the_stream_begins_with_a_comment_and_fails_over() -> (
    None
):
    async with Simulator(plan=["hang"]) as first, Simulator(plan=["ok"]) as second:
        urls = (first.openai_url, second.openai_url)
        async with opened(*urls, patience_s=0.05) as stream:
            chunks = stream.chunks()
            assert await anext(chunks) == KEEP_ALIVE
            await first.stop()  # the provider that hangs goes away altogether
            text = b"".join([chunk async for chunk in chunks])
    assert text.rstrip().endswith(b"data: [DONE]")
    assert b"simulated" in text


async def test_a_late_failure_of_all_is_the_streams_one_error_event() -> None:
    async with (
        Simulator(plan=["hang"]) as only,
        opened(only.openai_url, patience_s=0.05) as stream,
    ):
        chunks = stream.chunks()
        assert await anext(chunks) == KEEP_ALIVE
        await only.stop()
        events = [chunk async for chunk in chunks]
    assert len(events) == 1
    body = orjson.loads(events[0].removeprefix(b"data: "))
    assert body["error"]["code"]
    assert body["choices"][0]["finish_reason"] == "error"


async def test_a_failure_in_time_is_raised_so_that_the_client_gets_a_status() -> None:
    async with Simulator(plan=["status:500", "status:500"]) as only:
        with pytest.raises(AilbError) as caught:
            async with opened(only.openai_url, patience_s=chat.PATIENCE_S):
                pass
    assert caught.value.status == 502


def test_a_models_defaults_fill_in_what_the_client_left_out() -> None:
    defaults = {"temperature": 0.2, "stream": False}
    model = Model(name="m", strategy=STRATEGY, deployments=(), defaults=defaults)
    body = chat.with_defaults(CALL, model).body
    assert body["temperature"] == 0.2
    assert body["stream"] is True
    assert "temperature" not in CALL.body


async def test_a_stream_that_nobody_reads_stops_its_provider_and_counts_as_left() -> (
    None
):
    labels = {"operation": "chat", "model": "m", "provider": "p0", "status": "499"}
    before = REGISTRY.get_sample_value("ailb_requests_total", labels) or 0.0
    async with Simulator(plan=["stall_after:3"]) as only:
        async with opened(only.openai_url, patience_s=chat.PATIENCE_S):
            pass
        await only.wait_for(lambda calls: all(call.state != "open" for call in calls))
    after = REGISTRY.get_sample_value("ailb_requests_total", labels)
    assert after == before + 1
