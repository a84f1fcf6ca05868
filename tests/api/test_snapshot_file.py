"""The last-good file: the gateway starts and serves while its database is away."""

from __future__ import annotations

import sqlite3
import stat
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

import pytest
from django.db.models import F

from gateway.crypto import MARK, mint_api_key, new_encryption_key
from gateway.models import Provider
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.api.scenes import ANSWER, Upstreams

CANARY = "sk-canary-3f9a1c"
StartGateway = Callable[..., Gateway]


@pytest.fixture(scope="module")
def own(start_gateway: StartGateway, upstreams: Upstreams) -> Gateway:
    """Start a gateway with one model `m`, whose provider has a secret."""
    gateway = start_gateway()
    gateway.add_provider("p", "openai", upstreams["a"], models=["m"], credential=CANARY)
    gateway.apply()
    return gateway


@pytest.fixture(autouse=True)
def clean(upstreams: Upstreams) -> None:
    upstreams["a"].plan.replace(())


def test_the_file_is_for_its_owner_only_and_holds_no_secret(own: Gateway) -> None:
    assert own.client.chat("m").text == ANSWER
    path = own.data_dir / "snapshot.json"
    wait_until(path.exists, "the file is written")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    kept = path.read_bytes()
    assert MARK.encode() in kept, "the ciphertext is kept, or nothing could be served"
    beside = [p for p in own.data_dir.iterdir() if p.name.startswith(".snapshot")]
    assert beside == [], "no draft stays behind"


def test_the_secret_is_nowhere_but_on_the_wire(
    own: Gateway, upstreams: Upstreams
) -> None:
    sim = upstreams["a"]
    sim.plan.replace([f"status:401:message=Incorrect API key {CANARY}"])
    answers = [
        own.client.chat("m"),
        own.client.get("/healthz"),
        own.client.get("/metrics"),
        own.client.get("/api/routing/stats"),
        own.client.get("/v1/models"),
    ]
    assert sim.calls[-1].has_authorization
    assert all(CANARY.encode() not in answer.body for answer in answers)
    own.let_go()
    files = [p for p in own.data_dir.rglob("*") if p.is_file()]
    assert own.database in files
    assert [p for p in files if CANARY.encode() in p.read_bytes()] == []
    provider = own.rows(Provider).get(name="p")
    assert CANARY not in repr(provider.credential) + str(vars(provider))
    own.rows(Provider).update(credential=f"{CANARY}-2")  # forgets the refusal
    own.apply()


@contextmanager
def database_missing(gateway: Gateway) -> Iterator[None]:
    gateway.let_go()
    aside = gateway.data_dir / "aside"
    gateway.database.rename(aside)
    yield
    for path in gateway.data_dir.glob("ailb.sqlite3*"):
        path.unlink()
    aside.rename(gateway.database)


@contextmanager
def database_corrupt(gateway: Gateway) -> Iterator[None]:
    with database_missing(gateway):
        gateway.database.write_bytes(b"This is no database. " * 1000)
        yield


@contextmanager
def database_is_a_folder(gateway: Gateway) -> Iterator[None]:
    with database_missing(gateway):
        gateway.database.mkdir()
        yield
        gateway.database.rmdir()


@contextmanager
def database_locked(gateway: Gateway) -> Iterator[None]:
    """Keep readers out, too: without this mode only writers would have to wait."""
    gateway.let_go()
    holder = sqlite3.connect(gateway.database, isolation_level=None)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN EXCLUSIVE")
    try:
        yield
    finally:
        holder.close()


def test_the_database_may_go_and_come_back_while_it_serves(own: Gateway) -> None:
    own.apply()
    holder = sqlite3.connect(own.database, isolation_level=None)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        for _ in range(20):
            assert own.client.chat("m").text == ANSWER
    finally:
        holder.close()
    own.rows(Provider).update(weight=5)
    own.apply()


