"""Nothing is stored twice, edits branch, and what the client has is what is kept."""

from __future__ import annotations

from dataclasses import replace

import pytest

from memory.alignment import MOST_NEW
from tests.memory.conversation import (
    Session,
    assistant,
    call,
    laid,
    planned,
    result,
    said,
    stored_turns,
    user,
)

U1, A1, U2, A2, U3, A3 = (
    message for n in (1, 2, 3) for message in (user(f"u{n}"), assistant(f"a{n}"))
)
YES, OK = user("yes"), assistant("ok")
NEW, NEW2 = user("new"), assistant("new answer")
GREETING = assistant("Hello, how can I help?")
CALL, CALL2, RESULT, RESULT2 = (
    call('{"q":1}'),
    call('{"q":2}'),
    result("r1"),
    result("r2"),
)
TRIMMED = assistant("a1 (trimmed)")
BEFORE = [U1, A1, U2, A2]
LONG = [m for n in range(60) for m in (user(f"old u{n}"), assistant(f"old a{n}"))]

# Stored, sent, answer, then: seqs left behind, and what is new.
SCENARIOS = {
    "first request": ([], [U1], A1, "", [U1, A1]),
    "first request with a long history": (
        [],
        [*LONG, NEW],
        NEW2,
        "",
        [*LONG[-MOST_NEW:], NEW, NEW2],
    ),
    "second request after a long history": (
        [*LONG[-MOST_NEW:], NEW, NEW2],
        [*LONG, NEW, NEW2, U1],
        A1,
        "",
        [U1, A1],
    ),
    "exchanged elsewhere after a long history": (
        [*LONG[-MOST_NEW:], NEW, NEW2],
        [*LONG, NEW, NEW2, U1, A1, U2],
        A2,
        "",
        [U1, A1, U2, A2],
    ),
    "two user messages at once": ([], [U1, U2], A2, "", [U1, U2, A2]),
    "server-managed": (BEFORE, [U3], A3, "", [U3, A3]),
    "server-managed, same words again": ([YES, OK], [YES], OK, "", [YES, OK]),
    "server-managed, an old question again": (BEFORE, [U1], A1, "", [U1, A1]),
    "full history": (BEFORE, [*BEFORE, U3], A3, "", [U3, A3]),
    "full history, same words again": (
        [YES, OK, YES, OK],
        [YES, OK, YES, OK, YES],
        OK,
        "",
        [YES, OK],
    ),
    "sliding window": (BEFORE, [U2, A2, U3], A3, "", [U3, A3]),
    "sliding window, repetitive": (
        [YES, OK, U1, A1, YES, OK],
        [YES, OK, U2],
        A2,
        "",
        [U2, A2],
    ),
    "sliding window from an answer on": (BEFORE, [A1, U2, A2, U3], A3, "", [U3, A3]),
    "a history that begins with a fixed greeting": (
        [GREETING, *BEFORE],
        [GREETING, U3],
        A3,
        "",
        [U3, A3],
    ),
    "retry without a stored answer": ([U1], [U1], A1, "", [A1]),
    "retry of an answered question without a sign of it": (
        [U1, A1],
        [U1],
        NEW2,
        "",
        [U1, NEW2],
    ),
    "regeneration": (BEFORE, [U1, A1, U2], NEW2, "4", [NEW2]),
    "regeneration in the middle": (
        [*BEFORE, U3, A3],
        [U1, A1, U2],
        NEW2,
        "456",
        [NEW2],
    ),
    "regeneration with the same answer": (BEFORE, [U1, A1, U2], A2, "", []),
    "regeneration without an answer": (BEFORE, [U1, A1, U2], None, "", []),
    "edit of the last question": (BEFORE, [U1, A1, NEW], NEW2, "34", [NEW, NEW2]),
    "edit of an earlier question": (
        [*BEFORE, U3, A3],
        [U1, A1, NEW],
        NEW2,
        "3456",
        [NEW, NEW2],
    ),
    "edit without an answer": (BEFORE, [U1, A1, NEW], None, "34", [NEW]),
    "tool loop, first round": (BEFORE, [U3], CALL, "", [U3, CALL]),
    "tool loop, second round": (
        [*BEFORE, U3, CALL],
        [U3, CALL, RESULT],
        CALL2,
        "",
        [RESULT, CALL2],
    ),
    "tool loop, last round": (
        [U3, CALL, RESULT, CALL2],
        [U3, CALL, RESULT, CALL2, RESULT2],
        A3,
        "",
        [RESULT2, A3],
    ),
    "tool loop with history": (
        [*BEFORE, U3, CALL],
        [*BEFORE, U3, CALL, RESULT],
        A3,
        "",
        [RESULT, A3],
    ),
    "tool loop, the client made another call": (
        [U3, CALL],
        [U3, CALL2, RESULT2],
        A3,
        "2",
        [CALL2, RESULT2, A3],
    ),
    "tool loop, a round again": (
        [U3, CALL, RESULT, CALL2],
        [U3, CALL, RESULT],
        A3,
        "4",
        [A3],
    ),
    "tool loop, the last round again": (
        [U3, CALL, RESULT, A3],
        [U3, CALL, RESULT],
        NEW2,
        "4",
        [NEW2],
    ),
    "after a tool loop": (
        [U3, CALL, RESULT, A3],
        [U3, CALL, RESULT, A3, NEW],
        NEW2,
        "",
        [NEW, NEW2],
    ),
    "tool rounds dropped from the history": (
        [U3, CALL, RESULT, A3],
        [U3, A3, NEW],
        NEW2,
        "",
        [NEW, NEW2],
    ),
    "tool rounds dropped from a longer history": (
        [*BEFORE, U3, CALL, RESULT, A3],
        [*BEFORE, U3, A3, NEW],
        NEW2,
        "",
        [NEW, NEW2],
    ),
    "an answer in the client's own words": (
        [U1, A1],
        [U1, TRIMMED, U2],
        A2,
        "",
        [U2, A2],
    ),
    "edit after an answer in the client's own words": (
        [U2, A2, U1, A1, U3, A3],
        [U2, A2, U1, TRIMMED, NEW],
        NEW2,
        "56",
        [NEW, NEW2],
    ),
    "rewritten history": (
        BEFORE,
        [assistant("Summary: u1, a1, u2, a2"), U3],
        A3,
        "",
        [assistant("Summary: u1, a1, u2, a2"), U3, A3],
    ),
    "rewritten beginning": (
        BEFORE,
        [user("Summary: u1, a1"), U2, A2, U3],
        A3,
        "",
        [U3, A3],
    ),
    "messages that were exchanged elsewhere": (
        [U1, A1],
        [U1, A1, U2, A2, U3],
        A3,
        "",
        [U2, A2, U3, A3],
    ),
    "exchanged elsewhere, with words that are known": (
        [YES, OK, U1, A1],
        [U1, A1, U2, A2, YES, assistant("well"), U3],
        A3,
        "",
        [U2, A2, U3, A3],
    ),
    "exchanged elsewhere, and ending in words that are known": (
        [YES, OK, U1, A1],
        [U1, A1, U2, A2, YES, OK, U3],
        A3,
        "",
        [U2, A2, U3, A3],
    ),
    "another conversation of the same session": (
        BEFORE,
        [user("x"), assistant("y"), NEW],
        NEW2,
        "",
        [user("x"), assistant("y"), NEW, NEW2],
    ),
    "no question at all": ([], [A1], None, "", [A1]),
    "no question but known words": (BEFORE, [U1, A1, U2, A2], None, "", []),
}


