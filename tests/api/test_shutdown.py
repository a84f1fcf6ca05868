"""The gateway's stop, as a client sees it: streams end well, or with one error event."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator

import pytest

from gateway.simulator import Behaviour
from tests.api.gateway_process import Gateway, fresh
from tests.upstreams.simulators import RunningSimulator, running_simulator

WORDS = "one two three four five six seven eight nine ten"


@pytest.fixture
def paced() -> Iterator[RunningSimulator]:
    """Run an upstream that takes about a second for its answer."""
    behaviour = Behaviour(answer_text=WORDS, tokens_per_s=12)
    with running_simulator(behaviour=behaviour) as sim:
        yield sim


def serving(
    start_gateway: Callable[..., Gateway], sim: RunningSimulator, drain_timeout_s: float
) -> tuple[Gateway, str]:
    """Start a gateway with one model, at that upstream."""
    gateway, model = start_gateway(), fresh("m")
    gateway.drain_timeout_s = drain_timeout_s
    gateway.restart()
    gateway.add_provider(fresh("p"), "anthropic", sim, models=[model])
    gateway.apply()
    return gateway, model


def events_after_stop(gateway: Gateway, model: str) -> tuple[str, set[int]]:
    """Ask for a stream, stop the gateway at its first event, and read the rest."""
    with gateway.client.streaming(model) as response:
        parts = response.iter_text()
        seen = next(parts)
        for process in gateway.processes:
            process.send_signal(signal.SIGTERM)
        seen += "".join(parts)
    codes = {process.wait(timeout=15) for process in gateway.processes}
    gateway.processes.clear()
    return seen, codes


def test_a_running_stream_is_finished_before_the_stop(
    start_gateway: Callable[..., Gateway], paced: RunningSimulator
) -> None:
    gateway, model = serving(start_gateway, paced, 10)
    seen, codes = events_after_stop(gateway, model)
    assert seen.rstrip().endswith("data: [DONE]")
    assert codes == {0}


def test_a_stream_longer_than_the_drain_ends_with_one_error_and_no_done(
    start_gateway: Callable[..., Gateway], paced: RunningSimulator
) -> None:
    gateway, model = serving(start_gateway, paced, 0.1)
    paced.plan.replace(["stall_after:4"])
    seen, codes = events_after_stop(gateway, model)
    assert seen.count('"code":"shutting_down"') == 1
    assert '"shutting_down"' in seen.rstrip().splitlines()[-1]
    assert "[DONE]" not in seen
    assert codes == {0}
    paced.wait_for(lambda calls: all(call.state != "open" for call in calls))
