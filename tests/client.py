"""An HTTP client for tests: whole answers, streams read event by event, and leaving."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import orjson

TIMEOUT_S = 20.0
DONE = b"data: [DONE]"


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer; of a stream everything up to its end."""

    status: int
    headers: httpx.Headers
    body: bytes

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def is_stream(self) -> bool:
        return self.headers["content-type"].startswith("text/event-stream")

    @property
    def blocks(self) -> list[bytes]:
        """The stream's events and comments as they stood, without the empty lines."""
        assert self.is_stream, self
        assert self.body.endswith(b"\n\n"), "the stream ends inside an event"
        return self.body.removesuffix(b"\n\n").split(b"\n\n")

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The stream's events, parsed; `[DONE]` and comments left out."""
        return [
            orjson.loads(block.removeprefix(b"data: "))
            for block in self.blocks
            if block.startswith(b"data: ") and block != DONE
        ]

    @property
    def is_done(self) -> bool:
        """Whether the stream says that it is whole: once, and last."""
        blocks = self.blocks
        assert blocks.count(DONE) <= 1
        return blocks[-1] == DONE

    @property
    def text(self) -> str:
        """What the model said."""
        if not self.is_stream:
            return str(self.json["choices"][0]["message"]["content"])
        return "".join(
            choice["delta"].get("content") or ""
            for chunk in self.chunks
            for choice in chunk["choices"]
        )

    @property
    def error(self) -> dict[str, Any] | None:
        """The error object, of a status or of a stream's last event; None if all is well.

        A stream with an error anywhere but at its end fails the test.
        """
        if not self.is_stream:
            error: dict[str, Any] | None = self.json.get("error")
            return error
        errors = [chunk["error"] for chunk in self.chunks if "error" in chunk]
        if not errors:
            return None
        assert len(errors) == 1
        assert not self.is_done
        assert "error" in self.chunks[-1]
        found: dict[str, Any] = errors[0]
        return found

    @property
    def code(self) -> str | None:
        """The error's code; None if all is well."""
        error = self.error
        return None if error is None else error["code"]

    @property
    def is_whole(self) -> bool:
        """Whether the client got an answer with nothing missing."""
        if self.status != 200 or self.error is not None:
            return False
        return self.is_done if self.is_stream else True


class Client:
    """Speaks to one gateway; keeps connections; may be used by several threads."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(
            base_url=url,
            timeout=TIMEOUT_S,
            trust_env=False,
            limits=httpx.Limits(max_connections=None),
        )

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **headers: str) -> Reply:
        return reply_of(self._http.get(path, headers=headers))

    def post(self, path: str, body: Any, **headers: str) -> Reply:
        """Send JSON, or bytes as they are."""
        content = body if isinstance(body, bytes) else orjson.dumps(body)
        given = {"content-type": "application/json", **headers}
        return reply_of(self._http.post(path, content=content, headers=given))

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """Send JSON by any method, or no body at all."""
        given = dict(headers)
        content = None
        if body is not None:
            content = orjson.dumps(body)
            given["content-type"] = "application/json"
        return reply_of(
            self._http.request(method, path, content=content, headers=given)
        )

    def chat(
        self, model: str, *, stream: bool = False, text: str = "hi", **fields: Any
    ) -> Reply:
        """Ask, and read the answer to its end."""
        return self.post(
            "/v1/chat/completions",
            chat_body(model, stream=stream, text=text, **fields),
        )

    @contextmanager
    def streaming(self, model: str, **fields: Any) -> Iterator[httpx.Response]:
        """Ask for a stream; leaving the block early closes the connection."""
        body = chat_body(model, stream=True, text="hi", **fields)
        with self._http.stream("POST", "/v1/chat/completions", json=body) as response:
            yield response


def chat_body(model: str, *, stream: bool, text: str, **fields: Any) -> dict[str, Any]:
    """Write a chat request; `fields` may replace the messages."""
    return {
        "model": model,
        "messages": [{"role": "user", "content": text}],
        "stream": stream,
        **fields,
    }


def reply_of(response: httpx.Response) -> Reply:
    return Reply(response.status_code, response.headers, response.content)
