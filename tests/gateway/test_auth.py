"""The door: who is let in, in each mode, and that all refusals look alike."""

from __future__ import annotations

import pytest

from gateway.access import Access, ApiKey, KeyRing, Tenant
from gateway.auth import (
    ANONYMOUS_RIGHTS,
    Door,
    Principal,
    Regulars,
    bearer,
    host_name,
    is_loopback,
    make_door,
)
from gateway.crypto import checksum, digest, is_junk, mint_api_key, public_id_of
from gateway.errors import AuthenticationFailed, KeyUncheckable, PermissionDenied
from gateway.kinds import Right

PEPPER = "pepper"
KEY = "a-key-of-some-length"
NOW_S = 1_000.0
DEFAULT = Tenant(id=2, name="default")


class Caller:
    """A request as authentication sees it."""

    def __init__(self, peer: str | None = "127.0.0.1", **headers: str) -> None:
        self.peer = peer
        self.headers = {"host": "localhost:8080"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }


def access(*keys: str, ends_s: float | None = None, **fields: object) -> Access:
    """Give an access with these keys, and a pepper only if there are any."""
    ring = {
        digest(key, PEPPER): (
            ApiKey(
                row_id=number,
                public_id=f"public-{number}",
                name=f"key {number}",
                tenant=DEFAULT,
                rights=frozenset({Right.CHAT}),
            ),
            ends_s,
        )
        for number, key in enumerate(keys)
    }
    tenants = {"anonymous": Tenant(id=1, name="anonymous"), "default": DEFAULT}
    given = {"keys": ring, "pepper": PEPPER if keys else None, **fields}
    return Access(tenants=tenants, keys=KeyRing(**given))  # type: ignore[arg-type]


def enter(
    caller: Caller,
    has: Access | None = None,
    *,
    mode: str = "auto",
    is_local: bool = True,
    has_initial_key: bool = False,
    is_current: bool = True,
) -> Principal:
    door = Door(mode=mode, is_local=is_local, has_initial_key=has_initial_key)
    return door.authenticate(
        caller, has or access(), now_s=NOW_S, is_current=is_current
    )


def is_anonymous(principal: Principal) -> bool:
    return principal.key is None and principal.tenant.name == "anonymous"


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_a_local_request_needs_no_key_while_there_is_none(peer: str) -> None:
    assert is_anonymous(enter(Caller(peer)))


def test_a_bearer_is_ignored_while_the_door_is_open() -> None:
    assert is_anonymous(enter(Caller(authorization="Bearer sk-any")))


@pytest.mark.parametrize(
    "caller",
    [
        Caller("192.168.1.5"),
        Caller(None),
        Caller("not an address"),
        Caller(host="evil.example"),
        Caller(host="localhost.evil.example"),
        Caller(host="127.0.0.1.nip.io"),
        Caller(host=""),
        Caller(origin="https://evil.example"),
        Caller(origin="null"),
        Caller(x_forwarded_for="127.0.0.1"),
        Caller(forwarded="for=127.0.0.1"),
        Caller(x_real_ip="127.0.0.1"),
        Caller(via="1.1 proxy"),
    ],
)
def test_what_may_come_from_elsewhere_needs_a_key(caller: Caller) -> None:
    with pytest.raises(AuthenticationFailed):
        enter(caller)


def test_a_page_of_this_machine_may_ask() -> None:
    caller = Caller(origin="http://localhost:3000")
    assert is_anonymous(enter(caller))


def test_a_server_bound_elsewhere_lets_nobody_in_without_a_key() -> None:
    with pytest.raises(AuthenticationFailed):
        enter(Caller(), is_local=False)


def test_required_lets_nobody_in_without_a_key() -> None:
    with pytest.raises(AuthenticationFailed):
        enter(Caller(), mode="required")


