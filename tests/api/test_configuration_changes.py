"""Rows change while requests run: what is written serves soon, and nothing is lost."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connections

from gateway.models import Deployment, Model, Provider
from gateway.simulator import Behaviour
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.api.scenes import ANSWER, Stage, Upstreams
from tests.client import Client, Reply
from tests.upstreams.simulators import RunningSimulator, running_simulator

SOON_S = 2.0


class Load:
    """Closed-loop clients: each asks again as soon as it has its answer."""

    def __init__(self, gateway: Gateway, model: str, clients: int) -> None:
        self._gateway = gateway
        self._model = model
        self._stop = threading.Event()
        self.replies: list[Reply | Exception] = []
        self.threads = [
            threading.Thread(target=self._ask, args=(n % 2 == 0,), daemon=True)
            for n in range(clients)
        ]

    def _ask(self, stream: bool) -> None:
        client = Client(self._gateway.url)
        while not self._stop.is_set():
            try:
                reply: Reply | Exception = client.chat(self._model, stream=stream)
            except Exception as error:  # noqa: BLE001 - counted as a lost request
                reply = error
            self.replies.append(reply)
        client.close()

    def stop(self) -> None:
        self._stop.set()
        for thread in self.threads:
            thread.join()

    def more(self, number: int) -> None:
        """Let so many more requests be answered."""
        wanted = len(self.replies) + number
        wait_until(lambda: len(self.replies) >= wanted, f"{number} more requests")


@contextmanager
def under_load(gateway: Gateway, model: str, *, clients: int = 4) -> Iterator[Load]:
    """Keep clients asking until the block ends; then every one of them got an answer."""
    load = Load(gateway, model, clients)
    for thread in load.threads:
        thread.start()
    try:
        yield load
    finally:
        load.stop()
    lost = [
        reply
        for reply in load.replies
        if not isinstance(reply, Reply) or not reply.is_whole or reply.text != ANSWER
    ]
    assert lost == []


def test_changing_providers_under_load_loses_no_request(
    gateway: Gateway, upstreams: Upstreams
) -> None:
    model = fresh("busy")
    a, b, c = (upstreams[letter] for letter in "abc")
    for sim in (a, b, c):
        sim.plan.replace(())
    first = gateway.add_provider(fresh("first"), "openai", a, models=[model])
    gateway.apply()
    kept = gateway.rows(Provider).filter(id=first.id)

    def calls(sim: RunningSimulator) -> int:
        return sum(entry.model == model for entry in sim.calls)

    with under_load(gateway, model) as load:
        load.more(50)
        added = gateway.add_provider(fresh("added"), "ollama", b, models=[model])
        gateway.apply()
        wait_until(lambda: calls(b) > 0, "the added provider is asked")

        # Edited: another address, kind, credential and weight at once.
        rows = gateway.rows(Provider).filter(id=added.id)
        rows.update(kind="anthropic", base_url=c.url, credential="new", weight=3)
        gateway.apply()
        wait_until(lambda: calls(c) > 0, "the edited address is asked")
        load.more(20)  # those that were on their way to the old address
        before = calls(b)
        load.more(50)
        assert calls(b) == before

        kept.update(enabled=False)
        gateway.apply()
        load.more(20)
        before = calls(a)
        load.more(50)
        assert calls(a) == before, "a disabled provider is not asked"

        kept.update(enabled=True)
        gateway.apply()
        wait_until(lambda: calls(a) > before, "it is asked again")
        added.delete()
        gateway.apply()
        load.more(20)
        before = calls(c)
        load.more(50)
        assert calls(c) == before, "a deleted provider is not asked"
    assert len(load.replies) >= 300
    statuses = gateway.metric("ailb_requests_total", model=model, status="200")
    assert statuses == len(load.replies)


def test_a_stream_under_way_outlives_its_providers_row(gateway: Gateway) -> None:
    model = fresh("leaving")
    slow = Behaviour(answer_text=ANSWER, tokens_per_s=10)
    with running_simulator(behaviour=slow) as sim:
        provider = gateway.add_provider(fresh("p"), "openai", sim, models=[model])
        gateway.apply()
        with gateway.client.streaming(model) as response:
            blocks = response.iter_raw()
            body = next(blocks)
            provider.delete()
            gateway.apply()
            assert gateway.client.chat(model).code == "model_not_found"
            body += b"".join(blocks)
    reply = Reply(response.status_code, response.headers, body)
    assert reply.is_whole
    assert reply.text == ANSWER


# --- However a row is written ----------------------------------------------------------


def by_create(gateway: Gateway, url: str, model: str) -> None:
    row = gateway.rows(Model).create(name=model)
    provider = gateway.rows(Provider).create(
        name=fresh("p"), kind="openai", base_url=url
    )
    gateway.rows(Deployment).create(model=row, provider=provider, upstream_model=model)


def by_bulk_create(gateway: Gateway, url: str, model: str) -> None:
    (row,) = gateway.rows(Model).bulk_create([Model(name=model)])
    (provider,) = gateway.rows(Provider).bulk_create(
        [Provider(name=fresh("p"), kind="openai", base_url=url)]
    )
    gateway.rows(Deployment).bulk_create(
        [Deployment(model=row, provider=provider, upstream_model=model)]
    )


def by_update(gateway: Gateway, url: str, model: str) -> None:
    by_create(gateway, url, fresh("renamed"))
    gateway.apply()
    newest = gateway.rows(Model).order_by("-id")[0].id
    gateway.rows(Model).filter(id=newest).update(name=model)


def by_sql(gateway: Gateway, url: str, model: str) -> None:
    by_create(gateway, url, fresh("renamed"))
    gateway.apply()
    newest = gateway.rows(Model).order_by("-id")[0].id
    with connections[gateway.alias].cursor() as cursor:
        cursor.execute(
            "UPDATE gateway_model SET name = %s WHERE id = %s", [model, newest]
        )


def by_loaddata(gateway: Gateway, url: str, model: str) -> None:
    now = "2026-01-01T00:00:00Z"
    times = {"created_at": now, "updated_at": now}
    name = fresh("p")
    document = [
        {"model": "gateway.model", "pk": 9001, "fields": {"name": model, **times}},
        {
            "model": "gateway.provider",
            "pk": 9001,
            "fields": {"name": name, "kind": "openai", "base_url": url, **times},
        },
        {
            "model": "gateway.deployment",
            "pk": 9001,
            "fields": {
                "model": 9001,
                "provider": 9001,
                "upstream_model": model,
                **times,
            },
        },
    ]
    path: Path = gateway.data_dir / "rows.json"
    path.write_text(json.dumps(document))
    call_command("loaddata", str(path), database=gateway.alias, verbosity=0)


@pytest.mark.parametrize(
    "write", [by_create, by_bulk_create, by_update, by_sql, by_loaddata]
)
def test_however_a_row_is_written_it_serves_within_two_seconds(
    gateway: Gateway,
    upstreams: Upstreams,
    write: Callable[[Gateway, str, str], None],
) -> None:
    model, sim = fresh("written"), upstreams["a"]
    sim.plan.replace(())
    assert gateway.client.chat(model).code == "model_not_found"
    write(gateway, sim.openai_url, model)
    gateway.apply(limit_s=SOON_S)
    assert gateway.client.chat(model).text == ANSWER
    listed = gateway.client.get("/v1/models").json["data"]
    assert model in {entry["id"] for entry in listed}
    gateway.rows(Model).filter(name=model).delete()
    gateway.apply(limit_s=SOON_S)
    assert gateway.client.chat(model).code == "model_not_found"


# --- Bad sets --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "fields", "named"),
    [
        (Provider, {"kind": "klingon"}, "klingon"),
        (Provider, {"base_url": "http://169.254.169.254/v1"}, "base_url"),
        (Provider, {"base_url": "http://["}, "base_url"),
        (Provider, {"extra_headers": ["x"]}, "extra_headers"),
        (Provider, {"extra_headers": {"x": 5}}, "extra_headers"),
        (Model, {"fallbacks": {"no": "list"}}, "fallbacks"),
        (Model, {"defaults": [1]}, "defaults"),
        (Deployment, {"capabilities": ["tools"]}, "capabilities"),
        (Deployment, {"options": "none"}, "options"),
    ],
)
def test_a_bad_set_of_rows_keeps_the_old_one_serving_and_says_so(
    gateway: Gateway,
    stage: Stage,
    changed: type[Provider] | type[Model] | type[Deployment],
    fields: Mapping[str, Any],
    named: str,
) -> None:
    scene = stage.scene()
    served = gateway.apply()
    row = {
        Provider: {"name": scene.provider("a")},
        Model: {"name": scene.solo},
        Deployment: {"model__name": scene.solo},
    }[changed]
    rows = gateway.rows(changed).filter(**row)
    before = rows.values(*fields).get()
    rows.update(**fields)
    try:
        wait_until(lambda: gateway.metric("ailb_config_refused") == 1, "it is refused")
        assert gateway.serving_revision() == served
        assert scene.ask_solo(stream=False).text == ANSWER
        ready = gateway.client.get("/readyz")
        assert ready.status == 200
        assert named in ready.json["problem"]
        health = gateway.client.get("/healthz")
        assert health.status == 200
        assert health.json["status"] == "degraded"
    finally:
        rows.update(**before)
        gateway.apply()
    assert gateway.metric("ailb_config_refused") == 0
    assert gateway.client.get("/readyz").json["problem"] is None
