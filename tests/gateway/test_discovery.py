"""Providers are asked for their models, and every failure says what to do."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
from asgiref.sync import async_to_sync
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from django.utils import timezone
from pytest_django import Settings

from gateway import discovery, revision
from gateway.dialects.record import UpstreamModel
from gateway.discovery import ConnectionReport, Refreshed
from gateway.environment import apply_environment
from gateway.errors import ConfigurationError, UpstreamError
from gateway.kinds import Fault, Source
from gateway.late_upstream import LateUpstream
from gateway.models import Deployment, Model, Provider
from gateway.upstream import Upstream
from tests.upstreams.fixed_answers import FixedAnswers, fixed_answers

pytestmark = pytest.mark.django_db

Result = TypeVar("Result")
CANARY = "sk-canary-5e5e"
OPENAI_LIST = {
    "object": "list",
    "data": [{"id": "gpt-4", "object": "model"}, {"id": "o3"}],
}
TAGS = {"models": [{"name": "llama3:latest"}, {"name": "nomic-embed-text:latest"}]}
SHOWN = {
    "llama3:latest": {
        "capabilities": ["completion", "tools"],
        "model_info": {"general.architecture": "llama", "llama.context_length": 8192},
    },
    "nomic-embed-text:latest": {"capabilities": ["embedding"]},
}


def shown(body: bytes) -> tuple[int, object]:
    name = json.loads(body)["model"]
    return (200, SHOWN[name]) if name in SHOWN else (404, {"error": "not found"})


@pytest.fixture
def server() -> Iterator[FixedAnswers]:
    routes: dict[str, Any] = {
        "/v1/models": (200, OPENAI_LIST),
        "/api/tags": (200, TAGS),
        "/api/show": shown,
    }
    with fixed_answers(routes) as running:
        yield running


def provider(base_url: str, kind: str = "openai", **fields: Any) -> Provider:
    return Provider.objects.create(name="p", kind=kind, base_url=base_url, **fields)


def run(work: Coroutine[Any, Any, Result]) -> Result:
    async def wait() -> Result:
        return await work

    return async_to_sync(wait)()


def discovered(row: Provider) -> tuple[UpstreamModel, ...]:
    async def ask() -> tuple[UpstreamModel, ...]:
        upstream = Upstream()
        try:
            return await discovery.discover(compiled, upstream)
        finally:
            await upstream.aclose()

    compiled = discovery.compiled(row)
    return run(ask())


def connection_of(row: Provider) -> ConnectionReport:
    async def ask() -> ConnectionReport:
        upstream = Upstream()
        try:
            return await discovery.test_connection(compiled, upstream)
        finally:
            await upstream.aclose()

    compiled = discovery.compiled(row)
    return run(ask())


def refreshed() -> tuple[Refreshed, ...]:
    async def refresh() -> tuple[Refreshed, ...]:
        upstream = LateUpstream()
        try:
            return await discovery.refresh_ollama(upstream)
        finally:
            await upstream.aclose()

    return run(refresh())


def closed_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port


@pytest.fixture
def ollama(server: FixedAnswers, settings: Settings) -> FixedAnswers:
    """Declare the server as the environment's Ollama, without a list of models."""
    settings.OLLAMA_BASE_URL, settings.OLLAMA_MODELS = server.url, []
    settings.OPENAI_API_KEY = settings.ANTHROPIC_API_KEY = ""
    settings.OPENAI_BASE_URL = settings.ANTHROPIC_BASE_URL = ""
    settings.AILB_FALLBACKS = "llama3=nomic-embed-text"
    apply_environment(settings)
    return server


def enabled_models() -> set[str]:
    rows = Deployment.objects.filter(enabled=True)
    return set(rows.values_list("model__name", flat=True))


def test_an_openai_compatible_provider_lists_its_models(server: FixedAnswers) -> None:
    models = discovered(provider(f"{server.url}/v1", credential=CANARY))
    assert [model.name for model in models] == ["gpt-4", "o3"]
    ((method, path, headers),) = server.requests
    assert (method, path) == ("GET", "/v1/models")
    assert headers["authorization"] == f"Bearer {CANARY}"


def test_ollama_says_what_its_models_can_do(server: FixedAnswers) -> None:
    llama, embedder = discovered(provider(server.url, "ollama"))
    assert llama.name == "llama3:latest"
    assert llama.context_window == 8192
    assert llama.capabilities["tools"] is True
    assert llama.capabilities["embeddings"] is False
    assert embedder.capabilities["chat"] is False
    assert embedder.capabilities["embeddings"] is True