@pytest.mark.parametrize(
    "outage",
    [database_missing, database_corrupt, database_is_a_folder, database_locked],
)
def test_it_starts_and_serves_without_its_database_and_takes_it_back(
    own: Gateway, outage: Callable[[Gateway], AbstractContextManager[None]]
) -> None:
    own.apply()
    served = own.serving_revision()
    assert own.stop() == {0}
    with outage(own):
        own.start()
        assert own.client.chat("m").text == ANSWER
        assert own.client.chat("m", stream=True).is_whole
        ready = own.client.get("/readyz")
        assert ready.status == 200, "an outage must not empty the pool"
        assert ready.json["database"] == "away"
        assert own.serving_revision() == served
        assert own.client.get("/healthz").json["status"] == "degraded"
        assert own.client.get("/metrics").status == 200
    wait_until(
        lambda: own.client.get("/readyz").json["database"] == "up",
        "the database is back",
        limit_s=30,
    )
    own.rows(Provider).update(weight=F("weight") + 1)
    own.apply()
    assert own.client.chat("m").text == ANSWER


def test_without_database_and_file_it_lives_and_says_that_it_is_not_ready(
    start_gateway: StartGateway,
) -> None:
    gateway = start_gateway()
    gateway.stop()
    (gateway.data_dir / "snapshot.json").unlink()
    gateway.database.write_bytes(b"This is no database. " * 1000)
    gateway.start()
    assert gateway.client.get("/livez").status == 200
    assert gateway.client.get("/readyz").status == 503
    assert gateway.client.get("/healthz").status == 503
    reply = gateway.client.chat("m")
    assert (reply.status, reply.code) == (503, "not_ready")
    assert gateway.client.get("/v1/models").status == 503
    assert gateway.stop() == {0}


def test_a_credential_that_cannot_be_read_is_never_sent(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway, sim = start_gateway(), upstreams["b"]
    sim.plan.replace(())
    model, both = fresh("m"), fresh("both")
    gateway.add_provider("lost", "openai", sim, models=[model, both], credential=CANARY)
    gateway.add_provider("open", "openai", upstreams["a"], models=[both])
    gateway.apply()
    assert gateway.client.chat(model).text == ANSWER
    calls = len(sim.calls)
    gateway.restart(AILB_ENCRYPTION_KEYS=new_encryption_key())
    reply = gateway.client.chat(model)
    assert (reply.status, reply.code) == (502, "upstream_credentials_exhausted")
    for _ in range(5):
        assert gateway.client.chat(both).headers["x-ailb-provider"] == "open"
    assert len(sim.calls) == calls, "the provider is not called at all"
    health = gateway.client.get("/healthz").json
    assert health["status"] == "degraded"
    assert health["providers"] == {"lost": "unhealthy", "open": "healthy"}


def test_without_its_database_it_knows_its_keys_for_a_while_and_calls_none_wrong(
    start_gateway: StartGateway, upstreams: Upstreams
) -> None:
    gateway = start_gateway(AILB_AUTH="required", AILB_STALE_MAX_S="3")
    gateway.add_provider("p", "openai", upstreams["a"], models=["m"])
    key = gateway.add_key()
    gateway.apply()
    wait_until((gateway.data_dir / "snapshot.json").exists, "the file is written")

    def ask(token: str) -> tuple[int, str | None]:
        reply = gateway.client.get("/v1/models", authorization=f"Bearer {token}")
        return reply.status, reply.code

    gateway.stop()
    with database_missing(gateway):
        gateway.start()
        assert ask(key) == (200, None)
        assert ask(mint_api_key()) == (503, "key_uncheckable")
        assert ask("ailb_of_a_wrong_checksum") == (401, "invalid_api_key")
        wait_until(
            lambda: ask(key) == (503, "key_uncheckable"),
            "the key may be revoked by now",
        )
        gateway.let_go()
    wait_until(lambda: ask(key) == (200, None), "the database is back")
    assert ask(mint_api_key()) == (401, "invalid_api_key")
