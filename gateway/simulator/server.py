"""The simulator's server: one port, three wire formats, a plan and a journal."""

from __future__ import annotations

import asyncio
import random
import time
from collections import OrderedDict
from collections.abc import Iterable
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from types import TracebackType
from typing import Any, Self

import orjson
from aiohttp import web

from gateway.simulator.connections import Connections, make_server
from gateway.simulator.control import CONTROL_PREFIX, control
from gateway.simulator.exchange import Answer, Call, RefusalError, Vendor
from gateway.simulator.journal import Entry, Journal, Predicate, State, shown_headers
from gateway.simulator.plan import (
    Behaviour,
    Fault,
    FaultKind,
    FaultSpecError,
    Plan,
)
from gateway.simulator.routes import Route, check_key, find_route, read_body
from gateway.simulator.spoil import spoil
from gateway.simulator.vendor_errors import render
from gateway.simulator.wire import Delivery

FAULT_HEADER = "x-sim-fault"
_CACHED_PROMPTS = 1_000
_STOP_GRACE_S = 0.1


class _PromptCache:
    """The digests of the last prompts, for vendors that bill cached input apart."""

    def __init__(self) -> None:
        """Start empty."""
        self._digests: OrderedDict[bytes, None] = OrderedDict()

    def knew(self, digest: bytes) -> bool:
        """Tell whether the prompt was seen, and remember it."""
        was_seen = digest in self._digests
        self._digests[digest] = None
        self._digests.move_to_end(digest)
        if len(self._digests) > _CACHED_PROMPTS:
            self._digests.popitem(last=False)
        return was_seen


