"""A local server that reranks as Cohere, Jina and vLLM do, by rules that a test can see."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.upstreams.fixed_answers import Answer, FixedAnswers, fixed_answers

PATH = "/v1/rerank"


@dataclass
class RunningReranker:
    """A text's score is what `scores` says of a word in it; `asked` are the bodies.

    `fault` is answered instead, if it is set.
    """

    scores: Mapping[str, float]
    asked: list[dict[str, Any]] = field(default_factory=list)
    fault: Answer | Callable[[], Answer] | None = None
    server: FixedAnswers | None = None

    @property
    def url(self) -> str:
        """The base URL of a provider."""
        assert self.server is not None
        return f"{self.server.url}/v1"

    @property
    def credentials(self) -> list[str | None]:
        """What each request carried."""
        assert self.server is not None
        return [
            {name.lower(): value for name, value in headers.items()}.get(
                "authorization"
            )
            for _, _, headers in self.server.requests
        ]

    def answer(self, body: bytes) -> Answer:
        """Rank the documents, best first, at most as many as are asked for."""
        asked = json.loads(body)
        self.asked.append(asked)
        if self.fault is not None:
            return self.fault() if callable(self.fault) else self.fault
        results = [
            {"index": index, "relevance_score": self._score(text)}
            for index, text in enumerate(asked["documents"])
        ]
        results.sort(key=lambda result: -result["relevance_score"])
        return 200, {"model": asked["model"], "results": results[: asked["top_n"]]}

    def _score(self, text: str) -> float:
        return max((score for word, score in self.scores.items() if word in text))


@contextmanager
def running_reranker(scores: Mapping[str, float]) -> Iterator[RunningReranker]:
    """Serve until the block ends."""
    reranker = RunningReranker(scores)
    with fixed_answers({PATH: reranker.answer}) as server:
        reranker.server = server
        yield reranker
