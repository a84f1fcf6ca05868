"""One running server that is measured, and what it spends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeVar

from benchmarks.calls import Call, Size, chat_body, headers_of
from benchmarks.figures import Contender
from benchmarks.processes import BenchmarkFailed, cpu_seconds, wait_until_idle
from benchmarks.upstream import Answer

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Server:
    """Where it answers (base addresses ending in /v1), and its processes.

    `pid` is its first process, None for the upstream itself; `worker_pid` the one that
    takes the requests.
    """

    contender: Contender
    urls: Mapping[Answer, str]
    pid: int | None = None
    worker_pid: int | None = None
    headers: Mapping[Answer, Mapping[str, str]] = field(default_factory=dict)

    def call(self, answer: Answer, size: Size = Size.SMALL) -> Call:
        """Make the request for an answer."""
        return Call(
            url=f"{self.urls[answer]}/chat/completions",
            headers=headers_of(self.headers.get(answer, {})),
            body=chat_body(answer, size),
        )

    def watch(self, work: Callable[[], T]) -> tuple[T, float | None]:
        """Do some work; give its result and the processor seconds it cost this server.

        Returns when the server is at rest again, so that the next one has the core. A
        failure names the server.
        """
        try:
            if self.pid is None:
                return work(), None
            before_s = cpu_seconds(self.pid)
            result = work()
            spent_s = cpu_seconds(self.pid) - before_s
            wait_until_idle(self.pid)
        except BenchmarkFailed as failure:
            raise type(failure)(f"{self.contender}: {failure}") from failure
        return result, spent_s


def per_thousand(spent_s: float | None, count: int) -> float | None:
    """Spread processor seconds over requests: what 1,000 cost."""
    return None if spent_s is None else spent_s / count * 1000
