"""How the NLB is reached: its address, and TLS with certificates on both sides."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import grpc
import pytest

from gateway.errors import ConfigurationError
from moduleservice.nlb import read_address
from tests.moduleservice.certificates import Identity, make_identity
from tests.moduleservice.nlb_emulator import NlbEmulator, until
from tests.moduleservice.registering import Module


@pytest.fixture
def module() -> Module:
    return Module()


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("nlb:50050", "nlb", 50050),
        ("grpcs://nlb.example:443", "nlb.example", 443),
        ("[::1]:50050", "::1", 50050),
    ],
)
def test_an_address_names_a_host_and_a_port(text: str, host: str, port: int) -> None:
    address = read_address(text, roots=Path("ca"))
    assert (address.host, address.port) == (host, port)
    assert address.is_secure is text.startswith("grpcs://")
    assert address.roots == (Path("ca") if address.is_secure else None)


@pytest.mark.parametrize(
    "text",
    ["nlb", "nlb:", ":50050", "nlb:99999", "nlb:x", "http://nlb:1", "nlb:1/x", "a@b:1"],
)
def test_an_address_that_is_none_is_refused_with_words(text: str) -> None:
    with pytest.raises(ConfigurationError, match="NLB_GRPC_ADDRESS"):
        read_address(text)


@dataclass(frozen=True, slots=True)
class Identities:
    """An authority that both sides trust, what it has signed, and one it has not."""

    authority: Identity
    nlb: Identity
    module: Identity
    stranger: Identity

    def server(self) -> grpc.ServerCredentials:
        """Show the NLB's certificate, and ask modules for theirs."""
        return grpc.ssl_server_credentials(
            [(self.nlb.key_file.read_bytes(), self.nlb.certificate_file.read_bytes())],
            root_certificates=self.authority.certificate_file.read_bytes(),
            require_client_auth=True,
        )


@pytest.fixture
def identities(tmp_path: Path) -> Identities:
    authority = make_identity(tmp_path, "authority", signer=None)
    return Identities(
        authority,
        make_identity(tmp_path, "nlb", signer=authority),
        make_identity(tmp_path, "module", signer=authority),
        make_identity(tmp_path, "stranger", signer=None),
    )


async def test_over_tls_both_show_their_certificates(
    module: Module, identities: Identities
) -> None:
    async with NlbEmulator(identities.server()) as nlb:
        address = read_address(
            f"grpcs://{nlb.address}",
            roots=identities.authority.certificate_file,
            certificate=identities.module.certificate_file,
            key=identities.module.key_file,
        )
        async with module.registering(address) as registration:
            await until(lambda: nlb.calls_of("Heartbeat"), "a heartbeat")
            await registration.leave()
        assert not nlb.registered


async def test_without_roots_the_machine_s_own_are_trusted(
    module: Module, identities: Identities, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(identities.authority.certificate_file))
    async with NlbEmulator(identities.server()) as nlb:
        address = read_address(
            f"grpcs://{nlb.address}",
            certificate=identities.module.certificate_file,
            key=identities.module.key_file,
        )
        async with module.registering(address):
            await until(lambda: nlb.registered, "it is registered")


@pytest.mark.parametrize("wrong", ["plaintext", "roots", "certificate"])
async def test_without_the_right_tls_nothing_is_registered(
    module: Module, identities: Identities, wrong: str
) -> None:
    roots, shown = identities.authority, identities.module
    if wrong == "roots":
        roots = identities.stranger
    elif wrong == "certificate":
        shown = identities.stranger
    async with NlbEmulator(identities.server()) as nlb:
        address = read_address(
            nlb.address if wrong == "plaintext" else f"grpcs://{nlb.address}",
            roots=roots.certificate_file,
            certificate=shown.certificate_file,
            key=shown.key_file,
        )
        async with module.registering(address, sleep=module.sleep):
            await until(lambda: module.waits, "it has failed")
        assert nlb.calls == []
