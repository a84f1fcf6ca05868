"""Asks providers what they have: connection tests, discovery, and keeping Ollama fresh."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import ssl
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from asgiref.sync import sync_to_async  # noqa: TID251 - not on the request path
from django.conf import settings

from gateway import operations
from gateway.addresses import AddressRefused
from gateway.dialects import registry
from gateway.dialects.ollama import read_show
from gateway.dialects.record import UpstreamModel
from gateway.errors import ConfigurationError, UpstreamError
from gateway.kinds import Fault, Source
from gateway.models import Provider as ProviderRow
from gateway.operations import Changes
from gateway.snapshot import Provider
from gateway.snapshot_compiler import provider_from

if TYPE_CHECKING:
    from gateway.late_upstream import LateUpstream
    from gateway.upstream import Upstream

logger = logging.getLogger(__name__)

OLLAMA = "ollama"
ANSWER_TIMEOUT_S = 10.0  # a list of models is small
DETAILS_TIMEOUT_S = 20.0  # for the details of all models together
DETAILS_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class ConnectionReport:
    """What testing a provider's connection found; `message` says what to do."""

    is_ok: bool
    latency_ms: float
    message: str
    models: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Refreshed:
    """What refreshing one provider changed; `problem` is empty when it answered."""

    provider: str
    changes: Changes
    problem: str = ""


async def discover(provider: Provider, upstream: Upstream) -> tuple[UpstreamModel, ...]:
    """Ask a provider for its models; this costs nothing.

    Raises:
        UpstreamError: It could not be reached, refused, or sent something else.

    """
    reply = await upstream.get(
        provider, provider.models_url, timeout_s=ANSWER_TIMEOUT_S
    )
    dialect = registry.dialect_of(provider.kind)
    if reply.status != 200:
        raise dialect.read_error(reply.status, reply.body, None)
    models = dialect.read_models(reply.body)
    if provider.kind == OLLAMA:
        return await with_details(provider, models, upstream)
    return models


async def with_details(
    provider: Provider, models: Sequence[UpstreamModel], upstream: Upstream
) -> tuple[UpstreamModel, ...]:
    """Ask Ollama what each model can do; what it does not say in time stays unknown."""
    found = {model.name: model for model in models}
    gate = asyncio.Semaphore(DETAILS_AT_ONCE)

    async def ask(model: UpstreamModel) -> None:
        async with gate:
            found[model.name] = await detailed(provider, model, upstream)

    try:
        async with asyncio.timeout(DETAILS_TIMEOUT_S), asyncio.TaskGroup() as group:
            for model in models:
                group.create_task(ask(model))
    except TimeoutError:
        logger.info("model details are slow", extra={"provider": provider.name})
    return tuple(found.values())


async def detailed(
    provider: Provider, model: UpstreamModel, upstream: Upstream
) -> UpstreamModel:
    """Add what `/api/show` says about one model; on any failure nothing."""
    body = json.dumps({"model": model.name}).encode()
    try:
        reply = await upstream.post(
            provider,
            f"{provider.base_url}/api/show",
            body,
            timeout_s=ANSWER_TIMEOUT_S,
        )
        return read_show(reply.body, name=model.name) if reply.status == 200 else model
    except UpstreamError:
        return model


async def test_connection(provider: Provider, upstream: Upstream) -> ConnectionReport:
    """Ask a provider for its models only, and say in our words how that went."""
    if provider.is_credential_unreadable:
        return ConnectionReport(
            is_ok=False,
            latency_ms=0.0,
            message="The stored credential cannot be read with the present "
            "AILB_ENCRYPTION_KEYS. Enter it again.",
        )
    started_s = time.monotonic()
    try:
        models = await discover(provider, upstream)
    except UpstreamError as error:
        return ConnectionReport(
            is_ok=False,
            latency_ms=(time.monotonic() - started_s) * 1000,
            message=advice(error, provider),
        )
    names = tuple(model.name for model in models)
    return ConnectionReport(
        is_ok=True,
        latency_ms=(time.monotonic() - started_s) * 1000,
        message=f"It answers and lists {counted(len(names), 'model')}.",
        models=names,
    )


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: 1 model, 2 models."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def advice(error: UpstreamError, provider: Provider) -> str:
    """Say what a failed request means for an operator and what to do about it."""
    status = error.upstream_status
    match error.fault:
        case Fault.UNREACHABLE | Fault.STALE_CONNECTION:
            return unreachable(error, provider)
        case Fault.TIMEOUT:
            return (
                f"{provider.base_url} did not answer in time. Check the address, the "
                "network between here and there, and the egress proxy."
            )
        case Fault.CREDENTIAL_REJECTED:
            return (
                f"It answers, but refuses the credential ({status}). Enter a valid API "
                "key, and check that it may list models."
            )
        case Fault.RATE_LIMITED | Fault.QUOTA_EXHAUSTED:
            return (
                f"It answers, but limits us ({status}): the address is right. Wait, or "
                "check the plan and quota of this API key."
            )
        case Fault.MODEL_MISSING | Fault.INVALID_RESPONSE | Fault.REJECTED:
            return wrong_path(error, provider)
        case _:
            return (
                f"It answers, but with an error of its own ({status}). Try again later, "
                "or see the provider's status page."
            )


