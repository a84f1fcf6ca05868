"""`/v1`: chat completions, embeddings and models."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework.request import Request
from typing_extensions import override

from gateway import chat, embeddings
from gateway.context import Context
from gateway.dialects.openai.request import (
    ChatCall,
    parse_chat,
    parse_embeddings,
)
from gateway.errors import InvalidRequest, NotFound
from gateway.kinds import Operation, Right
from gateway.runtime import runtime
from gateway.snapshot import Model
from gateway.views import schema
from gateway.views.base import GatewayView, unknown_url
from gateway.views.rendering import EventStream, render, render_bytes

MAX_SESSION_ID = 256


class ChatCompletionsView(GatewayView):
    """`POST /v1/chat/completions`."""

    operation = Operation.CHAT
    right = Right.CHAT

    @extend_schema(**schema.CHAT)
    async def post(self, request: Request) -> HttpResponseBase:
        """Answer a chat, whole or as a stream of events."""
        context = self.open_context()
        context.session_id = self._session_header()
        call = parse_chat(self.json_body(), has_documents=settings.ENABLE_RAG)
        context.session_id = call.session_id or context.session_id
        if context.session_id:
            context.memory = runtime.memory if settings.ENABLE_MEMORY else None
            context.is_client_retry = self._is_retry()
        if call.rag_collections:
            context.retrieving = runtime.retrieving
        if call.stream:
            return await self._stream(call, context)
        whole = await chat.complete(call, context)
        return render_bytes(whole.body, headers=context.headers())

    async def _stream(self, call: ChatCall, context: Context) -> HttpResponseBase:
        stream = await chat.open_stream(call, context, runtime.spawn)
        return EventStream(stream, context.headers())

    def _session_header(self) -> str:
        """Read the session's name; the body's, if there is one, is over it."""
        given = self.visitor.headers.get("x-session-id", "")
        if not given:
            return ""
        given = as_utf8(given)
        if len(given) > MAX_SESSION_ID or not given.isprintable():
            raise InvalidRequest(
                f"X-Session-ID must be printable and at most {MAX_SESSION_ID} characters.",
                param="X-Session-ID",
            )
        return given

    def _is_retry(self) -> bool:
        """Say whether an SDK sends this once more: official ones count."""
        count = self.visitor.headers.get("x-stainless-retry-count", "")
        return count.isdecimal() and int(count[:9]) > 0


def as_utf8(header: str) -> str:
    """Read a header's value as the UTF-8 that clients mean, if it is that."""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return header


class EmbeddingsView(GatewayView):
    """`POST /v1/embeddings`."""

    operation = Operation.EMBEDDINGS
    right = Right.EMBEDDINGS

    @extend_schema(**schema.EMBEDDINGS)
    async def post(self, request: Request) -> HttpResponseBase:
        """Answer with one vector a text."""
        context = self.open_context()
        call = parse_embeddings(self.json_body())
        whole = await embeddings.create(call, context)
        return render_bytes(whole.body, headers=context.headers())


class ModelsView(GatewayView):
    """`GET /v1/models`."""

    @extend_schema(**schema.MODELS)
    async def get(self, request: Request) -> HttpResponseBase:
        """List everything this key may call."""
        models, allowed = runtime.snapshots.current.models, self.principal.models
        names = models.keys() if allowed is None else models.keys() & allowed
        data = [model_object(models[name]) for name in sorted(names)]
        return render({"object": "list", "data": data})


class ModelView(GatewayView):
    """`GET /v1/models/{id}`; an id may hold slashes."""

    @extend_schema(**schema.MODEL)
    async def get(self, request: Request, model_id: str) -> HttpResponseBase:
        """Show one model."""
        model, allowed = (
            runtime.snapshots.current.model(model_id),
            self.principal.models,
        )
        is_allowed = allowed is None or model_id in allowed
        if model is None or not (is_allowed or model.name in (allowed or ())):
            raise NotFound(
                f"The model '{model_id[:200]}' does not exist.",
                param="model",
                code="model_not_found",
            )
        return render(model_object(model))


def model_object(model: Model) -> dict[str, Any]:
    """Write a model as OpenAI lists it; its owner is the provider, or AILB for several."""
    owners = {deployment.provider.name for deployment in model.deployments}
    return {
        "id": model.name,
        "object": "model",
        "created": model.created_s,
        "owned_by": owners.pop() if len(owners) == 1 else "ailb",
    }


class UnknownView(GatewayView):
    """Any other `/v1/...`: a 404 in OpenAI's shape, whatever the method."""

    schema = None
    needs_key = False

    @override
    async def _handle(
        self, request: ASGIRequest, *args: Any, **kwargs: Any
    ) -> HttpResponseBase:
        raise unknown_url()