@pytest.mark.parametrize("answer", [(500, {}), (200, b"garbage"), (200, []), (404, {})])
def test_an_ollama_that_shows_no_details_still_lists(
    server: FixedAnswers, answer: tuple[int, object]
) -> None:
    server.routes["/api/show"] = answer
    models = discovered(provider(server.url, "ollama"))
    assert {model.name for model in models} == set(SHOWN)


def test_a_refused_list_is_an_upstream_error(server: FixedAnswers) -> None:
    server.routes["/v1/models"] = (401, {"error": {"message": "bad key"}})
    with pytest.raises(UpstreamError) as caught:
        discovered(provider(f"{server.url}/v1"))
    assert caught.value.fault is Fault.CREDENTIAL_REJECTED


def test_a_good_connection_says_how_many_models_there_are(server: FixedAnswers) -> None:
    report = connection_of(provider(f"{server.url}/v1"))
    assert report.is_ok
    assert report.message == "It answers and lists 2 models."
    assert report.models == ("gpt-4", "o3")
    assert 0 < report.latency_ms < 10_000


@pytest.mark.parametrize(
    ("status", "body", "advice"),
    [
        (401, {"error": {"message": CANARY}}, "refuses the credential (401)"),
        (403, {"error": {"message": CANARY}}, "refuses the credential (403)"),
        (404, {"error": {"message": CANARY}}, "not with a list of models (404)"),
        (404, b"<html>" + CANARY.encode(), "not with a list of models (404)"),
        (429, {"error": {"message": CANARY}}, "limits us (429)"),
        (500, {"error": {"message": CANARY}}, "an error of its own (500)"),
        (503, b"", "an error of its own (503)"),
        (200, b"<html>" + CANARY.encode(), "not with a list of models"),
        (200, {"data": CANARY}, "not with a list of models"),
        (302, b"", "not with a list of models (302)"),
    ],
)
def test_a_failed_test_says_what_to_do_in_our_words(
    server: FixedAnswers, status: int, body: object, advice: str
) -> None:
    server.routes["/v1/models"] = (status, body)
    report = connection_of(provider(f"{server.url}/v1", credential=CANARY))
    assert not report.is_ok
    assert advice in report.message
    assert CANARY not in report.message


def test_a_closed_port_says_that_nothing_listens() -> None:
    report = connection_of(provider(f"http://127.0.0.1:{closed_port()}/v1"))
    assert not report.is_ok
    assert report.message.startswith("Nothing listens at http://127.0.0.1:")


def test_an_unknown_host_says_so() -> None:
    report = connection_of(provider("http://no-such-host.invalid/v1"))
    assert (
        "The host name of http://no-such-host.invalid/v1 is unknown." in report.message
    )


def test_https_to_a_port_that_speaks_http_says_so(server: FixedAnswers) -> None:
    report = connection_of(provider(server.url.replace("http:", "https:") + "/v1"))
    assert not report.is_ok
    assert "Check whether this port speaks https or http." in report.message


def test_a_certificate_that_nobody_vouches_for_says_so(tmp_path: Path) -> None:
    with tls_server(tmp_path) as port:
        report = connection_of(provider(f"https://127.0.0.1:{port}/v1"))
    assert "is not trusted" in report.message
    assert "CA file" in report.message


