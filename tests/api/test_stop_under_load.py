"""A stop and a rolling restart under load: what was accepted is answered, and booked."""

from __future__ import annotations

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from gateway.models import UsageRecord
from gateway.simulator import Behaviour
from tests.api.gateway_process import wait_until
from tests.api.load_client import Ask, Load
from tests.api.serve_process import Serve, survivors
from tests.upstreams.simulators import running_simulator

REQUEST = Ask("gpt-4", "A short answer.")
STREAMED = "claude-3-opus-20240229"
TOKENS_PER_S = 5
RESTARTS = 5
RESTART_S = 60.0


@dataclass(frozen=True, slots=True)
class Weight:
    """How much load; a stream lasts so many seconds."""

    rate: float
    streams: int
    stream_s: int

    @property
    def tokens(self) -> int:
        return self.stream_s * TOKENS_PER_S


FULL = Weight(rate=100, streams=200, stream_s=4)
WEIGHTS = [
    pytest.param(Weight(rate=50, streams=40, stream_s=2), id="short"),
    *(
        pytest.param(FULL, marks=pytest.mark.soak, id=f"full-{number}")
        for number in range(1, 21)
    ),
]


@contextmanager
def placed(data_dir: Path, weight: Weight) -> Iterator[tuple[Serve, Ask]]:
    """Have a `serve` with two workers and what its streams bring; it is not started."""
    text = "".join(f"{number:03d} " for number in range(weight.tokens))
    paced = Behaviour(answer_text=text, tokens_per_s=TOKENS_PER_S)
    quick = Behaviour(answer_text=REQUEST.answer)
    with (
        running_simulator(behaviour=quick) as requested,
        running_simulator(behaviour=paced) as streamed,
    ):
        serve = Serve(
            data_dir,
            {
                "AILB_WORKERS": "2",
                "OPENAI_API_KEY": "sk-openai-key",
                "OPENAI_BASE_URL": requested.openai_url,
                "OPENAI_MODELS": REQUEST.model,
                "ANTHROPIC_API_KEY": "sk-anthropic-key",
                "ANTHROPIC_BASE_URL": streamed.url,
                "ANTHROPIC_MODELS": STREAMED,
            },
        )
        try:
            yield serve, Ask(STREAMED, text)
        finally:
            serve.close()


@contextmanager
def loaded(serve: Serve, weight: Weight, stream: Ask) -> Iterator[Load]:
    """Keep it busy; the block begins in the middle of it."""
    at = urlsplit(serve.url)
    assert at.hostname is not None
    assert at.port is not None
    with Load(
        (at.hostname, at.port),
        request=REQUEST,
        rate=weight.rate,
        stream=stream,
        streams=weight.streams,
    ) as load:
        wait_until(lambda: is_busy(load, weight), "the load is there")
        yield load


def is_busy(load: Load, weight: Weight) -> bool:
    answered = load.tally.answered
    return (
        load.tally.open_streams >= 0.9 * weight.streams
        and min(answered["own"], answered["kept"]) >= weight.rate / 4
    )


def booked(data_dir: Path) -> int:
    """Count the requests in the ledger."""
    with closing(sqlite3.connect(data_dir / "ailb.sqlite3")) as database:
        table = UsageRecord._meta.db_table
        found = database.execute(f"SELECT COUNT(*) FROM {table}").fetchone()  # noqa: S608  # ours
    return int(found[0])


@pytest.mark.parametrize("weight", WEIGHTS)
def test_a_stop_loses_nothing_that_was_accepted(tmp_path: Path, weight: Weight) -> None:
    with placed(tmp_path, weight) as (serve, stream):
        serve.start()
        with loaded(serve, weight, stream) as load:
            in_the_middle = load.tally.open_streams
            whole = load.tally.answered["stream"]
            load.may_be_refused()
            assert serve.stop() == 0
        assert load.tally.failures == []
        assert load.tally.answered["stream"] >= whole + in_the_middle
        assert load.tally.refused > weight.streams
        assert survivors(tmp_path) == []
        assert booked(tmp_path) == load.tally.answered.total()
        assert "Traceback" not in serve.log_text()


def restart(serve: Serve) -> None:
    """Ask for other workers; return when the old ones have gone."""
    assert serve.process is not None
    old = serve.worker_pids()
    assert len(old) == 2
    serve.process.send_signal(signal.SIGHUP)
    wait_until(
        lambda: not old & serve.worker_pids(),
        "the old workers have gone",
        limit_s=RESTART_S,
    )


@pytest.mark.soak
def test_rolling_restarts_lose_nothing_and_refuse_nobody(tmp_path: Path) -> None:
    with placed(tmp_path, FULL) as (serve, stream):
        serve.start()
        with loaded(serve, FULL, stream) as load:
            for _ in range(RESTARTS):
                restart(serve)
        assert load.tally.failures == []
        assert load.tally.refused == 0
        assert serve.stop() == 0
        assert survivors(tmp_path) == []
        assert booked(tmp_path) == load.tally.answered.total()
        assert "Traceback" not in serve.log_text()
