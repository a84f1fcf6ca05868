"""A document's file as an answer: sent block by block, and harmless to a browser."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from typing import BinaryIO

from django.http.response import HttpResponseBase
from django.utils.http import content_disposition_header

from rag.formats import CSV, DOCX, MARKDOWN, PDF, PPTX, TEXT, XLSX

BLOCK_BYTES = 256 * 1024
# A browser never runs what is in these; HTML is not among them.
HARMLESS = frozenset({PDF, DOCX, PPTX, XLSX, MARKDOWN, TEXT, CSV})
UNKNOWN_TYPE = "application/octet-stream"
# Whatever a client has uploaded may be opened, but never acts in our name.
CAUTION = {
    "x-content-type-options": "nosniff",
    "content-security-policy": "sandbox; default-src 'none'",
}


class FileStream(HttpResponseBase):
    """An open file; the handler sends `blocks` and must close it."""

    streaming = True

    def __init__(self, file: BinaryIO, size: int, headers: Mapping[str, str]) -> None:
        """`size` is all of its bytes."""
        super().__init__(headers=dict(headers))
        self._file = file
        self.size = size

    async def blocks(self) -> AsyncGenerator[bytes, None]:
        """Yield the content, read in a thread."""
        while block := await asyncio.to_thread(self._file.read, BLOCK_BYTES):
            yield block

    async def aclose(self) -> None:
        """Close the file, after a read that is still under way."""
        await asyncio.to_thread(self._file.close)


def download_headers(filename: str, media_type: str) -> dict[str, str]:
    """Give the headers that have a browser save a file under its name (RFC 6266)."""
    disposition = content_disposition_header(as_attachment=True, filename=filename)
    return {
        "content-type": media_type if media_type in HARMLESS else UNKNOWN_TYPE,
        "content-disposition": disposition or "attachment",
        **CAUTION,
    }
