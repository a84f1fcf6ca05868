"""A chat's documents: what is found before it, and how the answer tells its sources."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from gateway.context import Context
from gateway.dialects.openai.request import ChatCall
from gateway.dialects.openai.sources import SourcesChunk, with_sources
from gateway.errors import InvalidRequest, NotFound
from gateway.retrieving import DocumentsUnavailable, Retrieving
from rag.choosing import NO_ROOM
from rag.citing import sources_block
from rag.errors import CollectionNotFound
from rag.fencing import delimiter_of
from rag.questions import RetrievalRequest, Retrieved

NOT_SEARCHED = (
    "The documents could not be searched. Answer only from documents: say that they "
    "cannot be read at the moment, and add nothing from elsewhere."
)


@dataclass(slots=True)
class ChatDocuments:
    """The documents of one chat. `call` is the client's own, as it came."""

    call: ChatCall
    context: Context
    retrieving: Retrieving
    room_tokens: int | None
    _found: Retrieved | None = None
    _is_unknown: bool = False
    _chunk: SourcesChunk | None = field(default=None, repr=False)

    async def find(self) -> None:
        """Look for what answers the question; never raises: `block` does."""
        request = RetrievalRequest(
            scope=self.context.scope,
            collections=self.call.rag_collections,
            query=question_of(self.call.messages),
            top_k=self.call.rag_top_k,
            filters=self.call.rag_filters,
            room_tokens=self.room_tokens,
        )
        try:
            self._found = found = await self.retrieving.retrieve(request)
        except CollectionNotFound:
            self._is_unknown = True
            return
        self.context.documents_status = f"{found.status}; count={len(found.hits)}"
        if found.hits:
            self._chunk = SourcesChunk(found.hits)

    def block(self) -> str:
        """Give what the model is to be told of what `find` found; empty for nothing.

        Every round of a tool loop that finds the same is told the same, byte for byte.

        Raises:
            NotFound: A collection is not there, or may not be read: never which.
            DocumentsUnavailable: One could not be searched, and is required.
            InvalidRequest: There is no room for what was found, and it is required.

        """
        found = self._found
        if self._is_unknown or found is None:
            raise NotFound(
                "A collection that 'rag_collection' names does not exist, or this API "
                "key may not read it.",
                param="rag_collection",
                code="collection_not_found",
            )
        if found.is_required and not found.is_searched:
            raise refusal_of(found)
        if found.is_strict and not found.is_searched:
            return NOT_SEARCHED
        delimiter = delimiter_of(
            settings.SECRET_KEY,
            *self.call.rag_collections,
            question_of(self.call.messages),
            *(uid for hit in found.hits for uid in hit.chunk_ids),
        )
        return sources_block(found.hits, delimiter=delimiter, is_strict=found.is_strict)

    def cite(self, answer: bytes) -> bytes:
        """Give a whole answer with its sources."""
        found = self._found
        return with_sources(answer, found.hits) if found and found.hits else answer

    def hear(self, chunk: bytes) -> None:
        """Take note of what the client gets of a stream."""
        if self._chunk is not None:
            self._chunk.feed(chunk)

    def cite_before_end(self, chunk: bytes) -> bytes:
        """Give a stream's last bytes, which were heard, with its sources."""
        return chunk if self._chunk is None else self._chunk.before_end(chunk)


def refusal_of(found: Retrieved) -> DocumentsUnavailable | InvalidRequest:
    """Make the error of a required collection that was not searched."""
    if found.problem == NO_ROOM:
        return InvalidRequest(
            "This request needs sources from documents, and its model's context has no "
            "room for them. Shorten it, or choose a model with a larger context.",
            param="messages",
            code="no_room_for_documents",
        )
    return DocumentsUnavailable(
        "This request needs its documents, which cannot be searched now. Send it again."
    )


def question_of(messages: Sequence[Mapping[str, Any]]) -> str:
    """Give the text of the last user message; empty for none."""
    for message in reversed(messages):
        if message.get("role") == "user":
            return text_in(message.get("content"))
    return ""


def text_in(content: object) -> str:
    """Give the text of a message's content, its parts in lines of their own."""
    if isinstance(content, str):
        return content
    parts = content if isinstance(content, list) else []
    texts = [part.get("text") for part in parts if isinstance(part, dict)]
    return "\n".join(text for text in texts if isinstance(text, str))
