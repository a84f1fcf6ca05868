"""An incremental parser of server-sent events, on bytes (pure).

Follows "Interpreting an event stream" of the HTML standard.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.errors import UpstreamError
from gateway.kinds import Fault

MAX_EVENT_BYTES = 1024 * 1024
"""The longest line, and the most data in one event, that is not taken for an attack."""

_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SseEvent:
    """One event: its name, None when it has none, and its data lines joined by LF."""

    event: str | None
    data: bytes


class SseParser:
    """Cuts one stream into events, wherever its bytes are split.

    An event that the stream's end cuts off is never returned, as the standard says.
    """

    def __init__(self) -> None:
        """Start before the first byte."""
        self._tail = bytearray()
        self._ends_with_cr = False
        self._is_first_line = True
        self._is_overlong = False
        self._name: bytes = b""
        self._data: list[bytes] = []
        self._data_size = 0

    def feed(self, data: bytes) -> list[SseEvent]:
        """Return the events that these bytes complete.

        Raises:
            UpstreamError: INVALID_RESPONSE when a line or an event is over 1 MiB. Events
                complete before it are returned first: then the next call raises.

        """
        events: list[SseEvent] = []
        if not self._is_overlong:
            for line in self._lines(data):
                self._is_overlong = len(line) > MAX_EVENT_BYTES
                if not self._is_overlong and (event := self._take(line)) is not None:
                    events.append(event)
                if self._is_overlong:
                    break
            self._is_overlong |= len(self._tail) > MAX_EVENT_BYTES
        if self._is_overlong and not events:
            raise UpstreamError(
                Fault.INVALID_RESPONSE, "The provider sent an event of over 1 MiB."
            )
        return events

    def _lines(self, data: bytes) -> list[bytes]:
        """Complete lines without their ends; the rest is kept for the next call."""
        if not data:
            return []
        if self._ends_with_cr and data.startswith(b"\n"):
            data = data[1:]  # the second half of a CRLF that was split
        self._ends_with_cr = data.endswith(b"\r")
        if b"\n" not in data and b"\r" not in data:
            self._tail += data
            return []
        whole = bytes(self._tail) + data
        # For bytes, splitlines knows CR, LF and CRLF and no other line end.
        lines = whole.splitlines()
        self._tail.clear()
        if not whole.endswith((b"\r", b"\n")):
            self._tail += lines.pop()
        return lines

    def _take(self, line: bytes) -> SseEvent | None:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(_BOM)
        if not line:
            return self._dispatch()
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._data_size += len(value) + 1
            self._is_overlong = self._data_size > MAX_EVENT_BYTES + 1
        elif field == b"event":
            self._name = value
        return None

    def _dispatch(self) -> SseEvent | None:
        name, data = self._name, self._data
        self._name, self._data, self._data_size = b"", [], 0
        if not data:
            return None
        return SseEvent(name.decode(errors="replace") or None, b"\n".join(data))
