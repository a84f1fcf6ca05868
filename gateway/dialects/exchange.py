"""One attempt's translation: what to send to a deployment, and how to read its answer.

Pairs the client's dialect with the deployment's. The same on both sides: bytes pass. Not
the same: through the internal record. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import orjson

from gateway.dialects import registry
from gateway.dialects.base import Built, Dialect
from gateway.dialects.faults import invalid_response
from gateway.dialects.openai import OpenAIDialect
from gateway.dialects.openai.encoder import (
    ChunkEncoder,
    Envelope,
    encode_chat,
    encode_embeddings,
)
from gateway.dialects.openai.errors import read_stream_error
from gateway.dialects.openai.relay import RelayedStream, finish_reason_of, read_usage
from gateway.dialects.openai.request import (
    OWN_FIELDS,
    ChatCall,
    EmbeddingsCall,
    read_embeddings_record,
    read_record,
)
from gateway.dialects.record import (
    ChatResponse,
    Finished,
    Ping,
    TextDelta,
    ThinkingBlock,
    Usage,
    UsageUpdate,
)
from gateway.errors import UpstreamError
from gateway.kinds import Fault
from gateway.routing.needs import Needs
from gateway.snapshot import Deployment

CHARS_PER_TOKEN = 4  # for answers whose usage nobody reports


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole answer, ready for the client."""

    body: bytes = field(repr=False)
    usage: Usage
    finish_reason: str | None = None


class StreamTranslator(Protocol):
    """One stream from provider to client; keeps state, does no I/O.

    `has_content` says that the model has said something: from then on there is no way
    back. After `is_finished` or `error` nothing more may be fed.
    """

    has_content: bool
    is_finished: bool
    error: UpstreamError | None
    usage: Usage | None

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped, once it has."""
        ...

    @property
    def output_estimate(self) -> int:
        """Tokens of output so far, if nobody reports them."""
        ...

    def feed(self, data: bytes) -> bytes:
        """Take what the provider sent; give what the client gets now."""
        ...

    def close(self) -> bytes:
        """Take the provider's end; sets `error` unless the answer was whole."""
        ...


class Exchange(Protocol):
    """One attempt: the body to send and the readers of its answer."""

    body: bytes
    dropped: tuple[str, ...]

    def whole(self, data: bytes) -> Whole:
        """Read a whole answer.

        Raises:
            UpstreamError: INVALID_RESPONSE, or what an error inside a 200 says.

        """
        ...

    def stream(self) -> StreamTranslator:
        """Make the translator of a streamed answer."""
        ...


def open_chat(call: ChatCall, deployment: Deployment, envelope: Envelope) -> Exchange:
    """Translate a chat for a deployment.

    Raises:
        UpstreamError: This deployment cannot be asked this.
        InvalidRequest: The request cannot be understood at all.

    """
    dialect = registry.dialect_of(deployment.provider.kind)
    if isinstance(dialect, OpenAIDialect):
        return RelayedChat(call, deployment)
    return TranslatedChat(call, deployment, dialect, envelope)


def open_embeddings(
    call: EmbeddingsCall, deployment: Deployment, envelope: Envelope
) -> Exchange:
    """Translate an embeddings request for a deployment; raises like `open_chat`."""
    dialect = registry.dialect_of(deployment.provider.kind)
    if isinstance(dialect, OpenAIDialect):
        return RelayedEmbeddings(call, deployment)
    return TranslatedEmbeddings(call, deployment, dialect, envelope)


def estimated(needs: Needs, output_tokens: int) -> Usage:
    """Estimate the usage of an answer that came without it."""
    return Usage(
        input_tokens=needs.prompt_tokens,
        output_tokens=output_tokens,
        is_estimated=True,
    )


def relayed_body(
    body: Mapping[str, Any], deployment: Deployment, **ours: object
) -> bytes:
    """Write a client's body for a provider of the same dialect: few keys change."""
    kept = {name: value for name, value in body.items() if name not in OWN_FIELDS}
    changed = {**deployment.options, **kept, "model": deployment.upstream_model, **ours}
    return orjson.dumps(changed)


def read_object(data: bytes) -> dict[str, Any]:
    """Read an OpenAI provider's whole answer."""
    try:
        body = orjson.loads(data)
    except ValueError as error:
        raise invalid_response("it is not JSON") from error
    if not isinstance(body, dict):
        raise invalid_response("it is not a JSON object")
    if body.get("error") is not None:
        raise read_stream_error(body)
    return body


class RelayedChat:
    """A chat with a provider that speaks the client's own dialect."""

    dropped: tuple[str, ...] = ()

    def __init__(self, call: ChatCall, deployment: Deployment) -> None:
        """Write the body; a stream always asks for usage, for our own books."""
        self._call = call
        ours: dict[str, object] = {}
        if call.stream:
            options = call.body.get("stream_options")
            given = options if isinstance(options, dict) else {}
            ours["stream_options"] = {**given, "include_usage": True}
        self.body = relayed_body(call.body, deployment, **ours)

    def whole(self, data: bytes) -> Whole:
        """Check that it is an answer, and pass its bytes."""
        body = read_object(data)
        choices = body.get("choices")
        if not isinstance(choices, list):
            raise invalid_response("it has no choices")
        usage = read_usage(body.get("usage")) or estimated(
            self._call.needs, len(data) // CHARS_PER_TOKEN
        )
        return Whole(data, usage, finish_reason_of(body))

    def stream(self) -> StreamTranslator:
        """Relay what arrives."""
        return RelayedStream(include_usage=self._call.include_usage)


