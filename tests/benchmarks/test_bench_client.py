"""Tests of the benchmark's own client against its source of paced events."""

from __future__ import annotations

import os
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks import client, upstream
from benchmarks.calls import Call
from benchmarks.figures import Contender
from benchmarks.paced import EVENTS, GAP_S
from benchmarks.processes import BenchmarkFailed
from benchmarks.servers import Server
from benchmarks.upstream import Answer


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Call]:
    folder: Path = tmp_path_factory.mktemp("paced")
    core = min(os.sched_getaffinity(0))
    with upstream.paced_source(folder, core=core) as url:
        yield Server(Contender.DIRECT, {Answer.PACED: url}).call(Answer.PACED)


def test_a_paced_stream_is_followed_event_by_event(call: Call) -> None:
    times = client.follow_streams(call, streams=3, starts_s=0.01, events=EVENTS)
    assert len(times.first_ms) == 3
    assert len(times.gaps_ms) == 3 * (EVENTS - 1)
    # The schedule is absolute: a late event shortens the gap after it.
    assert statistics.fmean(times.gaps_ms) == pytest.approx(GAP_S * 1000, rel=0.2)
    assert all(first_ms > 0 for first_ms in times.first_ms)


def test_a_stream_that_lacks_a_token_gives_no_figure(call: Call) -> None:
    with pytest.raises(BenchmarkFailed, match="200 tokens of 201"):
        client.follow_streams(call, streams=1, starts_s=0.01, events=EVENTS + 1)


def test_streams_are_left_at_their_first_byte(call: Call) -> None:
    client.abort_streams(call, 5)  # would take seconds to the end


def test_an_answer_that_does_not_come_gives_no_figure() -> None:
    nobody = Call("http://127.0.0.1:9/v1/chat/completions", {}, b"{}")
    with pytest.raises(BenchmarkFailed):
        client.arrive(nobody, rate=100, seconds=0.1)


def test_arrivals_are_timed_from_when_they_were_due_but_for_the_first_second(
    call: Call,
) -> None:
    took_ms = client.arrive(call, rate=20, seconds=0.5)
    assert len(took_ms) == 10
    assert min(took_ms) >= EVENTS * GAP_S * 1000 - 20
