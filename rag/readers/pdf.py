"""PDF: the text of each page, by PDFium."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from rag.errors import DocumentRefused
from rag.formats import corrupt, encrypted
from rag.parsed import Content, ParsingLimits
from rag.readers.pages import check_pages

# PDFium's mark for a word that is divided between two lines.
_DIVIDED = re.compile("[\x02\ufffe](?:\r\n)?")


def read_pdf(data: bytes, limits: ParsingLimits) -> Content:
    """Give one piece for each page, empty where a page is a picture only.

    Raises:
        DocumentRefused: It is encrypted or damaged, or has too many pages.

    """
    pdfium = import_module("pypdfium2")
    try:
        document = pdfium.PdfDocument(data)
    except pdfium.PdfiumError as error:
        raise _refusal(error.err_code, pdfium.raw.FPDF_ERR_PASSWORD) from error
    check_pages(len(document), limits)
    title = document.get_metadata_value("Title")
    return Content(_pages(document), title=title, is_paged=True)


def _pages(document: Any) -> Iterator[str]:
    for index in range(len(document)):
        page = document[index]
        text_page = page.get_textpage()
        yield _DIVIDED.sub("", text_page.get_text_bounded())
        text_page.close()
        page.close()


def _refusal(err_code: int | None, password: int) -> DocumentRefused:
    return encrypted() if err_code == password else corrupt()
