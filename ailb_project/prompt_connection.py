"""Twisted's TCP connection, sending at the end of the loop's turn."""

from __future__ import annotations

import asyncio

from twisted.internet import tcp
from typing_extensions import override


class PromptConnection(tcp.Server):
    """Sends what one turn of the loop has written together, at its end.

    Twisted asks the kernel first whether the socket has room: two system calls and a turn
    of the loop for every answer, when there nearly always is. Here it is asked only after
    the socket has taken less than it was given.
    """

    _is_due = False  # there is something to send at the end of this turn
    _is_watched = False  # the reactor waits for room

    @override
    def startWriting(self) -> None:
        if not (self._is_due or self._is_watched):
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._send)

    @override
    def stopWriting(self) -> None:
        self._is_due = False
        if self._is_watched:
            self._is_watched = False
            super().stopWriting()  # type: ignore[no-untyped-call]

    def _send(self) -> None:
        if not self._is_due:
            return  # it has been closed meanwhile
        self.reactor._readOrWrite(self, False)  # noqa: SLF001  # as the reactor does
        if self._is_due:  # something is left
            self._is_due, self._is_watched = False, True
            super().startWriting()  # type: ignore[no-untyped-call]
