"""What stands around every RPC: who may call, for how long, and how failures are told."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Any

import grpc
from django.utils import timezone
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from gateway.heartbeat import is_live
from moduleservice.base import Host, Refusal
from moduleservice.callers import Caller, caller_of, changes_something
from moduleservice.faults import Fault, fault_of, refused
from moduleservice.terms import Terms

logger = logging.getLogger(__name__)

Context = grpc.aio.ServicerContext[Any, Any]
Unary = Callable[[Any], Awaitable[Message]]
Stream = Callable[[Any], AsyncGenerator[Message, None]]

DEADLINE_S = 5.0
LONG_DEADLINE_S = 60.0
LONG = frozenset({"Reload", "Scale", "Shutdown"})
MARGIN_S = 5.0  # beyond what a caller wants to wait, for saying how it went
STALL_S = 30.0  # how late a message of a stream may be, or its reader
MAX_CALLS = 32  # at once; more of them wait
MAX_STREAMS = 16
MAX_NAME = 100  # characters of an instance's name
HOW = (
    "Send AILB_GRPC_TOKEN as the metadata `authorization: Bearer TOKEN`, or show a client"
    " certificate where AILB_GRPC_TLS_CLIENT_CA is set."
)


@dataclass(frozen=True, slots=True)
class Rpc:
    """One RPC of the contract, with the classes of its messages."""

    name: str
    request_class: type[Message]
    response_class: type[Message]

    @classmethod
    def of(cls, method: MethodDescriptor) -> Rpc:
        """Read it from the contract."""
        return cls(
            method.name,
            GetMessageClass(method.input_type),
            GetMessageClass(method.output_type),
        )

    def read(self, raw: bytes) -> Message:
        """Decode a request."""
        try:
            return self.request_class.FromString(raw)
        except DecodeError as error:
            name = self.request_class.DESCRIPTOR.full_name
            raise Fault(
                grpc.StatusCode.INVALID_ARGUMENT, f"The message is not a {name}."
            ) from error

    def write(self, answer: Message) -> bytes:
        """Encode an answer."""
        if not isinstance(answer, self.response_class):
            raise TypeError(f"{self.name} answered with a {type(answer).__name__}")
        return answer.SerializeToString()


class Guard:
    """Wraps the parts' methods into what gRPC calls.

    Made and used in one event loop. After `end` no stream goes on.
    """

    def __init__(self, host: Host, terms: Terms) -> None:
        self._host = host
        self._terms = terms
        self._room = asyncio.Semaphore(MAX_CALLS)
        self._streams: set[asyncio.Timeout] = set()
        self._is_ending = False

    def end(self) -> None:
        """End the streams: their readers are told to come back later. Call it once."""
        self._is_ending = True
        for life in self._streams:
            life.reschedule(asyncio.get_running_loop().time())

    def unary(self, rpc: Rpc, method: Unary) -> Callable[..., Awaitable[bytes]]:
        """Wrap a method with one answer."""

        async def answer(raw: bytes, context: Context) -> bytes:
            try:
                return rpc.write(await self._answer(rpc, method, raw, context))
            except Exception as error:  # noqa: BLE001 - a process edge: no traceback leaves
                fault = fault_of(error, rpc=rpc.name)
            return await context.abort(fault.code, fault.message)

        return answer

    def stream(self, rpc: Rpc, method: Stream) -> Callable[..., Awaitable[None]]:
        """Wrap a method with many answers."""

        async def answer(raw: bytes, context: Context) -> None:
            try:
                await self._stream(rpc, method, raw, context)
            except Exception as error:  # noqa: BLE001 - a process edge: no traceback leaves
                fault = fault_of(error, rpc=rpc.name)
                await context.abort(fault.code, fault.message)

        return answer

    async def _answer(
        self, rpc: Rpc, method: Unary, raw: bytes, context: Context
    ) -> Message:
        request = self._admit(rpc, raw, context)
        try:
            async with asyncio.timeout(deadline_of(rpc.name, request)), self._room:
                await self._find_instance(request)
                return await method(request)
        except Refusal as refusal:
            return refused(rpc.response_class(), refusal)

    async def _stream(
        self, rpc: Rpc, method: Stream, raw: bytes, context: Context
    ) -> None:
        request = self._admit(rpc, raw, context)
        async with asyncio.timeout(DEADLINE_S), self._room:
            await self._find_instance(request)
        limit_s = max(0, getattr(request, "interval_seconds", 0)) + STALL_S
        try:
            async with asyncio.timeout(None) as life, aclosing(method(request)) as news:
                with self._counted(life):
                    while (message := await _next(news, limit_s)) is not None:
                        async with asyncio.timeout(STALL_S):
                            await context.write(rpc.write(message))
        except TimeoutError as error:
            if self._is_ending:
                raise Fault(grpc.StatusCode.UNAVAILABLE, "AILB stops.") from error
            raise

    @contextmanager
    def _counted(self, life: asyncio.Timeout) -> Iterator[None]:
        """Keep a stream where `end` finds it."""
        if self._is_ending:
            raise Fault(grpc.StatusCode.UNAVAILABLE, "AILB stops.")
        if len(self._streams) >= MAX_STREAMS:
            raise Fault(
                grpc.StatusCode.RESOURCE_EXHAUSTED,
                f"There are {MAX_STREAMS} streams already.",
            )
        self._streams.add(life)
        try:
            yield
        finally:
            self._streams.discard(life)

    def _admit(self, rpc: Rpc, raw: bytes, context: Context) -> Message:
        """Read a request of whoever may make it; a stranger's is not even read."""
        caller = caller_of(context, self._terms)
        is_open = self._terms.is_insecure
        if not (is_open or caller.may_look):
            raise stranger(rpc, caller, "is open without a credential on loopback only")
        request = rpc.read(raw)
        if changes_something(rpc.name, request):
            if not (is_open or caller.is_known):
                raise stranger(rpc, caller, "changes something and needs a credential")
            by = {"peer": caller.peer, "credential": caller.credential.value}
            logger.info("managed over gRPC", extra={"rpc": rpc.name, **by})
        return request

    async def _find_instance(self, request: Message) -> None:
        """Let pass what is about this instance, or another that lives."""
        name: str = getattr(request, "instance_id", "")
        if self._host.is_own(name):
            return
        is_name = len(name) <= MAX_NAME and name.isprintable()
        if not is_name or not await self._host.database.run(
            lambda: is_live(name, timezone.now())
        ):
            raise Fault(
                grpc.StatusCode.NOT_FOUND,
                f"No instance '{name[:MAX_NAME]}' is live; this one is"
                f" '{self._host.instance}'.",
            )


def stranger(rpc: Rpc, caller: Caller, why: str) -> Fault:
    """Turn somebody away, with words that say how to be let in."""
    extra = {"rpc": rpc.name, "peer": caller.peer}
    logger.warning("caller refused over gRPC", extra=extra)
    return Fault(grpc.StatusCode.UNAUTHENTICATED, f"{rpc.name} {why}. {HOW}")


def deadline_of(rpc: str, request: Message) -> float:
    """Give the seconds that a call may take."""
    if rpc not in LONG:
        return DEADLINE_S
    wanted_s = getattr(request, "timeout_seconds", 0)
    return (
        min(wanted_s + MARGIN_S, LONG_DEADLINE_S) if wanted_s > 0 else LONG_DEADLINE_S
    )


async def _next(news: AsyncGenerator[Message, None], limit_s: float) -> Message | None:
    async with asyncio.timeout(limit_s):
        return await anext(news, None)
