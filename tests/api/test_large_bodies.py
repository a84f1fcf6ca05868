"""What a worker keeps of large bodies: nothing, once they are answered."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import orjson
import pytest

from gateway.simulator import Behaviour
from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.client import Reply
from tests.upstreams.fixed_answers import fixed_answers
from tests.upstreams.simulators import running_simulator

MEBIBYTE = 1024 * 1024
PATH = "/v1/chat/completions"
MESSAGE = {"role": "assistant", "content": "A picture."}
AT_ONCE = 48
LATENCY_S = 0.5  # in which all of them reach the upstream
ANSWER = {"choices": [{"index": 0, "message": MESSAGE, "finish_reason": "stop"}]}
REJECTION = {"error": {"message": "No.", "code": "unsupported_parameter"}}


@pytest.fixture(scope="module")
def upstreams() -> Iterator[dict[str, list[str]]]:
    """Give the base addresses, in order, of each model."""
    routes = {PATH: (200, ANSWER), f"/no{PATH}": (400, REJECTION)}
    with (
        fixed_answers(routes) as fixed,
        running_simulator(behaviour=Behaviour(latency_s=LATENCY_S)) as slow,
    ):
        good, bad = f"{fixed.url}/v1", f"{fixed.url}/no/v1"
        yield {
            "answered": [good],
            "answered late": [slow.openai_url],
            "failed-over": [bad, good],
            "rejected": [bad],
        }


@pytest.fixture(scope="module")
def ask(gateway: Gateway, upstreams: dict[str, list[str]]) -> Callable[[str], Reply]:
    """Give what sends a chat of a mebibyte; its name says what becomes of it."""
    models = {name: fresh(name.replace(" ", "-")) for name in upstreams}
    for name, urls in upstreams.items():
        gateway.add_model(models[name], "failover")
        for priority, url in enumerate(urls):
            gateway.add_provider(
                fresh("provider"),
                "openai_compatible",
                url,
                models=[models[name]],
                deployment={"priority": priority},
            )
    gateway.apply()
    bodies = {name: large_chat(model) for name, model in models.items()}
    bodies["rejected stream"] = large_chat(models["rejected"], stream=True)
    bodies["unknown"] = large_chat("nobody-has-it")
    unread = {
        "no JSON": (PATH, {"content-type": "text/plain"}),
        "no method": ("/v1/models", {}),
    }

    def send(name: str) -> Reply:
        path, headers = unread.get(name, (PATH, {}))
        body = bodies.get(name, bodies["unknown"])
        return gateway.client.post(path, body, **headers)

    return send


def large_chat(model: str, *, stream: bool = False) -> bytes:
    messages = [{"role": "user", "content": "x" * MEBIBYTE}]
    return orjson.dumps({"model": model, "messages": messages, "stream": stream})


def resident_mib(gateway: Gateway) -> float:
    statm = Path(f"/proc/{gateway.processes[0].pid}/statm").read_text()
    return int(statm.split()[1]) * os.sysconf("SC_PAGE_SIZE") / MEBIBYTE


def forget_peak(gateway: Gateway) -> None:
    """Let the peak be counted from now on: proc_pid_clear_refs(5)."""
    Path(f"/proc/{gateway.processes[0].pid}/clear_refs").write_text("5")


def peak_mib(gateway: Gateway) -> float:
    status = Path(f"/proc/{gateway.processes[0].pid}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("answered", 200),
        ("failed-over", 200),
        ("rejected", 400),
        ("rejected stream", 400),
        ("unknown", 404),
        ("no JSON", 415),
        ("no method", 405),
    ],
)
def test_a_body_is_freed_with_its_request_and_waits_for_no_collector(
    gateway: Gateway, ask: Callable[[str], Reply], name: str, status: int
) -> None:
    assert ask(name).status == status
    before_mib = resident_mib(gateway)
    forget_peak(gateway)
    for _ in range(30):
        assert ask(name).status == status
    assert peak_mib(gateway) - before_mib < 20


def test_after_many_large_bodies_at_once_the_memory_is_given_back(
    gateway: Gateway, ask: Callable[[str], Reply]
) -> None:
    assert ask("answered").status == 200
    before_mib = resident_mib(gateway)
    forget_peak(gateway)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        replies = list(pool.map(ask, ["answered late"] * AT_ONCE * 2))
    assert {reply.status for reply in replies} == {200}
    assert peak_mib(gateway) - before_mib > 2 * AT_ONCE  # read, and written anew
    wait_until(
        lambda: resident_mib(gateway) - before_mib < AT_ONCE, "the memory is given back"
    )
