"""Two queues before one embedder: questions that somebody waits for, and the rest."""

from __future__ import annotations

import hashlib
import logging
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress

import numpy as np

from rag.embedder import Embedder, EmbeddingId, Vectors
from rag.errors import EmbedderUnavailable

logger = logging.getLogger(__name__)

RETRY_PAUSE_S = 30.0  # between two attempts to load
URGENT_TEXTS = 4  # a run answers all of its texts at its end: few, so that none waits
BACKGROUND_TEXTS = 8
CHARS_PER_RUN = 4_000  # about a thousand tokens
BACKGROUND_NICENESS = 10
CACHED_TEXTS = 2_048
JOIN_LIMIT_S = 5.0

NOT_ASKED = (
    "The embedding model has not been asked for yet: it loads with the first use."
)
LOADING = (
    "The embedding model is being loaded: wait a moment, or up to a minute at the very "
    "first start, which prepares it."
)
CLOSED = "The embedder is closed: the process is stopping, ask again."


class EmbeddingLanes:
    """Embeds in two threads of its own, one for each lane. Safe from any thread.

    While a run is under way, what arrives in its lane becomes the next one. Nothing is
    loaded before it is asked for.
    """

    def __init__(self, load: Callable[[], Embedder]) -> None:
        """`load` gives the embedder or raises EmbedderUnavailable; it may take long."""
        self._load = load
        self._urgent = Lane("embed-now", max_texts=URGENT_TEXTS)
        self._background = Lane(
            "embed-batch", max_texts=BACKGROUND_TEXTS, niceness=BACKGROUND_NICENESS
        )
        self._known = VectorCache(CACHED_TEXTS)
        self._changed = threading.Condition()
        self._embedder: Embedder | None = None
        self._problem = NOT_ASKED
        self._is_loading = False
        self._is_closed = False
        self._retry_at_s = 0.0

    @property
    def id(self) -> EmbeddingId | None:
        """The loaded embedder's id; None until there is one."""
        embedder = self._embedder
        return None if embedder is None else embedder.id

    @property
    def problem(self) -> str:
        """Why there is no embedder, in one sentence; empty when there is."""
        return self._problem

    def start(self) -> None:
        """Begin to load, and return at once; nothing while that would be in vain.

        After a failure it loads again when it is asked RETRY_PAUSE_S later.
        """
        with self._changed:
            is_done = self._embedder is not None or self._is_loading or self._is_closed
            if is_done or time.monotonic() < self._retry_at_s:
                return
            self._is_loading, self._problem = True, LOADING
        threading.Thread(target=self._load_now, name="embed-load", daemon=True).start()

    def embedder(self, *, timeout_s: float | None = None) -> Embedder:
        """Give the embedder itself, for what is no vector; loading is waited for.

        Raises:
            EmbedderUnavailable: There is none, or none within `timeout_s`.

        """
        return self._loaded(timeout_s)

    def embed_now(self, text: str, *, timeout_s: float) -> Vectors:
        """Embed what somebody waits for: shape (dimension,), read-only.

        Raises:
            EmbedderUnavailable: There is none, or no answer within `timeout_s`.

        """
        deadline_s = time.monotonic() + timeout_s
        if (known := self._known.get(text)) is not None:
            return known
        self._loaded(timeout_s)
        (future,) = self._urgent.submit([text])
        try:
            vector = future.result(deadline_s - time.monotonic())
        except TimeoutError:
            future.cancel()
            raise EmbedderUnavailable(
                f"The embedder gave no answer within {timeout_s:g} s: the machine is "
                "busy, or AILB_CONTEXT_DEADLINE_MS is too short for it."
            ) from None
        self._known.put(text, vector)
        return vector

    def embed_batch(self, texts: Sequence[str]) -> Vectors:
        """Embed what nobody waits for, and block until it is done, however long.

        Raises:
            EmbedderUnavailable: There is none, or a run failed that held one of `texts`.

        """
        dimension = self._loaded(None).id.dimension
        futures = self._background.submit(texts)
        vectors = np.empty((len(texts), dimension), np.float32)
        try:
            for row, future in enumerate(futures):
                vectors[row] = future.result()
        finally:
            for future in futures:
                future.cancel()  # after a failure nobody wants the others
        return vectors

    def close(self) -> None:
        """End the threads; whoever waits gets EmbedderUnavailable. May be called again."""
        with self._changed:
            self._is_closed, self._embedder, self._problem = True, None, CLOSED
            self._changed.notify_all()
        self._urgent.close()
        self._background.close()

    def _loaded(self, timeout_s: float | None) -> Embedder:
        self.start()
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closed or not self._is_loading, timeout_s
            )
            if self._embedder is None:
                raise EmbedderUnavailable(self._problem)
            return self._embedder

    def _load_now(self) -> None:
        embedder, problem = None, ""
        try:
            embedder = self._load()
        except EmbedderUnavailable as error:
            problem = str(error)
        except Exception as error:  # the edge of a thread: whoever waits must be told
            logger.exception("the embedder could not be loaded")
            problem = f"The embedding model cannot be loaded ({error}): see the log."
        self._settle(embedder, problem)

    def _settle(self, embedder: Embedder | None, problem: str) -> None:
        with self._changed:
            self._is_loading = False
            self._retry_at_s = time.monotonic() + RETRY_PAUSE_S
            if not self._is_closed:
                self._embedder, self._problem = embedder, problem
                if embedder is not None:
                    self._urgent.start(embedder)
                    self._background.start(embedder)
            self._changed.notify_all()
        if embedder is None:
            logger.warning("there is no embedder", extra={"reason": problem})
        else:
            logger.info("the embedder is ready", extra={"embedding": str(embedder.id)})


