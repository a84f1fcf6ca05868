"""How long recall takes in a long session, and the import of one."""

from __future__ import annotations

import statistics
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from django.utils import timezone
from typing_extensions import override

from benchmarks.conversations import generate
from benchmarks.memory_rows import make_turns
from benchmarks.processes import BenchmarkFailed
from gateway.models import Tenant
from memory.config import Policy
from memory.exchange import RecallRequest, RecallStatus
from memory.service import Memory
from rag.embedding import EmbeddingId
from rag.embedding_lanes import EmbeddingLanes
from rag.scope import Scope

P50_MS, P95_MS, IMPORT_S = 10.0, 30.0, 120.0
# What a hundred times the turns of others may add to the median.
FLAT_MS = 2.0
SESSION, TURNS, IMPORTED = "measured", 1_000, 5_000
LINES_OF_A_TURN = 3  # people and models write more than one sentence
RECALLS, COLD_RECALLS = 100, 10  # of each round
DEADLINE_S = 5.0
_SECRET = "of the benchmark only"  # noqa: S105 - it guards nothing
HEADINGS = f"{f'recall, {TURNS} turns':<26}{'others':>10}{'p50 ms':>9}{'p95 ms':>9}{'CPU ms':>9}"


@dataclass(frozen=True, slots=True)
class Times:
    """Median and 95th percentile, and the processor's median: others do not change it."""

    p50_ms: float
    p95_ms: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Recall:
    """One line of the table: medians of the rounds, beside so many other turns."""

    name: str
    others: int
    times: Times
    is_bounded: bool
    first_p50_ms: float  # beside the fewest others

    @override
    def __str__(self) -> str:
        """Lay it out under the headings."""
        times = self.times
        return (
            f"{self.name:<26}{self.others:>10}{times.p50_ms:>9.2f}{times.p95_ms:>9.2f}"
            f"{times.cpu_ms:>9.2f}"
        )

    def broken(self) -> Iterator[str]:
        """Name the bounds that it breaks."""
        title = f"{self.name} beside {self.others} turns"
        if not self.is_bounded:
            return
        if self.times.p50_ms > P50_MS:
            yield f"{title}: p50 is over {P50_MS:.0f} ms"
        if self.times.p95_ms > P95_MS:
            yield f"{title}: p95 is over {P95_MS:.0f} ms"
        if self.times.p50_ms > self.first_p50_ms + FLAT_MS:
            yield f"{title}: p50 is {FLAT_MS:.0f} ms over that beside fewer turns"


@dataclass(frozen=True, slots=True)
class Import:
    """The last line: a long session that is moved here from elsewhere."""

    seconds: float

    @override
    def __str__(self) -> str:
        """Say how long it took."""
        return (
            f"import of {IMPORTED} turns: {self.seconds:.1f} s, "
            f"{IMPORTED / self.seconds:.0f} turns/s"
        )

    def broken(self) -> Iterator[str]:
        """Name the bound that it breaks."""
        if self.seconds > IMPORT_S:
            yield f"import of {IMPORTED} turns: over {IMPORT_S:.0f} s"