def test_a_server_that_does_not_answer_in_time_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(discovery, "ANSWER_TIMEOUT_S", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        report = connection_of(
            provider(f"http://127.0.0.1:{silent.getsockname()[1]}/v1")
        )
    assert "did not answer in time" in report.message


def test_an_unreadable_credential_is_told_without_asking(server: FixedAnswers) -> None:
    row = provider(f"{server.url}/v1", credential="enc:v1:" + "x" * 40)
    report = connection_of(row)
    assert not report.is_ok
    assert "Enter it again" in report.message
    assert server.requests == []


def test_a_row_that_cannot_be_served_is_a_configuration_error() -> None:
    row = provider("http://127.0.0.1:1/v1", extra_headers={"Host": "x"})
    with pytest.raises(ConfigurationError, match="extra_headers"):
        discovery.compiled(row)


def test_discovery_follows_what_ollama_has(ollama: FixedAnswers) -> None:
    (result,) = refreshed()
    assert result.problem == ""
    assert len(result.changes.made) == 2
    row = Deployment.objects.get(upstream_model="llama3:latest")
    assert (row.source, row.context_window) == (Source.DISCOVERY, 8192)
    assert row.capabilities["tools"] is True
    assert enabled_models() == set(SHOWN)


def test_refreshing_an_unchanged_ollama_writes_nothing(ollama: FixedAnswers) -> None:
    refreshed()
    before = revision.current()
    (result,) = refreshed()
    assert not result.changes
    assert revision.current() == before


def test_fallbacks_reach_discovered_models_by_their_short_name(
    ollama: FixedAnswers,
) -> None:
    refreshed()
    assert Model.objects.get(name="llama3:latest").fallbacks == ["nomic-embed-text"]


def test_a_model_that_ollama_no_longer_has_is_withdrawn_and_comes_back(
    ollama: FixedAnswers,
) -> None:
    refreshed()
    ollama.routes["/api/tags"] = (200, {"models": [{"name": "llama3:latest"}]})
    (result,) = refreshed()
    assert result.changes.disabled == ("deployment nomic-embed-text:latest at ollama",)
    assert enabled_models() == {"llama3:latest"}
    ollama.routes["/api/tags"] = (200, TAGS)
    refreshed()
    assert enabled_models() == set(SHOWN)


def test_what_an_operator_set_survives_a_refresh(ollama: FixedAnswers) -> None:
    refreshed()
    rows = Deployment.objects.filter(upstream_model="llama3:latest")
    rows.update(
        weight=9, enabled=False, context_window=4096, capabilities={"tools": False}
    )
    refreshed()
    row = rows.get()
    assert (row.weight, row.enabled, row.context_window) == (9, False, 4096)
    assert row.capabilities["tools"] is False
    assert row.capabilities["embeddings"] is False


def test_an_ollama_that_is_away_keeps_its_rows(ollama: FixedAnswers) -> None:
    refreshed()
    Provider.objects.update(base_url=f"http://127.0.0.1:{closed_port()}")
    (result,) = refreshed()
    assert result.problem.startswith("Nothing listens at")
    assert enabled_models() == set(SHOWN)


def test_a_fixed_list_is_not_followed(ollama: FixedAnswers, settings: Settings) -> None:
    settings.OLLAMA_MODELS = ["llama3:latest"]
    apply_environment(settings)
    assert refreshed() == ()
    assert enabled_models() == {"llama3:latest"}
    assert ollama.requests == []


def test_a_fixed_list_takes_over_from_discovery_and_back(
    ollama: FixedAnswers, settings: Settings
) -> None:
    refreshed()
    settings.OLLAMA_MODELS = ["llama3:latest"]
    apply_environment(settings)
    assert enabled_models() == {"llama3:latest"}
    row = Deployment.objects.get(upstream_model="llama3:latest")
    assert row.source == Source.ENVIRONMENT
    settings.OLLAMA_MODELS = []
    apply_environment(settings)
    refreshed()
    assert enabled_models() == set(SHOWN)


@pytest.mark.parametrize("fields", [{"enabled": False}, {"source": Source.OPERATOR}])
def test_only_the_environments_enabled_ollama_is_followed(
    ollama: FixedAnswers, fields: dict[str, Any]
) -> None:
    Provider.objects.update(**fields)
    assert refreshed() == ()


def test_names_that_no_row_may_bear_are_left_out(ollama: FixedAnswers) -> None:
    names = ["ok:latest", "bad\x00name", "a,b", "x" * 201, ""]
    ollama.routes["/api/tags"] = (200, {"models": [{"name": name} for name in names]})
    refreshed()
    assert enabled_models() == {"ok:latest"}


def test_adding_deploys_only_what_is_new_and_leaves_the_rest(
    server: FixedAnswers,
) -> None:
    row = provider(f"{server.url}/v1")
    mine = Model.objects.create(name="mine")
    Deployment.objects.create(
        model=mine, provider=row, upstream_model="gpt-4", weight=3
    )
    models = discovered(row)
    changes = discovery.add_discovered(row, models)
    assert changes.made == ("deployment o3 at p",)
    assert discovery.add_discovered(row, models).made == ()
    assert Deployment.objects.get(upstream_model="gpt-4").weight == 3
    assert Deployment.objects.get(upstream_model="o3").source == Source.OPERATOR


@contextmanager
def tls_server(folder: Path) -> Iterator[int]:
    """Listen with a certificate that nobody vouches for; gives the port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(folder))

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection, suppress(OSError):
            context.wrap_socket(connection, server_side=True).close()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        yield listener.getsockname()[1]
        thread.join()


def self_signed(folder: Path) -> Path:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "nobody")])
    now = timezone.now()
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    private = key.private_bytes(
        encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "server.pem"
    path.write_bytes(private + certificate.public_bytes(encoding))
    return path
