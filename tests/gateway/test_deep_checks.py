"""Checks of what a worker stands on: real answers, and never a question to a provider."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import OperationalError, connection
from pytest_django import Settings

from gateway.deep_checks import DeepChecks, provider_checks, providers_check
from gateway.kinds import Algorithm
from gateway.snapshot import Provider, Snapshot, Strategy
from rag.packaged_model import EXPORT
from tests.rag.chroma_server import running_chroma

PROVIDER = Provider(1, "a", "openai", "http://a", {}, "", (), "")
SNAPSHOT = Snapshot(
    revision=1,
    providers={
        "a": PROVIDER,
        "b": replace(PROVIDER, id=2, name="b"),
        "idle": replace(PROVIDER, id=3, name="idle"),
    },
    models={},
    aliases={},
    default_strategy=Strategy(name="random", algorithm=Algorithm.RANDOM),
)


@pytest.mark.django_db
def test_what_is_off_is_not_asked(settings: Settings) -> None:
    settings.ENABLE_MEMORY = settings.ENABLE_RAG = False
    settings.CHROMA_URL = "http://127.0.0.1:1"
    checks = DeepChecks()
    assert checks.database() == "ok"
    assert (checks.vector_store(), checks.embedder()) == ("off", "off")


@pytest.mark.django_db
def test_a_vector_store_is_asked_and_is_degraded_when_it_is_away(
    settings: Settings, tmp_path: Path
) -> None:
    settings.ENABLE_MEMORY = True
    checks = DeepChecks()
    assert checks.vector_store().startswith("degraded: the database")
    with running_chroma(tmp_path) as chroma:
        settings.CHROMA_URL = chroma.url
        assert checks.database() == "ok"
        assert checks.vector_store() == "ok"
    found = checks.vector_store()
    assert found.startswith(f"degraded: The vector store at {chroma.url} fails")


@pytest.mark.django_db
def test_memory_without_a_vector_store_is_degraded(settings: Settings) -> None:
    settings.ENABLE_MEMORY = True
    settings.CHROMA_URL = ""
    checks = DeepChecks()
    checks.database()
    assert checks.vector_store().startswith("degraded: there is none")


@pytest.mark.django_db
def test_a_database_that_is_away_is_degraded() -> None:
    def refuse(*_: Any) -> None:
        raise OperationalError("gone")

    with connection.execute_wrapper(refuse):
        assert DeepChecks().database() == (
            "degraded: it cannot be reached (OperationalError)"
        )


def test_the_packaged_embedder_is_found(settings: Settings, tmp_path: Path) -> None:
    settings.ENABLE_RAG, settings.EMBEDDING_MODEL = True, ""
    settings.AILB_DATA_DIR = tmp_path
    weights = tmp_path / "embedders" / EXPORT / "int8.onnx"
    weights.parent.mkdir(parents=True)
    weights.write_bytes(b"x")
    assert DeepChecks().embedder() == "ok"


def test_an_embedder_that_is_not_there_says_so(settings: Settings) -> None:
    settings.ENABLE_MEMORY = True
    settings.EMBEDDING_MODEL = "/nowhere/model"
    assert "/nowhere/model, which does not exist" in DeepChecks().embedder()


@pytest.mark.parametrize(
    ("breakers", "checks", "summary"),
    [
        ({"a": {"m": "ready"}}, {"a": "ok", "b": "idle", "idle": "idle"}, "ok"),
        (
            {"a": {"m": "open", "n": "ready"}, "b": {"m": "probe"}},
            {"a": "degraded: m not asked", "b": "ok", "idle": "idle"},
            "degraded: a",
        ),
        (
            {"a": {"m": "open"}, "b": {"m": "ready"}},
            {"a": "down: m", "b": "ok", "idle": "idle"},
            "degraded: a",
        ),
        (
            {"a": {"m": "open"}, "b": {"m": "cooling"}},
            {"a": "down: m", "b": "down: m", "idle": "idle"},
            "down: a, b",
        ),
        (
            {},
            {"a": "idle", "b": "idle", "idle": "idle"},
            "degraded: no provider has a model that serves",
        ),
    ],
)
def test_providers_are_judged_by_the_workers_breakers(
    breakers: dict[str, dict[str, str]], checks: dict[str, str], summary: str
) -> None:
    assert provider_checks(SNAPSHOT, breakers) == checks
    assert providers_check(checks) == summary


def test_a_provider_whose_credential_is_unreadable_is_down() -> None:
    checks = provider_checks(SNAPSHOT, {"a": {"m": "ready"}, "b": {}}, {"a", "b"})
    assert checks["a"].startswith("down: its credential")
    assert checks["b"] == "idle"
