"""OpenAI's wire format, upstream: addresses, credentials, errors and lists (pure)."""

from __future__ import annotations

from collections.abc import Mapping

import orjson

from gateway.dialects.faults import invalid_response
from gateway.dialects.openai.errors import read_error
from gateway.dialects.record import UpstreamModel
from gateway.errors import UpstreamError
from gateway.kinds import Operation

__all__ = ["OpenAIDialect"]


class OpenAIDialect:
    """OpenAI and what is compatible with it: our own inbound format, so bytes pass."""

    name = "openai"
    default_base_url: str | None = "https://api.openai.com/v1"

    def urls(self, base_url: str) -> Mapping[Operation, str]:
        """Give the address of each operation; `base_url` ends with the version."""
        return {
            Operation.CHAT: f"{base_url}/chat/completions",
            Operation.EMBEDDINGS: f"{base_url}/embeddings",
        }

    def models_url(self, base_url: str) -> str:
        """Give the address that lists the models."""
        return f"{base_url}/models"

    def headers(self, credential: str | None) -> dict[str, str]:
        """Give the headers of every request; without a credential there is none."""
        headers = {"content-type": "application/json"}
        if credential:
            headers["authorization"] = f"Bearer {credential}"
        return headers

    def read_error(
        self, status: int, data: bytes, retry_after_s: float | None
    ) -> UpstreamError:
        """Classify an answer that is not a 200; never raises."""
        return read_error(status, data, retry_after_s)

    def read_models(self, data: bytes) -> tuple[UpstreamModel, ...]:
        """Read the list of models; it says nothing about what they can do."""
        try:
            listed = orjson.loads(data)["data"]
            return tuple(UpstreamModel(name=str(entry["id"])) for entry in listed)
        except (ValueError, KeyError, TypeError) as error:
            raise invalid_response("the list of models") from error
