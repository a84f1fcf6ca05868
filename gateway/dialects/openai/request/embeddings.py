"""An embeddings request: checked at the door, and as the internal record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.dialects.openai.request.body import read_object
from gateway.dialects.openai.request.chat import CHARS_PER_TOKEN
from gateway.dialects.openai.request.fields import (
    Check,
    check_integer,
    check_known,
    check_name,
    check_string,
    missing,
    wrong_type,
    wrong_value,
)
from gateway.dialects.record import EmbeddingsRequest
from gateway.errors import UpstreamError
from gateway.kinds import Fault, Operation
from gateway.routing.needs import Needs

# OpenAI's own bounds of one request; token ids are JSON values of their own.
MAX_INPUTS = 2_048
MAX_TOKEN_IDS = 300_000
_MAX_VALUES = MAX_TOKEN_IDS + MAX_INPUTS + 100  # the rest of the body


@dataclass(frozen=True, slots=True)
class EmbeddingsCall:
    """A checked embeddings request, still in OpenAI's words.

    `body` is the whole JSON object as it came and is never changed. `encoding_format` is
    how the client wants its vectors: `float` or `base64`.
    """

    dialect: str
    body: Mapping[str, object] = field(repr=False)
    model: str
    encoding_format: str
    needs: Needs


def parse_embeddings(body: bytes) -> EmbeddingsCall:
    """Check the body of `POST /v1/embeddings`; unknown fields pass.

    Raises:
        InvalidRequest: Names the field at fault; nothing else is ever raised.

    """
    parsed = read_object(body, max_values=_MAX_VALUES)
    check_known(parsed, _CHECKS, required="model")
    tokens = _estimate_tokens(parsed.get("input"))
    return EmbeddingsCall(
        dialect="openai",
        body=parsed,
        model=str(parsed["model"]),
        encoding_format=str(parsed.get("encoding_format") or "float"),
        needs=Needs(operation=Operation.EMBEDDINGS, prompt_tokens=tokens),
    )


def read_embeddings_record(call: EmbeddingsCall) -> EmbeddingsRequest:
    """Read the call for a vendor that does not speak OpenAI.

    Raises:
        UpstreamError: UNSUPPORTED_PARAMETER with `param` input for token ids: only who
            knows the tokenizer can read them, so another deployment may.

    """
    given = call.body.get("input")
    texts = [given] if isinstance(given, str) else given
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise UpstreamError(
            Fault.UNSUPPORTED_PARAMETER,
            "This provider embeds text only, not token ids; send strings as input.",
            param="input",
        )
    dimensions = call.body.get("dimensions")
    return EmbeddingsRequest(
        texts=tuple(texts),
        dimensions=dimensions if isinstance(dimensions, int) else None,
    )


def _check_encoding(path: str, value: object) -> None:
    check_string(path, value)
    if value not in {"float", "base64"}:
        raise wrong_value(path, "supported are float, base64")


_CHECKS: Mapping[str, Check] = {
    "model": check_name,
    "dimensions": check_integer(1),
    "encoding_format": _check_encoding,
    "user": check_string,
}


def _estimate_tokens(given: object) -> int:
    """Check the input and guess its tokens; token ids are counted, not guessed."""
    if given is None:
        raise missing("input")
    if isinstance(given, str):
        _check_text("input", given)
        return len(given) // CHARS_PER_TOKEN
    if not isinstance(given, list):
        raise wrong_type("input", "a string or an array", given)
    if not given:
        raise wrong_value("input", "must not be empty")
    if isinstance(given[0], int):
        _check_token_ids("input", given)
        return len(given)
    if len(given) > MAX_INPUTS:
        raise wrong_value("input", f"must hold at most {MAX_INPUTS:,} entries")
    if isinstance(given[0], list):
        for index, entry in enumerate(given):
            _check_token_ids(f"input[{index}]", entry)
        return sum(map(len, given))
    for index, entry in enumerate(given):
        _check_text(f"input[{index}]", entry)
    return sum(map(len, given)) // CHARS_PER_TOKEN


def _check_text(path: str, value: object) -> None:
    check_string(path, value)
    if not value:
        raise wrong_value(path, "must not be an empty string")


def _check_token_ids(path: str, value: object) -> None:
    if not isinstance(value, list):
        raise wrong_type(path, "an array of token ids", value)
    # A set of types costs no Python code per id; bool is a type of its own here.
    if set(map(type, value)) != {int}:
        raise wrong_value(path, "must be a non-empty array of integers")
    if min(value) < 0:
        raise wrong_value(path, "token ids must not be negative")
