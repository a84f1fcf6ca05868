"""What memory's callers branch on."""

from __future__ import annotations


class SessionNotFound(Exception):
    """The tenant has no such session, or it has ended."""


class InvalidTurns(Exception):
    """What was sent to be imported cannot be; `param` names the field at fault."""

    def __init__(self, message: str, param: str) -> None:
        """`message` is one sentence for the caller."""
        super().__init__(message)
        self.message = message
        self.param = param


class InvalidCursor(Exception):
    """The place to go on from was not given by a page before."""
