"""Chunks: exact places, nothing lost, never more than the embedder reads."""

from __future__ import annotations

import hashlib
import itertools
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings, strategies as st

from rag.chunking import CHUNKER, Chunk, Chunker, ChunkSize, headings_of, words_at
from rag.packaged_model import MAX_TOKENS, model_folder
from rag.parsed import PageSpan

TOKENIZER = (model_folder() / "tokenizer.json").read_text()
SIZES = [ChunkSize(), ChunkSize(overlap=32), ChunkSize(32), ChunkSize(64, 16)]
CHUNKERS = {
    size: Chunker(TOKENIZER, max_tokens=MAX_TOKENS, size=size) for size in SIZES
}
WHOLE, *_ = CHUNKERS.values()
PROSE = "The dam was built in four years by workers from nine valleys. "
MARKDOWN = f"""# Dams

## Why they are built

{PROSE * 30}

## How they fail

### Piping

{PROSE * 3}

### Overtopping

{PROSE * 40}

| year | height |
| --- | --- |
| 1904 | 12 m |

```python
# no heading
```

Upkeep
======

{PROSE * 20}
"""
PIECES = st.sampled_from(
    [
        "# One\n",
        "\n## Two\n\n",
        "\n### Three #\n",
        "word ",
        PROSE,
        PROSE * 12,
        "Under\n=====\n",
        "```\n# code\n```\n",
        "| a | b |\n| --- | --- |\n| 1 | 2 |\n",
        "- item\n  - inner\n",
        "> quoted\n",
        "\n\n",
        " " * 150,
        "x" * 900,
        "日本語の文章です。",
        "\U0001f642\U0001f3fd",
        "e\u0301",
        "\r\n",
        "\ud800",
    ]
)
TEXTS = st.lists(PIECES | st.text(max_size=20), max_size=25).map("".join)


def cut(text: str, size: ChunkSize = SIZES[0], **given) -> list[Chunk]:
    return list(CHUNKERS[size].chunks(text, **given))


@settings(deadline=None)
@given(TEXTS, st.sampled_from(SIZES))
def test_a_chunk_is_exactly_its_place_in_the_text(text, size):
    chunks = cut(text, size)
    assert all(text[chunk.start : chunk.end] == chunk.text for chunk in chunks)
    assert all(chunk.text.strip() for chunk in chunks)
    starts = [chunk.start for chunk in chunks]
    assert starts == sorted(set(starts))


@settings(deadline=None)
@given(TEXTS, st.sampled_from(SIZES))
def test_every_word_is_in_a_chunk(text, size):
    covered = 0
    for chunk in cut(text, size):
        assert not text[covered : chunk.start].strip()
        covered = chunk.end
    assert not text[covered:].strip()


@settings(deadline=None)
@given(TEXTS, st.sampled_from(SIZES), st.text(max_size=400))
def test_no_chunk_passes_its_size_or_what_the_embedder_reads(text, size, title):
    for chunk in cut(text, size, title=title):
        assert chunk.tokens == WHOLE.count(chunk.text) <= size.tokens
        assert WHOLE.count(chunk.embedding_text) + 2 <= MAX_TOKENS
        assert len(chunk.text.rstrip()) <= 10 * size.tokens


@settings(deadline=None)
@given(TEXTS)
def test_without_an_overlap_the_chunks_follow_each_other(text):
    for chunk, following in itertools.pairwise(cut(text)):
        gap = following.start - chunk.end
        assert gap == 0 or gap > 100


def test_chunks_are_filled():
    sizes = [chunk.tokens for chunk in cut(PROSE * 100)]
    assert all(160 <= size <= 200 for size in sizes[:-1])


def test_an_overlap_repeats_the_end_of_the_chunk_before():
    chunks = cut(PROSE * 100, ChunkSize(overlap=32))
    shared = [before.end - after.start for before, after in itertools.pairwise(chunks)]
    assert all(0 < chars <= 32 * 10 for chars in shared)
    assert sum(shared) / len(shared) > len(PROSE)


@pytest.mark.parametrize("text", ["", " ", "\n\n\t\n", "\u3000"])
def test_a_text_of_white_space_has_no_chunk(text):
    assert cut(text) == []


def test_a_heading_is_not_left_alone():
    chunks = cut(MARKDOWN)
    headings = headings_of(MARKDOWN)
    assert len(chunks) > 5
    spans = [(chunk.start, chunk.end) for chunk in chunks]
    assert all(words_at(MARKDOWN, span, headings) < span[1] for span in spans)
    assert chunks[0].text.startswith("# Dams\n\n## Why they are built\n\nThe dam")


def test_a_chunk_knows_the_headings_it_stands_under():
    paths = [chunk.heading_path for chunk in cut(MARKDOWN)]
    assert [path for path, _ in itertools.groupby(paths)] == [
        ("Dams", "Why they are built"),
        ("Dams", "How they fail", "Piping"),
        ("Dams", "How they fail", "Overtopping"),
        ("Upkeep",),
    ]