def seqs(text: str) -> set[int]:
    return {int(digit) for digit in text}


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_request_is_written_as_it_lies(name):
    stored, sent, answer, left, new = SCENARIOS[name]
    found = planned(stored_turns(stored, request_id="r-1"), sent, answer)
    assert [what.text for what in found.new] == [said(message).text for message in new]
    assert found.supersede == seqs(left)
    assert found.has_answer is bool(answer and new and new[-1] is answer)


@pytest.mark.parametrize("name", SCENARIOS)
def test_instructions_change_nothing(name):
    stored, sent, answer, _, _ = SCENARIOS[name]
    turns = stored_turns(stored)
    instructed = [{"role": "system", "content": "Be brief."}, *sent]
    assert planned(turns, instructed, answer) == planned(turns, sent, answer)


@pytest.mark.parametrize(
    "signs",
    [{"is_retry": True}, {"request_id": "r-1"}],
    ids=["flagged", "same request"],
)
@pytest.mark.parametrize(
    ("stored", "sent"),
    [([U1, A1], [U1]), ([*BEFORE, U3, A3], [U3]), ([GREETING, U1, A1], [GREETING, U1])],
)
def test_a_retry_replaces_the_stored_answer(stored, sent, signs):
    turns = stored_turns(stored, request_id="r-1")
    found = planned(turns, sent, NEW2, **signs)
    assert [what.text for what in found.new] == ["new answer"]
    assert found.supersede == {len(stored)}
    assert planned(turns, sent, None, **signs).supersede == set()
    partial = planned(turns, sent, NEW2, is_partial=True, **signs)
    assert (partial.new, partial.supersede) == ((), frozenset())
    assert not partial.has_answer


