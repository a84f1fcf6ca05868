"""What the bodies of these routes may say (pure)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gateway.dialects.openai.request.fields import (
    check_boolean,
    check_integer,
    check_number,
    check_string,
    missing,
    read_object,
    read_string,
    wrong_type,
    wrong_value,
)
from gateway.errors import InvalidRequest
from rag.attributes import Value, check_attributes

MAX_FILES = 500  # that a new store is filled with at once
MAX_QUERY_CHARS = 10_000
MAX_RESULTS = 50
DEFAULT_RESULTS = 10
PURPOSES = ("assistants", "user_data")
RANKERS = frozenset({"auto", "none"})
STORE_FIELDS = (
    "name",
    "description",
    "file_ids",
    "chunking_strategy",
    "expires_after",
    "metadata",
)
UPDATE_FIELDS = ("name", "expires_after", "metadata")
STORE_FILE_FIELDS = ("file_id", "attributes", "chunking_strategy")
SEARCH_FIELDS = (
    "query",
    "max_num_results",
    "filters",
    "ranking_options",
    "rewrite_query",
)
MAX_TOKENS_PATH = "chunking_strategy.static.max_chunk_size_tokens"
OVERLAP_PATH = "chunking_strategy.static.chunk_overlap_tokens"


@dataclass(frozen=True, slots=True)
class Chunking:
    """How a caller wants documents to be cut, in tokens."""

    tokens: int
    overlap: int


@dataclass(frozen=True, slots=True)
class NewStore:
    """A vector store to make. No name: it gets one."""

    name: str | None
    description: str
    file_ids: tuple[str, ...]
    chunking: Chunking | None


@dataclass(frozen=True, slots=True)
class NewStoreFile:
    """A file to add to a vector store."""

    file_id: str
    attributes: Mapping[str, Value]
    chunking: Chunking | None


@dataclass(frozen=True, slots=True)
class StoreQuestion:
    """What is searched for. `filters` are as they came."""

    queries: tuple[str, ...]
    most: int
    filters: object
    min_score: float

    @property
    def text(self) -> str:
        """All that is asked, as one text."""
        return "\n".join(self.queries)


def new_store_in(body: Mapping[str, object]) -> NewStore:
    """Read the body that makes a store."""
    refuse_what_is_not_kept(body)
    return NewStore(
        name=_text_in(body, "name") or None,
        description=_text_in(body, "description"),
        file_ids=_file_ids_in(body.get("file_ids")),
        chunking=chunking_in(body.get("chunking_strategy")),
    )


def new_store_file_in(body: Mapping[str, object]) -> NewStoreFile:
    """Read the body that adds a file to a store."""
    return NewStoreFile(
        file_id=read_string(body.get("file_id"), "file_id"),
        attributes=attributes_in(body.get("attributes")),
        chunking=chunking_in(body.get("chunking_strategy")),
    )


def question_in(body: Mapping[str, object]) -> StoreQuestion:
    """Read the body of a search."""
    if (rewrites := body.get("rewrite_query")) is not None:
        check_boolean("rewrite_query", rewrites)
        if rewrites:
            raise wrong_value(
                "rewrite_query", "queries are searched as they are; leave it out"
            )
    most = body.get("max_num_results")
    if most is not None:
        check_integer(1, MAX_RESULTS)("max_num_results", most)
    return StoreQuestion(
        queries=_queries_in(body.get("query")),
        most=most if isinstance(most, int) else DEFAULT_RESULTS,
        filters=body.get("filters"),
        min_score=_threshold_in(body.get("ranking_options")),
    )


def refuse_what_is_not_kept(body: Mapping[str, object]) -> None:
    """Refuse what would be lost without anybody noticing.

    Raises:
        InvalidRequest: Stores are to have metadata or to expire.

    """
    metadata = body.get("metadata")
    if metadata is not None and read_object(metadata, "metadata"):
        raise wrong_value(
            "metadata",
            "vector stores keep none here; leave it out, or use attributes of files",
        )
    if body.get("expires_after") is not None:
        raise wrong_value(
            "expires_after", "nothing expires here; leave it out and delete by yourself"
        )


def chunking_in(value: object) -> Chunking | None:
    """Read a chunking strategy, None for `auto` and for none."""
    if value is None:
        return None
    strategy = read_object(value, "chunking_strategy")
    match read_string(strategy.get("type"), "chunking_strategy.type"):
        case "auto":
            _allow(strategy, ("type",), "chunking_strategy")
            return None
        case "static":
            _allow(strategy, ("type", "static"), "chunking_strategy")
            return _static_in(strategy.get("static"))
        case _:
            raise wrong_value("chunking_strategy.type", "must be auto or static")


def _static_in(value: object) -> Chunking:
    static = read_object(value, "chunking_strategy.static")
    known = ("max_chunk_size_tokens", "chunk_overlap_tokens")
    _allow(static, known, "chunking_strategy.static")
    numbers = []
    for path in (MAX_TOKENS_PATH, OVERLAP_PATH):
        number = static.get(path.rpartition(".")[2])
        if number is None:
            raise missing(path)
        check_integer(0, 1_000_000)(path, number)
        assert isinstance(number, int)
        numbers.append(number)
    return Chunking(*numbers)


def attributes_in(value: object) -> Mapping[str, Value]:
    """Read attributes; null is none."""
    try:
        return check_attributes({} if value is None else value)
    except ValueError as error:
        raise InvalidRequest(str(error), param="attributes") from error


def _file_ids_in(value: object) -> tuple[str, ...]:
    ids = _strings_in(value, "file_ids")
    if len(ids) > MAX_FILES:
        raise wrong_value("file_ids", f"must be at most {MAX_FILES}")
    return ids


def _queries_in(value: object) -> tuple[str, ...]:
    if value is None:
        raise missing("query")
    queries = (value,) if isinstance(value, str) else _strings_in(value, "query")
    if not any(query.strip() for query in queries):
        raise wrong_value("query", "must not be empty")
    if sum(map(len, queries)) > MAX_QUERY_CHARS:
        raise wrong_value("query", f"must be at most {MAX_QUERY_CHARS} characters long")
    return queries


def _threshold_in(value: object) -> float:
    if value is None:
        return 0.0
    options = read_object(value, "ranking_options")
    _allow(options, ("ranker", "score_threshold"), "ranking_options")
    ranker = options.get("ranker")
    if (
        ranker is not None
        and read_string(ranker, "ranking_options.ranker") not in RANKERS
    ):
        raise wrong_value("ranking_options.ranker", "must be auto or none")
    threshold = options.get("score_threshold")
    if threshold is None:
        return 0.0
    check_number(0, 1)("ranking_options.score_threshold", threshold)
    assert isinstance(threshold, int | float)
    assert math.isfinite(threshold)
    return float(threshold)


def _strings_in(value: object, path: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list):
        raise wrong_type(path, "an array of strings", value)
    return tuple(read_string(one, f"{path}[{i}]") for i, one in enumerate(value))


def _text_in(body: Mapping[str, object], name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    check_string(name, value)
    return str(value)


def _allow(given: Mapping[str, Any], known: tuple[str, ...], path: str) -> None:
    for name in given:
        if name not in known:
            raise InvalidRequest(
                f"There is no field '{path}.{name[:100]}' here; known are: "
                f"{', '.join(known)}.",
                param=f"{path}.{name[:100]}",
            )