def test_an_overlap_does_not_move_a_chunk_under_the_heading_before():
    text = f"# One\n\n{PROSE * 20}\n\n# Two\n\n{PROSE * 20}"
    for chunk in cut(text, ChunkSize(overlap=32)):
        fresh = "Two" if chunk.end > text.index("# Two") + 10 else "One"
        assert chunk.heading_path == (fresh,)


@pytest.mark.parametrize(
    ("text", "paths"),
    [
        ("# A\n## B\n# C", [("A",), ("A", "B"), ("C",)]),
        ("## B\n#### D\n### C", [("B",), ("B", "D"), ("B", "C")]),
        ("  # A #\n#\n#tag\n    # code", [("A",)]),
        ("# **A** ##", [("A",)]),
        ("~~~\n# a\n~~~\n# B", [("B",)]),
        ("````\n```\n# a\n````\n# B", [("B",)]),
        ("```\n# never closed", []),
        ("A\n===\n\nB\n---", [("A",), ("A", "B")]),
        ("---\ntitle: x\n---\n", []),
        ("one\ntwo\n---\n", []),
        ("- item\n---\n\n---\n---", []),
        ("# C#\n", [("C#",)]),
        ("\r\n# A\r\n", [("A",)]),
    ],
)
def test_headings_are_found_outside_of_code(text, paths):
    assert [heading.path for heading in headings_of(text)] == paths


def test_a_chunk_knows_the_page_it_starts_on():
    first, second = PROSE * 8, PROSE * 30
    text = f"{first}\n\n{second}"
    pages = [
        PageSpan(1, 0, len(first)),
        PageSpan(2, len(first) + 2, len(first) + 2),
        PageSpan(3, len(first) + 2, len(text)),
    ]
    chunks = cut(text, ChunkSize(64, 16), pages=pages)
    for chunk in chunks:
        assert chunk.page == (1 if chunk.start < len(first) else 3)
    assert {chunk.page for chunk in chunks} == {1, 3}
    assert {chunk.page for chunk in cut(text)} == {None}


def test_what_is_embedded_begins_with_the_title_and_the_headings():
    (chunk,) = cut("# Dams\n\n## Cost\n\nMuch.\n", title=" The  book\nof dams ")
    assert chunk.heading_path == ("Dams", "Cost")
    assert chunk.embedding_text == (
        "The book of dams > Dams > Cost\n# Dams\n\n## Cost\n\nMuch."
    )
    (plain,) = cut("Much.\n")
    assert plain.embedding_text == "Much."


def test_of_too_many_headings_the_innermost_and_the_title_stay():
    text = "".join(f"{'#' * n} Level {n} {'word ' * 18}\n" for n in range(1, 7))
    names = [f"Level {n} {'word ' * 18}".strip() for n in range(1, 7)]
    chunks = cut(f"{text}\n{PROSE * 40}", title="Book")
    kept = []
    for chunk in chunks[1:]:
        assert chunk.heading_path == tuple(names)
        label = chunk.embedding_text.removesuffix(f"\n{chunk.text.rstrip()}")
        first, *rest = label.split(" > ")
        assert first == "Book"
        assert rest == [name[:100].strip() for name in names][6 - len(rest) :]
        kept.append(len(rest))
    assert 0 < min(kept) < 6


def test_a_larger_size_than_the_model_reads_is_refused():
    Chunker(TOKENIZER, max_tokens=256, size=ChunkSize(254))
    with pytest.raises(ValueError, match="at most 254"):
        Chunker(TOKENIZER, max_tokens=256, size=ChunkSize(255))


@pytest.mark.parametrize(
    ("tokens", "overlap"), [(31, 0), (0, 0), (200, 33), (200, -1), (32, 17)]
)
def test_a_size_out_of_range_is_refused(tokens, overlap):
    with pytest.raises(ValueError, match="tokens"):
        ChunkSize(tokens, overlap)


@pytest.mark.parametrize(
    "text",
    [
        "x" * 100_000,
        "a" + " " * 200_000 + "b",
        "\n" * 200_000,
        "[" * 20_000,
        "> " * 50_000,
        "# a\n" * 10_000,
        "\n".join("  " * depth + "- a" for depth in range(400)),
        "```" * 20_000,
    ],
    ids=["word", "spaces", "lines", "brackets", "quotes", "headings", "list", "fences"],
)
def test_no_text_takes_long_or_gives_a_long_chunk(text):
    started = time.perf_counter()
    assert all(len(chunk.text) <= 2_100 for chunk in cut(text))
    assert time.perf_counter() - started < 10


def test_two_threads_get_what_one_gets():
    expected = cut(MARKDOWN)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(cut, [MARKDOWN] * 4)) == [expected] * 4


def test_the_chunkers_name_moves_when_its_chunks_do():
    told = repr([(c.start, c.end, c.embedding_text) for c in cut(MARKDOWN, title="T")])
    digest = hashlib.sha256(told.encode()).hexdigest()[:12]
    assert (CHUNKER, digest) == ("markdown-1", "1b5ee8ce2efa")
