"""Requests that bring a file: one form, one file, and few of them at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import orjson

from gateway.dialects.openai.request.fields import missing
from gateway.errors import AilbError, InvalidRequest
from gateway.multipart import Part, boundary_in, parse_form
from gateway.runtime import runtime
from gateway.views.documents.base import DocumentsView
from gateway.views.memory.turns import outcome_of
from rag.attributes import Value, check_attributes
from rag.records import Upload
from rag.scope import Scope

if TYPE_CHECKING:
    from rag.library import Library

FILE = "file"
ATTRIBUTES = "attributes"
MOST_AT_ONCE = 2  # a process holds each in memory, some times over
MOST_WAITING = 8
WAIT_S = 30.0
UPLOAD_DEADLINE_S = 120.0

T = TypeVar("T")


class UploadsBusy(AilbError):
    """Other files are being taken in."""

    status = 503
    code = "uploads_busy"
    retry_after_s: float | None = 5.0


class Gate:
    """Lets a few in at a time, has some wait, and sends the others away."""

    def __init__(self, *, most: int, most_waiting: int, wait_s: float) -> None:
        """Have each wait for `wait_s` at most."""
        self._places = asyncio.Semaphore(most)
        self._most_waiting = most_waiting
        self._wait_s = wait_s
        self._waiting = 0

    async def enter(self) -> None:
        """Take a place, which `leave` gives back.

        Raises:
            UploadsBusy: There is none within the time, or too many others wait for one.

        """
        if self._waiting >= self._most_waiting:
            raise UploadsBusy("Too many files are being uploaded. Try again later.")
        self._waiting += 1
        try:
            async with asyncio.timeout(self._wait_s):
                await self._places.acquire()
        except TimeoutError as error:
            raise UploadsBusy(
                "Other files are still being taken in. Try again later."
            ) from error
        finally:
            self._waiting -= 1

    def leave(self) -> None:
        """Give a place back."""
        self._places.release()


@dataclass(frozen=True, slots=True)
class Form:
    """A file as it was sent, and the texts that were sent along."""

    filename: str
    data: bytes
    fields: Mapping[str, str]

    def upload(self) -> Upload:
        """Give the file on its way in, with its attributes.

        Raises:
            InvalidRequest: They are no attributes.

        """
        return Upload(
            filename=self.filename,
            data=self.data,
            attributes=attributes_in(self.fields.get(ATTRIBUTES)),
        )


class UploadView(DocumentsView):
    """A view whose requests bring a file."""

    # One for all of them: what it bounds is the process's memory.
    gate = Gate(most=MOST_AT_ONCE, most_waiting=MOST_WAITING, wait_s=WAIT_S)

    async def take_in(
        self, work: Callable[[Library, Scope, Form], T], *, fields: Collection[str]
    ) -> T:
        """Read the form in a thread and do `work` with it, after those that wait before.

        `fields` are the names of the texts that may come along. Goes on when the client
        leaves: what it has sent is here.

        Raises:
            ClientError: The form is none that is taken, or `work` refuses it.
            UploadsBusy: See `Gate`.
            DatabaseAway: As `in_library`.

        """
        boundary = boundary_in(self.visitor.headers.get("content-type", ""))
        # Not `body`, which Django bounds as if it were JSON.
        body = self.asgi_request.read()

        def taking(library: Library, scope: Scope) -> T:
            return work(library, scope, form_of(parse_form(body, boundary), fields))

        await self.gate.enter()
        storing = runtime.spawn(
            outcome_of(self.in_library(taking, deadline_s=UPLOAD_DEADLINE_S)),
            name="take in a file",
        )
        storing.add_done_callback(lambda _: self.gate.leave())
        outcome = await asyncio.shield(storing)
        if isinstance(outcome, AilbError):
            raise outcome
        return outcome


def form_of(parts: Iterable[Part], known: Collection[str]) -> Form:
    """Give the one file of a form, and its texts.

    Raises:
        InvalidRequest: There is no file or there are several, it has no name or no
            content, or something comes along that is not known.

    """
    file: Part | None = None
    fields: dict[str, str] = {}
    for part in parts:
        if part.name == FILE:
            if file is not None:
                raise InvalidRequest("Send one file at a time.", param=FILE)
            file = part
        else:
            check_text(part, known)
            if part.name in fields:
                raise InvalidRequest(
                    f"The field '{part.name}' stands twice.", param=part.name
                )
            fields[part.name] = text_of(part)
    if file is None:
        raise missing(FILE)
    if not file.filename:
        raise InvalidRequest("'file' must be a file and have a file name.", param=FILE)
    if not file.data:
        raise InvalidRequest("The file is empty: send one with content.", param=FILE)
    return Form(file.filename, file.data, fields)


def check_text(part: Part, known: Collection[str]) -> None:
    """Refuse fields that are not known, and files in the place of texts."""
    name = part.name[:100]
    if part.name not in known:
        raise InvalidRequest(
            f"There is no field '{name}' here; known are: {', '.join((FILE, *known))}.",
            param=name,
        )
    if part.filename is not None:
        raise InvalidRequest(f"'{name}' is a text, no file.", param=name)


def text_of(part: Part) -> str:
    """Read a field's text."""
    try:
        return part.data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidRequest(
            f"The field '{part.name}' is not UTF-8.", param=part.name
        ) from error


def attributes_in(text: str | None) -> Mapping[str, Value]:
    """Read attributes from JSON; None and an empty text are none."""
    if not text:
        return {}
    try:
        return check_attributes(orjson.loads(text))
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(
            "'attributes' must be a JSON object, written as a text.", param=ATTRIBUTES
        ) from error
    except ValueError as error:
        raise InvalidRequest(str(error), param=ATTRIBUTES) from error
