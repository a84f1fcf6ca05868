"""The ledger on real traffic: one row for every request that reached a provider."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator

import httpx
import pytest
from django.db.models import QuerySet, Sum

from gateway.kinds import PriceOrigin
from gateway.models import Deployment, UsageRecord, UsageRollup
from gateway.simulator import Behaviour
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.api.scenes import Stage
from tests.client import Reply, chat_body
from tests.upstreams.fixed_answers import fixed_answers
from tests.upstreams.simulators import RunningSimulator, running_simulator

CHAT = "/v1/chat/completions"
SLOW = Behaviour(tokens_per_s=20, answer_tokens=200)
PRICES = {"input_price_per_mtok_usd": "3", "output_price_per_mtok_usd": "15"}


@pytest.fixture(scope="module")
def sim() -> Iterator[RunningSimulator]:
    with running_simulator() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(start_gateway: Callable[..., Gateway]) -> Gateway:
    """Serve with a key and without: the first key closes no door here."""
    return start_gateway(AILB_AUTH="open")


def record_of(gateway: Gateway, reply: Reply) -> UsageRecord:
    """Wait for the row of an answer."""
    rows = gateway.rows(UsageRecord).filter(request_id=reply.headers["x-request-id"])
    wait_until(rows.exists, "the request is in the ledger")
    return rows.get()


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_booked_with_tokens_cost_and_times(
    gateway: Gateway, sim: RunningSimulator, *, stream: bool
) -> None:
    name = fresh("booked")
    gateway.add_provider(name, "openai", sim, models=[name], deployment=PRICES)
    gateway.apply()
    options = {"include_usage": True} if stream else None
    reply = gateway.client.chat(name, stream=stream, stream_options=options)
    usage = reply.chunks[-1]["usage"] if stream else reply.json["usage"]
    row = record_of(gateway, reply)
    assert (row.tenant, row.api_key) == ("anonymous", "")
    assert (row.model, row.provider, row.upstream_model) == (name, name, name)
    assert row.deployment_id == gateway.rows(Deployment).get(model__name=name).pk
    assert (row.operation, row.strategy, row.attempts) == ("chat", "load_balanced", 1)
    assert (row.status, row.code, row.fault_domain) == (200, "", "")
    assert (row.is_stream, row.is_partial, row.is_estimated) == (stream, False, False)
    assert (row.input_tokens, row.output_tokens) == (
        usage["prompt_tokens"],
        usage["completion_tokens"],
    )
    cost = row.input_tokens * 3_000 + row.output_tokens * 15_000
    assert (row.cost_nano_usd, row.price_origin) == (cost, PriceOrigin.ROW)
    assert row.duration_ms > 0
    assert (row.ttft_ms is not None) == stream
    assert row.tokens_per_s
    assert row.tokens_per_s > 0


def test_a_key_pays_for_what_it_asked(gateway: Gateway, sim: RunningSimulator) -> None:
    name = fresh("payer")
    gateway.add_provider(name, "openai", sim, models=[name], deployment=PRICES)
    gateway.apply()
    key = gateway.add_key(tenant=name)
    gateway.apply()
    body = chat_body(name, stream=False, text="hi")
    bearer = {"authorization": f"Bearer {key}"}
    wait_until(
        lambda: gateway.client.post(CHAT, body, **bearer).status == 200, "it serves"
    )
    rows = gateway.rows(UsageRecord).filter(tenant=name)
    wait_until(rows.exists, "the request is in the ledger")
    assert rows[0].api_key == key.split("_")[1]


def test_an_unknown_price_is_said_to_be_unknown(
    gateway: Gateway, sim: RunningSimulator
) -> None:
    name = fresh("unpriced")
    gateway.add_provider(name, "openai", sim, models=[name])
    gateway.apply()
    row = record_of(gateway, gateway.client.chat(name))
    assert (row.cost_nano_usd, row.price_origin) == (None, PriceOrigin.UNKNOWN)
    assert gateway.metric("ailb_unpriced_requests_total", model=name) == 1
    rollup = gateway.rows(UsageRollup).get(grain="day", model=name)
    assert (rollup.requests, rollup.unpriced_requests) == (1, 1)
    assert rollup.cost_nano_usd == 0


@pytest.mark.parametrize("stream", [False, True])
def test_failover_is_booked_once_at_who_answered(stage: Stage, *, stream: bool) -> None:
    scene = stage.scene()
    scene.script(a=["status:500"])
    reply = scene.ask(stream=stream)
    assert scene.served_by(reply) == "b"
    row = record_of(scene.gateway, reply)
    assert (row.attempts, row.provider) == (2, scene.provider("b"))


def test_what_all_providers_failed_is_booked_with_whose_fault_it_was(
    stage: Stage,
) -> None:
    scene = stage.scene()
    scene.script(a=["status:500"], b=["status:500"], c=["status:500"])
    reply = scene.ask(stream=False)
    row = record_of(scene.gateway, reply)
    assert (row.status, row.fault_domain, row.attempts) == (502, "provider", 3)
    assert (row.input_tokens, row.cost_nano_usd) == (0, 0)


def test_a_stream_that_breaks_off_is_booked_as_partial(stage: Stage) -> None:
    scene = stage.scene()
    scene.script(a=["die_after:3"])
    reply = scene.ask(stream=True)
    assert reply.error is not None
    row = record_of(scene.gateway, reply)
    assert (row.is_partial, row.is_estimated) == (True, True)
    assert row.output_tokens > 0


def test_who_is_refused_at_the_door_or_names_no_model_is_not_in_the_ledger(
    gateway: Gateway, sim: RunningSimulator
) -> None:
    name = fresh("served")
    gateway.add_provider(name, "openai", sim, models=[name])
    gateway.apply()
    refused = [gateway.client.chat("never-heard-of"), gateway.client.post(CHAT, b"{")]
    record_of(gateway, gateway.client.chat(name))
    ids = [reply.headers["x-request-id"] for reply in refused]
    assert not gateway.rows(UsageRecord).filter(request_id__in=ids).exists()


def test_a_client_that_leaves_is_booked_once(
    gateway: Gateway,
) -> None:
    name = fresh("leaver")
    with running_simulator(behaviour=SLOW) as sim:
        gateway.add_provider(name, "openai", sim, models=[name])
        gateway.apply()
        with gateway.client.streaming(name) as response:
            chunks = response.iter_raw()
            assert next(chunks)
            request_id = response.headers["x-request-id"]
        rows = gateway.rows(UsageRecord).filter(request_id=request_id)
        wait_until(rows.exists, "the request is in the ledger")
    row = rows.get()
    assert (row.status, row.fault_domain, row.is_partial) == (499, "caller", True)
    assert row.output_tokens > 0


def test_cached_tokens_of_anthropic_are_billed_in_their_own_buckets(
    gateway: Gateway,
) -> None:
    name = fresh("cached")
    usage = {
        "input_tokens": 100,
        "cache_read_input_tokens": 2_000,
        "cache_creation_input_tokens": 700,
        "cache_creation": {
            "ephemeral_5m_input_tokens": 500,
            "ephemeral_1h_input_tokens": 200,
        },
        "output_tokens": 10,
    }
    answer = {
        "id": "m", "type": "message", "role": "assistant", "model": "m",
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "end_turn", "stop_sequence": None, "usage": usage,
    }  # fmt: skip
    with fixed_answers({"/v1/messages": (200, answer)}) as listener:
        gateway.add_provider(
            name, "anthropic", listener.url, models=[name], deployment=PRICES
        )
        gateway.apply()
        reply = gateway.client.chat(name)
    row = record_of(gateway, reply)
    assert row.cache_read_tokens == 2_000
    assert (row.cache_write_tokens, row.cache_write_1h_tokens) == (500, 200)
    # 3 USD/Mtok: read at a tenth, written at 1.25 times and, for an hour, twice.
    dearly = 100 * 3_000 + 2_000 * 300 + 500 * 3_750 + 200 * 6_000 + 10 * 15_000
    assert row.cost_nano_usd == dearly
    assert reply.json["usage"]["prompt_tokens"] == 2_800


def test_a_request_id_of_the_client_may_repeat(
    gateway: Gateway, sim: RunningSimulator
) -> None:
    name = fresh("repeated")
    gateway.add_provider(name, "openai", sim, models=[name])
    gateway.apply()
    body = chat_body(name, stream=False, text="hi")
    for _ in range(3):
        gateway.client.post(CHAT, body, **{"x-request-id": name})
    rows = gateway.rows(UsageRecord).filter(request_id=name)
    wait_until(lambda: rows.count() == 3, "all three are in the ledger")


def test_what_was_answered_is_in_the_ledger_though_the_process_is_killed(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator
) -> None:
    gateway = start_gateway()
    gateway.add_provider("one", "openai", sim, models=["m"])
    gateway.apply()
    for _ in range(2):
        answered = answered_until_killed(gateway)
        assert len(answered) > 10
        gateway.processes.clear()
        gateway.start()
        rows = gateway.rows(UsageRecord).filter(request_id__in=answered)
        wait_for_rows(rows, len(answered))
    booked = gateway.rows(UsageRecord).count()
    rolled_up = gateway.rows(UsageRollup).filter(grain="hour")
    assert rolled_up.aggregate(n=Sum("requests"))["n"] == booked


def wait_for_rows(rows: QuerySet[UsageRecord], wanted: int) -> None:
    wait_until(lambda: rows.count() == wanted, "every answer is in the ledger once")


def answered_until_killed(gateway: Gateway) -> set[str]:
    """Ask from eight threads until the gateway is killed; give what was answered whole."""
    answered: set[str] = set()
    enough = threading.Event()

    def ask(stream: bool) -> None:
        body = chat_body("m", stream=stream, text="hi")
        try:
            with httpx.Client(base_url=gateway.url, trust_env=False) as client:
                while True:
                    reply = client.post(CHAT, json=body)
                    whole = not stream or reply.text.rstrip().endswith("[DONE]")
                    if reply.status_code == 200 and whole:
                        answered.add(reply.headers["x-request-id"])
                    if len(answered) > 100:
                        enough.set()
        except httpx.HTTPError:
            return

    threads = [
        threading.Thread(target=ask, args=(number % 2 == 1,)) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    assert enough.wait(30)
    for process in gateway.processes:
        process.send_signal(signal.SIGKILL)
        process.wait()
    # The listening socket is ours: nobody answers what still waits in it.
    for thread in threads:
        thread.join(30)
    return answered
