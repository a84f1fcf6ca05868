"""Rows to snapshot: compiles the whole set of configuration rows, or refuses it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

from django.core.exceptions import ValidationError

from gateway.access import Access
from gateway.access_compiler import compile_access
from gateway.addresses import AddressRefused, check_url
from gateway.config_rows import ConfigRows, Row
from gateway.crypto import Secret, SecretUnreadable
from gateway.dialects import registry
from gateway.errors import ConfigurationError
from gateway.kinds import Algorithm, Source
from gateway.memory_compiler import compile_policies
from gateway.models.validators import validate_capabilities, validate_headers
from gateway.pricing import effective_prices, stated_prices
from gateway.snapshot import (
    Breaker,
    Capabilities,
    Deployment,
    Model,
    Provider,
    Snapshot,
    Strategy,
    Timeouts,
)
from gateway.traffic_compiler import compile_traffic, split_model

AUTO = "auto"
LATEST = ":latest"
MANY_DEPLOYMENTS = 32  # to look at so many for each request takes a tenth of its time


def compile_rows(
    found: ConfigRows, *, keys: Sequence[str] | None, default_strategy: str
) -> Snapshot:
    """Compile rows to a snapshot: a pure function of its arguments.

    Without encryption `keys` (None) every secret stays closed: providers have no
    credential then, and no API key can be checked.
    Rows that may not serve (disabled, or without their provider) are left out.
    Simulated providers are left out as soon as a real one may serve.

    Raises:
        ConfigurationError: Some row cannot be served; the message names it.

    """
    strategies = {row["id"]: strategy_from(row) for row in found.strategies}
    default = find_default(strategies.values(), default_strategy)
    providers = {
        row["id"]: provider_from(row, keys) for row in found.providers if row["enabled"]
    }
    names = {row["id"]: row["name"] for row in found.models if row["enabled"]}
    grouped = deployments_by_model(found, providers, names)
    models: dict[str, Model] = {}
    for row in found.models:
        if row["enabled"]:
            strategy = strategies.get(row["strategy_id"], default)
            models[row["name"]] = model_from(row, strategy, grouped[row["id"]])
    traffic = compile_traffic(found)
    access = compile_access(found, keys)
    serving = {d.provider.id for each in grouped.values() for d in each}
    return Snapshot(
        revision=found.revision,
        providers=MappingProxyType(
            {
                p.name: p
                for p in providers.values()
                if p.id in serving or not p.is_simulated
            }
        ),
        models=MappingProxyType(
            {
                name: with_lead(split_model(model, traffic))
                for name, model in with_auto(models, default).items()
            }
        ),
        aliases=MappingProxyType(aliases_of(models)),
        default_strategy=default,
        access=access,
        installation=found.installation,
        memory=compile_policies(found, names),
        traffic=traffic,
        warnings=tuple(warnings_of(models, providers.values(), access)),
    )


def find_default(strategies: Iterable[Strategy], name: str) -> Strategy:
    """Find the default strategy; without its row, the algorithm with its defaults."""
    for strategy in strategies:
        if strategy.name == name:
            return strategy
    return Strategy(name=name, algorithm=Algorithm(name))


def strategy_from(row: Row) -> Strategy:
    """Compile one RoutingStrategy row."""
    try:
        algorithm = Algorithm(row["algorithm"])
    except ValueError as error:
        raise ConfigurationError(
            f"Strategy {row['name']!r} has the unknown algorithm {row['algorithm']!r}."
        ) from error
    return Strategy(
        name=row["name"],
        algorithm=algorithm,
        max_attempts=row["max_attempts"],
        request_deadline_s=row["request_deadline_s"],
        stream_deadline_s=row["stream_deadline_s"],
        latency_decay_s=row["latency_decay_s"],
        breaker=Breaker(
            consecutive_failures=row["breaker_failures"],
            failure_rate=row["breaker_failure_rate"],
            minimum_requests=row["breaker_minimum_requests"],
            window_s=row["breaker_window_s"],
            open_s=row["breaker_open_s"],
            max_open_s=row["breaker_max_open_s"],
        ),
    )


def provider_from(row: Row, keys: Sequence[str] | None) -> Provider:
    """Compile one Provider row; an unreadable credential marks it, and it is not called.

    Raises:
        ConfigurationError: Its kind is unknown, its address refused, or its headers
            malformed.

    """
    name, kind = row["name"], row["kind"]
    try:
        dialect = registry.dialect_of(kind)
        validate_headers(row["extra_headers"])
        check_url(row["base_url"])
    except KeyError as error:
        raise ConfigurationError(
            f"Provider {name!r} has the unknown kind {kind!r}."
        ) from error
    except AddressRefused as error:
        raise ConfigurationError(f"Provider {name!r}: base_url: {error}") from error
    except ValidationError as error:
        raise ConfigurationError(
            f"Provider {name!r}: extra_headers: {error.messages[0]}"
        ) from error
    stored = row["credential"]
    stored = stored.stored(()) if isinstance(stored, Secret) else stored
    credential, is_unreadable = open_credential(stored, keys)
    base_url = row["base_url"].rstrip("/")
    headers = {**row["extra_headers"], **dialect.headers(credential)}
    return Provider(
        id=row["id"],
        name=name,
        kind=kind,
        base_url=base_url,
        urls=MappingProxyType(dict(dialect.urls(base_url))),
        models_url=dialect.models_url(base_url),
        headers=tuple(headers.items()),
        fingerprint=hashlib.sha256(
            repr((kind, base_url, credential, row["egress_proxy"])).encode()
        ).hexdigest(),
        timeouts=timeouts_from(row, Timeouts()),
        proxy_url=row["egress_proxy"] or None,
        ca_file=row["ca_file"] or None,
        max_concurrency=row["max_concurrency"],
        is_simulated=row["source"] == Source.SIMULATOR,
        is_credential_unreadable=is_unreadable,
    )


def open_credential(stored: str, keys: Sequence[str] | None) -> tuple[str | None, bool]:
    """Open a credential: the plain text, and whether it could not be read.

    What no header can carry (a line end that was pasted along) counts as unreadable.
    """
    if not stored or keys is None:
        return None, False
    try:
        plain_text = Secret(ciphertext=stored).reveal(keys)
    except SecretUnreadable:
        return None, True
    is_sendable = plain_text.isascii() and plain_text.isprintable()
    return (plain_text, False) if is_sendable else (None, True)


def timeouts_from(row: Row, default: Timeouts) -> Timeouts:
    """Read a row's timeouts; what it leaves empty is the default's."""

    def given(name: str, fallback: float) -> float:
        value = row[name]
        return fallback if value is None else float(value)

    return Timeouts(
        connect_s=given("connect_timeout_s", default.connect_s),
        first_byte_s=given("first_byte_timeout_s", default.first_byte_s),
        response_s=given("response_timeout_s", default.response_s),
        idle_s=given("idle_timeout_s", default.idle_s),
    )


def deployments_by_model(
    found: ConfigRows, providers: Mapping[int, Provider], names: Mapping[int, str]
) -> defaultdict[int, tuple[Deployment, ...]]:
    """Compile the deployments that may serve, by the id of their model."""
    ranks = {row["id"]: (row["priority"], row["weight"]) for row in found.providers}
    usable = [
        row
        for row in found.deployments
        if row["enabled"]
        and row["provider_id"] in providers
        and row["model_id"] in names
    ]
    if any(not providers[row["provider_id"]].is_simulated for row in usable):
        usable = [
            row for row in usable if not providers[row["provider_id"]].is_simulated
        ]
    grouped: defaultdict[int, tuple[Deployment, ...]] = defaultdict(tuple)
    for row in usable:
        provider = providers[row["provider_id"]]
        deployment = deployment_from(
            row, provider, names[row["model_id"]], ranks[provider.id]
        )
        grouped[row["model_id"]] += (deployment,)
    return grouped


def deployment_from(
    row: Row, provider: Provider, model: str, rank: tuple[int, int]
) -> Deployment:
    """Compile one Deployment row; `rank` is its provider's priority and weight."""
    priority, weight = rank
    try:
        validate_capabilities(row["capabilities"])
    except ValidationError as error:
        raise ConfigurationError(
            f"Deployment {row['id']} of {model!r}: capabilities: {error.messages[0]}"
        ) from error
    if not isinstance(row["options"], dict):
        raise ConfigurationError(
            f"Deployment {row['id']} of {model!r}: options must be a JSON object."
        )
    prices = effective_prices(
        stated_prices(row),
        kind=provider.kind,
        upstream_model=row["upstream_model"],
        is_simulated=provider.is_simulated,
    )
    return Deployment(
        id=row["id"],
        model=model,
        upstream_model=row["upstream_model"],
        provider=provider,
        weight=row["weight"] * weight,
        priority=priority if row["priority"] is None else row["priority"],
        version=row["version"],
        context_window=row["context_window"],
        capabilities=Capabilities(**row["capabilities"]),
        prices=prices,
        timeouts=timeouts_from(row, provider.timeouts),
        options=MappingProxyType(dict(row["options"])),
    )


