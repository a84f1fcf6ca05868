"""The lanes: what is loaded when, which texts share a run, and who waits for whom."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack

import numpy as np
import pytest

from rag import embedding_lanes
from rag.embedding import EmbeddingId, Vectors
from rag.embedding_lanes import EmbeddingLanes, Lane, VectorCache
from rag.errors import EmbedderUnavailable

LIMIT_S = 10.0  # what a test waits for comes at once, or never


class Letters:
    """A small embedder: each text has a direction of its own. Some texts do more.

    `stop` waits until the test says `go`, `bad` fails.
    """

    id = EmbeddingId("letters", "fp32", 8)
    max_tokens = 100
    tokenizer_json = "{}"

    def __init__(self) -> None:
        self.runs: list[list[str]] = []
        self.niceness: dict[str, int] = {}
        self.stopped, self.go = threading.Event(), threading.Event()

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.runs.append(list(texts))
        own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        self.niceness[threading.current_thread().name] = own
        if "stop" in texts:
            self.stopped.set()
            assert self.go.wait(LIMIT_S)
        if "bad" in texts:
            raise ValueError("bad")
        rows = [vector_of(text) for text in texts]
        return np.array(rows, np.float32).reshape(len(texts), 8)


def vector_of(text: str) -> Vectors:
    digest = hashlib.sha256(text.encode()).digest()[:8]
    row = np.frombuffer(digest, np.uint8).astype(np.float32) + 1
    return np.asarray(row / np.linalg.norm(row), np.float32)


class Loads:
    """Loads an embedder after some failures, and counts."""

    def __init__(self, *failures: Exception) -> None:
        self.embedder = Letters()
        self.failures = list(failures)
        self.count = 0

    def __call__(self) -> Letters:
        self.count += 1
        if self.failures:
            raise self.failures.pop(0)
        return self.embedder


@pytest.fixture
def make_lanes() -> Iterator[Callable[[Callable[[], Letters]], EmbeddingLanes]]:
    with ExitStack() as stack:

        def make(load: Callable[[], Letters]) -> EmbeddingLanes:
            lanes = EmbeddingLanes(load)
            stack.callback(lanes.close)
            return lanes

        yield make


MakeLanes = Callable[[Callable[[], Letters]], EmbeddingLanes]


@pytest.fixture
def letters() -> Letters:
    return Letters()


@pytest.fixture
def lanes(letters: Letters, make_lanes: MakeLanes) -> EmbeddingLanes:
    return make_lanes(lambda: letters)


@pytest.fixture
def lane() -> Iterator[Lane]:
    lane = Lane("test", max_texts=4)
    yield lane
    lane.close()


def test_nothing_is_loaded_before_it_is_asked_for(make_lanes: MakeLanes) -> None:
    load = Loads()
    lanes = make_lanes(load)
    assert (lanes.id, load.count) == (None, 0)
    assert "has not been asked for" in lanes.problem
    lanes.embed_batch(["a"])
    lanes.start()
    lanes.embed_now("a", timeout_s=LIMIT_S)
    assert (lanes.id, lanes.problem, load.count) == (Letters.id, "", 1)


def test_both_lanes_give_a_texts_vector(lanes: EmbeddingLanes) -> None:
    texts = [f"text {number}" for number in range(20)]
    expected = [vector_of(text) for text in texts]
    assert np.array_equal(lanes.embed_batch(texts), expected)
    for text, vector in zip(texts, expected, strict=True):
        assert np.array_equal(lanes.embed_now(text, timeout_s=LIMIT_S), vector)
    assert lanes.embed_batch([]).shape == (0, 8)


def test_what_arrives_during_a_run_is_the_next_one(
    lane: Lane, letters: Letters
) -> None:
    lane.start(letters)
    lane.submit(["stop"])
    assert letters.stopped.wait(LIMIT_S)
    *_, last = [lane.submit([text])[0] for text in "abcdef"]
    letters.go.set()
    assert np.array_equal(last.result(LIMIT_S), vector_of("f"))
    assert letters.runs == [["stop"], ["a", "b", "c", "d"], ["e", "f"]]


def test_long_texts_end_a_run_early(lane: Lane, letters: Letters) -> None:
    long = "x" * (embedding_lanes.CHARS_PER_RUN - 1)
    futures = lane.submit(["a", long, "b", long * 3, "c"])
    lane.start(letters)
    futures[-1].result(LIMIT_S)
    assert letters.runs == [["a", long], ["b"], [long * 3], ["c"]]


def test_a_question_does_not_wait_for_the_background(
    lanes: EmbeddingLanes, letters: Letters
) -> None:
    writer = threading.Thread(target=lanes.embed_batch, args=[["stop"]])
    writer.start()
    assert letters.stopped.wait(LIMIT_S)
    found = lanes.embed_now("question", timeout_s=LIMIT_S)
    assert np.array_equal(found, vector_of("question"))
    letters.go.set()
    writer.join(LIMIT_S)


def test_the_background_leaves_the_processor_to_questions(
    lanes: EmbeddingLanes, letters: Letters
) -> None:
    lanes.embed_batch(["a"])
    lanes.embed_now("b", timeout_s=LIMIT_S)
    urgent = letters.niceness["embed-now"]
    expected = min(19, urgent + embedding_lanes.BACKGROUND_NICENESS)
    assert letters.niceness["embed-batch"] == expected


def test_a_run_that_fails_takes_no_other_with_it(lane: Lane, letters: Letters) -> None:
    futures = lane.submit(["a", "b", "c", "bad", "d"])
    lane.start(letters)
    assert np.array_equal(futures[4].result(LIMIT_S), vector_of("d"))
    for future in futures[:4]:
        with pytest.raises(EmbedderUnavailable, match="ValueError"):
            future.result(LIMIT_S)


def test_a_batch_with_a_failed_run_fails_and_the_next_does_not(
    lanes: EmbeddingLanes,
) -> None:
    with pytest.raises(EmbedderUnavailable, match="ValueError"):
        lanes.embed_batch(["bad"])
    assert np.array_equal(lanes.embed_batch(["good"])[0], vector_of("good"))


def test_a_question_asked_again_is_not_embedded_again(
    lanes: EmbeddingLanes, letters: Letters
) -> None:
    first = lanes.embed_now("a", timeout_s=LIMIT_S)
    assert np.array_equal(lanes.embed_now("a", timeout_s=0), first)
    assert letters.runs == [["a"]]
    with pytest.raises(ValueError, match="read-only"):
        first[0] = 1


def test_the_cache_forgets_what_was_asked_for_longest_ago() -> None:
    cache = VectorCache(2)
    cache.put("a", vector_of("a"))
    cache.put("b", vector_of("b"))
    assert cache.get("a") is not None
    cache.put("c", vector_of("c"))
    assert cache.get("b") is None
    assert np.array_equal(cache.get("a"), vector_of("a"))  # type: ignore[arg-type]  # or fails


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (EmbedderUnavailable("Mend it so."), "Mend it so."),
        (ZeroDivisionError("oh"), "cannot be loaded (oh)"),
    ],
)
def test_a_failed_load_is_told_and_not_repeated_at_once(
    make_lanes: MakeLanes, failure: Exception, said: str
) -> None:
    load = Loads(failure)
    lanes = make_lanes(load)
    for _ in range(3):
        with pytest.raises(EmbedderUnavailable) as raised:
            lanes.embed_batch(["a"])
        assert said in str(raised.value)
    assert said in lanes.problem
    assert load.count == 1


def test_a_failed_load_is_tried_again_after_a_pause(
    make_lanes: MakeLanes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_lanes, "RETRY_PAUSE_S", 0.0)
    lanes = make_lanes(Loads(EmbedderUnavailable("Not yet.")))
    with pytest.raises(EmbedderUnavailable, match="Not yet"):
        lanes.embed_now("a", timeout_s=LIMIT_S)
    lanes.embed_now("a", timeout_s=LIMIT_S)
    assert lanes.problem == ""


def test_a_question_waits_for_the_load_no_longer_than_it_may(
    make_lanes: MakeLanes, letters: Letters
) -> None:
    def load() -> Letters:
        assert letters.go.wait(LIMIT_S)
        return letters

    lanes = make_lanes(load)
    with pytest.raises(EmbedderUnavailable, match="is being loaded"):
        lanes.embed_now("a", timeout_s=0.01)
    assert "is being loaded" in lanes.problem
    letters.go.set()
    lanes.embed_now("a", timeout_s=LIMIT_S)


def test_a_question_that_gave_up_is_not_embedded(
    lanes: EmbeddingLanes, letters: Letters
) -> None:
    lanes.embed_batch(["a"])
    asker = threading.Thread(
        target=lanes.embed_now, args=["stop"], kwargs={"timeout_s": LIMIT_S}
    )
    asker.start()
    assert letters.stopped.wait(LIMIT_S)
    with pytest.raises(EmbedderUnavailable, match=r"no answer within 0\.01 s"):
        lanes.embed_now("late", timeout_s=0.01)
    letters.go.set()
    asker.join(LIMIT_S)
    lanes.embed_now("b", timeout_s=LIMIT_S)
    assert letters.runs == [["a"], ["stop"], ["b"]]


def test_closing_tells_whoever_waits_and_ends_the_threads(letters: Letters) -> None:
    lane = Lane("closing", max_texts=1)
    running, waiting = lane.submit(["stop", "a"])
    lane.start(letters)
    assert letters.stopped.wait(LIMIT_S)
    closer = threading.Thread(target=lane.close)
    closer.start()
    with pytest.raises(EmbedderUnavailable, match="closed"):
        waiting.result(LIMIT_S)
    letters.go.set()
    closer.join(LIMIT_S)
    assert running.done()
    assert "closing" not in {thread.name for thread in threading.enumerate()}


def test_closed_lanes_refuse_and_may_be_closed_again(lanes: EmbeddingLanes) -> None:
    lanes.embed_now("a", timeout_s=LIMIT_S)
    lanes.close()
    lanes.close()
    lanes.start()
    assert lanes.id is None
    assert not {"embed-now", "embed-batch"} & {t.name for t in threading.enumerate()}
    with pytest.raises(EmbedderUnavailable, match="closed"):
        lanes.embed_now("b", timeout_s=LIMIT_S)
    with pytest.raises(EmbedderUnavailable, match="closed"):
        lanes.embed_batch(["b"])


def test_closing_during_the_load_frees_whoever_waits(letters: Letters) -> None:
    has_begun = threading.Event()

    def load() -> Letters:
        has_begun.set()
        assert letters.go.wait(LIMIT_S)
        return letters

    lanes = EmbeddingLanes(load)

    def close_during_load() -> None:
        assert has_begun.wait(LIMIT_S)
        lanes.close()

    closer = threading.Thread(target=close_during_load)
    closer.start()
    with pytest.raises(EmbedderUnavailable, match="closed"):
        lanes.embed_batch(["a"])
    assert lanes._is_loading
    closer.join(LIMIT_S)
    letters.go.set()
    for thread in threading.enumerate():
        if thread.name == "embed-load":
            thread.join(LIMIT_S)
    assert lanes.id is None
