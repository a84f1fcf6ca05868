"""Rows to snapshot: what serves, with which numbers, and what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest
from django.conf import settings

from gateway.config_rows import ConfigRows, read_rows
from gateway.crypto import new_encryption_key
from gateway.keyring import pepper
from gateway.kinds import PriceOrigin, Source
from gateway.models import Deployment, Model, Provider, RoutingStrategy
from gateway.snapshot import Prices, Snapshot, Timeouts
from gateway.snapshot_compiler import compile_rows

pytestmark = pytest.mark.django_db


def compiled(found: ConfigRows | None = None, *, keys: Any = None) -> Snapshot:
    return compile_rows(
        found or read_rows(),
        keys=keys or settings.AILB_ENCRYPTION_KEYS,
        default_strategy="load_balanced",
    )


def provider(name: str = "p", **fields: Any) -> Provider:
    given = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1/", **fields}
    return Provider.objects.create(name=name, **given)


def deploy(model: str, at: Provider, **fields: Any) -> Deployment:
    row, _ = Model.objects.get_or_create(name=model)
    given = {"upstream_model": f"{model}-upstream", **fields}
    return Deployment.objects.create(model=row, provider=at, **given)


def names(snapshot: Snapshot, model: str) -> list[str]:
    return [each.provider.name for each in snapshot.models[model].deployments]


def test_no_rows_give_an_empty_snapshot() -> None:
    snapshot = compiled()
    assert dict(snapshot.models) == {}
    assert snapshot.default_strategy.name == "load_balanced"


def test_what_the_file_keeps_compiles_to_the_same_snapshot() -> None:
    at = provider(credential="sk-canary", extra_headers={"x-a": "b"})
    deploy("m", at, input_price_per_mtok_usd="0.25", context_window=8000)
    found = read_rows()
    text = json.dumps(asdict(found))
    assert "sk-canary" not in text
    kept = ConfigRows(**json.loads(text))
    again = compiled(kept)
    assert again == compiled(found)
    (deployment,) = again.models["m"].deployments
    assert deployment.prices.input_per_mtok_usd == 0.25
    headers = dict(deployment.provider.headers)
    assert headers["authorization"] == "Bearer sk-canary"
    assert headers["x-a"] == "b"
    assert "sk-canary" not in repr(again)


def test_prices_are_the_rows_the_tables_or_unknown() -> None:
    openai, other = provider("a"), provider("b", kind="openai_compatible")
    deploy("listed", openai, upstream_model="gpt-4o-mini-2024-07-18")
    deploy("own", other, input_price_per_mtok_usd="0.1", output_price_per_mtok_usd=3)
    deploy("unknown", other)
    models = compiled().models
    prices = {name: models[name].deployments[0].prices for name in models}
    assert prices["listed"].cache_read_per_mtok_usd == 0.075
    assert prices["listed"].origin is PriceOrigin.SHIPPED
    assert prices["own"].cache_read_per_mtok_usd == 0.1
    assert prices["own"].origin is PriceOrigin.ROW
    assert prices["unknown"] == Prices()


def test_a_simulated_deployment_is_free() -> None:
    deploy("m", provider(source=Source.SIMULATOR), upstream_model="gpt-4o")
    (deployment,) = compiled().models["m"].deployments
    assert deployment.prices.output_per_mtok_usd == 0
    assert deployment.prices.origin is PriceOrigin.SIMULATED


def test_a_row_kept_before_a_price_had_a_column_compiles() -> None:
    deploy("m", provider(), input_price_per_mtok_usd=1)
    found = read_rows()
    row = {k: v for k, v in found.deployments[0].items() if "audio" not in k}
    (deployment,) = compiled(replace(found, deployments=(row,))).models["m"].deployments
    assert deployment.prices.input_per_mtok_usd == 1


def test_disabled_rows_do_not_serve() -> None:
    on, off = provider("on"), provider("off", enabled=False)
    deploy("m", on)
    deploy("m", off)
    deploy("m", on, upstream_model="other", enabled=False)
    deploy("gone", on)
    Model.objects.filter(name="gone").update(enabled=False)
    snapshot = compiled()
    assert names(snapshot, "m") == ["on"]
    assert "gone" not in snapshot.models
    assert set(snapshot.providers) == {"on"}


def test_weights_multiply_and_priorities_and_timeouts_are_inherited() -> None:
    at = provider(weight=3, priority=5, idle_timeout_s=7, connect_timeout_s=2)
    deploy("m", at, weight=4, idle_timeout_s=1.5)
    deploy("n", at, priority=0)
    snapshot = compiled()
    (first,), (second,) = (snapshot.models[name].deployments for name in "mn")
    assert (first.weight, first.priority) == (12, 5)
    assert (second.weight, second.priority) == (3, 0)
    assert first.timeouts == Timeouts(connect_s=2, idle_s=1.5)
    assert second.timeouts == Timeouts(connect_s=2, idle_s=7)


def test_a_model_has_its_own_strategy_or_the_default() -> None:
    own = RoutingStrategy.objects.create(
        name="mine", algorithm="random", max_attempts=2, breaker_open_s=9
    )
    deploy("m", provider())
    deploy("n", provider("q"))
    Model.objects.filter(name="m").update(strategy=own)
    snapshot = compiled()
    assert snapshot.models["m"].strategy.max_attempts == 2
    assert snapshot.models["m"].strategy.breaker.open_s == 9
    assert snapshot.models["n"].strategy.name == "load_balanced"


def test_auto_spans_every_deployment_that_may_chat() -> None:
    deploy("m", provider("a"))
    deploy("n", provider("b", kind="ollama", base_url="http://127.0.0.1:2"))
    deploy("vectors", provider("c"), capabilities={"chat": False})
    assert names(compiled(), "auto") == ["a", "b"]
    own = RoutingStrategy.objects.create(name="mine", algorithm="random")
    auto = Model.objects.create(name="auto", strategy=own, fallbacks=["m"])
    snapshot = compiled()
    assert names(snapshot, "auto") == ["a", "b"], "a row of its own says only how"
    assert snapshot.models["auto"].strategy.name == "mine"
    assert snapshot.models["auto"].fallbacks == ("m",)
    Deployment.objects.create(
        model=auto, provider=Provider.objects.get(name="c"), upstream_model="x"
    )
    assert names(compiled(), "auto") == ["c"]


def test_a_simulated_provider_steps_back_for_a_real_one() -> None:
    deploy("m", provider("fake", source=Source.SIMULATOR))
    assert compiled().is_simulated
    real = provider("real")
    assert compiled().is_simulated, "a provider without deployments serves nothing"
    deploy("n", real)
    snapshot = compiled()
    assert not snapshot.is_simulated
    assert set(snapshot.providers) == {"real"}
    assert names(snapshot, "auto") == ["real"]


def test_ollamas_latest_tag_may_be_left_out() -> None:
    at = provider(kind="ollama", base_url="http://127.0.0.1:1")
    deploy("llama3:latest", at)
    deploy("qwen", at)
    snapshot = compiled()
    assert snapshot.aliases == {"llama3": "llama3:latest", "qwen:latest": "qwen"}


def test_a_credential_without_its_key_marks_the_provider_and_is_not_used() -> None:
    deploy("m", provider(credential="sk-canary"))
    snapshot = compiled(keys=[new_encryption_key()])
    at = snapshot.providers["p"]
    assert at.is_credential_unreadable
    assert "authorization" not in dict(at.headers)
    assert any("'p'" in warning for warning in snapshot.warnings)


def test_without_keys_every_secret_stays_closed() -> None:
    assert pepper()
    deploy("m", provider(credential="sk-canary"))
    snapshot = compile_rows(read_rows(), keys=None, default_strategy="load_balanced")
    at = snapshot.providers["p"]
    assert not at.is_credential_unreadable
    assert "authorization" not in dict(at.headers)
    assert snapshot.access.keys.pepper is None
    assert not snapshot.access.keys.is_unreadable


@pytest.mark.parametrize("credential", ["sk-canary\n", "sk-c\u2026", "sk-\x00"])
def test_a_credential_that_no_header_can_carry_is_not_used(credential: str) -> None:
    deploy("m", provider(credential=credential))
    assert compiled().providers["p"].is_credential_unreadable


def test_an_unknown_fallback_is_a_warning() -> None:
    deploy("m", provider())
    Model.objects.filter(name="m").update(fallbacks=["m", "nobody"])
    snapshot = compiled()
    assert snapshot.models["m"].fallbacks == ("nobody",)
    assert any("'nobody'" in warning for warning in snapshot.warnings)


def test_an_edit_that_matters_to_health_changes_the_fingerprint() -> None:
    at = provider(credential="one")
    deploy("m", at)
    before = compiled().providers["p"].fingerprint
    Provider.objects.update(weight=9, priority=3)
    assert compiled().providers["p"].fingerprint == before
    for change in (
        {"base_url": "http://127.0.0.1:2/v1"},
        {"credential": "two"},
        {"egress_proxy": "http://127.0.0.1:3"},
    ):
        Provider.objects.update(**change)
        after = compiled().providers["p"].fingerprint
        assert after != before
        before = after
