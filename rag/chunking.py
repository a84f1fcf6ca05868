"""A document's text cut into chunks that an embedder reads whole (pure)."""

from __future__ import annotations

import itertools
import math
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib import import_module

from rag.parsed import PageSpan

# Move its number when the same text gives other chunks: collections are locked to it.
CHUNKER = "markdown-1"
MIN_CHUNK_TOKENS = 32
MAX_OVERLAP = 32
# A chunk is full from this share of its size on: better boundaries than at the very end.
_FULL = 0.8
# A word of more than 100 characters is one unknown piece, and spaces are none: only this
# bounds what a chunk of them costs in a prompt.
_CHARS_PER_TOKEN = 10
# White space after a chunk belongs to it up to here, so that neighbours can be joined.
_MAX_GAP = 100
_SEPARATOR = " > "
_MAX_NAME_CHARS = 100  # of a title or a heading before an embedded text

_SPACE = re.compile(r"\s*")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*))?$")
_CLOSING = re.compile(r"(?:^|[ \t])#+$")
_UNDERLINE = re.compile(r" {0,3}(=+|-{3,})[ \t]*$")
_CODE = re.compile(r" {0,3}(`{3,}(?=[^`]*$)|~{3,})")
# Lines that an underline does not make a heading of.
_NO_TITLE = re.compile(r" {4}|\t|\s*(?:$|[-*+>|#]|\d+[.)]\s)")


