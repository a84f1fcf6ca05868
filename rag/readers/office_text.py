"""Paragraphs, headings, lists and tables of a DOCX or PPTX part, as Markdown blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import IO
from xml.etree.ElementTree import Element

from defusedxml import ElementTree

from rag.text_cleaning import table_lines

MAX_HEADING = 6
# Twice the same text, or text that was moved away.
_SKIPPED = frozenset({"Fallback", "moveFrom"})
# Slide furniture: number, date, footer, header.
_FURNITURE = frozenset({"sldNum", "dt", "ftr", "hdr"})
_SLIDE_TITLES = frozenset({"title", "ctrTitle"})
_SPACES = {"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-"}


def local(name: str) -> str:
    """Give an XML name without its namespace."""
    return name.rpartition("}")[2]


def attribute(element: Element, name: str) -> str:
    """Give an attribute of whatever namespace, empty without one."""
    found = (value for key, value in element.items() if local(key) == name)
    return next(found, "")


def read_blocks(part: IO[bytes], headings: Mapping[str, int]) -> Iterator[str]:
    """Give the part's blocks in their order.

    `headings` are the levels of the paragraph styles that are headings, by their id.
    Both formats name the elements that hold text alike, so one reader does for both.
    """
    walk = _Walk(headings)
    events = ElementTree.iterparse(part, events=("start", "end"), forbid_dtd=True)
    path: list[Element] = []
    for event, element in events:
        if event == "start":
            path.append(element)
            walk.start(local(element.tag), element)
            continue
        walk.end(local(element.tag), element)
        path.pop()
        element.clear()
        if path:
            path[-1].remove(element)
        yield from walk.take_done()


class _Walk:
    """What is open at one point of the part."""

    def __init__(self, headings: Mapping[str, int]) -> None:
        self._headings = headings
        self._skipped = 0
        self._in_properties = 0
        self._shape = ""
        self._paragraphs: list[_Paragraph] = []
        self._tables: list[list[list[str]]] = []
        # Where finished blocks go: the part itself, then the open cells.
        self._blocks: list[list[str]] = [[]]

    def start(self, name: str, element: Element) -> None:
        if name in _SKIPPED:
            self._skipped += 1
        elif name == "pPr":
            self._in_properties += 1
        elif name == "p":
            level = 1 if self._shape in _SLIDE_TITLES else 0
            self._paragraphs.append(_Paragraph(level))
        elif name == "ph":
            self._shape = attribute(element, "type")
        elif name == "tbl":
            self._tables.append([])
        elif name == "tr" and self._tables:
            self._tables[-1].append([])
        elif name == "tc":
            self._blocks.append([])
        elif self._in_properties and self._paragraphs:
            self._learn(name, element)

    def end(self, name: str, element: Element) -> None:
        if name in _SKIPPED:
            self._skipped -= 1
        elif name == "pPr":
            self._in_properties -= 1
        elif name == "sp":
            self._shape = ""
        elif name == "p" and self._paragraphs:
            self._add(self._paragraphs.pop().as_markdown())
        elif name == "tc":
            self._end_cell()
        elif name == "tbl" and self._tables:
            self._end_table(self._tables.pop())
        elif self._paragraphs and not self._in_properties:
            self._end_run(name, element)

    def take_done(self) -> list[str]:
        """Give the blocks that no open table holds, once."""
        done, self._blocks[0] = self._blocks[0], []
        return done

    def _learn(self, name: str, element: Element) -> None:
        paragraph, value = self._paragraphs[-1], attribute(element, "val")
        if name == "pStyle" and not paragraph.level:
            paragraph.level = self._headings.get(value, 0)
        elif name == "numPr":
            paragraph.is_item = True

    def _end_run(self, name: str, element: Element) -> None:
        if self._skipped or self._shape in _FURNITURE:
            return
        text = element.text or "" if name == "t" else _SPACES.get(name, "")
        self._paragraphs[-1].runs.append(text)

    def _add(self, block: str) -> None:
        if block:
            self._blocks[-1].append(f"{block}\n")

    def _end_cell(self) -> None:
        cell = " ".join(self._blocks.pop())
        if self._tables and self._tables[-1]:
            self._tables[-1][-1].append(cell)

    def _end_table(self, rows: list[list[str]]) -> None:
        self._add("\n".join(table_lines(rows)))


class _Paragraph:
    def __init__(self, level: int) -> None:
        self.level = level
        self.is_item = False
        self.runs: list[str] = []

    def as_markdown(self) -> str:
        text = "".join(self.runs).strip()
        if not text:
            return ""
        if self.level:
            marks = "#" * min(self.level, MAX_HEADING)
            return f"{marks} {' '.join(text.split())}"
        return f"- {text}" if self.is_item else text
