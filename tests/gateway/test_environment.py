"""Environment variables become rows, and operators keep what is theirs."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from gateway import operations, revision
from gateway.crypto import Secret
from gateway.environment import (
    EnvironmentReport,
    apply_environment,
    apply_simulator,
    declared_providers,
    is_anything_configured,
)
from gateway.kinds import Source
from gateway.models import Deployment, Model, Provider, RoutingStrategy

pytestmark = pytest.mark.django_db

OPENAI = {
    "OPENAI_API_KEY": "sk-canary-1234",
    "OPENAI_MODELS": ["gpt-4", "gpt-3.5-turbo"],
}
ANTHROPIC = {
    "ANTHROPIC_API_KEY": "sk-ant",
    "ANTHROPIC_MODELS": ["claude-3-opus-20240229"],
}
SIMULATOR_URLS = {
    "openai": "http://127.0.0.1:9001/v1",
    "anthropic": "http://127.0.0.1:9001",
    "ollama": "http://127.0.0.1:9001",
}


def apply(*given: dict[str, Any], **variables: Any) -> EnvironmentReport:
    merged: dict[str, Any] = {"AILB_FALLBACKS": ""}
    for part in (*given, variables):
        merged |= part
    return apply_environment(SimpleNamespace(**merged))


def credential(name: str) -> str:
    stored: Secret = Provider.objects.get(name=name).credential
    return stored.reveal(settings.AILB_ENCRYPTION_KEYS)


def deployed(provider: str, *, enabled: bool = True) -> set[str]:
    rows = Deployment.objects.filter(provider__name=provider, enabled=enabled)
    return set(rows.values_list("model__name", flat=True))


def test_an_empty_environment_makes_nothing() -> None:
    report = apply()
    assert not report.changes
    assert not Provider.objects.exists()
    assert not is_anything_configured()


def test_a_key_makes_the_vendors_provider_with_its_models() -> None:
    report = apply(OPENAI)
    row = Provider.objects.get()
    assert (row.name, row.kind) == ("openai", "openai")
    assert row.base_url == "https://api.openai.com/v1"
    assert (row.source, row.enabled) == (Source.ENVIRONMENT, True)
    assert credential("openai") == "sk-canary-1234"
    assert deployed("openai") == {"gpt-4", "gpt-3.5-turbo"}
    assert report.changes.made == (
        "provider openai",
        "deployment gpt-4 at openai",
        "deployment gpt-3.5-turbo at openai",
    )
    assert is_anything_configured()


def test_an_address_alone_makes_a_provider_without_a_credential() -> None:
    apply(OPENAI_BASE_URL="http://127.0.0.1:8000/v1/", OPENAI_MODELS=["local"])
    row = Provider.objects.get()
    assert row.base_url == "http://127.0.0.1:8000/v1"
    assert not row.credential


def test_all_three_vendors_may_be_declared_together() -> None:
    apply(
        OPENAI,
        ANTHROPIC,
        OLLAMA_BASE_URL="http://127.0.0.1:11434",
        OLLAMA_MODELS=["llama3"],
    )
    assert set(Provider.objects.values_list("name", "kind", "base_url")) == {
        ("openai", "openai", "https://api.openai.com/v1"),
        ("anthropic", "anthropic", "https://api.anthropic.com"),
        ("ollama", "ollama", "http://127.0.0.1:11434"),
    }
    assert deployed("ollama") == {"llama3"}


def test_ollama_without_a_list_gets_no_deployments_before_discovery() -> None:
    apply(OLLAMA_BASE_URL="http://127.0.0.1:11434", OLLAMA_MODELS=[])
    assert Provider.objects.get().name == "ollama"
    assert not Deployment.objects.exists()
    assert is_anything_configured()


def test_equal_names_at_two_providers_are_one_model_with_two_deployments() -> None:
    apply(
        OPENAI | {"OPENAI_MODELS": ["shared"]},
        OLLAMA_BASE_URL="http://127.0.0.1:11434",
        OLLAMA_MODELS=["shared"],
    )
    model = Model.objects.get()
    providers = model.deployments.values_list("provider__name", flat=True)
    assert set(providers) == {"openai", "ollama"}


def test_applying_the_same_environment_twice_writes_nothing() -> None:
    variables = OPENAI | ANTHROPIC | {"AILB_FALLBACKS": "gpt-4=claude-3-opus-20240229"}
    apply(variables)
    before = revision.current()
    report = apply(variables)
    assert not report.changes
    assert revision.current() == before


def test_a_new_key_and_address_are_taken_at_the_next_start() -> None:
    apply(OPENAI)
    report = apply(
        OPENAI, OPENAI_API_KEY="sk-new", OPENAI_BASE_URL="http://10.0.0.1/v1"
    )
    assert credential("openai") == "sk-new"
    assert Provider.objects.get().base_url == "http://10.0.0.1/v1"
    assert report.changes.updated == ("provider openai",)


def test_a_credential_that_no_key_opens_is_written_again() -> None:
    apply(OPENAI)
    Provider.objects.update(credential="enc:v1:" + "x" * 40)
    apply(OPENAI)
    assert credential("openai") == "sk-canary-1234"


def test_a_gone_variable_disables_the_provider_and_keeps_it() -> None:
    apply(OPENAI, ANTHROPIC)
    report = apply(ANTHROPIC)
    row = Provider.objects.get(name="openai")
    assert (row.enabled, row.is_withdrawn) == (False, True)
    assert report.changes.disabled == ("provider openai",)
    assert not apply(ANTHROPIC).changes


def test_a_returning_variable_enables_what_it_had_disabled() -> None:
    apply(OPENAI)
    apply()
    report = apply(OPENAI)
    row = Provider.objects.get()
    assert (row.enabled, row.is_withdrawn) == (True, False)
    assert report.changes.updated == ("provider openai",)


def test_what_an_operator_disabled_stays_disabled_when_the_variable_returns() -> None:
    apply(OPENAI)
    Provider.objects.update(enabled=False)
    apply(OPENAI)
    assert not Provider.objects.get().enabled
    apply()
    apply(OPENAI)
    assert not Provider.objects.get().enabled


def test_an_operator_may_enable_a_withdrawn_row_for_good() -> None:
    apply(OPENAI)
    apply()
    Provider.objects.update(enabled=True)
    apply()
    assert Provider.objects.get().enabled


def test_a_model_dropped_from_the_list_is_withdrawn_and_comes_back() -> None:
    apply(OPENAI)
    report = apply(OPENAI, OPENAI_MODELS=["gpt-4"])
    assert report.changes.disabled == ("deployment gpt-3.5-turbo at openai",)
    assert deployed("openai") == {"gpt-4"}
    apply(OPENAI)
    assert deployed("openai") == {"gpt-4", "gpt-3.5-turbo"}


def test_an_operator_keeps_everything_that_is_the_operators() -> None:
    apply(OPENAI)
    strategy = RoutingStrategy.objects.get(name="failover")
    Provider.objects.update(weight=7, priority=3, first_byte_timeout_s=9)
    Model.objects.filter(name="gpt-4").update(strategy=strategy, fallbacks=["llama3"])
    Deployment.objects.filter(model__name="gpt-4").update(
        weight=5, priority=2, input_price_per_mtok_usd=30, version="v2", enabled=False
    )
    other = Deployment.objects.create(
        model=Model.objects.get(name="gpt-4"),
        provider=Provider.objects.get(),
        upstream_model="gpt-4-turbo",
    )
    before = revision.current()
    apply(OPENAI)
    assert revision.current() == before
    row = Deployment.objects.get(upstream_model="gpt-4")
    assert (row.weight, row.priority, row.version, row.enabled) == (5, 2, "v2", False)
    assert row.input_price_per_mtok_usd == 30
    model = Model.objects.get(name="gpt-4")
    assert (model.strategy, model.fallbacks) == (strategy, ["llama3"])
    other.refresh_from_db()
    assert other.enabled


def test_an_operators_deployment_of_a_listed_model_is_not_doubled() -> None:
    apply(OPENAI, OPENAI_MODELS=["gpt-4"])
    row = Deployment.objects.get()
    Deployment.objects.filter(pk=row.pk).update(source=Source.OPERATOR)
    apply(OPENAI, OPENAI_MODELS=["gpt-4"])
    assert Deployment.objects.get().pk == row.pk


def test_an_operators_provider_of_the_same_name_is_left_alone() -> None:
    Provider.objects.create(
        name="openai",
        kind="openai_compatible",
        base_url="http://10.0.0.9/v1",
        credential="mine",
    )
    report = apply(OPENAI)
    row = Provider.objects.get()
    assert (row.base_url, row.source) == ("http://10.0.0.9/v1", Source.OPERATOR)
    assert credential("openai") == "mine"
    assert not Deployment.objects.exists()
    assert "a provider named 'openai' was made in the admin" in report.warnings[0]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("OPENAI_BASE_URL", "ftp://files"),
        ("OPENAI_BASE_URL", "http://169.254.169.254/v1"),
        ("OPENAI_MODELS", ["a;b"]),
        ("OPENAI_MODELS", ["x" * 201]),
        ("AILB_FALLBACKS", "gpt-4"),
    ],
)
def test_a_bad_value_names_its_variable_and_changes_no_row(
    variable: str, value: Any
) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=f"^{variable}.* is not valid: "
    ) as caught:
        apply(OPENAI | {variable: value})
    assert "\n" not in str(caught.value)
    assert not Provider.objects.exists()


@pytest.mark.parametrize(
    "bad",
    [
        {"OPENAI_API_KEY": "sk-canary\n1234"},
        {"OPENAI_API_KEY": "sk-cänary"},
        {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://u:canary@host/v1"},
    ],
)
def test_a_bad_secret_is_not_repeated(bad: dict[str, str]) -> None:
    with pytest.raises(ImproperlyConfigured) as caught:
        apply(OPENAI | bad)
    assert "nary" not in str(caught.value)


def test_a_declared_credential_does_not_show_in_repr() -> None:
    declared = declared_providers(SimpleNamespace(**OPENAI))
    assert "canary" not in repr(declared)


def test_fallbacks_parse_in_order() -> None:
    text = "gpt-4=claude-3-opus-20240229, llama3; gpt-3.5-turbo=llama3;"
    assert operations.parse_fallbacks(text) == {
        "gpt-4": ("claude-3-opus-20240229", "llama3"),
        "gpt-3.5-turbo": ("llama3",),
    }
    assert operations.parse_fallbacks("") == {}


@pytest.mark.parametrize(
    "text", ["gpt-4", "=a", "a=", "a=b,,c", "a=a", "a=b,b", "a=b;a=c", "a=b=c", 'a="b"']
)
def test_malformed_fallbacks_name_the_variable_and_the_grammar(text: str) -> None:
    with pytest.raises(
        ImproperlyConfigured, match=r"^AILB_FALLBACKS=.*model=fallback,fallback"
    ):
        operations.parse_fallbacks(text)


def test_fallbacks_are_refreshed_until_an_operator_changes_them() -> None:
    variables = OPENAI | ANTHROPIC | {"AILB_FALLBACKS": "gpt-4=claude-3-opus-20240229"}
    apply(variables)
    model = Model.objects.get(name="gpt-4")
    assert model.fallbacks == ["claude-3-opus-20240229"]
    apply(variables, AILB_FALLBACKS="gpt-4=gpt-3.5-turbo")
    model.refresh_from_db()
    assert model.fallbacks == ["gpt-3.5-turbo"]
    Model.objects.filter(name="gpt-4").update(fallbacks=[])
    report = apply(variables, AILB_FALLBACKS="gpt-4=gpt-3.5-turbo")
    model.refresh_from_db()
    assert model.fallbacks == []
    assert "AILB_FALLBACKS is not applied to 'gpt-4'" in report.warnings[0]


def test_fallbacks_go_with_the_variable() -> None:
    apply(OPENAI, AILB_FALLBACKS="gpt-4=gpt-3.5-turbo")
    apply(OPENAI)
    assert Model.objects.get(name="gpt-4").fallbacks == []


def test_fallbacks_that_name_unknown_models_warn() -> None:
    report = apply(OPENAI, AILB_FALLBACKS="gpt-4=gpt-3.5-turbo,nowhere;ghost=gpt-4")
    assert report.warnings == (
        "AILB_FALLBACKS names 'nowhere', which is not a model.",
        "AILB_FALLBACKS names 'ghost', which is not a model.",
    )
    assert Model.objects.get(name="gpt-4").fallbacks == ["gpt-3.5-turbo", "nowhere"]


def test_auto_may_have_fallbacks() -> None:
    report = apply(OPENAI, AILB_FALLBACKS="auto=gpt-4")
    assert Model.objects.get(name="auto").fallbacks == ["gpt-4"]
    assert report.warnings == ()


def test_the_simulator_makes_its_providers_and_models() -> None:
    apply_simulator(SIMULATOR_URLS)
    assert set(Provider.objects.values_list("name", "source")) == {
        ("simulator-openai", "simulator"),
        ("simulator-anthropic", "simulator"),
        ("simulator-ollama", "simulator"),
    }
    assert deployed("simulator-openai") == {
        "gpt-4",
        "gpt-3.5-turbo",
        "text-embedding-3-small",
    }
    assert deployed("simulator-anthropic") == {
        "claude-3-opus-20240229",
        "claude-3-sonnet-20240229",
    }
    assert deployed("simulator-ollama") == {"llama3"}
    embedding = Deployment.objects.get(upstream_model="text-embedding-3-small")
    assert embedding.capabilities == {"chat": False, "embeddings": True}
    assert not is_anything_configured()


def test_the_simulator_moves_to_another_port_and_is_otherwise_left_alone() -> None:
    apply_simulator(SIMULATOR_URLS)
    before = revision.current()
    assert not apply_simulator(SIMULATOR_URLS)
    assert revision.current() == before
    changes = apply_simulator(SIMULATOR_URLS | {"ollama": "http://127.0.0.1:9002"})
    assert changes.updated == ("provider simulator-ollama",)


def test_the_simulator_goes_without_a_trace_but_for_what_operators_touched() -> None:
    apply_simulator(SIMULATOR_URLS)
    Model.objects.filter(name="llama3").update(defaults={"temperature": 0})
    apply_simulator(None)
    assert not Provider.objects.exists()
    assert not Deployment.objects.exists()
    assert list(Model.objects.values_list("name", flat=True)) == ["llama3"]


def test_models_of_the_simulator_pass_to_the_environment() -> None:
    apply_simulator(SIMULATOR_URLS)
    apply(OPENAI)
    apply_simulator(None)
    assert Model.objects.get(name="gpt-4").source == Source.ENVIRONMENT
    assert deployed("openai") == {"gpt-4", "gpt-3.5-turbo"}


def test_the_simulator_does_not_take_an_operators_provider() -> None:
    Provider.objects.create(
        name="simulator-openai", kind="openai", base_url="http://10.0.0.9/v1"
    )
    with pytest.raises(ImproperlyConfigured, match="simulator-openai"):
        apply_simulator(SIMULATOR_URLS)


def test_a_disabled_provider_is_not_a_configuration() -> None:
    apply(OPENAI)
    Provider.objects.update(enabled=False)
    assert not is_anything_configured()
