"""A plain ASGI application that behaves as its path says, for tests of the server.

What happens inside is appended to the file named by JOURNAL, one line an event.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CHUNK = b"x" * 65_536


def note(event: str) -> None:
    if path := os.environ.get("JOURNAL"):
        with Path(path).open("a") as journal:
            journal.write(f"{event}\n")


async def start(send: Send, *headers: tuple[bytes, bytes]) -> None:
    await send(
        {"type": "http.response.start", "status": 200, "headers": [*headers]},
    )


async def body(send: Send, data: bytes, *, more: bool = False) -> None:
    await send({"type": "http.response.body", "body": data, "more_body": more})


async def answer(send: Send, text: str) -> None:
    data = text.encode()
    await start(send, (b"content-length", str(len(data)).encode()))
    await body(send, data)


async def echo(scope: Message, receive: Receive, send: Send) -> None:
    """Answer with what of the request the application can see."""
    size = 0
    while True:
        message = await receive()
        size += len(message["body"])
        if not message["more_body"]:
            break
    seen = {key: scope[key] for key in ("method", "path", "root_path", "http_version")}
    names = [name.decode() for name, _ in scope["headers"]]
    draining = scope["state"]["is_draining"]()
    await answer(
        send,
        json.dumps(
            {
                **seen,
                "size": size,
                "headers": names,
                "is_draining": draining,
                "query": scope["query_string"].decode(),
                "pid": os.getpid(),
            }
        ),
    )


async def slow(scope: Message, _receive: Receive, send: Send) -> None:
    """Answer after as many seconds as the query says."""
    note("slow started")
    await asyncio.sleep(float(scope["query_string"]))
    await answer(send, "slow but done")


async def stream(scope: Message, _receive: Receive, send: Send) -> None:
    """Send ten chunks over as many seconds as the query says."""
    note("stream started")
    await start(send)
    for number in range(10):
        await body(send, f"chunk {number}\n".encode(), more=True)
        await asyncio.sleep(float(scope["query_string"] or 0) / 10)
    await body(send, b"[DONE]\n")


async def stuck(_scope: Message, receive: Receive, send: Send) -> None:
    """Stream for ever and write down how that ended."""
    await receive()
    await start(send)
    await body(send, b"first\n", more=True)
    note("stuck started")
    note((await receive())["type"])
    try:
        await asyncio.Event().wait()
    finally:
        note("stuck cancelled")


async def last_words(scope: Message, receive: Receive, send: Send) -> None:
    """Stream until told to stop, then end the stream properly."""
    await receive()
    await start(send)
    await body(send, b"first\n", more=True)
    note("last words started")
    await receive()
    await body(send, b"last\n" if scope["state"]["is_draining"]() else b"gone\n")


async def stubborn(_scope: Message, _receive: Receive, _send: Send) -> None:
    """Ignore every cancel."""
    note("stubborn started")
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            note("stubborn cancelled")


async def watched(_scope: Message, receive: Receive, _send: Send) -> None:
    """Wait for the client to leave."""
    await receive()
    note("watched started")
    note((await receive())["type"])


async def broken(_scope: Message, _receive: Receive, _send: Send) -> None:
    raise RuntimeError("secret of the application")


async def broken_after_start(_scope: Message, _receive: Receive, send: Send) -> None:
    await start(send)
    raise RuntimeError("secret of the application")


async def broken_stream(_scope: Message, _receive: Receive, send: Send) -> None:
    await start(send)
    await body(send, b"first\n", more=True)
    raise RuntimeError("secret of the application")


async def exiting(_scope: Message, _receive: Receive, _send: Send) -> None:
    sys.exit("secret of the application")


async def silent(_scope: Message, _receive: Receive, _send: Send) -> None:
    """Return without an answer."""


async def big(scope: Message, _receive: Receive, send: Send) -> None:
    """Stream as many mebibytes as the query says, as fast as send() allows."""
    await start(send)
    for sent in range(int(scope["query_string"]) * 16):
        await body(send, CHUNK, more=True)
        if sent % 16 == 0:
            note(f"sent {sent // 16} MiB")
    await body(send, b"")
    note("big done")


async def two_parts(_scope: Message, _receive: Receive, send: Send) -> None:
    await start(send)
    await body(send, b"one", more=True)
    await body(send, b"two")


async def websocket(_scope: Message, receive: Receive, send: Send) -> None:
    """Accept, echo, and write down the code of the end."""
    await receive()
    await send({"type": "websocket.accept"})
    note("websocket open")
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
    note(f"websocket closed {message['code']}")


ROUTES = {
    "/echo": echo,
    "/api/collections/a b/documents": echo,
    "/slow": slow,
    "/stream": stream,
    "/stuck": stuck,
    "/last-words": last_words,
    "/stubborn": stubborn,
    "/watched": watched,
    "/broken": broken,
    "/broken-after-start": broken_after_start,
    "/broken-stream": broken_stream,
    "/exiting": exiting,
    "/silent": silent,
    "/big": big,
    "/two-parts": two_parts,
    "/websocket": websocket,
}


class Application:
    """The routes above, with the hooks of the server."""

    async def startup(self) -> None:
        if os.environ.get("FAIL_STARTUP"):
            raise RuntimeError("startup refused")
        note("startup")

    async def shutdown(self) -> None:
        note("shutdown")

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        await ROUTES[scope["path"]](scope, receive, send)


application = Application()