def wrong_path(error: UpstreamError, provider: Provider) -> str:
    """Say that something answers, but not with a list of models."""
    status = f" ({error.upstream_status})" if error.upstream_status else ""
    return (
        f"Something answers, but not with a list of models{status}. Check the kind "
        f"({provider.kind}) and the path: OpenAI and compatible addresses usually end "
        "in /v1, those of Anthropic and Ollama do not."
    )


def unreachable(error: UpstreamError, provider: Provider) -> str:
    """Say why a provider could not be reached, as far as the system says."""
    url = provider.base_url
    for cause in causes(error):
        match cause:
            case AddressRefused():
                return f"{url} is refused: {cause}"
            case ssl.SSLCertVerificationError():
                return (
                    f"The TLS certificate of {url} is not trusted. Check the host "
                    "name, or give the CA file of its authority."
                )
            case ssl.SSLError():
                return (
                    f"TLS with {url} failed. Check whether this port speaks https or "
                    "http."
                )
            case socket.gaierror():
                return f"The host name of {url} is unknown. Check its spelling."
            case ConnectionRefusedError():
                return (
                    f"Nothing listens at {url}. Check host and port, and that the "
                    "server runs."
                )
            case _:
                continue
    return (
        f"{url} could not be reached. Check the address, the network between here and "
        "there, and the egress proxy."
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to what it was raised from, the outermost first."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def compiled(row: ProviderRow) -> Provider:
    """Compile one saved row to what requests are sent with.

    Raises:
        ConfigurationError: The row cannot be served; the message says why.
        Provider.DoesNotExist: It was deleted meanwhile.

    """
    values = ProviderRow.objects.filter(pk=row.pk).values().get()
    return provider_from(values, settings.AILB_ENCRYPTION_KEYS)


def apply_discovered(
    provider_row: ProviderRow, models: Sequence[UpstreamModel]
) -> Changes:
    """Make the rows of a provider that is asked for its models equal to its answer."""
    with operations.exclusive():
        changes = operations.sync_deployments(
            provider_row, models, source=Source.DISCOVERY
        )
        if changes.made:
            wanted = operations.parse_fallbacks(settings.AILB_FALLBACKS)
            operations.apply_fallbacks(wanted)
    return changes


def add_discovered(
    provider_row: ProviderRow, models: Sequence[UpstreamModel]
) -> Changes:
    """Deploy what a provider has and no deployment of it names; nothing else changes."""
    changes = Changes()
    with operations.exclusive():
        deployed = set(
            provider_row.deployments.values_list("upstream_model", flat=True)
        )
        for model in models:
            if model.name not in deployed and operations.is_usable_name(model.name):
                changes += operations.make_deployment(
                    provider_row, model, Source.OPERATOR
                )
    return changes


def is_followed(row: ProviderRow) -> bool:
    """Say whether a provider's deployments follow what it lists."""
    return (
        row.kind == OLLAMA
        and row.source == Source.ENVIRONMENT
        and not settings.OLLAMA_MODELS
    )


def followed_providers() -> list[ProviderRow]:
    """Find the enabled providers whose deployments follow what they list."""
    return [row for row in ProviderRow.objects.filter(enabled=True) if is_followed(row)]


async def refresh_ollama(upstream: LateUpstream) -> tuple[Refreshed, ...]:
    """Bring the rows of the environment's Ollama up to date, unless it has a fixed list.

    A provider that does not answer keeps its rows. Safe to call from several processes.
    """
    rows = await sync_to_async(followed_providers)()
    return tuple([await refresh_one(row, upstream()) for row in rows])


async def refresh_one(row: ProviderRow, upstream: Upstream) -> Refreshed:
    """Ask one provider and apply its answer; every failure ends in the result."""
    try:
        provider = await sync_to_async(compiled)(row)
    except ConfigurationError as error:
        return Refreshed(row.name, Changes(), error.message)
    try:
        models = await discover(provider, upstream)
    except UpstreamError as error:
        return Refreshed(row.name, Changes(), advice(error, provider))
    return Refreshed(row.name, await sync_to_async(apply_discovered)(row, models))
