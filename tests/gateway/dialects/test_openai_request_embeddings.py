"""What the door accepts of OpenAI's embeddings requests, and what becomes of them."""

from __future__ import annotations

import contextlib

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.dialects.openai.request import parse_embeddings, read_embeddings_record
from gateway.dialects.record import EmbeddingsRequest
from gateway.errors import InvalidRequest, UpstreamError
from gateway.kinds import Fault, Operation

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


def embeddings(**fields: object) -> bytes:
    return orjson.dumps({"model": "e", "input": "hello"} | fields)


@pytest.mark.parametrize(
    ("given_input", "tokens"),
    [
        ("x" * 40, 10),
        (["x" * 40, "y" * 4], 11),
        ([1, 2, 3], 3),
        ([[1, 2], [3]], 3),
    ],
)
def test_embeddings_take_texts_and_token_ids(given_input, tokens):
    call = parse_embeddings(embeddings(input=given_input, dimensions=1, user="u"))
    assert call.body["input"] == given_input
    assert (call.model, call.encoding_format) == ("e", "float")
    assert call.needs.operation is Operation.EMBEDDINGS
    assert call.needs.prompt_tokens == tokens


def test_embeddings_take_as_many_token_ids_as_openai_does():
    call = parse_embeddings(embeddings(input=[[7] * 1_000] * 300))
    assert call.needs.prompt_tokens == 300_000


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"),
        ({"input": None}, "input"),
        ({"input": ""}, "input"),
        ({"input": []}, "input"),
        ({"input": {}}, "input"),
        ({"input": ["a", 1]}, "input[1]"),
        ({"input": ["a", ""]}, "input[1]"),
        ({"input": [1, "a"]}, "input"),
        ({"input": [1, True]}, "input"),
        ({"input": [-1]}, "input"),
        ({"input": [[1], []]}, "input[1]"),
        ({"input": [[1], 2]}, "input[1]"),
        ({"input": ["a"] * 2_049}, "input"),
        ({"encoding_format": "hex"}, "encoding_format"),
        ({"encoding_format": 1}, "encoding_format"),
        ({"dimensions": 0}, "dimensions"),
    ],
)
def test_a_wrong_field_of_an_embeddings_request_is_named(fields, param):
    with pytest.raises(InvalidRequest) as caught:
        parse_embeddings(embeddings(**fields))
    assert caught.value.param == param


def test_texts_become_the_record():
    call = parse_embeddings(embeddings(input=["a", "b"], dimensions=8))
    assert read_embeddings_record(call) == EmbeddingsRequest(("a", "b"), 8)
    assert read_embeddings_record(parse_embeddings(embeddings())).texts == ("hello",)


def test_token_ids_are_left_to_who_can_read_them():
    with pytest.raises(UpstreamError) as caught:
        read_embeddings_record(parse_embeddings(embeddings(input=[1, 2])))
    assert caught.value.fault is Fault.UNSUPPORTED_PARAMETER
    assert caught.value.param == "input"


@given(st.binary(max_size=200))
def test_any_bytes_are_an_embeddings_call_or_an_invalid_request(body):
    with contextlib.suppress(InvalidRequest):
        parse_embeddings(body)


@given(JSON | st.fixed_dictionaries({"model": st.just("m"), "input": JSON}))
def test_any_json_is_an_embeddings_call_or_an_invalid_request(value):
    try:
        call = parse_embeddings(orjson.dumps(value))
    except InvalidRequest:
        return
    with contextlib.suppress(UpstreamError):
        assert read_embeddings_record(call).texts
