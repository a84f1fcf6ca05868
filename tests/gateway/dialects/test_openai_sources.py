"""Sources stand in whole answers and before a stream's mark; nothing else changes."""

from __future__ import annotations

import itertools
from typing import Any

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.dialects.openai.sources import SourcesChunk, start_of_end, with_sources
from rag.fusion import Hit


def hit(number: int) -> Hit:
    return Hit(
        chunk_ids=(f"c{number}",),
        document_id=f"d{number}",
        filename=f"{number}.txt",
        text="text",
        start=number,
        end=number + 4,
        page=number,
        tokens=1,
        score=1 / number,
        parts={"dense": 0.5, "keyword": 0.25},
        collection="handbook",
    )


HITS = (hit(1), hit(2), hit(3))


def answer_of(*texts: object, **more: Any) -> dict[str, Any]:
    choices = [
        {"index": index, "message": {"role": "assistant", "content": text}}
        for index, text in enumerate(texts)
    ]
    return {"id": "a", "object": "chat.completion", "choices": choices, **more}


def told(answer: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(with_sources(orjson.dumps(answer), HITS))
    return found


def test_an_answer_is_annotated_where_it_cites() -> None:
    text = "Ünits [2], days [1, 2]. `a[1]`"
    message = told(answer_of(text))["choices"][0]["message"]
    places = [(each["file_id"], each["index"]) for each in message["annotations"]]
    after_first, after_second = text.index("]") + 1, text.index("2].") + 2
    assert places == [
        ("d2", after_first),
        ("d1", after_second),
        ("d2", after_second),
        ("d3", len(text)),
    ]
    assert message["annotations"][0] == {
        "type": "file_citation",
        "index": after_first,
        "file_id": "d2",
        "filename": "2.txt",
        "page": 2,
        "start": 2,
        "end": 6,
        "score": 0.5,
        "cited": True,
    }
    assert [each["cited"] for each in message["annotations"]] == [
        True,
        True,
        True,
        False,
    ]


def test_a_call_of_a_tool_is_not_annotated() -> None:
    answer = answer_of("")
    assert told(answer)["choices"][0]["message"]["annotations"] == []


def test_all_sources_are_listed_with_whether_they_are_cited() -> None:
    sources = told(answer_of("See [2]."))["ailb"]["sources"]
    assert [each["cited"] for each in sources] == [False, True, False]
    assert sources[0] == {
        "number": 1,
        "collection": "handbook",
        "document_id": "d1",
        "filename": "1.txt",
        "page": 1,
        "start": 1,
        "end": 5,
        "score": 1.0,
        "score_parts": {"dense": 0.5, "keyword": 0.25},
        "cited": False,
    }


def test_each_choice_has_its_own_annotations_and_any_of_them_cites() -> None:
    answer = told(answer_of("```open [1]", "See [2]", None, [{"type": "text"}]))
    annotated = [
        [each["file_id"] for each in choice["message"]["annotations"]]
        for choice in answer["choices"]
    ]
    assert annotated == [["d1", "d2", "d3"], ["d2", "d1", "d3"], [], []]
    assert [each["cited"] for each in answer["ailb"]["sources"]] == [False, True, False]


def test_what_was_there_before_stays() -> None:
    answer = answer_of("See [1]", ailb={"kept": 1}, usage={"prompt_tokens": 2**53})
    before = {"type": "url_citation", "url_citation": {"url": "https://x.example"}}
    answer["choices"][0]["message"]["annotations"] = [before]
    found = told(answer)
    assert found["ailb"]["kept"] == 1
    assert found["choices"][0]["message"]["annotations"][0] == before
    del found["ailb"]["sources"]
    del found["choices"][0]["message"]["annotations"][1:]
    assert found == answer


@pytest.mark.parametrize(
    "answer", [b"", b"[]", b"{}", b'{"choices": 1}', b"no JSON", b'{"choices": null}']
)
def test_what_is_no_answer_passes_as_it_is(answer: bytes) -> None:
    assert with_sources(answer, HITS) == answer


def test_choices_that_are_none_do_no_harm() -> None:
    answer = {"choices": [1, {}, {"message": None}, {"message": {"content": "[1]"}}]}
    found = told(answer)
    assert found["choices"][:3] == answer["choices"][:3]
    assert found["ailb"]["sources"][0]["cited"]


def test_annotations_are_bounded_and_what_is_cited_is_not() -> None:
    answer = told(answer_of("[1]" * 10_000 + "[3]"))
    annotations = answer["choices"][0]["message"]["annotations"]
    assert sum(each["cited"] for each in annotations) == 256
    assert len(annotations) == 256 + 1
    assert answer["ailb"]["sources"][2]["cited"]


# --- Streams ---------------------------------------------------------------------------


def event(body: object, end: str = "\n\n") -> bytes:
    return b"data: " + orjson.dumps(body) + end.encode()


def chunk(text: str | None, index: int = 0, **more: Any) -> dict[str, Any]:
    delta = {} if text is None else {"content": text}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 7,
        "model": "m",
        "choices": [{"index": index, "delta": delta}],
        **more,
    }


