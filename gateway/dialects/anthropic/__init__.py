"""Anthropic's Messages API as an upstream (pure)."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.dialects.anthropic import request as chat_request, response
from gateway.dialects.anthropic.faults import read_error
from gateway.dialects.anthropic.stream import AnthropicDecoder
from gateway.dialects.base import Built, ChatDecoder
from gateway.dialects.faults import unsupported
from gateway.dialects.record import (
    ChatRequest,
    ChatResponse,
    EmbeddingsRequest,
    EmbeddingsResponse,
    UpstreamModel,
)
from gateway.errors import UpstreamError
from gateway.kinds import Operation
from gateway.snapshot import Deployment

ANTHROPIC_VERSION = "2023-06-01"
"""The version this translator is written against.

The newer 2026-10-21 refuses `temperature`, `top_p` and `top_k` for every model; in this one
each model takes what it supports, and every proxy of the API knows it.
"""

_MODELS_PAGE = 1000  # the most the vendor gives at once; its default is 20


class AnthropicDialect:
    """Speaks `POST /v1/messages`; implements `gateway.dialects.base.Dialect`."""

    name = "anthropic"
    default_base_url: str | None = "https://api.anthropic.com"

    def urls(self, base_url: str) -> Mapping[Operation, str]:
        """Only chat: Anthropic has no embeddings."""
        return {Operation.CHAT: f"{_root(base_url)}/v1/messages"}

    def models_url(self, base_url: str) -> str:
        """All models in one page."""
        return f"{_root(base_url)}/v1/models?limit={_MODELS_PAGE}"

    def headers(self, credential: str | None) -> dict[str, str]:
        """Put the key into `x-api-key`, which old and new versions both read."""
        headers = {
            "anthropic-version": ANTHROPIC_VERSION,
            "content-type": "application/json",
        }
        if credential:
            headers["x-api-key"] = credential
        return headers

    def build_chat(self, request: ChatRequest, deployment: Deployment) -> Built:
        """See the protocol."""
        return chat_request.build_chat(request, deployment)

    def read_chat(self, data: bytes, built: Built) -> ChatResponse:
        """See the protocol."""
        return response.read_chat(data, built)

    def chat_decoder(self, built: Built) -> ChatDecoder:
        """See the protocol."""
        return AnthropicDecoder(built)

    def build_embeddings(
        self, request: EmbeddingsRequest, deployment: Deployment
    ) -> Built:
        """Anthropic has no embeddings: always raises UNSUPPORTED_PARAMETER."""
        raise unsupported("model", "This model makes no embeddings: ask another one.")

    def read_embeddings(self, data: bytes) -> EmbeddingsResponse:
        """Nothing can answer what was never asked: always raises."""
        raise unsupported("model", "This model makes no embeddings: ask another one.")

    def read_error(
        self, status: int, data: bytes, retry_after_s: float | None
    ) -> UpstreamError:
        """See the protocol."""
        return read_error(status, data, retry_after_s)

    def read_models(self, data: bytes) -> tuple[UpstreamModel, ...]:
        """See the protocol."""
        return response.read_models(data)


def _root(base_url: str) -> str:
    """Accept an address with and without the version, as the vendor's SDKs use both."""
    return base_url.removesuffix("/v1")