def model_from(
    row: Row, strategy: Strategy, deployments: tuple[Deployment, ...]
) -> Model:
    """Compile one Model row."""
    fallbacks, defaults = row["fallbacks"], row["defaults"]
    if not isinstance(fallbacks, list) or not all(
        isinstance(name, str) for name in fallbacks
    ):
        raise ConfigurationError(
            f"Model {row['name']!r}: fallbacks must be a JSON list of names."
        )
    if not isinstance(defaults, dict):
        raise ConfigurationError(
            f"Model {row['name']!r}: defaults must be a JSON object."
        )
    return Model(
        name=row["name"],
        strategy=strategy,
        deployments=deployments,
        fallbacks=tuple(name for name in fallbacks if name != row["name"]),
        defaults=MappingProxyType(dict(defaults)),
        created_s=int(row["created_at"]),
    )


def with_auto(models: dict[str, Model], default: Strategy) -> dict[str, Model]:
    """Add `auto`, which spans every chat deployment, unless a row gives it its own.

    A row named `auto` without deployments still says its strategy and fallbacks.
    """
    row = models.pop(AUTO, None)
    if row is not None and row.deployments:
        return {**models, AUTO: row}
    spanned = tuple(
        deployment
        for model in models.values()
        for deployment in model.deployments
        if deployment.capabilities.chat is not False
    )
    kept = {name: model for name, model in models.items() if model.deployments}
    if spanned:
        kept[AUTO] = Model(
            name=AUTO,
            strategy=row.strategy if row else default,
            deployments=spanned,
            fallbacks=row.fallbacks if row else (),
            defaults=row.defaults if row else MappingProxyType({}),
            created_s=row.created_s if row else min(m.created_s for m in kept.values()),
        )
    return kept