def written_by(pieces: list[bytes]) -> bytes:
    reader = SourcesChunk(HITS)
    for piece in pieces:
        reader.feed(piece)
    return b"".join(pieces[:-1]) + reader.before_end(pieces[-1])


def sources_in(stream: bytes) -> dict[str, Any]:
    *_, last, mark, end = stream.replace(b"\r", b"").split(b"\n\n")
    assert mark.endswith(b"data: [DONE]")
    assert end == b""
    found: dict[str, Any] = orjson.loads(last.strip().removeprefix(b"data: "))
    return found


SAID = [chunk("It is [", 0), chunk("no [2", 1), chunk("1].", 0), chunk(None)]


@pytest.mark.parametrize("end", ["\n\n", "\r\n\r\n"])
@pytest.mark.parametrize("is_one_piece", [True, False])
def test_the_chunk_stands_right_before_the_mark(
    end: str, *, is_one_piece: bool
) -> None:
    pieces = [event(each, end) for each in SAID] + [f"data: [DONE]{end}".encode()]
    pieces = [b"".join(pieces)] if is_one_piece else pieces
    stream = written_by(pieces)
    last = sources_in(stream)
    assert last.pop("ailb")["sources"][0]["cited"]
    assert last == {
        "id": "chatcmpl-1",
        "created": 7,
        "model": "m",
        "object": "chat.completion.chunk",
        "choices": [],
    }
    whole = b"".join(pieces)
    cut = start_of_end(whole)
    assert stream.startswith(whole[:cut])
    assert stream.endswith(whole[cut:])
    assert len(stream) > len(whole)


def test_the_numbers_of_one_choice_are_not_closed_by_another() -> None:
    stream = written_by([*map(event, SAID), b"data: [DONE]\n\n"])
    cited = [each["cited"] for each in sources_in(stream)["ailb"]["sources"]]
    assert cited == [True, False, False]


@pytest.mark.parametrize(
    "last",
    [
        b"data: [DONE]\n\n",
        b"event: end\ndata: [DONE]\n\n",
        b'data: {"choices": [{"delta": {"content": "[DONE]"}}]}\n\ndata: [DONE]\n\n',
        b": a comment\n\ndata:[DONE]\n\n",
    ],
)
def test_the_mark_is_found_whatever_stands_before_it(last: bytes) -> None:
    cut = start_of_end(last)
    assert cut == 0 or last[:cut].endswith(b"\n\n")
    assert b"[DONE]" in last[cut:]
    assert last[cut:].count(b"\n\n") == 1


@given(st.data())
def test_where_the_bytes_split_does_not_matter(data: st.DataObject) -> None:
    whole = b"".join(map(event, SAID))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(whole) - 1))))
    edges = [0, *cuts, len(whole)]
    pieces = [whole[start:end] for start, end in itertools.pairwise(edges)]
    mark = b"data: [DONE]\n\n"
    assert written_by([*pieces, mark]) == written_by([whole, mark])


@given(st.lists(st.binary(max_size=80) | st.just(b"\n\n"), max_size=8))
def test_whatever_passes_nothing_is_raised(pieces: list[bytes]) -> None:
    stream = written_by([*pieces, b"\n\ndata: [DONE]\n\n"])
    assert sources_in(stream)["ailb"]["sources"]
