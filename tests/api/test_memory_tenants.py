"""Two tenants with the same session ids: nobody ever reads the other's words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from tests.api.gateway_process import Gateway
from tests.api.management import manager_of
from tests.api.memory_client import Rememberer, at, rememberer
from tests.client import Reply
from tests.upstreams.simulators import RunningSimulator, running_simulator

SESSIONS = ("user-123", "a/b", "export")
WHAT = (
    "import", "chat", "show", "search", "export", "list", "delete", "delete_owner",
    "delete_all",
)  # fmt: skip
OPERATIONS = st.lists(
    st.tuples(st.sampled_from(WHAT), st.integers(0, 3), st.sampled_from(SESSIONS)),
    min_size=4,
    max_size=14,
)
FEW = settings(
    max_examples=25,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
MODEL = "m"
_numbers = count(1)


@dataclass
class House:
    """A tenant: two keys that share everything, and what they must see."""

    word: str  # stands in whatever this tenant says
    keys: tuple[Rememberer, Rememberer]
    kept: dict[str, list[str]] = field(default_factory=dict)
    owners: dict[str, str] = field(default_factory=dict)
    forgotten: set[str] = field(default_factory=set)

    def forget(self, *session_ids: str) -> None:
        for session_id in session_ids:
            texts = self.kept.pop(session_id, [])
            self.forgotten.update(text for text in texts if self.word in text)
            self.owners.pop(session_id, None)


@dataclass(frozen=True)
class Street:
    """Two tenants at one gateway, and the provider that both ask."""

    houses: tuple[House, House]
    sim: RunningSimulator
    gateway: Gateway


@pytest.fixture(scope="module")
def street(start_gateway: Callable[..., Gateway]) -> Iterator[Street]:
    gateway = start_gateway(AILB_AUTH="required", ENABLE_MEMORY="true")
    with running_simulator() as sim:
        gateway.add_provider("one", "openai", sim, models=[MODEL])
        houses = tuple(
            House(word, (rememberer(gateway, word), rememberer(gateway, word)))
            for word in ("kestrel", "walrus")
        )
        yield Street((houses[0], houses[1]), sim, gateway)
        assert not [line for line in gateway.log() if line["level"] == "error"]


def do(street: Street, what: str, who: int, session_id: str) -> bytes:
    """Do one thing as one of the four keys; give all that it saw, and check that."""
    house, key = street.houses[who % 2], street.houses[who % 2].keys[who // 2]
    path, is_there = at(session_id), session_id in house.kept
    match what:
        case "import":
            text = f"{house.word} {next(_numbers)} likes honey"
            turns = [{"role": "user", "content": text}]
            house.kept.setdefault(session_id, []).append(text)
            house.owners.setdefault(session_id, key.public_id)
            reply = key.send("POST", f"{path}/turns", {"turns": turns})
            assert reply.status == 200, reply.body
        case "chat":
            return chat(street, house, key, session_id)
        case "show" | "export":
            action = "/export" if what == "export" else "?limit=1000"
            reply = key.send("GET", path + action)
            assert reply.status == (200 if is_there else 404), reply.body
            if is_there:
                said = [turn["content"] for turn in reply.json["turns"]]
                assert said == house.kept[session_id]
        case "search":
            reply = key.send("POST", f"{path}/search", {"query": "honey", "k": 100})
            assert reply.status == (200 if is_there else 404), reply.body
            if is_there:
                found = [each["content"] for each in reply.json["results"]]
                assert set(found) <= set(house.kept[session_id])
        case "list":
            reply = key.send("GET")
            shown = {row["session_id"]: row["owner"] for row in reply.json["results"]}
            assert shown == house.owners
        case "delete":
            reply = key.send("DELETE", path)
            assert reply.status == (200 if is_there else 404), reply.body
            house.forget(session_id)
        case "delete_owner":
            gone = [name for name, id_ in house.owners.items() if id_ == key.public_id]
            reply = key.send("DELETE", f"?owner={key.public_id}")
            assert reply.json == {"deleted": len(gone)}
            house.forget(*gone)
        case _:
            reply = key.send("DELETE", "?all=true")
            assert reply.json == {"deleted": len(house.kept)}
            house.forget(*house.kept)
    return reply.body


def chat(street: Street, house: House, key: Rememberer, session_id: str) -> bytes:
    """Ask in a session; give what the client saw, and what the provider was sent."""
    text = f"{house.word} {next(_numbers)} asks about honey"
    reply, sent = ask(street, key, session_id, text)
    assert not [gone for gone in house.forgotten if gone in sent], "it was deleted"
    assert not house.kept.get(session_id) or house.kept[session_id][0] in sent
    house.kept.setdefault(session_id, []).extend([text, reply.text])
    house.owners.setdefault(session_id, key.public_id)
    return reply.body + sent.encode()


def ask(
    street: Street, key: Rememberer, session_id: str, text: str
) -> tuple[Reply, str]:
    """Ask in a session; give the answer, and what the provider was sent."""
    body = {
        "model": MODEL,
        "session_id": session_id,
        "messages": [{"role": "user", "content": text}],
    }
    reply = key.client.post("/v1/chat/completions", body, **key.headers)
    assert reply.status == 200, reply.body
    return reply, repr(street.sim.calls[-1].body)


def test_the_same_session_ids_never_show_what_another_tenant_said(
    street: Street,
) -> None:
    seen: set[Any] = set()

    @given(operations=OPERATIONS)
    @FEW
    def live(operations: list[tuple[str, int, str]]) -> None:
        for what, who, session_id in operations:
            theirs = street.houses[1 - who % 2].word.encode()
            assert theirs not in do(street, what, who, session_id)
            seen.add((what, bool(street.houses[who % 2].kept)))

    live()
    assert {what for what, has_memories in seen if has_memories} >= set(WHAT[:-1])


def test_keys_made_without_a_tenant_share_nothing_and_those_of_one_tenant_do(
    street: Street,
) -> None:
    manager = manager_of(street.gateway)
    alone, another = (manager.make("keys", name="twin") for _ in range(2))
    partner = manager.make("keys", tenant=alone["tenant"])
    street.gateway.apply()
    heard = []
    for made in (alone, another, partner):
        me = Rememberer(street.gateway.client, made["key"])
        if made is alone:
            ask(street, me, "user-123", "My name is Alice")
        _, sent = ask(street, me, "user-123", "What is my name?")
        heard.append("My name is Alice" in sent)
    assert heard == [True, False, True]
