"""Nothing secret in any sink: logs, metrics, errors, exports, files, answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from gateway.crypto import mint_api_key
from gateway.kinds import Right
from gateway.models import ApiKey, Budget, Limit, UsageRecord
from gateway.simulator import Behaviour
from tests.api.gateway_process import Gateway, wait_until
from tests.api.management import KINDS
from tests.api.vendors import KINDS as VENDORS
from tests.client import chat_body
from tests.upstreams.simulators import running_simulator

CHAT = "/v1/chat/completions"
CREDENTIAL = "sk-canary-credential-of-the-provider"
PROMPT = "canary-prompt-of-the-client"
ANSWER = "canary-answer-of-the-model"
WRONG_KEY = "sk-canary-wrong-key-of-a-stranger"
REQUESTED = 40


@pytest.fixture(scope="module")
def exercised(start_gateway: Callable[..., Gateway]) -> Iterator[tuple[Gateway, str]]:
    """Give a gateway after all kinds of success and failure, and a key that manages."""
    gateway = start_gateway(AILB_AUTH="required", AILB_LOG_LEVEL="debug")
    key = gateway.add_key(name="exercised", rights=[right.value for right in Right])
    row = gateway.rows(ApiKey).get()
    gateway.rows(Limit).create(api_key=row, amount=REQUESTED, window="hour")
    gateway.rows(Budget).create(api_key=row, amount_usd=1_000)
    behaviour = Behaviour(answer_text=ANSWER)
    with running_simulator(behaviour=behaviour) as sim:
        for kind in VENDORS:
            for name in (kind, f"failing-{kind}"):
                gateway.add_provider(
                    name, kind, sim, models=[name], credential=CREDENTIAL
                )
        gateway.apply()
        for kind in VENDORS:
            sim.plan.replace(
                ["ok", "status:400", "status:401", "status:500", "garbage"]
            )
            for number in range(10):
                ask(gateway, key, f"failing-{kind}", stream=number % 2 == 1)
            sim.plan.replace(["die_after:2"])
            ask(gateway, key, kind, stream=True)
            sim.plan.replace([])
        for number in range(REQUESTED):  # until the limit is reached
            ask(gateway, key, "openai", stream=number % 2 == 1)
        ask(gateway, WRONG_KEY, "openai", stream=False)
        wait_until(gateway.rows(UsageRecord).exists, "usage is in the ledger")
        yield gateway, key


def ask(gateway: Gateway, key: str, model: str, *, stream: bool) -> bytes:
    body = chat_body(model, stream=stream, text=PROMPT)
    reply = gateway.client.post(CHAT, body, authorization=f"Bearer {key}")
    return reply.body + str(reply.headers).encode()


def answers(gateway: Gateway, key: str) -> Iterator[tuple[str, bytes]]:
    """Give everything that is not a model's answer."""
    bearer = {"authorization": f"Bearer {key}"}
    paths = ["/metrics", "/healthz", "/readyz", "/v1/models", "/api/routing/stats"]
    paths += [f"/api/{kind}" for kind in KINDS]
    paths += [
        "/api/usage?group_by=key,model",
        "/api/usage?format=csv",
        "/api/usage/records",
        "/api/usage/records?format=csv",
    ]
    for path in paths:
        reply = gateway.client.get(path, **bearer)
        assert reply.status in {200, 503}, (path, reply.body)
        yield path, reply.body
    for model in ("never-heard-of", "openai"):
        yield f"refusal of {model}", ask(gateway, key, model, stream=False)
    yield "wrong key", ask(gateway, WRONG_KEY, "openai", stream=False)


def files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Give every file of the data directory: the log, too."""
    for path in folder.rglob("*"):
        if path.is_file():
            yield path.name, path.read_bytes()


def test_no_secret_and_no_word_of_a_conversation_is_in_any_sink(
    exercised: tuple[Gateway, str],
) -> None:
    gateway, key = exercised
    sinks = [*answers(gateway, key), *files(gateway.data_dir)]
    names = {name for name, _ in sinks}
    assert {"log", "ailb.sqlite3", "snapshot.json", "/metrics"} <= names
    secrets = {
        "the key": key,
        "the key's secret": key.rpartition("_")[2][:20],
        "a wrong key": WRONG_KEY,
        "the credential": CREDENTIAL,
        "the prompt": PROMPT,
        "the answer": ANSWER,
    }
    found = [
        f"{what} in {name}"
        for name, data in sinks
        for what, secret in secrets.items()
        if secret.encode() in data
    ]
    assert found == []


def test_the_digest_of_a_key_leaves_the_gateway_nowhere(
    exercised: tuple[Gateway, str],
) -> None:
    gateway, key = exercised
    digest = gateway.rows(ApiKey).get(name="exercised").digest
    shown = [name for name, data in answers(gateway, key) if digest.encode() in data]
    assert shown == []
    assert digest not in gateway.log_text()


def test_a_body_never_sets_what_a_request_costs(
    exercised: tuple[Gateway, str],
) -> None:
    gateway, _ = exercised
    key = gateway.add_key()
    gateway.apply()
    body = {
        **chat_body("openai", stream=False, text=PROMPT),
        "input_price_per_mtok_usd": 0,
        "cost": 0,
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
        "tenant": "another",
        "metadata": {"api_key": mint_api_key()},
    }
    reply = gateway.client.post(CHAT, body, authorization=f"Bearer {key}")
    assert reply.status == 200
    rows = gateway.rows(UsageRecord).filter(request_id=reply.headers["x-request-id"])
    wait_until(rows.exists, "the request is in the ledger")
    assert rows.get().tenant == "default"
    assert rows.get().input_tokens == reply.json["usage"]["prompt_tokens"] > 0
