"""The listening socket and what is said when there is none."""

from __future__ import annotations

import re
import socket

import pytest

from ailb_project.listener import ListenError, bind_listener, keep_port


def test_a_taken_port_names_itself_and_what_to_do() -> None:
    with bind_listener("127.0.0.1", 0) as first:
        port = first.getsockname()[1]
        with pytest.raises(
            ListenError, match=rf"Port {port} .* already in use.*HTTP_PORT"
        ):
            bind_listener("127.0.0.1", port)


def test_a_port_is_free_again_at_once_after_its_connections() -> None:
    with bind_listener("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address) as client:
            listener.setblocking(True)
            accepted, _ = listener.accept()
            accepted.close()  # this end closes first and stays in TIME_WAIT
            assert client.recv(1) == b""
    bind_listener(*address).close()


@pytest.mark.parametrize("host", ["203.0.113.1", "no such host"])
def test_a_foreign_host_names_itself(host: str) -> None:
    with pytest.raises(ListenError, match=rf"HOST={re.escape(host)}"):
        bind_listener(host, 0)


def test_an_ipv6_address_is_listened_on() -> None:
    if not socket.has_ipv6:
        pytest.skip("this Python was built without IPv6")
    try:
        listener = bind_listener("::1", 0)
    except ListenError:
        pytest.skip("this machine has no IPv6 loopback address")
    with listener:
        assert listener.family == socket.AF_INET6


def test_a_kept_port_is_only_for_who_shares_it_by_name() -> None:
    port = keep_port("127.0.0.1")
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port))
    bind_listener("127.0.0.1", port, setting="GRPC_PORT").close()
    with (
        bind_listener("127.0.0.1", port),
        pytest.raises(ListenError, match=r"already in use.*GRPC_PORT"),
    ):
        bind_listener("127.0.0.1", port, setting="GRPC_PORT")
