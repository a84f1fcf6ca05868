"""The registration with the network load balancer, for as long as this instance runs."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TypeVar

import grpc
from django.conf import settings
from google.protobuf.timestamp_pb2 import Timestamp

from moduleservice.account import Account, account_of, reachable_host
from moduleservice.base import Host
from moduleservice.instructions import Effects, Instruction, Obedience, effects_of
from moduleservice.nlb import (
    CALL_LIMIT_S,
    Nlb,
    NlbAddress,
    NlbAway,
    NlbRefused,
    read_address,
)
from moduleservice.pb import module_service_pb2, nlb_pb2, types_pb2
from moduleservice.server import join
from moduleservice.status import Status

logger = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pace:
    """How often and how long, in seconds.

    After a failure it waits for a random part of `first_wait_s`, doubled with every
    further one up to `longest_wait_s`: all modules lose an NLB at the same moment.
    """

    heartbeat_s: float = 10.0
    look_s: float = 1.0  # between two looks at the revision of the configuration
    call_limit_s: float = CALL_LIMIT_S
    first_wait_s: float = 1.0
    longest_wait_s: float = 60.0
    unregister_limit_s: float = 1.8
    leave_limit_s: float = 2.0


@dataclass(slots=True)
class Told:
    """What the NLB has been told last, and the name it gave to the registration."""

    registration_id: str = ""
    routes: list[types_pb2.Route] = field(default_factory=list)
    capabilities: dict[str, str] = field(default_factory=dict)
    traffic_weight: int = 0
    revision: int | None = None  # None: something could not be told


class Registration:
    """Registers this instance, sends heartbeats, follows instructions, and leaves.

    An NLB that is away, refuses, or never answers costs nothing but the waiting for it:
    registering is tried again until it succeeds.
    """

    def __init__(
        self,
        address: NlbAddress,
        account: Account,
        effects: Effects,
        *,
        drain_timeout_s: float,
        pace: Pace | None = None,
        draw: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """`drain_timeout_s` is what the NLB is told at the end.

        `draw` gives a number from 0 to 1 for each wait between two tries, `sleep` waits.
        """
        self._address = address
        self._account = account
        self._obedience = Obedience(effects)
        self._drain_timeout_s = drain_timeout_s
        self._pace = pace or Pace()
        self._draw = draw
        self._sleep = sleep
        self._told = Told()
        self._last = types_pb2.ModuleInstance()
        self._last.CopyFrom(account.known)
        self._failures = 0  # since the NLB last said yes to a registration
        self._is_lost = False
        self._may_be_known = False  # to the NLB
        self._silent: set[str] = set()  # what cannot be said at present
        self._leaving = asyncio.Event()
        self._left: asyncio.Event | None = None  # while it runs

    async def run(self) -> None:
        """Stay registered until `leave`, and unregister then.

        Cancelled, it just ends: the NLB finds out by itself.
        """
        if self._leaving.is_set():
            return
        self._left = asyncio.Event()
        try:
            async with Nlb(self._address) as nlb:
                async with asyncio.TaskGroup() as tasks:
                    staying = tasks.create_task(self._live(nlb), name="stay registered")
                    await self._leaving.wait()
                    staying.cancel()
                await self._unregister(nlb)
        finally:
            self._left.set()

    async def leave(self) -> None:
        """Unregister, within `leave_limit_s`. No heartbeat follows.

        Safe to call again, before `run` and at the same time.
        """
        self._leaving.set()
        if self._left is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._pace.leave_limit_s):
                    await self._left.wait()

    # --- Staying -----------------------------------------------------------------------

    async def _live(self, nlb: Nlb) -> None:
        async with asyncio.TaskGroup() as orders:
            while True:
                try:
                    await self._wait_after_failures()
                    await self._register(nlb)
                    self._say_registered()
                    await self._stay(nlb, orders)
                except (NlbAway, NlbRefused) as error:
                    self._failures += 1
                    self._say_lost(error)

    async def _wait_after_failures(self) -> None:
        if self._failures:
            longest_s = self._pace.first_wait_s * 2.0 ** min(self._failures - 1, 30)
            await self._sleep(self._draw() * min(longest_s, self._pace.longest_wait_s))

    async def _stay(self, nlb: Nlb, orders: asyncio.TaskGroup) -> None:
        """Send heartbeats on schedule, and what has changed soon."""
        due_s = time.monotonic() + self._pace.heartbeat_s
        while True:
            left_s = due_s - time.monotonic()
            await asyncio.sleep(max(0.0, min(left_s, self._pace.look_s)))
            if self._account.revision() != self._told.revision:
                await self._tell_changes(nlb)
            if time.monotonic() >= due_s:
                await self._beat(nlb, orders)
                due_s = max(due_s, time.monotonic() - self._pace.heartbeat_s)
                due_s += self._pace.heartbeat_s

    async def _beat(self, nlb: Nlb, orders: asyncio.TaskGroup) -> None:
        instance = await self._report("instance", self._account.instance)
        request = nlb_pb2.HeartbeatRequest(
            instance_id=self._account.known.instance_id,
            registration_id=self._told.registration_id,
            status=self._remember(instance).health_status,
            current_stats=await self._report("stats", self._account.stats),
            timestamp=_now(),
        )
        answer = await nlb.heartbeat(request, limit_s=self._pace.call_limit_s)
        wanted = self._obedience.read(answer)
        self._obedience.begin(wanted, orders)
        if Instruction.REGISTER in wanted:
            await self._register(nlb)

    # --- Telling -----------------------------------------------------------------------

    async def _register(self, nlb: Nlb) -> None:
        revision = self._account.revision()
        instance = await self._report("instance", self._account.instance)
        routes = await self._report("routes", self._account.routes)
        request = nlb_pb2.RegisterModuleRequest(
            instance=self._remember(instance),
            initial_routes=self._told.routes if routes is None else routes,
            health_config=self._account.health_check,
            capabilities=self._account.capabilities(),
        )
        self._may_be_known = True
        try:
            answer = await nlb.register(request, limit_s=self._pace.call_limit_s)
        except NlbRefused:
            self._may_be_known = False
            raise
        self._told = Told(
            registration_id=answer.registration_id,
            routes=list(request.initial_routes),
            capabilities=dict(request.capabilities),
            traffic_weight=request.instance.traffic_weight,
            revision=None if instance is None or routes is None else revision,
        )

    async def _tell_changes(self, nlb: Nlb) -> None:
        """Tell the NLB of other routes, and of another weight or capability."""
        revision = self._account.revision()
        instance = await self._report("instance", self._account.instance)
        routes = await self._report("routes", self._account.routes)
        if instance is None or routes is None:
            return  # told when they can be
        if list(routes) != self._told.routes:
            await self._update_routes(nlb, routes)
        if (
            instance.traffic_weight != self._told.traffic_weight
            or self._account.capabilities() != self._told.capabilities
        ):
            await self._register(nlb)  # nothing else carries them
        self._told.revision = revision

    async def _update_routes(self, nlb: Nlb, routes: Sequence[types_pb2.Route]) -> None:
        request = nlb_pb2.UpdateRoutingRequest(
            routes=routes,
            replace_all=True,
            source_instance_id=self._account.known.instance_id,
        )
        try:
            await nlb.update_routing(request, limit_s=self._pace.call_limit_s)
        except NlbAway as error:
            if error.code is not grpc.StatusCode.UNIMPLEMENTED:
                raise
            await self._register(nlb)
        self._told.routes = list(routes)

    async def _unregister(self, nlb: Nlb) -> None:
        if not self._may_be_known:
            return
        request = nlb_pb2.UnregisterModuleRequest(
            instance_id=self._account.known.instance_id,
            registration_id=self._told.registration_id,
            graceful=True,
            drain_timeout_seconds=math.ceil(self._drain_timeout_s),
        )
        try:
            await nlb.unregister(request, limit_s=self._pace.unregister_limit_s)
        except (NlbAway, NlbRefused) as error:
            extra = {"nlb": nlb.target, "reason": str(error)}
            logger.warning("the NLB was not told that this instance stops", extra=extra)
        else:
            logger.info("unregistered from the NLB", extra={"nlb": nlb.target})

    # --- What there is to say ----------------------------------------------------------

    def _remember(
        self, instance: types_pb2.ModuleInstance | None
    ) -> types_pb2.ModuleInstance:
        """Give what there is to say now, or else the last of it, as degraded."""
        if instance is None:
            self._last.health_status = types_pb2.HEALTH_STATUS_DEGRADED
        else:
            self._last.CopyFrom(instance)
        return self._last

    async def _report(self, what: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        """Ask for a report; None when there is none, which is logged once."""
        try:
            async with asyncio.timeout(self._pace.call_limit_s):
                report = await ask()
        except Exception as error:  # noqa: BLE001 - heartbeats go on after any one fault
            if what not in self._silent:
                extra = {"report": what, "reason": f"{type(error).__name__}: {error}"}
                logger.warning("the NLB cannot be told something", extra=extra)
            self._silent.add(what)
            return None
        self._silent.discard(what)
        return report

    def _say_registered(self) -> None:
        extra = {
            "nlb": self._address.target,
            "registration": self._told.registration_id,
        }
        if self._is_lost:
            logger.warning("registered with the NLB again", extra=extra)
        else:
            logger.info("registered with the NLB", extra=extra)
        self._is_lost = False
        self._failures = 0

    def _say_lost(self, error: NlbAway | NlbRefused) -> None:
        if not self._is_lost:
            extra = {"nlb": self._address.target, "reason": str(error)}
            logger.warning(
                "not registered with the NLB; trying until it is", extra=extra
            )
        self._is_lost = True


def registration_of(host: Host, *, port: int) -> Registration | None:
    """Make the registration of an instance whose ModuleService listens on `port`.

    None where there is no NLB to register with.

    Raises:
        ConfigurationError: NLB_GRPC_ADDRESS is no address.

    """
    if not settings.NLB_GRPC_ADDRESS:
        return None
    nlb = read_address(
        settings.NLB_GRPC_ADDRESS,
        roots=settings.AILB_GRPC_TLS_CLIENT_CA,
        certificate=settings.AILB_GRPC_TLS_CERT,
        key=settings.AILB_GRPC_TLS_KEY,
    )
    status = Status(host)

    async def reload() -> None:
        await status.Reload(module_service_pb2.ReloadRequest(graceful=True))

    return Registration(
        nlb,
        account_of(host, join(reachable_host(nlb), port)),
        effects_of(host, reload),
        drain_timeout_s=settings.AILB_GRACE_S + settings.AILB_DRAIN_TIMEOUT_S,
    )


def _now() -> Timestamp:
    now = Timestamp()
    now.GetCurrentTime()
    return now
