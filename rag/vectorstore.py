"""The vector store: ids, vectors and scope in Chroma, never text; it can be made anew."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from hashlib import sha256
from operator import methodcaller
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import numpy as np

from rag.address import without_password
from rag.breaker import Breaker
from rag.errors import VectorStoreUnavailable

if TYPE_CHECKING:
    from chromadb import Collection
    from chromadb.types import Collection as CollectionModel

DATABASE = "ailb"
CONNECT_TIMEOUT_S = 1.0
TIMEOUT_S = 5.0
# Whoever had less time than this learns nothing about the server.
TELLING_S = 0.02
BATCH = 500
PAGE = 1_000
THREADS = 8
SLUG_LENGTH = 80
LONGEST_MESSAGE = 200
REFUSED = frozenset({400, 409, 413})
COSINE = {"hnsw": {"space": "cosine"}}
NO_STORE = (
    "There is no vector store: set CHROMA_URL, or start everything with "
    "'manage.py serve', which runs one."
)
NO_TIME = (
    "There was no time to ask the vector store: AILB_CONTEXT_DEADLINE_MS gives more."
)

Result = TypeVar("Result")


def space_name(kind: str, embedding_id: object) -> str:
    """Name the space of what one embedding model made of one kind of text.

    What `str(embedding_id)` gives may be any text; two ids never share a name. The name
    is what Chroma allows: 3 to 512 of [a-zA-Z0-9._-].
    """
    text = f"{kind}/{embedding_id}"
    slug = re.sub(r"[^a-zA-Z0-9]+", "-", text)[:SLUG_LENGTH].strip("-")
    digest = sha256(f"{len(kind)}/{text}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{slug}-{digest[:32]}".lstrip("-")


class VectorStore:
    """Vectors by space and id, on a Chroma server that may come and go.

    A space is one Chroma collection; it is made by the first upsert and takes vectors of
    one dimension. `database` is the part of the server that is ours: nothing outside it
    is read or written. Calls block, at most `timeout_s` for each request, may come from
    many threads, and raise VectorStoreUnavailable for whatever goes wrong. After a
    failure calls fail at once for two seconds; then one of them tries again.
    Nothing is imported and nothing is connected before the first call.
    """

    def __init__(
        self,
        url: str | None,
        *,
        database: str = DATABASE,
        timeout_s: float = TIMEOUT_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._database = database
        self._timeout_s = timeout_s
        self._breaker = Breaker(clock)
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        # A wait of ours bounds what a timeout of sockets does not: name look-ups, the
        # import, and an answer that comes in drops.
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="vectors")

    def upsert(
        self,
        space: str,
        ids: Sequence[str],
        vectors: np.ndarray,
        metadatas: Sequence[Mapping[str, str | int]],
    ) -> None:
        """Write vectors, shape (n, dimension), over what has the same ids.

        Each metadata has at least one item. When it raises, some may have been written.
        """
        if not len(ids) == len(vectors) == len(metadatas):
            raise ValueError("ids, vectors and metadatas differ in length")
        for start in range(0, len(ids), BATCH):
            part = slice(start, start + BATCH)
            batch = (ids[part], vectors[part], metadatas[part])
            self._call(methodcaller("upsert", space, *batch))

    def query(
        self,
        space: str,
        vector: np.ndarray,
        *,
        where: Mapping[str, str | int],
        limit: int,
        timeout_s: float | None = None,
    ) -> list[tuple[str, float]]:
        """Find what is nearest among those whose metadata has all of `where`.

        Gives (id, cosine similarity -1 to 1), best first; nothing from a space that does
        not exist. `timeout_s` stands in place of the store's own.
        """
        if limit < 1:
            return []
        return self._call(lambda c: c.query(space, vector, where, limit), timeout_s)

    def delete(self, space: str, ids: Sequence[str]) -> None:
        """Remove vectors; ids that are not there are fine."""
        for start in range(0, len(ids), PAGE):
            self._call(methodcaller("delete", space, ids[start : start + PAGE]))

    def delete_everywhere(self, ids: Sequence[str]) -> None:
        """Remove vectors from every space."""
        for space in self.spaces() if ids else []:
            self.delete(space, ids)

    def ids(self, space: str) -> Iterator[list[str]]:
        """List all ids of a space, newest page first.

        What was listed may be deleted while the iteration goes on; nothing is left out
        by that. An id may come twice when others delete, too.
        """
        end = self._call(lambda c: c.count(space))
        while end > 0:
            start = max(0, end - PAGE)
            page: list[str] = self._call(
                methodcaller("page", space, start, end - start)
            )
            yield page
            end = start

    def drop(self, space: str) -> None:
        """Remove a space with all that is in it; fine if there is none."""
        self._call(lambda c: c.drop(space))

    def spaces(self) -> list[str]:
        """List the spaces that exist."""
        return self._call(lambda c: c.spaces())

    def check(self) -> None:
        """Search once in every space; raises VectorStoreUnavailable if that fails."""
        for space in self.spaces():
            self._call(methodcaller("probe", space))

    def close(self) -> None:
        """Close the connection; it is made again if there is another call."""
        self._forget(self._connection)

    # --- One call ------------------------------------------------------------------

    def _call(
        self, ask: Callable[[Connection], Result], timeout_s: float | None = None
    ) -> Result:
        """Ask in a thread; open the breaker when it fails or takes too long."""
        if problem := self._breaker.problem() if self._url else NO_STORE:
            raise VectorStoreUnavailable(problem)
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        future = self._threads.submit(self._ask, ask)
        try:
            result = future.result(limit_s)
        except VectorStoreUnavailable:
            raise  # the server answers; what it has is not what was asked for
        except TimeoutError as error:
            future.cancel()
            if limit_s < TELLING_S:
                raise VectorStoreUnavailable(NO_TIME) from error
            raise self._failed(f"does not answer within {limit_s:g} s") from error
        except Exception as error:  # chromadb raises it bare for an HTTP error
            said = f"{type(error).__name__}: {error}"
            if is_refusal(error):
                raise VectorStoreUnavailable(
                    f"The vector store refuses what it was asked ({one_line(said)})."
                ) from error
            raise self._failed(f"fails ({one_line(said)})") from error
        self._breaker.close()
        return result

    def _failed(self, what: str) -> VectorStoreUnavailable:
        """Open the breaker, and say why."""
        problem = (
            f"The vector store at {without_password(self._url or '')} {what}: see that "
            "it runs and that CHROMA_URL is right."
        )
        self._breaker.open(problem)
        return VectorStoreUnavailable(problem)

    def _ask(self, ask: Callable[[Connection], Result]) -> Result:
        connection = self._connected()
        try:
            return ask(connection)
        except Exception as error:
            if not (isinstance(error, VectorStoreUnavailable) or is_refusal(error)):
                self._forget(connection)
            raise

    def _connected(self) -> Connection:
        with self._lock:
            if self._connection is None:
                self._connection = Connection(
                    self._url or "", self._database, self._timeout_s
                )
            return self._connection

    def _forget(self, connection: Connection | None) -> None:
        """Have a new connection made: this one and what it knew may be of no use."""
        with self._lock:
            if connection is self._connection:
                self._connection = None
        if connection is not None:
            connection.close()


class Connection:
    """Our database on one Chroma server. Raises what chromadb and httpx raise."""

    def __init__(self, url: str, database: str, timeout_s: float) -> None:
        """Ask nothing yet."""
        # Its 50 MB and a second or two are for those alone who have vectors.
        from chromadb.api import ServerAPI  # noqa: PLC0415  # heavy
        from chromadb.config import Settings, System  # noqa: PLC0415  # heavy
        from chromadb.errors import ChromaError, NotFoundError  # noqa: PLC0415  # heavy

        # This is what chromadb.HttpClient is made of. That one cannot be given timeouts:
        # it asks three questions while it is made, and would wait for ever.
        settings = Settings(
            chroma_api_impl="chromadb.api.fastapi.FastAPI",
            chroma_server_host=url,
            chroma_server_http_port=urlsplit(url).port or 0,
            anonymized_telemetry=False,
        )
        system: Any = System(settings)
        self._api = system.instance(ServerAPI)
        self._session = self._api._session  # noqa: SLF001  # there is no other way to it
        self._session.timeout = (CONNECT_TIMEOUT_S, timeout_s, timeout_s, timeout_s)
        # No proxy of the environment stands between us and a server on this machine.
        self._session._mounts.clear()  # noqa: SLF001  # where httpx keeps them
        self._database = database
        self._chroma_error: type[Exception] = ChromaError
        self._not_found: type[Exception] = NotFoundError
        self._known: dict[str, Collection] = {}

    def upsert(
        self,
        space: str,
        ids: Sequence[str],
        vectors: np.ndarray,
        metadatas: Sequence[Mapping[str, str | int]],
    ) -> None:
        """Write at most BATCH vectors; make the collection if there is none."""

        def write(collection: Collection) -> bool:
            require_dimension(collection, vectors.shape[1])
            collection.upsert(
                ids=list(ids),
                embeddings=as_floats(vectors),
                metadatas=[dict(metadata) for metadata in metadatas],
            )
            return True

        if not self._ask(space, write):
            write(self._make(space))

    def query(
        self,
        space: str,
        vector: np.ndarray,
        where: Mapping[str, str | int],
        limit: int,
    ) -> list[tuple[str, float]]:
        """Find the nearest."""

        def search(collection: Collection) -> list[tuple[str, float]]:
            require_dimension(collection, len(vector))
            found = collection.query(
                query_embeddings=as_floats(vector),
                where=condition(where),
                n_results=limit,
                include=["distances"],
            )
            (distances,) = found["distances"] or [[]]
            similarities = (1.0 - distance for distance in distances)
            return list(zip(found["ids"][0], similarities, strict=True))

        return self._ask(space, search) or []

    def delete(self, space: str, ids: Sequence[str]) -> None:
        """Remove at most PAGE vectors."""
        self._ask(space, lambda collection: collection.delete(ids=list(ids)))

    def count(self, space: str) -> int:
        """Count the vectors of a collection."""
        return self._ask(space, lambda collection: collection.count()) or 0

    def page(self, space: str, offset: int, limit: int) -> list[str]:
        """List some ids, in the order in which they were first written."""

        def read(collection: Collection) -> list[str]:
            return collection.get(offset=offset, limit=limit, include=[])["ids"]

        return self._ask(space, read) or []

    def drop(self, space: str) -> None:
        """Remove a collection."""
        self._known.pop(space, None)
        with suppress(self._not_found):
            self._api.delete_collection(space, database=self._database)

    def spaces(self) -> list[str]:
        """List the collections."""
        try:
            models = self._api.list_collections(database=self._database)
        except self._not_found:
            return []
        return sorted(model.name for model in models)

    def probe(self, space: str) -> None:
        """Search, if there is anything."""

        def search(collection: Collection) -> None:
            if dimension := collection.get_model().dimension:
                vector = as_floats(np.ones(dimension))
                collection.query(query_embeddings=vector, n_results=1, include=[])

        self._ask(space, search)

    def close(self) -> None:
        """Close the sockets."""
        self._session.close()

    def _ask(self, space: str, ask: Callable[[Collection], Result]) -> Result | None:
        """Ask a collection, again if it was made anew; None if there is none."""
        for _ in range(2):
            collection = self._find(space)
            if collection is None:
                return None
            try:
                return ask(collection)
            except self._not_found:
                self._known.pop(space, None)
        return None

    def _find(self, space: str) -> Collection | None:
        if space in self._known:
            return self._known[space]
        with suppress(self._not_found):
            model = self._api.get_collection(space, database=self._database)
            return self._checked(model)
        return None

    def _make(self, space: str) -> Collection:
        try:
            self._api.get_database(self._database)
        except self._not_found:
            # Another process may be as quick; where it was not, the next call fails.
            with suppress(self._chroma_error):
                self._api.create_database(self._database)
        return self._checked(
            self._api.create_collection(
                space,
                configuration=COSINE,
                get_or_create=True,
                database=self._database,
            )
        )

    def _checked(self, model: CollectionModel) -> Collection:
        from chromadb import Collection  # noqa: PLC0415  # heavy

        made_with = model.configuration_json
        index = made_with.get("hnsw") or made_with.get("spann") or {}
        if (distance := index.get("space")) != "cosine":
            raise VectorStoreUnavailable(
                f"The collection {model.name} measures {distance} instead of cosine "
                "distances: drop it, and its vectors are made anew."
            )
        # Without this, it would fetch a model of its own when it is given a text.
        collection = Collection(self._api, model, embedding_function=None)
        if model.dimension:  # until the first vector is written, it has none
            self._known[model.name] = collection
        return collection


def require_dimension(collection: Collection, dimension: int) -> None:
    """Raise VectorStoreUnavailable if the collection has vectors of another dimension."""
    stored = collection.get_model().dimension
    if stored not in {None, dimension}:
        raise VectorStoreUnavailable(
            f"The vectors of {collection.name} have {stored} dimensions, not {dimension}: "
            "drop it, and they are made anew."
        )


def as_floats(vectors: np.ndarray) -> Any:
    """Give what Chroma takes: 32 bits, one row for each vector."""
    return np.atleast_2d(np.asarray(vectors, dtype=np.float32))


def condition(where: Mapping[str, str | int]) -> Any:
    """Write what all must hold as Chroma wants it."""
    terms = [{key: value} for key, value in where.items()]
    return {"$and": terms} if len(terms) > 1 else next(iter(terms), None)


def is_refusal(error: Exception) -> bool:
    """Tell whether a server that is well did not like what it was asked."""
    code = getattr(error, "code", None)  # ChromaError has it, and is not imported here
    return callable(code) and code() in REFUSED


def one_line(text: str) -> str:
    """Fit a foreign message into a sentence."""
    return " ".join(text.split())[:LONGEST_MESSAGE]