def with_lead(model: Model) -> Model:
    """Say which deployments come first where there are many; see `Model.lead`."""
    if len(model.deployments) < MANY_DEPLOYMENTS:
        return model
    first = min(deployment.priority for deployment in model.deployments)
    return replace(
        model, lead=tuple(d for d in model.deployments if d.priority == first)
    )


def aliases_of(models: Mapping[str, Model]) -> dict[str, str]:
    """Let Ollama's `llama3:latest` answer to `llama3`, as it does there; and back."""
    aliases: dict[str, str] = {}
    for name, model in models.items():
        is_ollama = any(d.provider.kind == "ollama" for d in model.deployments)
        if is_ollama and name.endswith(LATEST):
            aliases[name.removesuffix(LATEST)] = name
        elif is_ollama and ":" not in name:
            aliases[name + LATEST] = name
    return {alias: name for alias, name in aliases.items() if alias not in models}


def warnings_of(
    models: Mapping[str, Model], providers: Iterable[Provider], access: Access
) -> Iterable[str]:
    """Say what serves, but not as the operator may think."""
    known = {**aliases_of(models), **dict.fromkeys(models, "")}
    for model in models.values():
        for name in model.fallbacks:
            if name not in known:
                yield f"Model {model.name!r} falls back to {name!r}, which is unknown."
    for provider in providers:
        if provider.is_credential_unreadable:
            yield (
                f"Provider {provider.name!r} is not called: its credential cannot be "
                "read with the present AILB_ENCRYPTION_KEYS. Enter it again."
            )
    if access.keys.is_unreadable:
        yield (
            "No API key can be checked: what they are stored under cannot be read with "
            "the present AILB_ENCRYPTION_KEYS."
        )