def test_open_lets_everybody_in_and_still_knows_its_keys() -> None:
    stranger = Caller("203.0.113.9", host="ailb.example", x_forwarded_for="1.2.3.4")
    assert is_anonymous(enter(stranger, mode="open", is_local=False))
    known = enter(Caller(authorization=f"Bearer {KEY}"), access(KEY), mode="open")
    assert known.tenant == DEFAULT
    wrong = Caller(authorization="Bearer wrong")
    assert is_anonymous(enter(wrong, access(KEY), mode="open"))


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_the_first_key_closes_the_door(mode: str) -> None:
    has = access(KEY, "another-key-of-length")
    known = enter(Caller("203.0.113.9", authorization=f"bearer {KEY}"), has, mode=mode)
    assert known.tenant == DEFAULT
    assert known.key is not None
    assert known.key.public_id == "public-0"
    assert KEY not in repr(known)
    assert enter(Caller(x_api_key=KEY), has, mode=mode) == known
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": KEY}):
        with pytest.raises(AuthenticationFailed):
            enter(Caller(**headers), has, mode=mode)


def test_a_key_of_the_environment_closes_the_door_before_it_is_a_row() -> None:
    with pytest.raises(AuthenticationFailed):
        enter(Caller(), has_initial_key=True)


def test_the_door_stays_closed_when_the_last_key_is_gone() -> None:
    with pytest.raises(AuthenticationFailed):
        enter(Caller(), access(pepper=PEPPER))


def test_a_key_opens_nothing_from_its_end_on() -> None:
    caller = Caller(authorization=f"Bearer {KEY}")
    assert enter(caller, access(KEY, ends_s=NOW_S + 0.1)).key is not None
    with pytest.raises(AuthenticationFailed) as expired:
        enter(caller, access(KEY, ends_s=NOW_S))
    with pytest.raises(AuthenticationFailed) as unknown:
        enter(caller, access("another-key-of-length"))
    assert str(expired.value) == str(unknown.value)


def test_a_key_that_cannot_be_checked_is_not_called_wrong() -> None:
    caller = Caller(authorization=f"Bearer {mint_api_key()}")
    with pytest.raises(KeyUncheckable) as away:
        enter(caller, access(KEY), is_current=False)
    assert (away.value.status, away.value.retry_after_s) == (503, 5.0)
    with pytest.raises(KeyUncheckable):
        enter(caller, access(KEY, pepper=None, is_unreadable=True))
    with pytest.raises(AuthenticationFailed):
        enter(
            Caller(authorization="Bearer ailb_junk_xxx"), access(KEY), is_current=False
        )
    assert enter(Caller(x_api_key=KEY), access(KEY), is_current=False).key is not None


def test_ten_thousand_random_keys_ask_the_database_nothing() -> None:
    """Database access is not allowed here: a query would raise."""
    has = access(KEY)
    for number in range(10_000):
        head = f"ailb_{number:012d}_{number:043d}"
        token = head + (checksum(head) if number % 2 else "000000")
        with pytest.raises(AuthenticationFailed):
            enter(Caller(authorization=f"Bearer {token}"), has)


def test_nobody_is_anonymous_when_that_tenant_is_disabled() -> None:
    with pytest.raises(AuthenticationFailed):
        enter(Caller(), Access())


def test_the_anonymous_tenant_never_manages() -> None:
    nobody = enter(Caller())
    assert nobody.rights == ANONYMOUS_RIGHTS
    nobody.require(Right.DOCUMENTS)
    for right in (Right.MANAGEMENT_READ, Right.MANAGEMENT_WRITE):
        with pytest.raises(PermissionDenied, match=right):
            nobody.require(right)


def test_a_key_may_do_what_its_row_says_and_no_more() -> None:
    owner = enter(Caller(x_api_key=KEY), access(KEY))
    owner.require(Right.CHAT)
    for right in set(Right) - {Right.CHAT}:
        with pytest.raises(PermissionDenied, match=right):
            owner.require(right)


def test_digests_and_pepper_are_never_shown() -> None:
    has = access(KEY)
    assert digest(KEY, PEPPER) not in repr(has)
    assert PEPPER not in repr(has).replace("pepper", "", 1)