class Bench:
    """A tenant with one session that is measured, and any number of others."""

    def __init__(self, lanes: EmbeddingLanes) -> None:
        self._lanes = lanes
        self._memory = self._started()
        self.tenant = Tenant.objects.create(name="benchmark")
        self._scope = Scope(self.tenant.pk)
        self._said = _long_turns(IMPORTED)
        self._asked = 0

    def import_turns(self, session_id: str, count: int) -> None:
        """Store the first turns of the conversation, as many a call as may be."""
        for begin in range(0, count, 1_000):
            turns = self._said[begin : min(begin + 1_000, count)]
            imported = self._memory.import_turns(
                self._scope, session_id, turns, policy=Policy(), now=timezone.now()
            )
            if imported.waiting or imported.added != len(turns):
                raise BenchmarkFailed(f"only a part was imported: {imported}")

    def recall_anew(self) -> None:
        """Ask what was never asked: the question is embedded, the session is known."""
        self._recall(self._memory, self._question())

    def recall_known(self) -> None:
        """Ask what was asked before: everything but the embedding."""
        self._recall(self._memory, "Which place by the river did we settle on, again?")

    def recall_cold(self) -> None:
        """Ask as the first in a new process: the session is read and indexed."""
        self._recall(self._started(), self._question())

    def embed(self) -> None:
        """Embed a question alone."""
        self._lanes.embed_now(self._question(), timeout_s=DEADLINE_S)

    def _started(self) -> Memory:
        return Memory(self._lanes, None, secret=_SECRET)

    def _question(self) -> str:
        self._asked += 1
        asked = _QUESTIONS[self._asked % len(_QUESTIONS)].text
        return (
            "We spoke of this some time ago, and I cannot find my notes any more. "
            f"{asked} A short answer is enough, this is number {self._asked}."
        )

    def _recall(self, memory: Memory, question: str) -> None:
        request = RecallRequest(
            scope=self._scope,
            session_id=SESSION,
            messages=[{"role": "user", "content": question}],
            policy=Policy(),
            room_tokens=None,
            request_id=uuid.uuid4().hex,
            is_retry=False,
            now_s=timezone.now().timestamp(),
        )
        found = memory.recall(request, deadline_s=time.monotonic() + DEADLINE_S)
        if found.status is not RecallStatus.HIT or not found.recalled:
            raise BenchmarkFailed(f"nothing was recalled: {found.problem}")


_QUESTIONS = generate(11, often=5, turns=TURNS).questions


def measure(
    lanes: EmbeddingLanes, embedding: EmbeddingId, *, others: int, rounds: int
) -> Iterator[Recall | Import]:
    """Time recall beside ever more turns of other sessions, then the import."""
    bench = Bench(lanes)
    bench.import_turns(SESSION, TURNS)
    works: Sequence[tuple[str, Callable[[], None], int, bool]] = (
        ("warm, new question", bench.recall_anew, RECALLS, True),
        ("warm, known question", bench.recall_known, RECALLS, False),
        ("of it, the embedding", bench.embed, RECALLS, False),
        ("cold", bench.recall_cold, COLD_RECALLS, False),
    )
    first_ms: dict[str, float] = {}
    stored = 0
    for size in _sizes(others):
        make_turns(bench.tenant, size - stored, embedding)
        stored = size
        for name, work, count, is_bounded in works:
            times = _times(work, count=count, rounds=rounds)
            first = first_ms.setdefault(name, times.p50_ms)
            yield Recall(name, stored, times, is_bounded, first)
    started_s = time.monotonic()
    bench.import_turns("imported", IMPORTED)
    yield Import(time.monotonic() - started_s)


def _sizes(most: int) -> list[int]:
    return sorted({min(size, most) for size in (1_000, 100_000, most)})


def _times(work: Callable[[], None], *, count: int, rounds: int) -> Times:
    """Call it so often in each round; each figure is the median of the rounds."""
    work()  # what is made at the first call is not measured
    measured = [_round(work, count) for _ in range(rounds)]
    return Times(
        p50_ms=statistics.median(times.p50_ms for times in measured),
        p95_ms=statistics.median(times.p95_ms for times in measured),
        cpu_ms=statistics.median(times.cpu_ms for times in measured),
    )


def _round(work: Callable[[], None], count: int) -> Times:
    wall_ms, cpu_ms = [], []
    for _ in range(count):
        began_s, cpu_began_s = time.perf_counter(), time.process_time()
        work()
        cpu_ms.append((time.process_time() - cpu_began_s) * 1000)
        wall_ms.append((time.perf_counter() - began_s) * 1000)
    wall_ms.sort()
    return Times(
        p50_ms=statistics.median(wall_ms),
        p95_ms=wall_ms[int(0.95 * count)],
        cpu_ms=statistics.median(cpu_ms),
    )


def _long_turns(count: int) -> list[dict[str, str]]:
    """Make up turns of several sentences, of user and assistant in turn."""
    lines = generate(12, often=5, turns=count * (LINES_OF_A_TURN + 1)).turns
    texts = [line.text for line in lines]
    return [
        {
            "role": ("user", "assistant")[number % 2],
            "content": " ".join(texts[number * LINES_OF_A_TURN :][:LINES_OF_A_TURN]),
        }
        for number in range(count)
    ]
