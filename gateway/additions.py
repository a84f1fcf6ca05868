"""What is added to a chat: documents and what its session remembers, in one block."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from gateway.context import Context
from gateway.dialects.openai.answers import read_answer
from gateway.dialects.openai.request import ChatCall
from gateway.rooms import Room, room_of
from gateway.sessions import ChatSession, session_of
from gateway.sourcing import ChatDocuments
from memory.exchange import RecallStatus, Recollection
from memory.weaving import with_sources

NOTHING = Recollection(RecallStatus.OFF)


@dataclass(slots=True)
class Additions:
    """What one chat has of the two, at least one, from before it to its end.

    `call` is the client's own, as it came.
    """

    call: ChatCall
    room: Room
    session: ChatSession | None
    documents: ChatDocuments | None

    async def gather(self) -> ChatCall:
        """Look in both at the same time; give the call with what was found woven in.

        Raises:
            NotFound: A collection is not there, or may not be read.
            DocumentsUnavailable: A required one could not be searched.
            MemoryUnavailable: The session's memory is required and cannot be read.
            InvalidRequest: There is no room for what a required collection has.

        """
        recollection = await self._find_and_recall()
        sources = "" if self.documents is None else self.documents.block()
        if self.session is not None:
            self.session.check(recollection)
        messages = recollection.messages
        if sources:
            messages = with_sources(
                self.call.messages if messages is None else messages,
                sources,
                has_block=recollection.has_block,
            )
        return self.call if messages is None else self.call.with_messages(messages)

    async def _find_and_recall(self) -> Recollection:
        session, documents = self.session, self.documents
        if documents is None:
            assert session is not None
            return await session.recall(room_tokens=self.room.memory)
        if session is None:
            await documents.find()
            return NOTHING
        async with asyncio.TaskGroup() as both:
            both.create_task(documents.find(), name="find documents")
            recalling = both.create_task(
                session.recall(room_tokens=self.room.memory), name="recall"
            )
        return recalling.result()

    async def keep(self, answer: bytes) -> bytes:
        """Keep a whole answer's exchange; give the answer with its sources."""
        if self.session is not None and self.session.is_written:
            await self.session.keep(read_answer(answer))
        return answer if self.documents is None else self.documents.cite(answer)

    def hear(self, chunk: bytes) -> None:
        """Take note of what the client gets of a stream."""
        if self.session is not None:
            self.session.hear(chunk)
        if self.documents is not None:
            self.documents.hear(chunk)

    async def keep_heard(self, last: bytes) -> bytes:
        """Keep the exchange of a stream that is whole; give its last bytes with sources."""
        if self.session is not None:
            await self.session.keep_heard()
        return last if self.documents is None else self.documents.cite_before_end(last)

    def keep_part(self) -> None:
        """Keep what a client has heard that has left, unless that is nothing."""
        if self.session is not None:
            self.session.keep_part()


def additions_of(call: ChatCall, context: Context) -> Additions | None:
    """Open what a chat that has a task asks for; None where that is nothing."""
    session, retrieving = session_of(call, context), context.retrieving
    if (session is None and retrieving is None) or context.model is None:
        return None
    wants_documents = retrieving is not None
    room = room_of(context.model, call.needs, wants_documents=wants_documents)
    documents = None
    if retrieving is not None:
        documents = ChatDocuments(call, context, retrieving, room.documents)
    return Additions(call, room, session, documents)
