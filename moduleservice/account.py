"""What the network load balancer is told of this instance, and how it reaches it."""

from __future__ import annotations

import ipaddress
import logging
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.utils import timezone

from gateway import instances, route_rows
from gateway.auth import is_loopback
from gateway.errors import NotReady
from gateway.kinds import Algorithm, Operation
from gateway.snapshot import Snapshot
from moduleservice.base import Host
from moduleservice.messages import module_instance, module_stats, timestamp
from moduleservice.nlb import NlbAddress
from moduleservice.pb import types_pb2
from moduleservice.route_messages import route_message
from moduleservice.servicer import SERVICE
from moduleservice.status import Status, traffic_of

logger = logging.getLogger(__name__)

READINESS_PATH = "/readyz"
LOOKS_EVERY_S = 10
LOOK_LIMIT_S = 5  # what the NLB gives itself to connect
TRUTH = {True: "true", False: "false"}


@dataclass(frozen=True, slots=True)
class Account:
    """What the NLB is told, asked for anew each time.

    `known` is what can always be said. `revision` tells when the rest may have changed;
    it and `capabilities` neither fail nor block.
    """

    known: types_pb2.ModuleInstance
    health_check: types_pb2.HealthCheckConfig
    instance: Callable[[], Awaitable[types_pb2.ModuleInstance]]
    stats: Callable[[], Awaitable[types_pb2.ModuleStats]]
    routes: Callable[[], Awaitable[Sequence[types_pb2.Route]]]
    capabilities: Callable[[], Mapping[str, str]]
    revision: Callable[[], int]


def account_of(host: Host, address: str) -> Account:
    """Make the account of an instance whose ModuleService is reached at `address`."""
    status = Status(host)

    async def instance() -> types_pb2.ModuleInstance:
        message = module_instance(await status.instance(host.instance))
        message.metadata["http_address"] = message.address
        message.address = address
        return message

    async def stats() -> types_pb2.ModuleStats:
        return module_stats(
            await host.database.run(
                lambda: instances.statistics(host.instance, now=timezone.now())
            )
        )

    async def routes() -> list[types_pb2.Route]:
        rows = await host.database.run(route_rows.routes)
        return [route_message(row) for row in rows if row.enabled]

    return Account(
        known=types_pb2.ModuleInstance(
            instance_id=host.instance,
            module_type=types_pb2.MODULE_TYPE_AILB,
            address=address,
            version=host.version,
            started_at=timestamp(timezone.now()),
            traffic_weight=instances.weight_of(host.version, traffic_of(host)),
        ),
        health_check=health_check(),
        instance=instance,
        stats=stats,
        routes=routes,
        capabilities=lambda: capabilities(snapshot_of(host), host.version),
        revision=lambda: snapshot.revision if (snapshot := snapshot_of(host)) else 0,
    )


def snapshot_of(host: Host) -> Snapshot | None:
    """Give the configuration that serves; None before the first."""
    try:
        return host.snapshot()
    except NotReady:
        return None


def health_check() -> types_pb2.HealthCheckConfig:
    """Say how to find out whether this instance is ready."""
    return types_pb2.HealthCheckConfig(
        interval_seconds=LOOKS_EVERY_S,
        timeout_seconds=LOOK_LIMIT_S,
        unhealthy_threshold=3,
        healthy_threshold=2,
        health_check_path=READINESS_PATH,
        health_check_port=http_port(),
        health_check_protocol=types_pb2.PROTOCOL_HTTP,
    )


def http_port() -> int:
    """Give the port that the HTTP workers listen on."""
    port: int = urlsplit(settings.AILB_HTTP_ADDRESS).port or settings.HTTP_PORT
    return port


def capabilities(snapshot: Snapshot | None, version: str) -> dict[str, str]:
    """Say what can be asked of this instance; lists are separated by commas.

    Which models there are depends on the configuration, None before there is one.
    """
    models = {} if snapshot is None else snapshot.models
    versions = {version}
    if snapshot is not None:
        versions |= {snapshot.traffic.active_version, *snapshot.traffic.weights}
    for model in models.values():
        versions.update(deployment.version for deployment in model.deployments)
    embeds = any(model.serves(Operation.EMBEDDINGS) for model in models.values())
    return {
        "contract": SERVICE.full_name,
        "models": ",".join(sorted(models)),
        "streaming": TRUTH[True],
        "embeddings": TRUTH[embeds],
        "memory": TRUTH[bool(settings.ENABLE_MEMORY)],
        "rag": TRUTH[bool(settings.ENABLE_RAG)],
        "strategies": ",".join(Algorithm),
        "versions": ",".join(sorted(versions)),
    }


def reachable_host(nlb: NlbAddress) -> str:
    """Give the name or IP address by which the NLB reaches what HOST listens on.

    Of a server on every address, it is the one that faces the NLB; the name of this
    machine when there is no way to it.
    """
    host: str = settings.HOST
    try:
        is_every = ipaddress.ip_address(host.strip("[]")).is_unspecified
    except ValueError:
        is_every = False
    if not is_every:
        if is_loopback(host) and not is_loopback(nlb.host):
            logger.warning(
                "the NLB cannot reach this instance: HOST is a loopback address",
                extra={"host": host, "nlb": nlb.target},
            )
        return host
    return facing(nlb) or socket.gethostname()


def facing(nlb: NlbAddress) -> str:
    """Give this machine's address on the way to the NLB; empty if there is no way."""
    try:
        found = socket.getaddrinfo(nlb.host, nlb.port, type=socket.SOCK_DGRAM)
        family, kind, protocol, _, target = found[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.connect(target)  # sends nothing: it only picks a way
            name: str = probe.getsockname()[0]
    except OSError:
        return ""
    return name
