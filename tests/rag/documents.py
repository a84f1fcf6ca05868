"""Small real documents, built from what their formats say."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib import import_module
from zipfile import ZIP_DEFLATED, ZipFile

Cell = str | int | datetime | None
OFFICE = "application/vnd.openxmlformats-officedocument"
WORD = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
DRAWING = 'xmlns:a="http://schemas.openxmlformats.org/drawingml/2006/main"'
RELATION = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
SLIDES = (
    'xmlns:p="http://schemas.openxmlformats.org/presentationml/2006/main" '
    f'{DRAWING} xmlns:r="{RELATION}"'
)
CORE = (
    '<cp:coreProperties xmlns:cp="http://schemas.openxmlformats.org/package/2006/'
    'metadata/core-properties" xmlns:dc="http://purl.org/dc/elements/1.1/">'
    "<dc:title>{}</dc:title></cp:coreProperties>"
)
STYLES = (
    f'<w:styles {WORD}><w:style w:styleId="berschrift1"><w:name w:val="heading 1"/>'
    "</w:style></w:styles>"
)
DOCX_BODY = """
<w:p><w:pPr><w:pStyle w:val="berschrift1"/></w:pPr><w:r><w:t>Fares</w:t></w:r></w:p>
<w:p><w:pPr><w:tabs><w:tab w:val="left"/></w:tabs></w:pPr><w:r><w:t>A day </w:t></w:r>
<w:r><w:t>ticket costs 7.</w:t></w:r><w:del><w:r><w:delText>gone</w:delText></w:r></w:del></w:p>
<w:p><w:pPr><w:numPr/></w:pPr><w:r><w:t>Dogs ride free</w:t></w:r></w:p>
<w:tbl><w:tr><w:tc><w:p><w:r><w:t>Zone</w:t></w:r></w:p></w:tc>
<w:tc><w:p><w:r><w:t>Price</w:t></w:r></w:p></w:tc></w:tr>
<w:tr><w:tc><w:p><w:r><w:t>A</w:t></w:r></w:p></w:tc>
<w:tc><w:p><w:r><w:t>3|4</w:t></w:r></w:p></w:tc></w:tr></w:tbl>
"""


def pdf(pages: Sequence[str], *, title: str = "", extra: str = "") -> bytes:
    """Build a PDF with one line of Latin text on each page."""
    kids = " ".join(f"{4 + 2 * index} 0 R" for index in range(len(pages)))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {len(pages)} >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    for number, text in enumerate(pages):
        content = f"BT /F1 12 Tf 72 700 Td ({text}) Tj ET"
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents "
            f"{5 + 2 * number} 0 R /Resources << /Font << /F1 3 0 R >> >> >>"
        )
        objects.append(f"<< /Length {len(content)} >>\nstream\n{content}\nendstream")
    objects.append(f"<< /Title ({title}) >>")
    return _pdf_of(objects, extra)


def encrypted_pdf() -> bytes:
    """Build a PDF whose user password is not empty."""
    secret = f"<{'5a' * 32}>"
    encrypt = f"<< /Filter /Standard /V 1 /R 2 /O {secret} /U {secret} /P -4 >>"
    return pdf(["secret"], extra=f"/Encrypt {encrypt} /ID [<00> <00>]")


def archive(files: Mapping[str, str | bytes]) -> bytes:
    """Zip some files."""
    buffer = io.BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED) as target:
        for name, content in files.items():
            target.writestr(name, content)
    return buffer.getvalue()


def unpack(data: bytes) -> dict[str, str | bytes]:
    """Give the files of a zip."""
    with ZipFile(io.BytesIO(data)) as source:
        return {name: source.read(name) for name in source.namelist()}


def docx_files(body: str = DOCX_BODY, *, title: str = "") -> dict[str, str | bytes]:
    """Give the files of a Word document."""
    return {
        "[Content_Types].xml": types("/word/document.xml", "wordprocessingml.document"),
        "word/document.xml": f"<w:document {WORD}><w:body>{body}</w:body></w:document>",
        "word/_rels/document.xml.rels": relations("styles.xml", "footnotes.xml"),
        "word/styles.xml": STYLES,
        "word/footnotes.xml": f"<w:footnotes {WORD}><w:footnote><w:p><w:r><w:t>A note"
        "</w:t></w:r></w:p></w:footnote></w:footnotes>",
        "docProps/core.xml": CORE.format(title),
    }


def docx(body: str = DOCX_BODY, *, title: str = "") -> bytes:
    """Build a Word document."""
    return archive(docx_files(body, title=title))


def pptx(slides: Sequence[tuple[str, str]]) -> bytes:
    """Build a presentation of slides with a title and a line each, stored backwards."""
    count = len(slides)
    paths = [f"slides/slide{count - index}.xml" for index in range(count)]
    ids = "".join(f'<p:sldId id="{i}" r:id="r{i}"/>' for i in range(count))
    files: dict[str, str | bytes] = {
        "[Content_Types].xml": types(
            "/ppt/presentation.xml", "presentationml.presentation"
        ),
        "ppt/presentation.xml": f"<p:presentation {SLIDES}><p:sldIdLst>{ids}"
        "</p:sldIdLst></p:presentation>",
        "ppt/_rels/presentation.xml.rels": relations(*paths),
    }
    for path, (title, line) in zip(paths, slides, strict=True):
        shapes = shape("title", title) + shape("sldNum", "99") + shape("body", line)
        files[f"ppt/{path}"] = f"<p:sld {SLIDES}>{shapes}</p:sld>"
    return archive(files)


def xlsx(
    sheets: Mapping[str, Sequence[Sequence[Cell]]],
) -> bytes:
    """Build a workbook."""
    workbook = import_module("openpyxl").Workbook()
    workbook.remove(workbook.worksheets[0])
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(name)
        for row in rows:
            sheet.append(row)
    buffer = io.BytesIO()
    workbook.save(buffer)
    return buffer.getvalue()


def types(part: str, kind: str) -> str:
    """Write the content types of a document with one main part."""
    return (
        '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
        f'<Override PartName="{part}" ContentType="{OFFICE}.{kind}.main+xml"/></Types>'
    )


def relations(*targets: str) -> str:
    """Write a part's relations, with the ids r0, r1 and so on."""
    links = "".join(
        f'<Relationship Id="r{index}" Target="{target}"/>'
        for index, target in enumerate(targets)
    )
    return (
        '<Relationships xmlns="http://schemas.openxmlformats.org/package/2006/'
        f'relationships">{links}</Relationships>'
    )


def shape(kind: str, text: str) -> str:
    """Write a placeholder of a slide."""
    return (
        f'<p:sp><p:nvSpPr><p:nvPr><p:ph type="{kind}"/></p:nvPr></p:nvSpPr><p:txBody>'
        f"<a:p><a:r><a:t>{text}</a:t></a:r></a:p></p:txBody></p:sp>"
    )


def _pdf_of(objects: Sequence[str], extra: str) -> bytes:
    out = bytearray(b"%PDF-1.7\n")
    offsets = []
    for number, content in enumerate(objects, start=1):
        offsets.append(len(out))
        out += f"{number} 0 obj\n{content}\nendobj\n".encode("latin-1")
    start = len(out)
    entries = "".join(f"{offset:010} 00000 n \n" for offset in offsets)
    size = len(objects) + 1
    out += f"xref\n0 {size}\n0000000000 65535 f \n{entries}".encode()
    out += (
        f"trailer\n<< /Size {size} /Root 1 0 R /Info {len(objects)} 0 R {extra} >>\n"
        f"startxref\n{start}\n%%EOF\n"
    ).encode()
    return bytes(out)