Job = tuple[str, "Future[Vectors]"]


class Lane:
    """A queue of texts and the thread that embeds them in their order."""

    def __init__(self, name: str, *, max_texts: int, niceness: int = 0) -> None:
        """`max_texts` in one run; `niceness` is added to the thread's own."""
        self._name = name
        self._max_texts = max_texts
        self._niceness = niceness
        self._waiting: deque[Job] = deque()
        self._changed = threading.Condition()
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def start(self, embedder: Embedder) -> None:
        """Begin to work. Once."""
        self._thread = threading.Thread(
            target=self._work, args=[embedder], name=self._name, daemon=True
        )
        self._thread.start()

    def submit(self, texts: Sequence[str]) -> list[Future[Vectors]]:
        """Queue texts; each future gives a vector or raises EmbedderUnavailable."""
        jobs: list[Job] = [(text, Future()) for text in texts]
        with self._changed:
            if self._is_closed:
                raise EmbedderUnavailable(CLOSED)
            self._waiting.extend(jobs)
            self._changed.notify()
        return [future for _, future in jobs]

    def close(self) -> None:
        """Refuse what waits and end the thread after its present run."""
        with self._changed:
            self._is_closed = True
            refused = [job for job in self._waiting if _is_wanted(job)]
            self._waiting.clear()
            self._changed.notify_all()
        for _, future in refused:
            future.set_exception(EmbedderUnavailable(CLOSED))
        if self._thread is not None:
            self._thread.join(JOIN_LIMIT_S)

    def _work(self, embedder: Embedder) -> None:
        with suppress(OSError):  # then it competes as an equal
            own = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
            os.setpriority(
                os.PRIO_PROCESS, threading.get_native_id(), own + self._niceness
            )
        while run := self._next_run():
            _answer(embedder, run)

    def _next_run(self) -> list[Job]:
        """Wait for work and take as much as one run may have; empty when closed."""
        run: list[Job] = []
        chars = 0
        with self._changed:
            while not run:
                self._changed.wait_for(lambda: self._waiting or self._is_closed)
                if self._is_closed:
                    return []
                while self._waiting and len(run) < self._max_texts:
                    chars += len(self._waiting[0][0])
                    if run and chars > CHARS_PER_RUN:
                        break
                    job = self._waiting.popleft()
                    if _is_wanted(job):
                        run.append(job)
        return run


def _is_wanted(job: Job) -> bool:
    """Claim a job: from now on it cannot be cancelled. False if it already was."""
    return job[1].set_running_or_notify_cancel()


def _answer(embedder: Embedder, run: Sequence[Job]) -> None:
    try:
        vectors = embedder.embed([text for text, _ in run])
    except Exception as error:  # the edge of a thread: whoever waits must be told
        logger.exception("a run of the embedder failed", extra={"texts": len(run)})
        for _, future in run:
            failure = EmbedderUnavailable(
                f"The embedder failed ({type(error).__name__}): see the log."
            )
            failure.__cause__ = error
            future.set_exception(failure)
        return
    for (_, future), vector in zip(run, vectors, strict=True):
        future.set_result(vector)


class VectorCache:
    """The vectors of the texts that were asked for last. Keeps digests, no text."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._lock = threading.Lock()
        self._vectors: OrderedDict[bytes, Vectors] = OrderedDict()

    def get(self, text: str) -> Vectors | None:
        """Give a text's vector, if it is known."""
        key = _digest(text)
        with self._lock:
            vector = self._vectors.get(key)
            if vector is not None:
                self._vectors.move_to_end(key)
            return vector

    def put(self, text: str, vector: Vectors) -> None:
        """Keep a vector, which becomes read-only."""
        vector.flags.writeable = False
        with self._lock:
            self._vectors[_digest(text)] = vector
            if len(self._vectors) > self._size:
                self._vectors.popitem(last=False)


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