class TranslatedChat:
    """A chat with a provider of another dialect."""

    def __init__(
        self,
        call: ChatCall,
        deployment: Deployment,
        dialect: Dialect,
        envelope: Envelope,
    ) -> None:
        """Read the record, and let the dialect write it."""
        self._call = call
        self._dialect = dialect
        self._envelope = envelope
        self._built = dialect.build_chat(read_record(call), deployment)
        self.body = self._built.body
        self.dropped = self._built.dropped

    def whole(self, data: bytes) -> Whole:
        """Read the answer and write it as the client's dialect has it."""
        response = self._dialect.read_chat(data, self._built)
        usage = response.usage or estimated(self._call.needs, spoken_tokens(response))
        body = encode_chat(response, self._envelope, usage)
        return Whole(body, usage, response.finish_reason)

    def stream(self) -> StreamTranslator:
        """Decode the provider's events and encode the client's."""
        encoder = ChunkEncoder(self._envelope, include_usage=self._call.include_usage)
        return TranslatedStream(
            self._dialect, self._built, encoder, needs=self._call.needs
        )


def spoken_tokens(response: ChatResponse) -> int:
    """Estimate the tokens of an answer from its characters."""
    chars = len(response.text or "") + len(response.reasoning or "")
    chars += sum(len(call.name) + len(call.arguments) for call in response.tool_calls)
    return chars // CHARS_PER_TOKEN


class TranslatedStream:
    """A provider's events, decoded and encoded anew as they arrive."""

    def __init__(
        self, dialect: Dialect, built: Built, encoder: ChunkEncoder, *, needs: Needs
    ) -> None:
        """One instance serves one answer."""
        self._decoder = dialect.chat_decoder(built)
        self._encoder = encoder
        self._needs = needs
        self._chars = 0
        self.has_content = False
        self.is_finished = False
        self.error: UpstreamError | None = None
        self.usage: Usage | None = None

    @property
    def finish_reason(self) -> str | None:
        """Why the model stopped, once it has."""
        return self._encoder.finish_reason

    @property
    def output_estimate(self) -> int:
        """Tokens of output so far, from the characters of its text."""
        return self._chars // CHARS_PER_TOKEN

    def feed(self, data: bytes) -> bytes:
        """Decode and encode; what stood before an error is still given."""
        parts = []
        try:
            for event in self._decoder.feed(data):
                match event:
                    case UsageUpdate():
                        self.usage = event.usage
                    case Ping() | ThinkingBlock():
                        pass
                    case TextDelta():
                        self._chars += len(event.text)
                        self.has_content = True
                    case Finished():
                        self.has_content = True
                    case _:
                        self.has_content = True
                parts.append(self._encoder.encode(event))
        except UpstreamError as error:
            self.error = error
        if self.error is None and self._decoder.is_finished:
            self.is_finished = self.has_content = True
            usage = self.usage or estimated(self._needs, self.output_estimate)
            self.usage = usage
            parts.append(self._encoder.end(usage))
        return b"".join(parts)

    def close(self) -> bytes:
        """Take the provider's end; it must have said so before."""
        if not self.is_finished and self.error is None:
            self.error = UpstreamError(
                Fault.INTERRUPTED, "The provider ended its answer before it was whole."
            )
        return b""


class RelayedEmbeddings:
    """Embeddings from a provider that speaks the client's own dialect."""

    dropped: tuple[str, ...] = ()

    def __init__(self, call: EmbeddingsCall, deployment: Deployment) -> None:
        """Write the body with the deployment's model."""
        self._call = call
        self.body = relayed_body(call.body, deployment)

    def whole(self, data: bytes) -> Whole:
        """Check that it is an answer, and pass its bytes."""
        body = read_object(data)
        if not isinstance(body.get("data"), list):
            raise invalid_response("it has no data")
        usage = read_usage(body.get("usage")) or estimated(self._call.needs, 0)
        return Whole(data, usage)

    def stream(self) -> StreamTranslator:
        """Embeddings are never streamed."""
        raise AssertionError("embeddings have no stream")


class TranslatedEmbeddings:
    """Embeddings from a provider of another dialect."""

    def __init__(
        self,
        call: EmbeddingsCall,
        deployment: Deployment,
        dialect: Dialect,
        envelope: Envelope,
    ) -> None:
        """Let the dialect write the request."""
        self._call = call
        self._dialect = dialect
        self._envelope = envelope
        built = dialect.build_embeddings(read_embeddings_record(call), deployment)
        self.body = built.body
        self.dropped = built.dropped

    def whole(self, data: bytes) -> Whole:
        """Read the vectors and write them as the client asked."""
        response = self._dialect.read_embeddings(data)
        usage = response.usage or estimated(self._call.needs, 0)
        body = encode_embeddings(
            response,
            model=self._envelope.model,
            usage=replace(usage, output_tokens=0),
            as_base64=self._call.encoding_format == "base64",
        )
        return Whole(body, usage)

    def stream(self) -> StreamTranslator:
        """Embeddings are never streamed."""
        raise AssertionError("embeddings have no stream")
