"""The rows of an AILB that is measured; runs inside Django's shell, before it serves."""

from __future__ import annotations

from collections.abc import Mapping

from ailb_project import preparation
from gateway.crypto import Secret
from gateway.models import ApiKey, Budget, Deployment, Limit, Model, Provider, Tenant

_BASE_KEYS, _BASE_DEPLOYMENTS, _BASE_MODELS = 10, 3, 1
_GROWN_KEYS, _GROWN_DEPLOYMENTS, _GROWN_MODELS = 10_000, 1_000, 50
_WHOLE = "bench-whole"


def prepare() -> None:
    """Make the database and the first key."""
    preparation.prepare()


def make_upstream(urls: Mapping[str, str]) -> None:
    """Make a provider and a deployment for each model, by the address of its answers."""
    for name, url in urls.items():
        provider = Provider.objects.create(
            name=name, kind="openai", base_url=url, credential=Secret(plain="bench")
        )
        model = Model.objects.create(name=name)
        Deployment.objects.create(model=model, provider=provider, upstream_model=name)


def make_quotas() -> None:
    """Give the key what keys usually have: two limits, and a share of a budget."""
    key = ApiKey.objects.get()
    for measure in ("requests", "tokens"):
        Limit.objects.create(
            measure=measure, amount=10**12, window="minute", api_key=key
        )
    Budget.objects.create(amount_usd=10**6, period="month", tenant=key.tenant)


def make_few() -> None:
    """Make what the grown ones are compared with."""
    make_keys(_BASE_KEYS)
    make_deployments(_BASE_DEPLOYMENTS)
    make_models(_BASE_MODELS)


def make_many(*, keys: bool, deployments: bool, models: bool) -> None:
    """Make many of what is true, and few of the rest."""
    make_keys(_GROWN_KEYS if keys else _BASE_KEYS)
    make_deployments(_GROWN_DEPLOYMENTS if deployments else _BASE_DEPLOYMENTS)
    make_models(_GROWN_MODELS if models else _BASE_MODELS)


def make_keys(count: int) -> None:
    """Have so many keys, each with a tenant and a limit of its own."""
    missing = range(ApiKey.objects.count(), count)
    tenants = Tenant.objects.bulk_create(Tenant(name=f"tenant-{n}") for n in missing)
    keys = ApiKey.objects.bulk_create(
        ApiKey(
            name=f"key-{n}",
            public_id=f"public{n:06}",
            digest=f"{n:064x}",
            tenant=tenant,
        )
        for n, tenant in zip(missing, tenants, strict=True)
    )
    Limit.objects.bulk_create(Limit(api_key=key, amount=100) for key in keys)


def make_deployments(count: int) -> None:
    """Give the model that is asked for so many deployments, all at one provider."""
    model, provider = Model.objects.get(name=_WHOLE), Provider.objects.get(name=_WHOLE)
    Deployment.objects.bulk_create(
        Deployment(model=model, provider=provider, upstream_model=f"bench-whole-{n}")
        for n in range(model.deployments.count(), count)
    )


def make_models(count: int) -> None:
    """Have so many models with a deployment, besides those of the other answers."""
    provider = Provider.objects.get(name=_WHOLE)
    models = Model.objects.bulk_create(
        Model(name=f"other-{n}") for n in range(1, count)
    )
    Deployment.objects.bulk_create(
        Deployment(model=model, provider=provider, upstream_model=model.name)
        for model in models
    )
