"""Errors that are let go of: nothing of a request hangs on to them."""

from __future__ import annotations

from gateway.errors import forget_frames


def failed(error: Exception, *, because: Exception | None = None) -> Exception:
    """Raise an error and give it back, with the frames it has passed."""
    try:
        raise error from because
    except type(error) as raised:
        return raised


def test_neither_an_error_nor_what_it_came_from_keeps_a_frame() -> None:
    cause, context = failed(OSError()), failed(ValueError())
    cause.__context__ = context
    error = failed(LookupError(), because=cause)
    error.__context__ = other = failed(KeyError())
    forget_frames(error)
    kept = [each.__traceback__ for each in (error, cause, context, other)]
    assert kept == [None] * 4


def test_an_error_that_is_its_own_cause_is_let_go_of_too() -> None:
    error = OSError()
    forget_frames(failed(error, because=error))
    assert error.__traceback__ is None
