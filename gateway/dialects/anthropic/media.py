"""Images and documents as Anthropic's content blocks (pure)."""

from __future__ import annotations

import base64
import binascii

from gateway.dialects.faults import unsupported
from gateway.dialects.record import Audio, File, Image, Part, Text
from gateway.snapshot import Capabilities

IMAGE_TYPES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})
"""The only image types that Anthropic reads."""

PDF_TYPE = "application/pdf"

_HEAD_CHARS = 24  # base64 of 18 bytes; the longest signature, WebP's, takes 12


def content_blocks(
    parts: tuple[Part, ...], capabilities: Capabilities
) -> list[dict[str, object]]:
    """Turn the parts of a message into blocks; blank text, which is refused, is left out.

    Raises:
        UpstreamError: UNSUPPORTED_PARAMETER for what has no block.

    """
    blocks: list[dict[str, object]] = []
    for part in parts:
        match part:
            case Text():
                blocks += text_blocks(part.text)
            case Image():
                blocks.append(_image_block(part, capabilities))
            case File():
                blocks.append(_document_block(part, capabilities))
            case Audio():
                raise unsupported("messages", "This model cannot listen to audio.")
    return blocks


def text_blocks(text: str) -> list[dict[str, object]]:
    """One text block, or none for blank text."""
    return [{"type": "text", "text": text}] if text.strip() else []


def _image_block(image: Image, capabilities: Capabilities) -> dict[str, object]:
    if capabilities.images is False:
        raise unsupported("messages", "This model cannot look at images.")
    if image.data is None:
        if image.url is None or capabilities.image_urls is False:
            raise unsupported(
                "messages", "This model takes images as base64 data, not by URL."
            )
        return {"type": "image", "source": {"type": "url", "url": image.url}}
    # Clients mislabel images and the vendor refuses what does not match its label.
    media_type = _sniff(image.data) or (image.media_type or "").lower()
    if media_type not in IMAGE_TYPES:
        raise unsupported(
            "messages", "This model reads JPEG, PNG, GIF and WebP images only."
        )
    source = {"type": "base64", "media_type": media_type, "data": image.data}
    return {"type": "image", "source": source}


def _document_block(file: File, capabilities: Capabilities) -> dict[str, object]:
    if capabilities.files is False:
        raise unsupported("messages", "This model cannot read files.")
    if file.data is None:
        raise unsupported(
            "messages",
            "Send the file's data: another vendor's file_id means nothing here.",
        )
    if (_sniff(file.data) or file.media_type) != PDF_TYPE:
        raise unsupported("messages", "This model reads PDF files only.")
    source = {"type": "base64", "media_type": PDF_TYPE, "data": file.data}
    block: dict[str, object] = {"type": "document", "source": source}
    if file.filename:
        block["title"] = file.filename
    return block


def _sniff(data: str) -> str | None:
    """Tell the media type from the first bytes; None when they are nobody's."""
    try:
        head = base64.b64decode(data[:_HEAD_CHARS])
    except (binascii.Error, ValueError):
        return None
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "image/webp"
    signatures = {
        b"\x89PNG\r\n\x1a\n": "image/png",
        b"\xff\xd8\xff": "image/jpeg",
        b"GIF87a": "image/gif",
        b"GIF89a": "image/gif",
        b"%PDF-": PDF_TYPE,
    }
    return next(
        (kind for signature, kind in signatures.items() if head.startswith(signature)),
        None,
    )