def test_a_sign_of_a_retry_on_another_question_means_nothing():
    turns = stored_turns([U1, A1], request_id="r-1")
    for signs in ({"is_retry": True}, {"request_id": "r-1"}):
        assert [what.text for what in planned(turns, [U2], A2, **signs).new] == [
            "u2",
            "a2",
        ]
    nameless = planned(stored_turns([U1, A1]), [U1], A2, request_id="")
    assert [what.text for what in nameless.new] == ["u1", "a2"]


@pytest.mark.parametrize("sent", [[U1], [U2, A2, U1]])
def test_a_partial_answer_is_no_answer_and_is_replaced(sent):
    turns = stored_turns([U2, A2, U1, A1])
    turns[-1] = replace(turns[-1], is_partial=True)
    for answer, is_partial in ((NEW2, False), (NEW2, True), (A1, False)):
        found = planned(turns, sent, answer, is_partial=is_partial)
        assert [what.text for what in found.new] == [answer["content"]]
        assert found.supersede == {4}
        assert found.has_answer


def test_what_the_session_knows_from_further_back_is_not_new():
    tail = stored_turns(BEFORE)
    sent = [user("far"), assistant("away"), U3]
    known = {said(message).content_hash for message in sent[:2]}
    assert [what.text for what in planned(tail, sent, A3, known=known).new] == [
        "u3",
        "a3",
    ]
    assert [what.text for what in laid(tail, sent, known=known).new] == ["u3"]


@pytest.mark.parametrize(
    ("stored", "sent", "question_seq", "last_before", "is_client_managed"),
    [
        ([], [U1], None, 0, False),
        (BEFORE, [U3], None, 4, False),
        ([*BEFORE, U3], [U3], 5, 4, False),
        ([*BEFORE, U3, CALL], [U3, CALL, RESULT], 5, 4, False),
        ([U1], [U1], 1, 0, False),
        (BEFORE, [*BEFORE, U3], None, 4, True),
        (BEFORE, [U1, A1, U2], 3, 2, True),
        (BEFORE, [U1, A1, NEW], None, 2, True),
        (BEFORE, [GREETING, U3], None, 4, True),
        (BEFORE, [], None, 4, False),
    ],
)
def test_only_what_stands_before_the_question_can_be_recalled(
    stored, sent, question_seq, last_before, is_client_managed
):
    found = laid(stored_turns(stored), sent)
    assert found.question_seq == question_seq
    assert found.last_before == last_before
    assert found.is_client_managed is is_client_managed


def test_of_a_long_session_the_end_is_enough():
    stored = stored_turns([*LONG, U1, A1, U2, CALL])
    for sent in ([U2, CALL, RESULT], [U1, A1, U2, CALL, RESULT], [U1, A1, U2], [NEW]):
        whole = laid(stored, sent)
        assert laid(stored[-4:], sent) == whole
    assert laid(stored[-2:], [U2, CALL, RESULT]).last_before == 122


@pytest.mark.parametrize("history", [[], BEFORE, [user("elsewhere"), assistant("x")]])
def test_every_round_of_a_tool_loop_sees_the_same(history):
    session = Session()
    session.turns = stored_turns(BEFORE)
    sent, seen = [*history, YES], []
    for n, answer in enumerate([CALL, CALL2, A3]):
        lies = laid(session.active, sent, request_id=f"r-{n}")
        candidates = [
            turn.uid
            for turn in session.active
            if turn.seq <= lies.last_before and turn.content_hash not in lies.sent
        ]
        seen.append((candidates, lies.query, lies.sent, lies.is_client_managed))
        session.execute(
            planned(session.active, sent, answer, request_id=f"r-{n}"),
            request_id=f"r-{n}",
            is_partial=False,
        )
        sent = [*sent, answer, result(f"r{n}")]
    assert seen[0] == seen[1] == seen[2]


@pytest.mark.parametrize(
    ("stored", "sent", "query"),
    [
        ([], [user("Who is it?")], "Who is it?"),
        (
            [user("My name is Alice"), OK],
            [user("And mine?")],
            "My name is Alice\nAnd mine?",
        ),
        ([U1, OK], [user("What is the name of it?")], "What is the name of it?"),
        ([U1, A1], [U2, A2, user("And why?")], "u2\nAnd why?"),
        ([U1, A1], [GREETING, user("And why?")], "And why?"),
        ([U1, CALL, RESULT, A1], [user("So?")], "u1\nSo?"),
        ([U1, A1], [user([{"type": "image_url"}])], "u1\n[image]"),
        ([], [A1], ""),
    ],
)
def test_a_short_question_is_searched_for_with_the_one_before_it(stored, sent, query):
    assert laid(stored_turns(stored), sent).query == query
