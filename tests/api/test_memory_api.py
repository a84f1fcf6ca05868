"""The REST API of memory: what is imported is listed, found, exported and deleted."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Thread

import pytest
from django.utils import timezone

from memory.models import Turn, TurnVector
from tests.api.gateway_process import Gateway, fresh
from tests.api.memory_client import Rememberer, at, rememberer

ALICE = {"role": "user", "content": "My name is Alice and I keep bees."}
REPLY = {"role": "assistant", "content": "Nice to meet you, Alice."}
SHOWN_TURN = {
    "id", "external_id", "seq", "role", "content", "created", "model", "request_id",
    "tokens", "partial", "superseded",
}  # fmt: skip
SHOWN_SESSION = {"session_id", "owner", "turns", "created", "last_used", "expires"}
ODD_IDS = [
    "a/b",
    "/a//b/",
    "a/turns",
    "a/search",
    "export",
    "x/export",
    "turns/turns",
    "user 1?#[]%2F&=+",
    "Zoë ☕ 会話",
    "…/../x",
    "i" * 256,
]


@pytest.fixture(scope="module")
def guarded(start_gateway: Callable[..., Gateway]) -> Gateway:
    return start_gateway(AILB_AUTH="required", ENABLE_MEMORY="true")


@pytest.fixture(scope="module")
def nameless(start_gateway: Callable[..., Gateway]) -> Gateway:
    """Start a gateway with keywords alone: its embedder is nowhere."""
    return start_gateway(ENABLE_MEMORY="true", EMBEDDING_MODEL="/nonexistent")


@pytest.fixture
def me(guarded: Gateway) -> Rememberer:
    """Give a key that has a tenant of its own."""
    return rememberer(guarded)


# --- Import, read, search, export ----------------------------------------------------------


def test_what_is_imported_is_listed_and_shown(me: Rememberer) -> None:
    done = me.add("s", ALICE, REPLY)
    assert (done["added"], done["known"], done["waiting"]) == (2, 0, 0)
    (listed,) = me.get()["results"]
    assert set(listed) == SHOWN_SESSION
    assert (listed["session_id"], listed["turns"]) == ("s", 2)
    assert listed["owner"] == me.public_id
    shown = me.get("/s")
    assert [turn["content"] for turn in shown["turns"]] == [
        ALICE["content"],
        REPLY["content"],
    ]
    assert [turn["role"] for turn in shown["turns"]] == ["user", "assistant"]
    assert {name for turn in shown["turns"] for name in turn} == SHOWN_TURN
    assert shown["next"] is None
    for name in SHOWN_SESSION - {"turns"}:
        assert shown[name] == listed[name]
    assert datetime.fromisoformat(listed["expires"]) > timezone.now()


def test_an_import_may_be_repeated_where_turns_have_ids_of_their_own(
    me: Rememberer,
) -> None:
    turns = [{**ALICE, "external_id": "1"}, {**REPLY, "external_id": "2"}]
    me.add("s", *turns)
    again = me.add("s", *turns, {"role": "user", "content": "More", "external_id": "3"})
    assert (again["added"], again["known"], again["turns"]) == (1, 2, 3)
    shown = me.get("/s")["turns"]
    assert [turn["external_id"] for turn in shown] == ["1", "2", "3"]


def test_imported_turns_keep_when_they_were_said(me: Rememberer) -> None:
    me.add(
        "s",
        {**REPLY, "created": "2024-02-29T12:00:01+02:00"},
        {**ALICE, "created": 1_709_200_800},
    )
    first, second = me.get("/s")["turns"]
    assert (first["role"], second["role"]) == ("user", "assistant")
    moment = datetime.fromisoformat("2024-02-29T10:00:00+00:00")
    assert datetime.fromisoformat(first["created"]) == moment
    assert datetime.fromisoformat(second["created"]) == moment + timedelta(seconds=1)


def test_a_search_finds_turns_of_the_session_best_first(me: Rememberer) -> None:
    me.add("s", ALICE, REPLY, *(f"The weather of day {n} is mild." for n in range(20)))
    me.add("other", "My name is Alice, in another session.")
    found = me.find("s", "What am I called? Alice?", k=3)
    assert len(found) == 3
    assert found[0]["content"] in {ALICE["content"], REPLY["content"]}
    scores = [each["score"] for each in found]
    assert scores == sorted(scores, reverse=True)
    assert {name for each in found for name in each} == {
        "id", "external_id", "role", "content", "created", "score", "score_parts",
    }  # fmt: skip
    assert found[0]["score_parts"]["dense"] is not None
    assert len(me.find("s", "weather")) == 10
    assert len(me.find("s", "weather", k=100)) == 22


def test_without_an_embedder_turns_are_found_by_keywords(nameless: Gateway) -> None:
    me = Rememberer(nameless.client)
    assert me.add("s", ALICE, "I drive a red car.")["waiting"] == 2
    best = me.find("s", "bees", k=1)[0]
    assert best["content"] == ALICE["content"]
    assert not best["score_parts"]["dense"]


def test_without_a_key_the_sessions_are_nobodys(nameless: Gateway) -> None:
    me = Rememberer(nameless.client)
    me.add("without-a-key", ALICE)
    assert me.get("/without-a-key")["owner"] == ""
    assert "without-a-key" in me.session_ids()


def test_an_export_holds_everything_and_can_be_imported_again(me: Rememberer) -> None:
    me.add("s", *(f"turn {number}" for number in range(30)))
    rows = me.get("/s/export")
    assert rows["session_id"] == "s"
    assert [turn["content"] for turn in rows["turns"]] == me.texts("s")
    kept = ("role", "content", "created")
    turns = [
        {**{name: turn[name] for name in kept}, "external_id": turn["id"]}
        for turn in rows["turns"]
    ]
    for _ in range(2):
        me.add("copy", *turns)
    assert me.texts("copy") == me.texts("s")


def test_turns_come_in_pages(me: Rememberer) -> None:
    me.add("s", *(f"turn {number}" for number in range(7)))
    seen, path = [], "/s?limit=3"
    while True:
        page = me.get(path)
        assert 1 <= len(page["turns"]) <= 3
        seen += [turn["content"] for turn in page["turns"]]
        if page["next"] is None:
            break
        path = f"/s?limit=3&after_seq={page['next']}"
    assert seen == [f"turn {number}" for number in range(7)]


def test_branches_that_were_left_are_shown_when_they_are_asked_for(
    me: Rememberer, guarded: Gateway
) -> None:
    me.add("s", "kept", "left")
    turns = guarded.rows(Turn).filter(session__owner=me.public_id, text="left")
    assert turns.update(is_superseded=True) == 1
    assert me.texts("s") == ["kept"]
    shown = me.get("/s?superseded=true")["turns"]
    assert [turn["superseded"] for turn in shown] == [False, True]
    assert [turn["content"] for turn in me.get("/s/export")["turns"]] == [
        "kept",
        "left",
    ]


def test_sessions_come_in_pages_the_last_used_first(me: Rememberer) -> None:
    made = [f"session-{number}" for number in range(5)]
    for session_id in made:
        me.add(session_id, "hello")
    seen, path = [], "?limit=2"
    while True:
        page = me.get(path)
        seen += [row["session_id"] for row in page["results"]]
        if page["next"] is None:
            break
        path = f"?limit=2&after={page['next']}"
    assert seen == made[::-1]


@pytest.mark.parametrize("session_id", ODD_IDS)
def test_an_id_may_hold_any_printable_character(
    me: Rememberer, session_id: str
) -> None:
    me.add(session_id, ALICE)
    me.add("another", REPLY)
    assert me.get(at(session_id))["session_id"] == session_id
    assert me.find(session_id, "Alice")[0]["content"] == ALICE["content"]
    assert me.get(f"{at(session_id)}/export")["session_id"] == session_id
    deleted = me.send("DELETE", at(session_id))
    assert deleted.json == {"session_id": session_id, "deleted": True}
    assert me.session_ids() == ["another"]


def test_a_slash_in_an_id_may_be_sent_as_it_is(me: Rememberer) -> None:
    me.add("team/7", ALICE)
    assert me.get("/team/7")["session_id"] == "team/7"
    assert me.get("/team/7/export")["session_id"] == "team/7"


def test_an_import_holds_nobody_up(guarded: Gateway, me: Rememberer) -> None:
    other = rememberer(guarded)
    other.add("s", ALICE)
    turns = [f"The {number}th turn is about bee {number}." for number in range(600)]
    importing = Thread(target=me.add, args=("long", *turns))
    importing.start()
    rounds = 0
    while importing.is_alive():
        assert other.find("s", "Alice")
        assert other.get("/s")["turns"]
        rounds += 1
    assert rounds > 10, "more than fit before it began"
    assert me.get()["results"][0]["turns"] == 600


# --- Deletion ------------------------------------------------------------------------------


def test_a_deleted_session_is_gone_with_turns_and_vectors(
    me: Rememberer, guarded: Gateway
) -> None:
    me.add("s", ALICE, REPLY)
    kept = guarded.rows(Turn).filter(session__owner=me.public_id)
    uids = list(kept.values_list("uid", flat=True))
    assert guarded.rows(TurnVector).filter(turn__uid__in=uids).count() == 2
    assert me.send("DELETE", "/s").status == 200
    assert not guarded.rows(Turn).filter(uid__in=uids).exists()
    for method, path, body in [
        ("GET", "/s", None),
        ("GET", "/s/export", None),
        ("POST", "/s/search", {"query": "Alice"}),
        ("DELETE", "/s", None),
    ]:
        gone = me.send(method, path, body)
        assert (gone.status, gone.code) == (404, "session_not_found"), path
    me.add("s", "A new life")
    assert me.texts("s") == ["A new life"]
    assert [each["content"] for each in me.find("s", "life")] == ["A new life"]


def test_the_sessions_of_one_key_are_deleted_together(guarded: Gateway) -> None:
    tenant = fresh("tenant")
    first, second = (rememberer(guarded, tenant) for _ in range(2))
    for session_id in ("a", "b"):
        first.add(session_id, ALICE)
    second.add("c", ALICE)
    second.add("a", "The owner is who began it.")
    reply = second.send("DELETE", f"?owner={first.public_id}")
    assert (reply.status, reply.json) == (200, {"deleted": 2})
    assert first.session_ids() == ["c"]
    assert second.send("DELETE", "?owner=nobody").json == {"deleted": 0}


def test_all_sessions_of_the_tenant_are_deleted_together(guarded: Gateway) -> None:
    me, other = rememberer(guarded), rememberer(guarded)
    for session_id in ("a", "b", "c"):
        me.add(session_id, ALICE)
        other.add(session_id, ALICE)
    assert me.send("DELETE", "?all=true").json == {"deleted": 3}
    assert me.get() == {"results": [], "next": None}
    assert len(other.session_ids()) == 3


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("", "owner"),
        ("?owner=x&all=true", "owner"),
        ("?all=false", "all"),
        ("?all=", "all"),
        ("?owner=", "owner"),
        ("?owner=%00", "owner"),
        ("?everything=true", "everything"),
    ],
)
def test_what_is_to_be_deleted_is_said_exactly(
    me: Rememberer, query: str, param: str
) -> None:
    me.add("s", ALICE)
    for path in (query, f"/{query}"):  # a session's name was forgotten
        reply = me.send("DELETE", path)
        assert reply.status == (400 if path == query else 404)
        assert path != query or reply.json["error"]["param"] == param
    assert me.session_ids() == ["s"]
