"""What a dialect must be able to do: the protocol each provider kind implements (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from gateway.dialects.record import (
    ChatRequest,
    ChatResponse,
    EmbeddingsRequest,
    EmbeddingsResponse,
    StreamEvent,
    UpstreamModel,
)
from gateway.errors import UpstreamError
from gateway.kinds import Operation
from gateway.snapshot import Deployment


@dataclass(frozen=True, slots=True)
class Built:
    """An upstream request body and what reading its answer needs to know.

    `dropped` names the client's parameters that this vendor cannot express and that were
    left out; they are reported in `x-ailb-dropped-params`. `tool_names` maps the names
    we sent to the names the client used, where they differ. `json_tool` is the name of
    the tool that stands in for a JSON schema, if that trick was needed.
    """

    body: bytes = field(repr=False)
    dropped: tuple[str, ...] = ()
    tool_names: Mapping[str, str] = field(default_factory=dict)
    json_tool: str | None = None


class ChatDecoder(Protocol):
    """Turns the bytes of one streamed answer into events; keeps state, does no I/O.

    Indifferent to where the bytes split. One decoder serves one answer.
    """

    is_finished: bool
    """The vendor's own end of the answer has arrived."""

    def feed(self, data: bytes) -> Iterator[StreamEvent]:
        """Yield what became known; events before an error are yielded before it.

        Raises:
            UpstreamError: The vendor sent an error event (fault by its kind) or
                something that is not its wire format (INVALID_RESPONSE).

        """
        ...


class Wire(Protocol):
    """What is known of every kind of provider, the client's own dialect included."""

    name: str
    """The wire format; kinds that share it share the dialect."""

    default_base_url: str | None
    """The vendor's own address, None when every operator has its own."""

    def urls(self, base_url: str) -> Mapping[Operation, str]:
        """Give the address of each operation; `base_url` has no trailing slash."""
        ...

    def models_url(self, base_url: str) -> str:
        """Give the address that lists the models; asking it costs nothing."""
        ...

    def headers(self, credential: str | None) -> dict[str, str]:
        """Give the headers of every request, the credential's included."""
        ...

    def read_error(
        self, status: int, data: bytes, retry_after_s: float | None
    ) -> UpstreamError:
        """Classify a non-200 answer by status and the vendor's code, never by prose.

        The one exception: the documented texts for context length. Never raises;
        `data` may be anything.
        """
        ...

    def read_models(self, data: bytes) -> tuple[UpstreamModel, ...]:
        """Read the list of models; raises UpstreamError(INVALID_RESPONSE)."""
        ...


class Dialect(Wire, Protocol):
    """How to translate for a kind of provider whose format is not the client's.

    Methods never change their arguments: another attempt will use them again.
    """

    def build_chat(self, request: ChatRequest, deployment: Deployment) -> Built:
        """Write the body of a chat request for this deployment.

        Raises:
            UpstreamError: UNSUPPORTED_PARAMETER (with `param`) for what this vendor or
                deployment cannot express and must not drop; REJECTED for a
                conversation that it cannot represent.

        """
        ...

    def read_chat(self, data: bytes, built: Built) -> ChatResponse:
        """Read a whole 200 answer.

        Raises:
            UpstreamError: INVALID_RESPONSE when it is not what the vendor documents.

        """
        ...

    def chat_decoder(self, built: Built) -> ChatDecoder:
        """Make the decoder of one streamed answer."""
        ...

    def build_embeddings(
        self, request: EmbeddingsRequest, deployment: Deployment
    ) -> Built:
        """Write the body of an embeddings request; raises like `build_chat`."""
        ...

    def read_embeddings(self, data: bytes) -> EmbeddingsResponse:
        """Read a whole 200 answer; raises like `read_chat`."""
        ...
