"""Documents that are made to harm whoever reads them."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

from tests.rag import documents

SLIPPED = "ailb-slipped"
BOMB_BYTES = 20 * 2**20
LAUGHS = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 9))
PARTS = ("word/document.xml", "word/styles.xml", "[Content_Types].xml")


def hostile_documents(mutations: int) -> Iterator[tuple[str, bytes, frozenset[str]]]:
    """Give each one's name, content and the codes that it may be refused with.

    An empty set of codes means that any answer will do, a text included. `mutations` is
    how many damaged copies there are of each sound document.
    """
    yield from _archives()
    yield from _entities()
    yield from _pdfs()
    yield from _deep()
    yield from _damaged(mutations)


def _archives() -> Iterator[tuple[str, bytes, frozenset[str]]]:
    files = documents.docx_files()
    zeros = b"\0" * BOMB_BYTES
    bomb = documents.archive({**files, "word/media/a": zeros})
    many = documents.archive({**files, **{f"a{n}": b"" for n in range(6_000)}})
    inner = documents.archive({"a.zip": documents.archive({"b": zeros})})
    lying = bytearray(bomb)
    at = lying.rindex(b"word/media/a") - 46  # its entry in the central directory
    lying[at + 24 : at + 28] = struct.pack("<I", 10)
    body = bytearray(documents.archive({**files, "word/document.xml": zeros + b"<a/>"}))
    at = body.rindex(b"word/document.xml") - 46
    body[at + 24 : at + 28] = struct.pack("<I", 10)
    locked = bytearray(documents.docx())
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    slip = documents.archive({**files, f"../../../tmp/{SLIPPED}": b"x"})
    far = documents.docx_files()
    far["word/_rels/document.xml.rels"] = documents.relations(
        "../../../../etc/passwd", "file:///etc/passwd", "http://127.0.0.1:9/x"
    )
    yield "bomb.docx", bomb, frozenset({"zip_bomb"})
    yield "many.docx", many, frozenset({"zip_bomb"})
    yield "nested.zip", inner, frozenset({"unsupported_type"})
    yield "lying-beside.docx", bytes(lying), frozenset()
    yield "lying.docx", bytes(body), frozenset({"corrupt"})
    yield "locked.docx", bytes(locked), frozenset({"encrypted"})
    yield "slip.docx", slip, frozenset()
    yield "links.docx", documents.archive(far), frozenset()
    yield "no-directory.docx", documents.docx()[:-30], frozenset({"corrupt"})
    yield "header.docx", b"PK\x03\x04", frozenset({"corrupt"})


def _entities() -> Iterator[tuple[str, bytes, frozenset[str]]]:
    external = '<!ENTITY x SYSTEM "file:///etc/passwd">'
    corrupt = frozenset({"corrupt"})
    for name, entities in (("laughs", f'<!ENTITY l0 "ha">{LAUGHS}'), ("ext", external)):
        for part in PARTS:
            files = documents.docx_files()
            text = str(files[part])
            files[part] = f"<!DOCTYPE a [{entities}]>{text}"
            yield f"{name}-{part[-10:]}.docx", documents.archive(files), corrupt
    sheet = '<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><worksheet/>'
    book = documents.xlsx({"a": [["b"]]})
    yield "ext.xlsx", _replaced(book, "xl/workbook.xml", sheet), corrupt
    laughs = f'<!DOCTYPE a [<!ENTITY l0 "ha">{LAUGHS}]><worksheet>&l8;</worksheet>'
    laughing = _replaced(book, "xl/worksheets/sheet1.xml", laughs)
    yield "laughs.xlsx", laughing, corrupt


def _pdfs() -> Iterator[tuple[str, bytes, frozenset[str]]]:
    loop = documents.pdf(["a"]).replace(b"/Kids [4 0 R]", b"/Kids [2 0 R]")
    huge = documents.pdf(["a"]).replace(b"/Count 1", b"/Count 999999999")
    previous = documents.pdf(["a"], extra="/Prev 9")
    size = documents.pdf(["a"]).replace(b"/Size 7", b"/Size 2147483647")
    yield "secret.pdf", documents.encrypted_pdf(), frozenset({"encrypted"})
    yield "pages.pdf", documents.pdf(["a"] * 501), frozenset({"too_many_pages"})
    yield "loop.pdf", loop, frozenset({"corrupt", "no_text", "too_many_pages"})
    yield "count.pdf", huge, frozenset()
    yield "previous.pdf", previous, frozenset()
    yield "size.pdf", size, frozenset()
    yield "picture.pdf", documents.pdf([""]), frozenset({"no_text"})
    yield "header.pdf", b"%PDF-1.7\n", frozenset({"corrupt"})
    yield "polyglot.pdf", documents.pdf(["a"]) + documents.docx(), frozenset()


def _deep() -> Iterator[tuple[str, bytes, frozenset[str]]]:
    depth = 100_000
    nested = "<w:tbl><w:tr><w:tc>" * depth
    nested += "<w:p/>" + "</w:tc></w:tr></w:tbl>" * depth
    yield "deep.docx", documents.docx(nested), frozenset()
    yield "deep.html", b"<html>" + b"<div><table>" * depth, frozenset({"no_text"})
    yield "open.html", b"<html>" + b"<!--" * depth, frozenset()
    yield "attributes.html", b"<html><p " + b"a " * depth, frozenset()
    yield "marks.txt", b"a" + "\u0301\u0323".encode() * 10_000, frozenset()
    yield "controls.txt", bytes(range(1, 9)) * 999, frozenset({"unsupported_type"})
    yield "empty.txt", b"", frozenset({"no_text"})
    yield "zeros.txt", b"\0" * 4096, frozenset({"unsupported_type"})


def _damaged(mutations: int) -> Iterator[tuple[str, bytes, frozenset[str]]]:
    sound = {
        "pdf": documents.pdf(["one", "two"]),
        "docx": documents.docx(),
        "pptx": documents.pptx([("a", "b")]),
        "xlsx": documents.xlsx({"a": [["b", 1]]}),
    }
    chance = random.Random(5)  # noqa: S311 - the same damage in each run
    for kind, data in sound.items():
        for number in range(mutations):
            damaged = bytearray(data)
            for _ in range(1 + number % 12):
                damaged[chance.randrange(8, len(damaged))] = chance.randrange(256)
            yield f"damaged-{number}.{kind}", bytes(damaged), frozenset()


def _replaced(data: bytes, part: str, content: str) -> bytes:
    return documents.archive({**documents.unpack(data), part: content})
