"""XLSX: each sheet a heading and a table, by openpyxl."""

from __future__ import annotations

import io
import mimetypes
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Any
from zipfile import ZipFile

from rag.parsed import Content, ParsingLimits
from rag.readers.archive import core_title
from rag.text_cleaning import table_lines


def read_xlsx(archive: ZipFile, _part: str, _limits: ParsingLimits) -> Content:
    """Give a workbook's values, as they were last computed; its links are not followed."""
    # openpyxl would read the system's lists of types, where nothing may be opened.
    mimetypes.knownfiles.clear()
    openpyxl = import_module("openpyxl")
    assert openpyxl.DEFUSEDXML, "openpyxl must parse with defusedxml"
    assert isinstance(archive.fp, io.BytesIO)
    workbook = openpyxl.load_workbook(
        archive.fp, read_only=True, data_only=True, keep_links=False
    )
    return Content(_lines(workbook), title=core_title(archive))


def _lines(workbook: Any) -> Iterator[str]:
    for sheet in workbook.worksheets:
        # What a sheet says of its size may be a million empty columns.
        sheet.reset_dimensions()
        lines = iter(table_lines(_rows(sheet)))
        first = next(lines, None)
        if first is None:
            continue
        yield f"## {sheet.title}\n"
        yield first
        yield from lines
        yield ""


def _rows(sheet: Any) -> Iterator[Sequence[str]]:
    for row in sheet.iter_rows(values_only=True):
        cells = ["" if value is None else str(value) for value in row]
        while cells and not cells[-1]:
            cells.pop()
        yield cells
