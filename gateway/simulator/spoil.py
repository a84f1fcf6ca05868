"""Faults that change what is sent, not how it travels. Pure."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http import HTTPStatus

from gateway.simulator.exchange import Answer, Event
from gateway.simulator.plan import Fault, FaultKind

REDIRECT_PATH = "/simulated-redirect"
_HTML = b"<!doctype html><html><body><h1>Simulated portal page</h1></body></html>"
_ARRAY = b"[1, 2, 3]"
# RFC 1952 framing in zlib's terms: 15 bits of window plus 16 for the gzip header.
_GZIP_WBITS = 31


def spoil(answer: Answer, fault: Fault) -> Answer:
    """Return the answer as the fault leaves it; unchanged for other kinds of fault."""
    if fault.kind is FaultKind.ERROR_EVENT_AFTER and answer.is_stream:
        kept = answer.events[: int(fault.amount)]
        return replace(answer, events=(*kept, Event(answer.failure)))
    change = _CHANGES.get(fault.kind)
    return answer if change is None else change(answer)


def _put_html(_answer: Answer) -> Answer:
    return Answer((Event(_HTML),), content_type="text/html; charset=utf-8")


def _redirect(_answer: Answer) -> Answer:
    status = HTTPStatus.TEMPORARY_REDIRECT
    return Answer((), status, headers={"location": REDIRECT_PATH})


def _empty(answer: Answer) -> Answer:
    return replace(answer, events=())


def _change_first(change: Callable[[bytes], bytes], answer: Answer) -> Answer:
    if not answer.events:
        return answer
    first, *rest = answer.events
    return replace(answer, events=(replace(first, data=change(first.data)), *rest))


def _split(data: bytes) -> tuple[bytes, bytes, bytes]:
    """Split an event into its framing, its JSON and its end of line."""
    body = data.rstrip(b"\n")
    start = body.find(b"{")
    return data[:start], body[start:], data[len(body) :]


def _halve(data: bytes) -> bytes:
    head, body, end = _split(data)
    return head + body[: len(body) // 2] + end


def _break_utf8(data: bytes) -> bytes:
    # Inside the first string, where only the encoding is wrong and not the JSON.
    return data.replace(b':"', b':"\xff\xfe', 1)


def _put_array(data: bytes) -> bytes:
    head, _, end = _split(data)
    return head + _ARRAY + end


def _compress(answer: Answer) -> Answer:
    packer = zlib.compressobj(wbits=_GZIP_WBITS)
    events = [
        replace(e, data=packer.compress(e.data) + packer.flush(zlib.Z_SYNC_FLUSH))
        for e in answer.events
    ]
    events.append(Event(packer.flush()))
    headers = {**answer.headers, "content-encoding": "gzip"}
    return replace(answer, events=tuple(events), headers=headers)


_CHANGES: dict[FaultKind, Callable[[Answer], Answer]] = {
    FaultKind.GARBAGE: _put_html,
    FaultKind.REDIRECT: _redirect,
    FaultKind.EMPTY_STREAM: _empty,
    FaultKind.BAD_JSON: partial(_change_first, _halve),
    FaultKind.BAD_UTF8: partial(_change_first, _break_utf8),
    FaultKind.WRONG_TYPE: partial(_change_first, _put_array),
    FaultKind.GZIP: _compress,
}
