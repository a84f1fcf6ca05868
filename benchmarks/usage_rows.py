"""A ledger as it stands after ninety days: tenants, keys, models and their requests."""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import timedelta

from django.utils import timezone

from gateway.bookkeeping import record
from gateway.kinds import FaultDomain, Operation, PriceOrigin
from gateway.models import ApiKey, Budget, Deployment, Limit, Model, Provider, Tenant
from gateway.usage_line import UsageLine

DAYS = 90
TENANTS, KEYS, MODELS, PROVIDERS = 50, 500, 20, 5
MODELS_OF_A_KEY = 3
FAILURES = 0.02
CHUNK = 10_000  # lines of one transaction: nobody else writes


def make_configuration() -> None:
    """Make tenants, keys with a limit and a budget each, and what serves them."""
    providers = Provider.objects.bulk_create(
        Provider(name=f"provider-{n}", kind="openai", base_url="http://127.0.0.1:9/v1")
        for n in range(PROVIDERS)
    )
    models = Model.objects.bulk_create(Model(name=f"model-{n}") for n in range(MODELS))
    Deployment.objects.bulk_create(
        Deployment(
            model=model, provider=providers[n % PROVIDERS], upstream_model=model.name
        )
        for n, model in enumerate(models)
    )
    tenants = Tenant.objects.bulk_create(
        Tenant(name=f"tenant-{n}") for n in range(TENANTS)
    )
    keys = ApiKey.objects.bulk_create(
        ApiKey(
            name=f"key-{n}",
            public_id=f"public-{n}",
            digest=f"{n:064x}",
            tenant=tenants[n % TENANTS],
        )
        for n in range(KEYS)
    )
    Limit.objects.bulk_create(Limit(api_key=key, amount=100) for key in keys)
    Budget.objects.bulk_create(Budget(api_key=key, amount_usd=100) for key in keys)


def make_usage(rows: int) -> None:
    """Write requests, evenly over the last days, with the roll-ups that belong to them."""
    lines = usage_lines(rows)
    unfit: list[UsageLine] = []
    for _ in range(0, rows, CHUNK):
        record([line for line, _ in zip(lines, range(CHUNK), strict=False)], unfit)


def usage_lines(rows: int) -> Iterator[UsageLine]:
    """Yield requests, oldest first, the same at every call but for their times."""
    draw = random.Random(1)  # noqa: S311 - figures, no secrets
    deployments = list(Deployment.objects.select_related("model", "provider"))
    end = timezone.now()
    begin_s = (end - timedelta(days=DAYS)).timestamp()
    step_s = (end.timestamp() - begin_s) / rows
    for number in range(rows):
        key = draw.randrange(KEYS)
        choice = key + draw.randrange(MODELS_OF_A_KEY)
        has_failed = draw.random() < FAILURES
        deployment = deployments[choice % len(deployments)]
        yield usage_line(
            draw, key, deployment, at=begin_s + number * step_s, has_failed=has_failed
        )


def usage_line(
    draw: random.Random,
    key: int,
    deployment: Deployment,
    *,
    at: float,
    has_failed: bool,
) -> UsageLine:
    """Make up one request of a key."""
    unique = f"{draw.getrandbits(128):032x}"
    return UsageLine(
        uid=unique,
        request_id=unique,
        at=at,
        tenant=f"tenant-{key % TENANTS}",
        api_key=f"public-{key}",
        operation=Operation.CHAT,
        model=deployment.model.name,
        provider=deployment.provider.name,
        upstream_model=deployment.upstream_model,
        deployment_id=deployment.pk,
        strategy="load_balanced",
        attempts=2 if has_failed else 1,
        status=502 if has_failed else 200,
        code="upstream_error" if has_failed else "",
        fault_domain=FaultDomain.PROVIDER if has_failed else "",
        is_stream=True,
        is_partial=False,
        is_estimated=False,
        input_tokens=draw.randrange(2000),
        cache_read_tokens=draw.randrange(1000),
        cache_write_tokens=0,
        cache_write_1h_tokens=0,
        audio_input_tokens=0,
        output_tokens=draw.randrange(1000),
        reasoning_tokens=draw.randrange(500),
        audio_output_tokens=0,
        cost_nano_usd=draw.randrange(10_000_000),
        price_origin=PriceOrigin.SHIPPED,
        duration_ms=draw.uniform(100, 10_000),
        ttft_ms=draw.uniform(50, 1000),
        tokens_per_s=draw.uniform(10, 100),
        worker="benchmark",
    )
