"""Files that pages bring: read within bounds, one form at a time, given to the library."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.files.uploadedfile import InMemoryUploadedFile
from django.core.files.uploadhandler import FileUploadHandler
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import redirect
from django.views.decorators.csrf import csrf_protect
from typing_extensions import override

from rag.admin.service import Refused
from rag.records import Upload

MIB = 2**20
FILE = "file"  # the name of the field, as of the REST API
MOST_AT_ONCE = 2  # forms that a process holds in memory, each as large as a document
WAIT_S = 30.0
TOO_LARGE = "It is larger than the {most:,.0f} MB that are allowed: split it."
TOGETHER = "The files of one form may have {most:,.0f} MB together: bring it in one of its own."
BUSY = "Other files are still being taken in: try again in a moment."
NO_FILE = "Choose a file first."
TOO_MANY = "These are too many files: one form takes {most}."
MOST_FILES = 100

ADDED = "added; it is indexed in the background."
KNOWN = "the collection has this very content already."

_places = threading.BoundedSemaphore(MOST_AT_ONCE)


@dataclass(frozen=True, slots=True)
class Brought:
    """What became of a file: the row of its document, or the problem that it had.

    `status` is of HTTP.
    """

    name: str
    document: int | None = None
    is_new: bool = False
    problem: str = ""
    status: int = 200

    @property
    def said(self) -> str:
        """Say it."""
        return self.problem or (ADDED if self.is_new else KNOWN)

    def as_dict(self) -> dict[str, Any]:
        """Give it for scripts."""
        return {
            "name": self.name,
            "document": self.document,
            "said": self.said,
            "is_refused": bool(self.problem),
        }


class BoundedUploads(FileUploadHandler):
    """Keeps the files of a form in memory, as long as they fit; of others the names.

    Django bounds fields, but no files.
    """

    def __init__(self, most: int) -> None:
        """`most` bytes are kept of all files together."""
        super().__init__()
        self._most = most
        self._left = most
        self._size = 0
        self._data = BytesIO()
        self.refused = list[tuple[str, str]]()

    @override
    def new_file(self, *args: Any, **kwargs: Any) -> None:
        """Begin with another file."""
        super().new_file(*args, **kwargs)
        self._size = 0
        self._data = BytesIO()

    @override
    def receive_data_chunk(self, raw_data: bytes, start: int) -> None:
        """Keep a part, unless the file is too large by now."""
        self._size += len(raw_data)
        if self._size <= self._left:
            self._data.write(raw_data)
        else:
            self._data = BytesIO()

    @override
    def file_complete(self, file_size: int) -> InMemoryUploadedFile | None:
        """Give the file, None for one that does not fit."""
        name = self.file_name or ""
        if self._size > self._left:
            reason = TOO_LARGE if self._size > self._most else TOGETHER
            self.refused.append((name, reason.format(most=self._most / MIB)))
            return None
        self._left -= self._size
        self._data.seek(0)
        return InMemoryUploadedFile(
            self._data,
            self.field_name,
            name,
            self.content_type,
            self._size,
            self.charset,
            self.content_type_extra,
        )


@contextmanager
def place() -> Iterator[None]:
    """Wait for one of the few places, and give it back.

    Raises:
        Refused: There is none within the time.

    """
    if not _places.acquire(timeout=WAIT_S):
        raise Refused(BUSY, status=503)
    try:
        yield
    finally:
        _places.release()


def receive(
    request: HttpRequest, take: Callable[[HttpRequest], HttpResponse]
) -> HttpResponse:
    """Read a form with files within its bounds and have `take` answer it.

    To be called by a view that is exempt from Django's own look at the token against
    forged requests, once the user may bring files: that look reads the whole form, and
    is therefore taken here.

    Raises:
        Refused: Too many others bring files.

    """
    with place():
        request.upload_handlers = [BoundedUploads(settings.AILB_MAX_DOCUMENT_BYTES)]
        return csrf_protect(take)(request)


def take_each(
    request: HttpRequest,
    take: Callable[[Upload], Brought],
    *,
    most: int = MOST_FILES,
) -> list[Brought]:
    """Give every file of a form to `take`; what is refused is told beside the others.

    Where there are more than `most` files, none is taken.
    """
    files = request.FILES.getlist(FILE)  # first: what does not fit is known then
    outcomes = [
        Brought(name, problem=reason, status=413)
        for handler in request.upload_handlers
        if isinstance(handler, BoundedUploads)
        for name, reason in handler.refused
    ]
    if len(files) > most:
        return [Brought("", problem=TOO_MANY.format(most=most), status=400)]
    for file in files:
        name = file.name or ""
        try:
            outcomes.append(take(Upload(name, file.read(), attributes={})))
        except Refused as refused:
            outcomes.append(Brought(name, problem=str(refused), status=refused.status))
    return outcomes or [Brought("", problem=NO_FILE, status=400)]


def answer(
    request: HttpRequest, outcomes: Sequence[Brought], *, back_to: str
) -> HttpResponse:
    """Say what became of the files: to a script at once, to others on the next page."""
    if is_script(request):
        is_refused = all(each.problem for each in outcomes)
        told = [each.as_dict() for each in outcomes]
        status = outcomes[0].status if is_refused else 200
        return JsonResponse({"files": told}, status=status)
    for each in outcomes:
        text = f"{each.name}: {each.said}" if each.name else each.said
        messages.add_message(
            request, messages.ERROR if each.problem else messages.SUCCESS, text
        )
    return redirect(back_to)


def is_script(request: HttpRequest) -> bool:
    """Say whether our script asks, which reads JSON."""
    return request.headers.get("accept", "") == "application/json"


def refusal(refused: Refused) -> Brought:
    """Give what became of a form that was not looked at."""
    return Brought("", problem=str(refused), status=refused.status)
