"""HTML: what a reader of the page sees, as Markdown; no link is followed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html.parser import HTMLParser

from typing_extensions import override

from rag.parsed import Content
from rag.text_cleaning import decode, table_lines

_CHARSET = re.compile(
    rb"<meta[^>]{0,200}charset\s*=\s*[\"']?([\w-]{1,40})", re.IGNORECASE
)
_HEAD_BYTES = 4096
_CHUNK_CHARS = 65_536
_HIDDEN = frozenset(
    {
        "script",
        "style",
        "noscript",
        "template",
        "svg",
        "math",
        "iframe",
        "object",
        "select",
    }
)
_VOID = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "source",
        "track",
        "wbr",
    ]
)
# A page that shows itself by a script is still a page.
_NEVER_HIDDEN = _VOID | {"html", "body"}
# Their end tags may be left out: the next of the same name ends them.
_LOOSE = frozenset({"p", "li", "dt", "dd", "tr", "td", "th"})
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "body",
        "dd",
        "div",
        "dl",
        "dt",
        "figcaption",
        "figure",
        "footer",
        "form",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "table",
        "td",
        "th",
        "tr",
        "ul",
    ]
) | frozenset(_HEADINGS)


def read_html(data: bytes) -> Content:
    """Give a page's blocks as they come; its title is the `title` element's."""
    charset = _CHARSET.search(data[:_HEAD_BYTES])
    text = decode(
        data, declared=charset[1].decode("ascii", "replace") if charset else ""
    )
    page = _Page()
    blocks = list(_feed(page, _without_open_comments(text)))
    return Content(blocks, title=page.title)


def _without_open_comments(text: str) -> str:
    """Drop the marks of comments that never end: for each the parser reads all the rest."""
    end = text.rfind("-->") + 1
    return text[:end] + text[end:].replace("<!--", "")


def _feed(page: _Page, text: str) -> Iterator[str]:
    for start in range(0, len(text), _CHUNK_CHARS):
        page.feed(text[start : start + _CHUNK_CHARS])
        yield from page.take_done()
    page.close()
    page.finish()
    yield from page.take_done()


class _Page(HTMLParser):
    """Collects blocks; needs no closing tags and no nesting, as browsers do not."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self.title = ""
        self._done: list[str] = []
        self._runs: list[str] = []
        self._block = ""
        self._is_in_title = False
        self._is_preformatted = False
        # The element that hides all inside it, and how many of its name are open.
        self._hidden, self._hidden_depth = "", 0
        self._rows: list[list[str]] = []
        self._open_tables = 0

    def take_done(self) -> list[str]:
        """Give the blocks that are finished, once."""
        done, self._done = self._done, []
        return done

    def finish(self) -> None:
        """End what is open at the end of the page."""
        self._end_block()
        self._end_table()

    @override
    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == self._hidden and tag in _LOOSE:
            self._hidden = ""
        if self._hidden:
            self._hidden_depth += tag == self._hidden
        elif tag in _HIDDEN or ("hidden" in dict(attrs) and tag not in _NEVER_HIDDEN):
            self._hidden, self._hidden_depth = tag, 1
        elif tag == "title":
            self._is_in_title = not self.title
        elif tag == "br":
            self._runs.append("\n")
        elif tag in _BLOCKS:
            self._start_block(tag)

    @override
    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _VOID:
            self.handle_starttag(tag, attrs)

    @override
    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            self._hidden_depth -= tag == self._hidden
            if not self._hidden_depth:
                self._hidden = ""
        elif tag == "title":
            self._is_in_title = False
        elif tag in _BLOCKS:
            self._end_tag_of_block(tag)

    @override
    def handle_data(self, data: str) -> None:
        if self._hidden:
            return
        if self._is_in_title:
            self.title += data
        else:
            self._runs.append(data if self._is_preformatted else _one_line(data))

    def _start_block(self, tag: str) -> None:
        self._end_block()
        self._block = tag
        self._is_preformatted = tag == "pre"
        if tag == "table":
            self._open_tables += 1
        elif tag == "tr" and self._open_tables:
            self._rows.append([])
        elif tag in {"td", "th"} and self._rows:
            self._rows[-1].append("")

    def _end_tag_of_block(self, tag: str) -> None:
        self._end_block()
        self._is_preformatted = False
        if tag == "table" and self._open_tables:
            self._open_tables -= 1
            if not self._open_tables:
                self._end_table()

    def _end_block(self) -> None:
        text = "".join(self._runs).strip("\n" if self._is_preformatted else None)
        self._runs.clear()
        tag, self._block = self._block, ""
        if not text.strip():
            return
        if self._rows and self._rows[-1]:
            self._rows[-1][-1] += f" {text}"
        else:
            self._done.append(f"{_as_markdown(tag, text)}\n")

    def _end_table(self) -> None:
        lines = list(table_lines(self._rows))
        self._rows, self._open_tables = [], 0
        if lines:
            self._done.append("\n".join(lines) + "\n")


def _one_line(data: str) -> str:
    return re.sub(r"\s+", " ", data)


def _as_markdown(tag: str, text: str) -> str:
    match tag:
        case "pre":
            return f"```\n{text}\n```"
        case "li":
            return f"- {text}"
        case _ if tag in _HEADINGS:
            return f"{'#' * _HEADINGS[tag]} {' '.join(text.split())}"
        case _:
            return re.sub(r" *\n *", "\n", text)
