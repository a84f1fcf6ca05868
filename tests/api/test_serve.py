"""`manage.py serve` as its users meet it: one command, one screen, one clean stop."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.api.admin_session import AdminSession
from tests.api.gateway_process import wait_until
from tests.api.serve_process import Serve, chroma_pid, serving, survivors
from tests.postgresql import empty_database
from tests.upstreams.simulators import RunningSimulator, running_simulator

SERVES_WITHIN_S = 2.0
KEYS = {"openai": "sk-openai-key", "anthropic": "sk-anthropic-key"}
PASSWORD = "a-long-password-of-the-operator"
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}},
            },
        },
    }
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    return tmp_path_factory.mktemp


# --- With nothing configured ----------------------------------------------------------------


@pytest.fixture(scope="module")
def bare(folder: Callable[[str], Path]) -> Iterator[Serve]:
    """Start for the first time, with nothing set but the port: everything runs."""
    with serving(folder("bare"), ENABLE_MEMORY="") as serve:
        yield serve


def test_a_bare_start_answers_the_readmes_curl_and_says_it_is_simulated(
    bare: Serve,
) -> None:
    body = b'{"model": "auto", "messages": [{"role": "user", "content": "Hello"}]}'
    reply = bare.client.post("/v1/chat/completions", body)
    assert reply.status == 200
    assert "simulated" in reply.text
    assert reply.text.endswith("Hello")
    assert reply.headers["x-ailb-simulated"] == "true"
    stream = bare.client.chat("auto", stream=True)
    assert stream.is_whole
    assert stream.headers["x-ailb-simulated"] == "true"
    assert bare.client.get("/healthz").json["simulated"] is True


def test_every_simulated_model_answers_and_embeds(bare: Serve) -> None:
    names = [model["id"] for model in bare.client.get("/v1/models").json["data"]]
    assert {"auto", "gpt-4", "claude-3-opus-20240229", "llama3"} <= set(names)
    for name in names:
        if "embedding" not in name:
            assert bare.client.chat(name).status == 200, name
    embedded = {"model": "text-embedding-3-small", "input": "hello"}
    assert bare.client.post("/v1/embeddings", embedded).status == 200


def test_the_screen_tells_where_who_and_what(bare: Serve) -> None:
    screen = bare.screen
    for shown in (f"{bare.url}/v1", f"{bare.url}/admin/", f"{bare.url}/docs",
                  "without a key", "load_balanced", "simulator-openai", "made up"):  # fmt: skip
        assert shown in screen
    assert len(screen.splitlines()) <= 24
    assert bare.client.get("/readyz").status == 200
    stats = bare.client.get("/api/routing/stats").json
    assert stats["routing_strategy"] == "load_balanced"


def test_the_first_password_opens_the_admin_and_is_not_shown_again(
    bare: Serve, folder: Callable[[str], Path]
) -> None:
    password = bare.shown(r"user admin, password (\S+)")
    assert password
    assert AdminSession(bare.url).login("admin", password)
    assert not AdminSession(bare.url).login("admin", "wrong")
    assert password not in bare.log_text()
    secrets = [p for p in (bare.data_dir / "secrets").iterdir() if p.is_file()]
    assert secrets
    assert {p.stat().st_mode & 0o777 for p in secrets} == {0o600}
    assert bare.stop(signal.SIGINT) == 0  # to it alone
    bare.start()
    assert bare.shown("password") is None
    assert password not in bare.screen
    assert bare.client.chat("auto").status == 200
    assert bare.stop(signal.SIGINT, group=True) == 0
    assert survivors(bare.data_dir) == []


# --- With the three vendors in the environment ---------------------------------------------

ENV_MODELS = {"gpt-4", "gpt-4o", "claude-3-opus-20240229"}
OLLAMA_MODELS = {
    "llama3:latest",
    "mistral:latest",
}  # as it lists them; the tag may be left out
BY_KIND = {"openai": "gpt-4", "anthropic": "claude-3-opus-20240229", "ollama": "llama3"}


@dataclass(frozen=True, slots=True)
class Place:
    """A serve with two workers, and the vendors that its environment names."""

    serve: Serve
    sims: dict[str, RunningSimulator]

    def script(self, **plans: str) -> None:
        for kind, sim in self.sims.items():
            steps = [plans[kind]] if kind in plans else []
            sim.plan.replace(steps, repeat=True)

    def rows_script(self, name: str) -> str:
        """Write a Python program that makes a provider, a model and a deployment."""
        url = self.sims["openai"].openai_url
        return (
            "from gateway.models import Deployment, Model, Provider\n"
            f"p = Provider.objects.create(name={name!r}, kind='openai', base_url={url!r},"
            f" credential={KEYS['openai']!r})\n"
            f"m = Model.objects.create(name={name!r})\n"
            f"Deployment.objects.create(model=m, provider=p, upstream_model={name!r})\n"
        )


@pytest.fixture(scope="module")
def place(folder: Callable[[str], Path], database_template: Path) -> Iterator[Place]:
    with ExitStack() as stack:
        sims = {
            "openai": stack.enter_context(running_simulator(api_key=KEYS["openai"])),
            "anthropic": stack.enter_context(
                running_simulator(api_key=KEYS["anthropic"])
            ),
            "ollama": stack.enter_context(
                running_simulator(models=["llama3", "mistral"])
            ),
        }
        serve = stack.enter_context(
            serving(
                folder("vendors"),
                database_template,
                OPENAI_API_KEY=KEYS["openai"],
                OPENAI_BASE_URL=sims["openai"].openai_url,
                OPENAI_MODELS="gpt-4,gpt-4o",
                ANTHROPIC_API_KEY=KEYS["anthropic"],
                ANTHROPIC_BASE_URL=sims["anthropic"].url,
                ANTHROPIC_MODELS="claude-3-opus-20240229",
                OLLAMA_BASE_URL=sims["ollama"].url,
                AILB_FALLBACKS="gpt-4o=claude-3-opus-20240229,llama3",
                ROUTING_STRATEGY="failover",
                AILB_WORKERS="2",
                AILB_ADMIN_PASSWORD=PASSWORD,
            )
        )
        yield Place(serve, sims)


def test_the_environments_and_the_discovered_models_are_listed(place: Place) -> None:
    listed = place.serve.client.get("/v1/models").json["data"]
    owners = {model["id"]: model["owned_by"] for model in listed}
    assert set(owners) == {"auto", *ENV_MODELS, *OLLAMA_MODELS}
    assert (owners["gpt-4"], owners["mistral:latest"]) == ("openai", "ollama")
    for name in (
        "openai",
        "anthropic",
        "ollama",
        "2 workers",
        "failover",
        *BY_KIND.values(),
    ):
        assert name in place.serve.screen
    assert PASSWORD not in place.serve.screen
    for key in (*KEYS.values(), PASSWORD):
        assert key not in place.serve.log_text() + place.serve.screen


def test_without_memory_no_vector_store_runs(place: Place) -> None:
    assert place.serve.shown("Vectors +(.+)") == (
        "off (ENABLE_MEMORY=false, ENABLE_RAG=false)"
    )
    assert chroma_pid(place.serve) is None
    assert not (place.serve.data_dir / "chroma").exists()


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
@pytest.mark.parametrize("kind", BY_KIND)
def test_each_vendor_of_the_environment_serves_with_tools(
    place: Place, kind: str, stream: bool
) -> None:
    place.script()
    client, model = place.serve.client, BY_KIND[kind]
    reply = client.chat(model, stream=stream, text="Say hello")
    assert reply.is_whole
    assert reply.text.endswith("Say hello")
    assert reply.headers["x-ailb-provider"] == kind
    assert "x-ailb-simulated" not in reply.headers  # the environment names real vendors
    called = client.chat(model, stream=stream, text="get_weather", tools=TOOLS)
    assert called.is_whole
    assert b"get_weather" in called.body
    assert b"tool_calls" in called.body


def test_auto_fails_over_between_the_vendors(place: Place) -> None:
    asked = []
    for failing in ((), ("openai",), ("openai", "anthropic")):
        place.script(**dict.fromkeys(failing, "status:503"))
        reply = place.serve.chat_once("auto")
        assert reply.status == 200
        asked.append(reply.headers["x-ailb-provider"])
        assert reply.headers["x-ailb-provider"] not in failing
    assert len(set(asked)) >= 2


def test_fallbacks_fail_over_between_the_vendors_models(place: Place) -> None:
    served = []
    for failing in ((), ("openai",), ("openai", "anthropic")):
        place.script(**dict.fromkeys(failing, "status:500"))
        for stream in (False, True):
            reply = place.serve.client.chat("gpt-4o", stream=stream)
            assert reply.is_whole, reply.body
            served.append(reply.headers["x-ailb-provider"])
    assert served == ["openai"] * 2 + ["anthropic"] * 2 + ["ollama"] * 2
    place.script()


def test_figures_are_summed_over_the_workers(place: Place) -> None:
    place.script()
    serve = place.serve
    assert len(serve.worker_pids()) == 2
    metric = metric_of(serve)
    for _ in range(24):
        assert serve.chat_once("mistral").status == 200
    assert metric_of(serve) - metric == 24
    asked = [call for call in place.sims["ollama"].calls if call.path == "/api/chat"]
    wait_until(
        lambda: requests_of(serve, "ollama") == len(asked),
        "the stats of both workers count what the vendor was asked",
    )
    assert serve.client.get("/api/routing/stats").json["workers"] == 2


def requests_of(serve: Serve, provider: str) -> int:
    stats = serve.client.get("/api/routing/stats").json["provider_stats"]
    return int(stats[provider]["total_requests"])


def metric_of(serve: Serve) -> float:
    lines = serve.client.get("/metrics").body.decode().splitlines()
    return sum(
        float(line.rpartition(" ")[2])
        for line in lines
        if line.startswith("ailb_requests_total") and 'model="mistral' in line
    )


# Each way to write rows --------------------------------------------------------------------


def assert_serves(
    serve: Serve, model: str, *, limit_s: float = SERVES_WITHIN_S
) -> None:
    """Every worker answers for the model within the limit."""
    wait_until(
        lambda: all(serve.chat_once(model).status == 200 for _ in range(6)),
        f"{model} serves",
        limit_s=limit_s,
    )


def test_rows_written_in_a_shell_serve(place: Place) -> None:
    place.script()
    place.serve.run("shell", "-c", place.rows_script("by-shell"))
    assert_serves(place.serve, "by-shell")


def test_rows_of_a_fixture_serve(place: Place) -> None:
    place.script()
    url = place.sims["openai"].openai_url
    rows: list[dict[str, Any]] = [
        {"model": "gateway.provider", "pk": 900, "fields": {"name": "loaded", "kind": "openai", "base_url": url, "credential": KEYS["openai"]}},
        {"model": "gateway.model", "pk": 900, "fields": {"name": "by-loaddata"}},
        {"model": "gateway.deployment", "pk": 900, "fields": {"model": 900, "provider": 900, "upstream_model": "by-loaddata"}},
    ]  # fmt: skip
    file = place.serve.data_dir / "rows.json"
    file.write_text(json.dumps(rows))
    place.serve.run("loaddata", str(file))
    assert_serves(place.serve, "by-loaddata")


def test_rows_written_in_the_admin_serve_and_go(place: Place) -> None:
    place.script()
    admin = AdminSession(place.serve.url)
    assert admin.login("admin", PASSWORD)
    admin.add("gateway/provider", name="clicked", kind="openai",
              base_url=place.sims["openai"].openai_url, credential=KEYS["openai"])  # fmt: skip
    admin.add("gateway/model", name="by-admin")
    model, provider = (
        admin.id_of(f"gateway/{table}", name)
        for table, name in (("model", "by-admin"), ("provider", "clicked"))
    )
    admin.add("gateway/deployment", model=model, provider=provider, upstream_model="x")  # fmt: skip
    assert_serves(place.serve, "by-admin")
    assert KEYS["openai"] not in admin.page(f"gateway/provider/{provider}/change/")


# Losing a worker ----------------------------------------------------------------------------


def test_a_killed_worker_fails_no_later_request_and_is_replaced(place: Place) -> None:
    place.script()
    serve = place.serve
    first = serve.worker_pids()
    lost = min(first)
    os.kill(lost, signal.SIGKILL)
    for _ in range(30):
        assert serve.chat_once("gpt-4").status == 200
    wait_until(
        lambda: len(serve.worker_pids() - {lost}) == 2, "another worker is started"
    )
    wait_until(
        lambda: serve.client.get("/api/routing/stats").json["workers"] == 2,
        "the new worker reports",
    )
    assert serve.chat_once("gpt-4").status == 200


def test_sigterm_to_the_whole_group_ends_with_0(place: Place) -> None:
    # The last of this place: what its folder keeps serves the tests below.
    assert place.serve.stop(signal.SIGTERM, group=True) == 0
    assert (place.serve.data_dir / "snapshot.json").exists()


# --- With the database away ------------------------------------------------------------------


@pytest.fixture(scope="module")
def away(folder: Callable[[str], Path], place: Place) -> Iterator[tuple[Serve, Serve]]:
    """Two starts without a database: one with a kept configuration, one without."""
    kept = folder("kept")
    source = place.serve.data_dir
    if place.serve.process is not None and place.serve.process.poll() is None:
        place.serve.stop()
    shutil.copytree(source / "secrets", kept / "secrets")
    shutil.copyfile(source / "snapshot.json", kept / "snapshot.json")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound but not listening: it refuses
        url = f"postgresql://postgres@127.0.0.1:{closed.getsockname()[1]}/ailb"
        with ExitStack() as stack:
            place.script()
            both = [
                Serve(kept, {"DATABASE_URL": url}),
                Serve(folder("empty"), {"DATABASE_URL": url}),
            ]
            for serve in both:
                stack.callback(serve.close)
                serve.begin()
            for serve in both:
                serve.wait_ready()
            yield both[0], both[1]


def test_with_the_database_away_the_kept_configuration_serves(
    away: tuple[Serve, Serve],
) -> None:
    kept, _ = away
    for model in BY_KIND.values():
        for stream in (False, True):
            assert kept.client.chat(model, stream=stream).is_whole
    assert kept.client.get("/readyz").status == 200
    health = kept.client.get("/healthz").json
    assert health["database"] == "away"
    assert "database cannot be reached" in kept.screen


def test_without_anything_kept_it_answers_503_and_stays(
    away: tuple[Serve, Serve],
) -> None:
    _, empty = away
    reply = empty.client.chat("gpt-4")
    assert (reply.status, reply.code) == (503, "not_ready")
    assert empty.client.get("/readyz").status == 503
    assert empty.client.get("/healthz").status == 503
    assert empty.client.get("/livez").status == 200
    assert empty.process is not None
    assert empty.process.poll() is None
    assert empty.stop() == 0


# --- On PostgreSQL ---------------------------------------------------------------------------


@pytest.fixture
def postgres_url() -> Iterator[str]:
    with empty_database() as url:
        yield url


def test_the_whole_flow_works_on_postgresql(
    place: Place, postgres_url: str, folder: Callable[[str], Path]
) -> None:
    place.script()
    variables = {
        "DATABASE_URL": f"{postgres_url}?application_name=ailb",
        "OPENAI_API_KEY": KEYS["openai"],
        "OPENAI_BASE_URL": place.sims["openai"].openai_url,
        "AILB_ADMIN_PASSWORD": PASSWORD,
        "ROUTING_STRATEGY": "cost_optimized",
    }
    with serving(folder("postgres"), **variables) as serve:
        for stream in (False, True):
            reply = serve.client.chat("gpt-4", stream=stream)
            assert reply.is_whole
            assert reply.headers["x-ailb-strategy"] == "cost_optimized"
        assert serve.client.get("/healthz").json["database"] == "up"
        assert AdminSession(serve.url).login("admin", PASSWORD)
        serve.run("shell", "-c", place.rows_script("in-postgres"))
        assert_serves(serve, "in-postgres")
        assert not (serve.data_dir / "ailb.sqlite3").exists()
        assert serve.stop() == 0


# --- Off loopback ----------------------------------------------------------------------------


def test_off_loopback_nothing_is_served_without_the_key_that_the_start_prints(
    folder: Callable[[str], Path], database_template: Path
) -> None:
    wide = {"HOST": "0.0.0.0", "ROUTING_STRATEGY": "latency_optimized"}
    with serving(folder("wide"), database_template, **wide) as serve:
        key = serve.shown(r"API key +(\S+)   \(shown once\)")
        assert key
        assert "every request needs an API key" in serve.screen
        right = f"Bearer {key}"
        for path in ("/v1/models", "/api/routing/stats"):
            assert serve.client.get(path).status == 401
            assert serve.client.get(path, authorization=f"{right}x").status == 401
            assert serve.client.get(path, authorization=right).status == 200
        stats = serve.client.get("/api/routing/stats", authorization=right).json
        assert stats["routing_strategy"] == "latency_optimized"
        assert serve.client.chat("auto").status == 401
        assert serve.client.get("/readyz").status == 200
        assert key not in serve.log_text()
        assert serve.client.get("/v1/models", authorization=f"Bearer {key}").json["data"] == []  # fmt: skip
        assert all(
            key.encode() not in file.read_bytes()
            for file in serve.data_dir.rglob("*")
            if file.is_file() and file.name != "screen"
        )
        assert serve.stop() == 0
