"""A local server that answers each path with one fixed status and body."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from typing_extensions import override

Answer = tuple[int, object]  # bytes are sent as they are, the rest as JSON


@dataclass
class FixedAnswers:
    """The server: its address, what it answers, and what it was asked.

    A route may be a function of the request's body.
    """

    url: str
    routes: dict[str, Answer | Callable[[bytes], Answer]]
    requests: list[tuple[str, str, Mapping[str, str]]] = field(default_factory=list)


@contextmanager
def fixed_answers(
    routes: Mapping[str, Answer | Callable[[bytes], Answer]],
) -> Iterator[FixedAnswers]:
    """Serve the routes on a free port; an unknown path is a 404 with a page."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            path = self.path.partition("?")[0]
            server.requests.append((self.command, path, dict(self.headers)))
            route = server.routes.get(path, (404, b"<html>nothing here</html>"))
            status, answer = route(body) if callable(route) else route
            data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET  # noqa: N815 - the library's name

        @override
        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    class Listener(ThreadingHTTPServer):
        @override
        def handle_error(self, *args: Any) -> None:
            if not isinstance(sys.exc_info()[1], ConnectionError):  # who asked has left
                super().handle_error(*args)

    listener = Listener(("127.0.0.1", 0), Handler)
    server = FixedAnswers(f"http://127.0.0.1:{listener.server_port}", dict(routes))
    thread = threading.Thread(
        target=listener.serve_forever, kwargs={"poll_interval": 0.01}
    )
    thread.start()
    try:
        yield server
    finally:
        listener.shutdown()
        listener.server_close()
        thread.join()
