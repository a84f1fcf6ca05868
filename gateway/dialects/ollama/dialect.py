"""The Ollama dialect: where its operations live and who reads and writes their bodies."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.dialects.base import Built, ChatDecoder
from gateway.dialects.ollama.answer import read_chat, read_embeddings
from gateway.dialects.ollama.catalogue import read_models
from gateway.dialects.ollama.decoder import OllamaChatDecoder
from gateway.dialects.ollama.faults import read_error
from gateway.dialects.ollama.request import build_chat, build_embeddings
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


class OllamaDialect:
    """Ollama's native API; implements `gateway.dialects.base.Dialect`."""

    name = "ollama"
    default_base_url: str | None = None

    def urls(self, base_url: str) -> Mapping[Operation, str]:
        """Give the address of each operation; an address of its `/v1` or `/api` will do."""
        root = _root(base_url)
        return {
            Operation.CHAT: f"{root}/api/chat",
            Operation.EMBEDDINGS: f"{root}/api/embed",
        }

    def models_url(self, base_url: str) -> str:
        """Give the address that lists the models that were pulled."""
        return f"{_root(base_url)}/api/tags"

    def headers(self, credential: str | None) -> dict[str, str]:
        """Give the headers; only Ollama's cloud and guarded servers want a credential."""
        headers = {"content-type": "application/json"}
        if credential:
            headers["authorization"] = f"Bearer {credential}"
        return headers

    def build_chat(self, request: ChatRequest, deployment: Deployment) -> Built:
        """See `gateway.dialects.ollama.request.build_chat`."""
        return build_chat(request, deployment)

    def read_chat(self, data: bytes, built: Built) -> ChatResponse:
        """See `gateway.dialects.ollama.answer.read_chat`."""
        return read_chat(data, built)

    def chat_decoder(self, built: Built) -> ChatDecoder:
        """Make the decoder of one streamed answer."""
        return OllamaChatDecoder(built)

    def build_embeddings(
        self, request: EmbeddingsRequest, deployment: Deployment
    ) -> Built:
        """See `gateway.dialects.ollama.request.build_embeddings`."""
        return build_embeddings(request, deployment)

    def read_embeddings(self, data: bytes) -> EmbeddingsResponse:
        """See `gateway.dialects.ollama.answer.read_embeddings`."""
        return read_embeddings(data)

    def read_error(
        self, status: int, data: bytes, retry_after_s: float | None
    ) -> UpstreamError:
        """See `gateway.dialects.ollama.faults.read_error`."""
        return read_error(status, data, retry_after_s)

    def read_models(self, data: bytes) -> tuple[UpstreamModel, ...]:
        """See `gateway.dialects.ollama.catalogue.read_models`."""
        return read_models(data)


def _root(base_url: str) -> str:
    """Give the server's address, from what operators copy from Ollama's documentation."""
    return base_url.rstrip("/").removesuffix("/v1").removesuffix("/api").rstrip("/")
