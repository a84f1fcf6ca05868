"""Where an answer's sources stand in it: whole, or in one chunk before its end (pure)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any

import orjson

from gateway.dialects.openai.answers import MAX_TEXT_CHARS, parsed
from gateway.dialects.openai.relay import DONE
from gateway.dialects.sse import SseParser
from gateway.errors import UpstreamError
from rag.citing import Source, citations_in, cited_numbers, sources_of
from rag.fusion import Hit

MAX_ANNOTATIONS = 256  # of one choice
MAX_CHOICES = 128  # as `n` allows
_ENDS = (b"\n\n", b"\r\n\r\n", b"\n\r\n")


def with_sources(data: bytes, hits: Sequence[Hit]) -> bytes:
    """Add sources to a whole answer, `chat.completion`; the rest of it stays as it is.

    Each choice's message gets an annotation for each time that it cites a source, and for
    each source that it does not; what was annotated before comes first.
    """
    body = dict(parsed(data))
    choices = body.get("choices")
    if not isinstance(choices, list):
        return data
    texts = [text_of(choice) for choice in choices]
    body["choices"] = [
        annotated(choice, text, hits)
        for choice, text in zip(choices, texts, strict=True)
    ]
    body["ailb"] = told(hits, texts, body.get("ailb"))
    return orjson.dumps(body)


def text_of(choice: object) -> str:
    """Give what a choice says, empty for what is no text."""
    message = choice.get("message") if isinstance(choice, dict) else None
    text = message.get("content") if isinstance(message, dict) else None
    return text if isinstance(text, str) else ""


def annotated(choice: Any, text: str, hits: Sequence[Hit]) -> Any:
    """Give a choice with the annotations of its sources."""
    if not isinstance(choice, dict) or not isinstance(choice.get("message"), dict):
        return choice
    message = choice["message"]
    before = message.get("annotations")
    annotations = [
        *(before if isinstance(before, list) else ()),
        *annotations_of(text, hits),
    ]
    return {**choice, "message": {**message, "annotations": annotations}}


def annotations_of(text: str, hits: Sequence[Hit]) -> list[dict[str, Any]]:
    """Write a file citation for each time that a text cites a source, in its order.

    `index` is the place of the character behind the marker. Sources that it does not cite
    follow, at its end: they were read for it, and clients that look only here see them.
    A message without a text, such as a call of a tool, has none.
    """
    if not text:
        return []
    places = islice(citations_in(text, most=len(hits)), MAX_ANNOTATIONS)
    cited = cited_numbers(text, most=len(hits))
    return [
        *(
            annotation(hits[number - 1], place, is_cited=True)
            for number, place in places
        ),
        *(
            annotation(hit, len(text), is_cited=False)
            for number, hit in enumerate(hits, start=1)
            if number not in cited
        ),
    ]


def annotation(hit: Hit, place: int, *, is_cited: bool) -> dict[str, Any]:
    """Write one file citation."""
    return {
        "type": "file_citation",
        "index": place,
        "file_id": hit.document_id,
        "filename": hit.filename,
        "page": hit.page,
        "start": hit.start,
        "end": hit.end,
        "score": hit.score,
        "cited": is_cited,
    }


def told(
    hits: Sequence[Hit], texts: Sequence[str], before: object = None
) -> dict[str, Any]:
    """Write what an answer says under `ailb`: its sources, cited if a choice does so."""
    # Choices are apart: what one opens, another does not close.
    by_choice = [sources_of(hits, text) for text in texts or [""]]
    sources = [
        replace(each[0], is_cited=any(source.is_cited for source in each))
        for each in zip(*by_choice, strict=True)
    ]
    kept = before if isinstance(before, dict) else {}
    return {**kept, "sources": [*map(written, sources)]}


def written(source: Source) -> dict[str, Any]:
    """Write one source."""
    return {
        "number": source.number,
        "collection": source.collection,
        "document_id": source.document_id,
        "filename": source.filename,
        "page": source.page,
        "start": source.start,
        "end": source.end,
        "score": source.score,
        "score_parts": dict(source.score_parts),
        "cited": source.is_cited,
    }


class SourcesChunk:
    """Reads a stream of `chat.completion.chunk` as it passes, to tell its sources last.

    Indifferent to where the bytes split; never raises.
    """

    def __init__(self, hits: Sequence[Hit]) -> None:
        """`hits` are what the stream is answered from, at least one."""
        self._hits = hits
        self._parser = SseParser()
        self._head: dict[str, object] = {}
        self._texts: dict[int, list[str]] = {}
        self._room = MAX_TEXT_CHARS

    def feed(self, data: bytes) -> None:
        """Take what the client gets."""
        try:
            events = self._parser.feed(data)
        except UpstreamError:  # an event of more than 1 MiB
            return
        for event in events:
            self._take(parsed(event.data))

    def before_end(self, data: bytes) -> bytes:
        """Give a stream's last bytes, which `feed` knows, with the chunk before the mark."""
        cut = start_of_end(data)
        return data[:cut] + self._written() + data[cut:]

    def _take(self, body: Mapping[str, Any]) -> None:
        if not self._head and body.get("id") is not None:
            self._head = {name: body.get(name) for name in ("id", "created", "model")}
        choices = body.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if isinstance(choice, dict):
                self._hear(choice.get("index", 0), choice.get("delta"))

    def _hear(self, index: object, delta: object) -> None:
        text = delta.get("content") if isinstance(delta, dict) else None
        if type(index) is not int or not isinstance(text, str) or not self._room:
            return
        if index in self._texts or len(self._texts) < MAX_CHOICES:
            self._texts.setdefault(index, []).append(text[: self._room])
            self._room -= len(text[: self._room])

    def _written(self) -> bytes:
        texts = ["".join(parts) for parts in self._texts.values()]
        body = {
            **self._head,
            "object": "chat.completion.chunk",
            "choices": [],
            "ailb": told(self._hits, texts),
        }
        return b"data: " + orjson.dumps(body) + b"\n\n"


def start_of_end(data: bytes) -> int:
    """Find where the event begins that ends a stream; it is the last one in `data`."""
    mark = data.rfind(DONE)
    if mark < 0:
        return len(data)
    starts = [
        data.rfind(end, 0, mark) + len(end) for end in _ENDS if end in data[:mark]
    ]
    return max(starts, default=0)