@dataclass(frozen=True, slots=True)
class ChunkSize:
    """How long chunks are and how far they may overlap, in the embedder's tokens.

    Raises:
        ValueError: Less than 32 tokens, or an overlap outside 0 to 32 or of more than
            half a chunk.

    """

    tokens: int = 200
    overlap: int = 0

    def __post_init__(self) -> None:
        """Check the ranges."""
        if self.tokens < MIN_CHUNK_TOKENS:
            raise ValueError(f"A chunk has at least {MIN_CHUNK_TOKENS} tokens.")
        if not 0 <= self.overlap <= min(MAX_OVERLAP, self.tokens // 2):
            raise ValueError(f"Chunks overlap by 0 to {MAX_OVERLAP} tokens.")


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a document: `text` is the document's `[start:end]`, in characters.

    It ends where the next one starts, with the white space between them, unless they
    overlap or that is long. `page` is where it starts, None without pages;
    `heading_path` are the headings its first words stand under, outermost first.
    `tokens` counts the text, without what a model puts around it. `embedding_text` is
    what is to be embedded.
    """

    text: str
    start: int
    end: int
    page: int | None
    heading_path: tuple[str, ...]
    tokens: int
    embedding_text: str


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading's place, `text[start:end]`, and its words after those it stands under."""

    start: int
    end: int
    path: tuple[str, ...]


class Chunker:
    """Cuts texts for one embedder. Blocking; safe to call from several threads."""

    def __init__(
        self, tokenizer_json: str, *, max_tokens: int, size: ChunkSize
    ) -> None:
        """Take the content of the model's tokenizer.json and how many tokens it reads.

        Raises:
            ValueError: Chunks of this size do not fit into `max_tokens`.

        """
        tokenizer = import_module("tokenizers").Tokenizer.from_str(tokenizer_json)
        # The packaged file cuts everything at 128 tokens, which nothing would notice.
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._tokenizer = tokenizer
        self._size = size
        self._room = max_tokens - tokenizer.num_special_tokens_to_add(False)
        if size.tokens > self._room:
            raise ValueError(f"Chunks have at most {self._room} tokens for this model.")
        splitting = import_module("semantic_text_splitter")
        self._splitter = splitting.MarkdownSplitter.from_callback(
            self._weigh, (int(size.tokens * _FULL), size.tokens), size.overlap
        )

    def chunks(
        self, text: str, *, title: str = "", pages: Sequence[PageSpan] = ()
    ) -> Iterator[Chunk]:
        """Cut a text, in order; every word is in a chunk.

        `pages` are in order. A text of white space has no chunk.
        """
        headings = headings_of(text)
        for start, end in self._spans(text, headings):
            place = words_at(text, (start, end), headings)
            path = path_at(headings, min(place, end - 1))
            part = text[start:end]
            yield Chunk(
                text=part,
                start=start,
                end=end,
                page=page_at(pages, start),
                heading_path=path,
                tokens=self.count(part),
                embedding_text=self.embedding_text(
                    part, title=title, heading_path=path
                ),
            )

    def count(self, text: str) -> int:
        """Count a text's tokens, without those a model puts around it."""
        return len(self._tokenizer.encode(_writable(text), add_special_tokens=False))

    def embedding_text(
        self, text: str, *, title: str, heading_path: Iterable[str]
    ) -> str:
        """Give what is to be embedded of a chunk: its text, with its names before it.

        As many names as fit: the title, then headings, the innermost first.
        """
        return self._named(text.rstrip(), (title, *heading_path))

    def _weigh(self, text: str) -> int:
        """Give what a chunk's size is measured by; what is too much is not counted."""
        least = math.ceil(len(text) / _CHARS_PER_TOKEN)
        return least if least > self._size.tokens else max(least, self.count(text))

    def _spans(self, text: str, headings: Sequence[Heading]) -> list[tuple[int, int]]:
        """Find where chunks start and end, in order."""
        spans: list[tuple[int, int]] = []
        for start, part in self._splitter.chunk_indices(_writable(text)):
            end = start + len(part)
            # A heading alone answers nothing: it goes with what follows, if that fits.
            last = spans[-1] if spans else (0, 0)
            is_bare = bool(spans) and words_at(text, last, headings) == last[1]
            if is_bare and self._weigh(text[last[0] : end]) <= self._size.tokens:
                start, _ = spans.pop()
            spans.append((start, end))
        return list(_with_gaps(spans, len(text)))

    def _named(self, text: str, names: Iterable[str]) -> str:
        """Put the title and as many headings before it as fit, the innermost first."""
        lines = (" ".join(name.split())[:_MAX_NAME_CHARS] for name in names)
        first, *rest = [line for line in lines if line] or [""]
        while first:
            whole = f"{_SEPARATOR.join([first, *rest])}\n{text}"
            if self.count(whole) <= self._room:
                return whole
            if not rest:
                break
            del rest[0]
        return text


def headings_of(text: str) -> list[Heading]:
    """Find a Markdown text's headings, in order; what is in fenced code is none.

    A line that is underlined is one only after a blank line, so that neither a front
    matter nor a table is taken for it.
    """
    found: list[Heading] = []
    above: list[tuple[int, str]] = []  # level and words
    before, previous = (0, ""), (0, "")
    for at, line in _lines_outside_code(text):
        start, level, words = at, 0, ""
        if match := _ATX.match(line):
            start, level, words = at + match.start(1), len(match[1]), match[2] or ""
        elif (match := _UNDERLINE.match(line)) and _is_title(before[1], previous[1]):
            (start, words), level = previous, 1 if match[1][0] == "=" else 2
        if words := _CLOSING.sub("", words.strip()).strip("* \t"):
            above = [(outer, name) for outer, name in above if outer < level]
            above.append((level, words))
            path = tuple(name for _, name in above)
            found.append(Heading(_skip_space(text, start), at + len(line), path))
        before, previous = previous, (at, line)
    return found


def path_at(headings: Sequence[Heading], offset: int) -> tuple[str, ...]:
    """Give the headings that a place stands under, one that starts there included."""
    index = bisect_right(headings, offset, key=lambda heading: heading.start)
    return headings[index - 1].path if index else ()


def page_at(pages: Sequence[PageSpan], offset: int) -> int | None:
    """Give the number of the page that a place is on, None before the first one."""
    index = bisect_right(pages, offset, key=lambda page: page.start)
    return pages[index - 1].number if index else None


def words_at(text: str, span: tuple[int, int], headings: Sequence[Heading]) -> int:
    """Give where the words under a span's first headings begin, its end without any."""
    at, end = span
    first = bisect_left(headings, at, key=lambda heading: heading.start)
    last = bisect_left(headings, end, key=lambda heading: heading.start)
    for heading in headings[first:last]:
        if heading.start != _skip_space(text, at):
            break
        at = heading.end
    return min(_skip_space(text, at), end)


def _with_gaps(
    spans: Sequence[tuple[int, int]], size: int
) -> Iterator[tuple[int, int]]:
    """Give each span the white space behind it, unless that is long."""
    ends = itertools.pairwise([*spans, (size, size)])
    for (start, end), (following, _) in ends:
        yield start, following if 0 < following - end <= _MAX_GAP else end


def _lines_outside_code(text: str) -> Iterator[tuple[int, str]]:
    """Give lines and where they start; of fenced code only its two fences."""
    at, fence = 0, ""
    for line in text.split("\n"):
        if not fence:
            match = _CODE.match(line)
            fence = match[1] if match else ""
            yield at, line
        elif line.strip().startswith(fence) and not line.strip().strip(fence[0]):
            fence = ""
            yield at, line
        at += len(line) + 1


def _is_title(before: str, line: str) -> bool:
    return not before.strip() and _NO_TITLE.match(line) is None


def _skip_space(text: str, at: int) -> int:
    match = _SPACE.match(text, at)
    return match.end() if match else at


def _writable(text: str) -> str:
    """Put a sign of one character for each lone surrogate: neither library takes those."""
    return text.encode("utf-8", "replace").decode()
