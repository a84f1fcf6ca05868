"""The journal: order, endings, waiting and what it never keeps."""

from __future__ import annotations

import threading

import pytest

from gateway.simulator import Entry, Journal, State
from gateway.simulator.journal import shown_headers


def entry(n: int) -> Entry:
    return Entry(
        n=n,
        method="POST",
        path="/v1/chat/completions",
        model="m",
        headers={},
        has_authorization=True,
        has_x_api_key=False,
        body={"model": "m"},
        connection=1,
        at_s=0.0,
    )


def test_entries_stay_in_order_and_the_oldest_are_forgotten() -> None:
    journal = Journal(limit=2)
    for n in (1, 2, 3):
        journal.add(entry(n))
    assert [e.n for e in journal.entries] == [2, 3]
    journal.close(1, State.ANSWERED, bytes_sent=1)
    assert [e.state for e in journal.entries] == [State.OPEN, State.OPEN]


def test_the_last_word_on_an_ending_counts() -> None:
    journal = Journal()
    journal.add(entry(1))
    journal.close(1, State.ANSWERED, bytes_sent=10)
    journal.close(1, State.CANCELLED, bytes_sent=4)
    (only,) = journal.entries
    assert (only.state, only.bytes_sent) == (State.CANCELLED, 4)
    assert only.closed_after_s is not None


def test_waiting_ends_with_the_change_that_another_thread_makes() -> None:
    journal = Journal()
    thread = threading.Thread(target=lambda: journal.add(entry(1)))
    thread.start()
    entries = journal.wait_for(lambda seen: len(seen) == 1)
    thread.join()
    assert entries[0].n == 1


def test_waiting_in_vain_shows_what_was_seen_instead() -> None:
    journal = Journal()
    journal.add(entry(41))
    with pytest.raises(TimeoutError, match="n=41"):
        journal.wait_for(lambda seen: len(seen) == 2, timeout_s=0.01)


def test_headers_that_may_hold_a_credential_are_not_kept() -> None:
    kept = shown_headers(
        {
            "Authorization": "Bearer s",
            "X-Api-Key": "s",
            "Cookie": "s",
            "X-Auth-Token": "s",
            "Client-Secret": "s",
            "Traceparent": "00-1",
        }
    )
    assert kept == {"traceparent": "00-1"}
