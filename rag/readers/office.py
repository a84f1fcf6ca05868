"""DOCX and PPTX: which parts hold the text, in which order."""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element
from zipfile import ZipFile

from defusedxml import ElementTree

from rag.parsed import Content, ParsingLimits
from rag.readers.archive import core_title, related_parts
from rag.readers.office_text import attribute, local, read_blocks
from rag.readers.pages import check_pages

_HEADING_NAME = re.compile(r"heading ([1-9])", re.IGNORECASE)
_NOTES = ("footnotes", "endnotes")


def read_docx(archive: ZipFile, part: str, _limits: ParsingLimits) -> Content:
    """Give a document's blocks, then its footnotes and endnotes."""
    related = set(related_parts(archive, part).values())
    folder = part.rpartition("/")[0]
    headings = _heading_styles(archive, f"{folder}/styles.xml", related)
    notes = [f"{folder}/{name}.xml" for name in _NOTES]
    parts = [part, *(path for path in notes if path in related)]
    return Content(_blocks(archive, parts, headings), title=core_title(archive))


def read_pptx(archive: ZipFile, part: str, limits: ParsingLimits) -> Content:
    """Give one piece for each slide, in the order in which they are shown.

    Raises:
        DocumentRefused: It has too many slides.

    """
    related = related_parts(archive, part)
    root = ElementTree.fromstring(archive.read(part), forbid_dtd=True)
    ids = [_relation(node) for node in root.iter() if local(node.tag) == "sldId"]
    slides = [related[key] for key in ids if key in related]
    check_pages(len(slides), limits)
    pieces = (
        "\n".join(_blocks(archive, _with_notes(archive, slide), {})) for slide in slides
    )
    return Content(pieces, title=core_title(archive), is_paged=True)


def _relation(node: Element) -> str:
    # The namespace depends on how strictly the file keeps to the standard.
    found = (value for key, value in node.items() if key.endswith("}id"))
    return next(found, "")


def _with_notes(archive: ZipFile, slide: str) -> list[str]:
    notes = [p for p in related_parts(archive, slide).values() if "/notesSlides/" in p]
    return [slide, *notes]


def _blocks(
    archive: ZipFile, parts: list[str], headings: dict[str, int]
) -> Iterator[str]:
    for path in parts:
        with archive.open(path) as part:
            yield from read_blocks(part, headings)


def _heading_styles(archive: ZipFile, path: str, related: set[str]) -> dict[str, int]:
    """Find the levels of heading styles, whose names are English in every language."""
    if path not in related:
        return {}
    levels: dict[str, int] = {}
    for style in ElementTree.fromstring(archive.read(path), forbid_dtd=True):
        names = (attribute(node, "val") for node in style if local(node.tag) == "name")
        name = next(names, "")
        found = _HEADING_NAME.fullmatch(name)
        if found or name.lower() == "title":
            levels[attribute(style, "styleId")] = int(found[1]) if found else 1
    return levels
