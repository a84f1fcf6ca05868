"""A version's file becomes its text: parsed once, in a bounded number of attempts."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from django.db.models import F, QuerySet
from django.utils import timezone

from rag.cutting import uncut
from rag.errors import DocumentRefused, ParserUnavailable
from rag.files import ORIGINAL, TEXT, DocumentFiles, version_folder
from rag.metrics import count_ingested
from rag.models import Chunk, DocumentState, Version
from rag.parsed import Parsed
from rag.parsing import parse_document

logger = logging.getLogger(__name__)

MAX_ATTEMPTS = 3  # that ended with the death of the process that parsed
CRASHED = "crashed"
UNPARSED = (DocumentState.QUEUED, DocumentState.PARSING)
IS_UNFINISHED = "NOT (rag_version.state IN ('ready', 'failed'))"


class TextAway(Exception):
    """A version's text cannot be had at the moment.

    The text of this is one plain sentence that says what is wrong and how to mend it.
    """


def unfinished(states: Sequence[DocumentState]) -> QuerySet[Version]:
    """Give the versions in some states that were brought last, the oldest first.

    Says twice what it wants, and once in the words of the index of unfinished versions:
    SQLite takes it only so, and would read every version there is.
    """
    versions = Version.objects.filter(state__in=states, document__newest=F("pk"))
    return versions.extra(where=[IS_UNFINISHED]).order_by("pk")  # noqa: S610 - no input


def take(version: Version) -> bool:
    """Begin to parse a version, which is noted before; False when it is not to be.

    Then it has failed, or somebody else has begun meanwhile.
    """
    mine = Version.objects.filter(
        pk=version.pk, state__in=UNPARSED, attempts=version.attempts
    )
    if version.attempts >= MAX_ATTEMPTS:
        _fail(
            mine,
            CRASHED,
            "Reading this file has ended the process that read it several times: save "
            "it anew, or bring it in another format.",
        )
        return False
    return bool(
        mine.update(state=DocumentState.PARSING, attempts=F("attempts") + 1, reason="")
    )


def parse(version: Version, files: DocumentFiles) -> bool:
    """Parse a version that was taken, and keep its text; tells whether it failed.

    Raises:
        ParserUnavailable: Nothing can be parsed; the version waits, and so will others.
        TextAway: Its file cannot be had; the version waits.

    """
    mine = Version.objects.filter(pk=version.pk, state=DocumentState.PARSING)
    try:
        parsed = _parse(version, files)
        _keep(version, parsed, files)
    except DocumentRefused as refused:
        _fail(mine, refused.code, str(refused))
        return True
    except (ParserUnavailable, TextAway) as error:
        # This end was an orderly one.
        mine.update(attempts=version.attempts, reason=str(error))
        raise
    mine.update(
        state=DocumentState.EMBEDDING,
        media_type=parsed.media_type,
        title=parsed.title,
        pages=len(parsed.pages) or None,
        page_spans=[[page.number, page.start, page.end] for page in parsed.pages],
        chars=len(parsed.text),
        reason="",
    )
    return False


def restore_text(version: Version, files: DocumentFiles) -> None:
    """Make the missing text of a version that was parsed before from its file again.

    Raises:
        TextAway: There is no file either, or it gives no text any more.
        ParserUnavailable: Nothing can be parsed.

    """
    try:
        parsed = _parse(version, files)
        files.put(version_folder(version.uid), TEXT, encoded(parsed.text))
    except DocumentRefused as refused:
        raise TextAway(
            f"The text of {version.document.filename} is missing, and cannot be read "
            f"again: bring the document anew. {refused}"
        ) from refused
    except OSError as error:
        raise away(version, error) from error


def encoded(text: str) -> bytes:
    """Give a text as it is kept; a lone surrogate, which has no place in it, as a "?"."""
    return text.encode("utf-8", "replace")


def _parse(version: Version, files: DocumentFiles) -> Parsed:
    path = files.path(version_folder(version.uid), ORIGINAL)
    try:
        return parse_document(path, name=version.document.filename)
    except OSError as error:
        raise away(version, error) from error


def _keep(version: Version, parsed: Parsed, files: DocumentFiles) -> None:
    """Write the text, once nothing is left of what another text was cut into."""
    data = encoded(parsed.text)
    folder = version_folder(version.uid)
    try:
        if Chunk.objects.filter(version=version).exists():
            path = files.path(folder, TEXT)
            if not path.is_file() or path.read_bytes() != data:
                uncut(version)
        files.put(folder, TEXT, data)
    except OSError as error:
        raise away(version, error) from error


def away(version: Version, error: OSError) -> TextAway:
    if isinstance(error, FileNotFoundError):
        return TextAway(
            f"The file of {version.document.filename} is missing where AILB keeps them: "
            "bring it again, or restore the folder AILB_DOCUMENTS_DIR from a backup."
        )
    return TextAway(
        f"The documents' files cannot be read or written ({error.strerror}): see that "
        "the folder AILB_DOCUMENTS_DIR may be written and that its disk is not full."
    )


def _fail(mine: QuerySet[Version], code: str, reason: str) -> None:
    """Have a version failed for good, if it still is what was looked for."""
    failed = mine.update(
        state=DocumentState.FAILED, code=code, reason=reason, finished_at=timezone.now()
    )
    if failed:
        count_ingested("failed")
        logger.info("a document is not taken", extra={"code": code})
