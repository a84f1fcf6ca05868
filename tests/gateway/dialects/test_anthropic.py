"""Anthropic as a dialect: addresses, headers and what it does not have."""

from __future__ import annotations

import pytest

from gateway.dialects.anthropic import AnthropicDialect
from gateway.dialects.base import Dialect
from gateway.dialects.record import EmbeddingsRequest
from gateway.errors import UpstreamError
from gateway.kinds import Fault, Operation
from gateway.snapshot import Deployment, Provider

DIALECT: Dialect = AnthropicDialect()  # mypy holds it against the protocol


@pytest.mark.parametrize(
    "base", ["https://api.anthropic.com", "https://api.anthropic.com/v1"]
)
def test_the_address_may_end_in_the_version_or_not(base):
    assert DIALECT.urls(base) == {
        Operation.CHAT: "https://api.anthropic.com/v1/messages"
    }
    assert DIALECT.models_url(base).startswith("https://api.anthropic.com/v1/models")


def test_the_models_are_asked_for_in_one_page():
    assert DIALECT.models_url("http://a").endswith("/v1/models?limit=1000")


def test_the_default_address_is_the_vendors():
    assert DIALECT.name == "anthropic"
    assert DIALECT.default_base_url == "https://api.anthropic.com"


def test_the_key_and_the_version_are_headers():
    assert DIALECT.headers("sk-ant-1") == {
        "x-api-key": "sk-ant-1",
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
    }


@pytest.mark.parametrize("credential", [None, ""])
def test_without_a_credential_no_key_is_sent(credential):
    assert "x-api-key" not in DIALECT.headers(credential)


def test_embeddings_are_refused_so_that_another_deployment_is_tried():
    provider = Provider(
        id=1,
        name="anthropic",
        kind="anthropic",
        base_url="http://a",
        urls={},
        models_url="",
        headers=(),
        fingerprint="f",
    )
    deployment = Deployment(1, "m", "claude", provider)
    with pytest.raises(UpstreamError) as caught:
        DIALECT.build_embeddings(EmbeddingsRequest(("a",)), deployment)
    assert (caught.value.fault, caught.value.param) == (
        Fault.UNSUPPORTED_PARAMETER,
        "model",
    )
    with pytest.raises(UpstreamError):
        DIALECT.read_embeddings(b"{}")
