"""A provider's stream: its first content awaited, then relayed to its one end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from gateway.dialects.exchange import StreamTranslator, estimated
from gateway.dialects.record import Usage
from gateway.dispatch.attempt import Attempt
from gateway.errors import UpstreamError
from gateway.kinds import Fault
from gateway.upstream import Incoming

LAST_BYTES_S = 0.1  # to read a finished stream's end, so that its connection is kept


class OpenedStream:
    """A stream whose first content has arrived; nothing was sent to the client yet."""

    def __init__(
        self,
        attempt: Attempt,
        incoming: Incoming,
        translator: StreamTranslator,
        chunks: AsyncGenerator[bytes, None],
        head: bytes,
    ) -> None:
        """`head` is what the client gets first."""
        self._attempt = attempt
        self._incoming = incoming
        self._chunks = chunks
        self._head = head
        self.translator = translator

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Yield what the client gets, as it arrives.

        However it ends, the provider is stopped and the attempt is counted.

        Raises:
            UpstreamError: INTERRUPTED when it ends before the answer was whole.

        """
        attempt, translator = self._attempt, self.translator
        try:
            if self._head:
                yield self._head
            while not translator.is_finished:
                if data := await self._next():
                    yield data
                if translator.error is not None:
                    raise interrupted(translator.error)
            attempt.succeeded(self.usage, streamed=True)
            await self._read_end()
        except UpstreamError as error:
            attempt.failed(error)
            raise
        finally:
            attempt.cancelled(self.usage)  # does nothing if it has ended already
            await self._chunks.aclose()
            await self._incoming.aclose()

    @property
    def is_finished(self) -> bool:
        """Whether the answer is whole: nothing comes after what `chunks` gave last."""
        return self.translator.is_finished

    @property
    def usage(self) -> Usage:
        """Usage so far: reported, or estimated and marked so."""
        return self.translator.usage or estimated(
            self._attempt.needs, self.translator.output_estimate
        )

    async def aclose(self) -> None:
        """Stop the provider when `chunks` will not be read at all."""
        self._attempt.cancelled(self.usage)
        await self._chunks.aclose()
        await self._incoming.aclose()

    async def _next(self) -> bytes:
        try:
            async with asyncio.timeout(self._attempt.idle_s()):
                data = await anext(self._chunks, None)
        except TimeoutError as error:
            raise interrupted(error) from error
        except UpstreamError as error:
            raise interrupted(error) from error
        if data is None:
            return self.translator.close()
        self._attempt.heard(data)
        return self.translator.feed(data)

    async def _read_end(self) -> None:
        try:
            async with asyncio.timeout(LAST_BYTES_S):
                async for _ in self._chunks:
                    pass
        except (TimeoutError, UpstreamError):
            return  # the answer is whole; only the connection is lost


async def first_content(
    translator: StreamTranslator, chunks: AsyncGenerator[bytes, None]
) -> bytes:
    """Read until the model has said something; give what the client gets first.

    Raises:
        UpstreamError: The stream failed or ended before; another deployment may answer.

    """
    head = []
    while not translator.has_content and translator.error is None:
        data = await anext(chunks, None)
        if data is None:
            head.append(translator.close())
            break
        head.append(translator.feed(data))
    if translator.error is None and not translator.has_content:
        translator.error = UpstreamError(
            Fault.INVALID_RESPONSE, "The provider's stream ended without an answer."
        )
    if (error := translator.error) is not None:
        if error.fault is Fault.INTERRUPTED:
            error = UpstreamError(Fault.INVALID_RESPONSE, error.message)
        raise error
    return b"".join(head)


def interrupted(cause: Exception) -> UpstreamError:
    """Make the error of a stream that broke after its first content."""
    error = UpstreamError(
        Fault.INTERRUPTED, "The provider's answer broke off. What came before is kept."
    )
    error.__cause__ = cause
    return error