@pytest.mark.parametrize(
    ("mode", "host", "keys", "words"),
    [
        ("open", "0.0.0.0", (), "OPEN"),
        ("auto", "127.0.0.1", (), "local"),
        ("auto", "0.0.0.0", (), "closed"),
        ("auto", "127.0.0.1", (KEY,), "closed"),
        ("required", "127.0.0.1", (), "closed"),
    ],
)
def test_the_door_says_in_one_line_how_it_stands(
    mode: str, host: str, keys: tuple[str, ...], words: str
) -> None:
    made = make_door(mode=mode, host=host, api_key="")
    assert words in made.describe(access(*keys))


def test_a_minted_key_has_id_secret_and_checksum() -> None:
    key = mint_api_key()
    head, tail = key[:-6], key[-6:]
    prefix, public_id, secret = head.split("_")
    assert (prefix, len(public_id), len(secret)) == ("ailb", 12, 43)
    assert checksum(head) == tail
    assert mint_api_key() != key
    assert public_id_of(key) == public_id
    assert public_id_of(mint_api_key(public_id=public_id)) == public_id


def test_a_mistyped_key_is_junk_and_another_makers_is_not() -> None:
    key = mint_api_key()
    assert not is_junk(key)
    for position in range(5, len(key)):
        other = "a" if key[position] != "a" else "b"
        mistyped = key[:position] + other + key[position + 1 :]
        assert is_junk(mistyped)
        assert public_id_of(mistyped) is None
    assert not is_junk("sk-any-key-of-another-maker")
    assert public_id_of("sk-any-key-of-another-maker") is None


@pytest.mark.parametrize(
    ("headers", "key"),
    [
        ({"authorization": "Bearer  k "}, "k"),
        ({"authorization": "Basic k"}, ""),
        ({"authorization": "Basic k", "x-api-key": "j"}, "j"),
        ({}, ""),
    ],
)
def test_a_key_is_read_from_either_header(headers: dict[str, str], key: str) -> None:
    assert bearer(headers) == key


@pytest.mark.parametrize(
    ("netloc", "name"),
    [("LOCALHOST:80", "localhost"), ("[::1]:8080", "::1"), ("[", ""), ("", "")],
)
def test_a_host_loses_its_port_and_brackets(netloc: str, name: str) -> None:
    assert host_name(netloc) == name


@pytest.mark.parametrize(
    ("address", "is_own"),
    [("localhost", True), ("127.0.0.1", True), ("0.0.0.0", False), ("10.0.0.1", False)],
)
def test_loopback_is_recognised(address: str, *, is_own: bool) -> None:
    assert is_loopback(address) is is_own


def test_a_key_is_known_only_as_long_as_its_ring() -> None:
    door = Door(mode="required", is_local=False)
    both = access("one", "two")
    caller = Caller(authorization="Bearer one")

    def name(has: Access) -> str | None:
        found = door.authenticate(caller, has, now_s=0.0, is_current=True)
        return None if found.key is None else found.key.name

    assert name(both) == "key 0"
    assert name(both) == "key 0", "known by now"
    assert name(access("two", "one")) == "key 1", "another ring, another key"
    with pytest.raises(AuthenticationFailed):
        name(access("two"))


def test_a_known_key_ends_in_time() -> None:
    door = Door(mode="required", is_local=False)
    has, caller = access("one", ends_s=10.0), Caller(authorization="Bearer one")
    door.authenticate(caller, has, now_s=9.9, is_current=True)
    with pytest.raises(AuthenticationFailed):
        door.authenticate(caller, has, now_s=10.0, is_current=True)


def test_only_what_opened_the_door_is_known() -> None:
    door, has = Door(mode="required", is_local=False), access("one")
    both = Caller(authorization="Basic xyz", x_api_key="one")
    door.authenticate(both, has, now_s=0.0, is_current=True)
    with pytest.raises(AuthenticationFailed):
        door.authenticate(
            Caller(authorization="Basic xyz"), has, now_s=0.0, is_current=True
        )


def test_more_keys_than_are_remembered_still_open(monkeypatch) -> None:
    monkeypatch.setattr(Regulars, "MOST", 2)
    door, has = Door(mode="required", is_local=False), access("a", "b", "c")
    for token in "abcabc":
        caller = Caller(authorization=f"Bearer {token}")
        assert door.authenticate(caller, has, now_s=0.0, is_current=True).key
