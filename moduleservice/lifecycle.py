"""One process's ModuleService, from its start to its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial

from django.conf import settings

from gateway.database_threads import DatabaseThreads
from gateway.snapshot_store import SnapshotStore
from moduleservice.base import Host, Part
from moduleservice.following import Follower
from moduleservice.registration import Registration, registration_of
from moduleservice.server import Server
from moduleservice.supervisor_link import SupervisorLink
from moduleservice.terms import Terms

logger = logging.getLogger(__name__)

DATABASE_THREADS = 4
GRACE_S = 5.0  # calls that run get so long to end
CLOSE_LIMIT_S = 1.0


class ModuleService:
    """The parts, their server and what they work with. Made in the loop that runs it."""

    def __init__(self, terms: Terms, kinds: Sequence[type[Part]]) -> None:
        """Build everything without serving yet.

        Raises:
            ContractBroken: The parts do not answer the whole contract.

        """
        self._store = SnapshotStore(
            keys=None,  # what an NLB reaches holds no provider's credential
            default_strategy=settings.ROUTING_STRATEGY,
            last_good=settings.AILB_SNAPSHOT_FILE,
        )
        self._database = DatabaseThreads(DATABASE_THREADS, name="ailb-moduleservice")
        self._link = SupervisorLink.from_environment()
        self._host = Host(
            instance=settings.AILB_MODULE_ID,
            version=settings.AILB_VERSION_LABEL,
            database=self._database,
            snapshot=lambda: self._store.current,
            supervisor=self._link,
            problem=lambda: self._store.problem,
        )
        self._server = Server(self._host, [kind(self._host) for kind in kinds], terms)
        self._follower = Follower(self._store, on_look=self._tell_health)
        self._is_leaving = False

    @property
    def is_supervised(self) -> bool:
        """Whether `serve` runs it, and says where it is."""
        return self._link is not None

    async def run(self, stop: asyncio.Event, on_ready: Callable[[str], None]) -> None:
        """Serve until `stop` is set; `on_ready` is called with the address.

        Raises:
            CannotServe: The port is taken, or a file of TLS cannot be used.
            ConfigurationError: NLB_GRPC_ADDRESS is no address.

        """
        try:
            self._server.bind()
            await self._follower.load()
            registration = registration_of(self._host, port=self._server.port)
            await self._server.start()
            on_ready(self._server.address)
            logger.info("ModuleService serves", extra={"address": self._server.address})
            await self._stay(stop, registration)
        finally:
            if self._link is not None:
                self._link.close()
            await self._follower.aclose()
            await self._database.aclose(limit_s=CLOSE_LIMIT_S)

    async def _stay(
        self, stop: asyncio.Event, registration: Registration | None
    ) -> None:
        """Serve until `stop`; then leave the load balancer before anything else ends."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self._follower.run(), name="follow")]
            if self._link is not None:
                self._link.on_leave = partial(self._leave, registration)
            if registration is not None:
                running.append(tasks.create_task(registration.run(), name="register"))
            await stop.wait()
            await self._leave(registration)
            await self._server.stop(grace_s=GRACE_S)
            for task in running:
                task.cancel()

    async def _leave(self, registration: Registration | None) -> None:
        """Want no further requests: the health service says so, and the NLB is told."""
        self._is_leaving = True
        self._tell_health()
        if registration is not None:
            await registration.leave()

    def _tell_health(self) -> None:
        """Say SERVING with a configuration, while neither this version nor all drains."""
        is_serving = (
            not self._is_leaving
            and self._store.is_loaded
            and self._host.version not in self._store.current.traffic.draining
        )
        self._server.health.set_serving(is_serving=is_serving)