class Simulator:
    """A server on one port: `async with Simulator(...) as sim: sim.url`.

    `plan` scripts the model calls (chat, messages, embeddings), `listings_plan` every
    other request, so that discovery and probes do not eat a test's steps. Both, the
    `journal` and `behaviour` may be read and replaced at any time, from any thread.
    A simulator can be started again after it has stopped; a fixed port stays its own.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        spoken: Iterable[Vendor] = tuple(Vendor),
        models: Iterable[str] | None = None,
        behaviour: Behaviour | None = None,
        plan: Plan | Iterable[Fault | str] = (),
        api_key: str | None = None,
        allows_fault_header: bool = False,
        journal_limit: int = 10_000,
    ) -> None:
        """Take port 0 for a free one; `models` None knows every model name.

        With `api_key` any other key gets the vendor's 401. A plan given as steps runs
        once.
        """
        self.host = host
        self.port = port
        self.behaviour = behaviour or Behaviour()
        self.plan = plan if isinstance(plan, Plan) else Plan(plan)
        self.listings_plan = Plan()
        self.journal = Journal(limit=journal_limit)
        self._spoken = frozenset(spoken)
        self._models = None if models is None else tuple(models)
        self._api_key = api_key
        self._allows_fault_header = allows_fault_header
        self._numbers = count(1)
        self._prompts = _PromptCache()
        self._connections = Connections()
        # Its draws decide error_rate and jitter; nothing here is a secret.
        self._random = random.Random(self.behaviour.seed)  # noqa: S311
        self._stopping = asyncio.Event()
        self._running: AsyncExitStack | None = None

    @property
    def url(self) -> str:
        """The address without a path: the base URL for Anthropic and Ollama."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def openai_url(self) -> str:
        """The base URL for OpenAI clients."""
        return f"{self.url}/v1"

    async def start(self) -> None:
        """Listen; raises OSError when the port is taken."""
        self._stopping = asyncio.Event()
        server = make_server(self._handle)
        runner = web.ServerRunner(server, shutdown_timeout=_STOP_GRACE_S)
        async with AsyncExitStack() as stack:
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            site = web.TCPSite(runner, self.host, self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            self._running = stack.pop_all()

    async def stop(self) -> None:
        """Stop listening and drop what hangs; safe to call twice."""
        self._stopping.set()
        running, self._running = self._running, None
        if running is not None:
            await running.aclose()

    async def __aenter__(self) -> Self:
        """Start."""
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        await self.stop()

    async def wait_for(
        self, predicate: Predicate, *, timeout_s: float = 10.0
    ) -> tuple[Entry, ...]:
        """Wait until the predicate holds for the journal; see Journal.wait_for."""
        return await asyncio.to_thread(
            self.journal.wait_for, predicate, timeout_s=timeout_s
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path.startswith(CONTROL_PREFIX):
            return await control(request, self)
        if path == "/":
            return web.Response(text="AILB simulator is running\n")
        route = find_route(request.method, path, request.headers, spoken=self._spoken)
        return await self._serve(request, route, await request.read())

    async def _serve(
        self, request: web.BaseRequest, route: Route, raw: bytes
    ) -> web.StreamResponse:
        number = next(self._numbers)
        connection, nth = self._connections.use(request)
        fault = self._fault_for(request, route, reused_connection=nth > 1)
        body = _lenient_json(raw)
        self.journal.add(_entry(number, request, body, connection, fault))
        delivery = Delivery(
            request=request,
            fault=fault,
            tokens_per_s=self.behaviour.tokens_per_s,
            headers=_headers(number),
            stopping=self._stopping,
            closed=lambda state, sent: self.journal.close(
                number, state, bytes_sent=sent
            ),
        )
        try:
            return await self._answer(delivery, route, number, raw)
        except (asyncio.CancelledError, ConnectionError):
            state = State.FAILED if self._stopping.is_set() else State.CANCELLED
            self.journal.close(number, state, bytes_sent=delivery.bytes_sent)
            raise

    async def _answer(
        self, delivery: Delivery, route: Route, number: int, raw: bytes
    ) -> web.StreamResponse:
        fault, behaviour = delivery.fault, self.behaviour
        if fault.kind is FaultKind.HANG:
            return await delivery.hang()
        if fault.kind is FaultKind.STALE_KEEPALIVE:
            return delivery.drop()
        if fault.kind is FaultKind.SLOW_HEADERS:
            await asyncio.sleep(fault.amount)
        if route.is_call and (behaviour.latency_s or behaviour.jitter_s):
            await asyncio.sleep(behaviour.delay_s(self._random.random()))
        answer = self._compose(delivery, route, number, raw)
        return await delivery.send(spoil(answer, fault))

    def _compose(
        self, delivery: Delivery, route: Route, number: int, raw: bytes
    ) -> Answer:
        fault, headers = delivery.fault, delivery.request.headers
        behaviour = self.behaviour
        if fault.kind is FaultKind.HUGE_LINE:
            text = "x" * int(fault.amount)
            behaviour = replace(behaviour, answer_text=text, in_one_piece=True)
        try:
            if fault.kind is FaultKind.STATUS:
                raise _refusal(fault)
            check_key(route.vendor, headers, self._api_key)
            is_post = delivery.request.method == "POST"
            call = Call(
                number=number,
                now=datetime.now(UTC),
                behaviour=behaviour,
                models=self._models,
                body=read_body(route.vendor, raw) if is_post else {},
                headers=headers,
                path_tail=route.path_tail,
                cached_before=self._prompts.knew,
            )
            return route.handler(call)
        except RefusalError as refusal:
            return render(route.vendor, refusal, number=number)

    def _fault_for(
        self, request: web.BaseRequest, route: Route, *, reused_connection: bool
    ) -> Fault:
        spec = request.headers.get(FAULT_HEADER)
        if spec is not None and self._allows_fault_header:
            try:
                return Fault.parse(spec)
            except FaultSpecError as error:
                # A drill that misspells its fault must not look like a healthy server.
                return Fault(FaultKind.STATUS, 400, message=str(error))
        plan = self.plan if route.is_call else self.listings_plan
        step = plan.take(reused_connection=reused_connection)
        if step is not None:
            return step
        if not route.is_call or not self.behaviour.error_rate:
            return Fault()
        return self.behaviour.chance_fault(self._random.random())


def _headers(number: int) -> dict[str, str]:
    """Give the headers of every answer, the vendors' request ids among them."""
    request_id = f"req_sim_{number}"
    return {
        "x-ailb-simulated": "true",
        "x-request-id": request_id,
        "request-id": request_id,
    }


def _entry(
    number: int, request: web.BaseRequest, body: Any, connection: int, fault: Fault
) -> Entry:
    model = body.get("model") if isinstance(body, dict) else None
    return Entry(
        n=number,
        method=request.method,
        path=request.path,
        model=model if isinstance(model, str) else None,
        headers=shown_headers(request.headers),
        has_authorization="authorization" in request.headers,
        has_x_api_key="x-api-key" in request.headers,
        body=body,
        connection=connection,
        at_s=time.monotonic(),
        fault=fault.spec,
    )


def _lenient_json(raw: bytes) -> Any:
    try:
        return orjson.loads(raw) if raw else None
    except orjson.JSONDecodeError:
        return None


def _refusal(fault: Fault) -> RefusalError:
    return RefusalError(
        int(fault.amount),
        fault.message,
        code=fault.code,
        param=fault.param,
        retry_after=fault.retry_after,
    )
