"""The door: who is let in, in each mode, and that all refusals look alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.auth import (
    ANONYMOUS,
    Door,
    bearer,
    host_name,
    is_loopback,
    make_door,
)
from gateway.crypto import checksum, digest, mint_api_key
from gateway.errors import AuthenticationFailed

PEPPER = "pepper"
KEY = "a-key-of-some-length"


class Caller:
    """A request as authentication sees it."""

    def __init__(self, peer: str | None = "127.0.0.1", **headers: str) -> None:
        self.peer = peer
        self.headers = {"host": "localhost:8080"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }


def door(
    mode: str = "auto", *, is_local: bool = True, keys: tuple[str, ...] = ()
) -> Door:
    digests = tuple(digest(key, PEPPER) for key in keys)
    return Door(mode=mode, is_local=is_local, pepper=PEPPER, digests=digests)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_a_local_request_needs_no_key_while_there_is_none(peer: str) -> None:
    assert door().authenticate(Caller(peer)) is ANONYMOUS


def test_a_bearer_is_ignored_while_the_door_is_open() -> None:
    assert door().authenticate(Caller(authorization="Bearer sk-any")) is ANONYMOUS


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
        door().authenticate(caller)


def test_a_page_of_this_machine_may_ask() -> None:
    caller = Caller(origin="http://localhost:3000")
    assert door().authenticate(caller) is ANONYMOUS


def test_a_server_bound_elsewhere_lets_nobody_in_without_a_key() -> None:
    with pytest.raises(AuthenticationFailed):
        door(is_local=False).authenticate(Caller())


def test_required_lets_nobody_in_without_a_key() -> None:
    with pytest.raises(AuthenticationFailed):
        door("required").authenticate(Caller())


def test_open_lets_everybody_in() -> None:
    stranger = Caller("203.0.113.9", host="ailb.example", x_forwarded_for="1.2.3.4")
    assert door("open", is_local=False).authenticate(stranger) is ANONYMOUS


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_the_first_key_closes_the_door(mode: str) -> None:
    closed = door(mode, keys=(KEY, "another-key-of-length"))
    known = closed.authenticate(Caller("203.0.113.9", authorization=f"bearer {KEY}"))
    assert known.tenant == "default"
    assert known.key_id is not None
    assert KEY not in repr(known)
    assert closed.authenticate(Caller(x_api_key=KEY)) == known
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": KEY}):
        with pytest.raises(AuthenticationFailed):
            closed.authenticate(Caller(**headers))


def test_the_door_never_shows_its_digests() -> None:
    closed = door(keys=(KEY,))
    assert digest(KEY, PEPPER) not in repr(closed)
    assert PEPPER not in repr(closed)


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
    mode: str, host: str, keys: tuple[str, ...], words: str, tmp_path: Path
) -> None:
    made = make_door(
        mode=mode,
        host=host,
        pepper=PEPPER,
        api_key="".join(keys),
        key_file=tmp_path / "none",
    )
    assert words in made.describe()


def test_the_kept_first_key_opens_the_door(tmp_path: Path) -> None:
    key = mint_api_key()
    (tmp_path / "digest").write_text(digest(key, PEPPER) + "\n")
    made = make_door(
        mode="auto",
        host="0.0.0.0",
        pepper=PEPPER,
        api_key="",
        key_file=tmp_path / "digest",
    )
    assert made.authenticate(Caller("10.0.0.1", authorization=f"Bearer {key}")).key_id


def test_a_minted_key_has_id_secret_and_checksum() -> None:
    key = mint_api_key()
    head, tail = key[:-6], key[-6:]
    prefix, public_id, secret = head.split("_")
    assert (prefix, len(public_id), len(secret)) == ("ailb", 12, 43)
    assert checksum(head) == tail
    assert mint_api_key() != key


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
