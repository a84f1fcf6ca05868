"""The use case of embeddings: routed and translated like a chat."""

from __future__ import annotations

from gateway.context import Context
from gateway.dialects.exchange import Exchange, Whole, open_embeddings
from gateway.dialects.openai.request import EmbeddingsCall
from gateway.snapshot import Deployment, Model


async def create(call: EmbeddingsCall, context: Context) -> Whole:
    """Answer with vectors; raises like `chat.complete`."""
    with context.books() as entry:
        model = context.find_model(call.model)
        envelope = context.envelope(call.model)

        def open_exchange(_: Model, deployment: Deployment) -> Exchange:
            return open_embeddings(call, deployment, envelope)

        task = context.task(model, call.needs, open_exchange)
        await context.admit(task)
        whole = await context.dispatcher.whole(task, context.trace)
        entry.usage = whole.usage
        return whole
