"""How a call that fails is answered: as the message's own error, or as a gRPC status."""

from __future__ import annotations

import logging

import grpc
from django.db import DataError, IntegrityError
from django.utils import timezone
from google.protobuf.message import Message

from gateway.errors import DatabaseAway, NotReady
from gateway.snapshot_store import DATABASE_AWAY
from moduleservice.base import Refusal
from moduleservice.pb import types_pb2

logger = logging.getLogger(__name__)

MAX_WORDS = 1000  # a status travels in headers, which clients limit
AWAY = "AILB's database does not answer. If this was a change, it may still be made."
LATE = "It took too long. If this was a change, it may still be made."
INTERNAL = "An error inside AILB."
STATUS = {
    types_pb2.STATUS_CODE_ERROR: grpc.StatusCode.FAILED_PRECONDITION,
    types_pb2.STATUS_CODE_NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    types_pb2.STATUS_CODE_UNAVAILABLE: grpc.StatusCode.UNAVAILABLE,
    types_pb2.STATUS_CODE_INVALID_ARGUMENT: grpc.StatusCode.INVALID_ARGUMENT,
    types_pb2.STATUS_CODE_PERMISSION_DENIED: grpc.StatusCode.PERMISSION_DENIED,
    types_pb2.STATUS_CODE_ALREADY_EXISTS: grpc.StatusCode.ALREADY_EXISTS,
    types_pb2.STATUS_CODE_RESOURCE_EXHAUSTED: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


class Fault(Exception):
    """A call ends with this status; the words are for whoever called."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        """Shorten what would not fit into headers."""
        super().__init__(message)
        self.code = code
        self.message = message[:MAX_WORDS]


def refused(answer: Message, refusal: Refusal) -> Message:
    """Tell of a refusal in an empty answer, where it has the fields for that.

    Raises:
        Fault: It has none, so that the status must tell.

    """
    fields = answer.DESCRIPTOR.fields_by_name
    if not {"success", "message", "error"} <= set(fields):
        raise fault_of_refusal(refusal) from refusal
    error = types_pb2.Error(
        code=refusal.code, message=refusal.message, details=refusal.details
    )
    error.occurred_at.FromDatetime(timezone.now())
    told = {"success": False, "message": refusal.message, "error": error}
    answer.MergeFrom(type(answer)(**told))
    return answer


def fault_of_refusal(refusal: Refusal) -> Fault:
    """Say a refusal as a status."""
    details = ", ".join(f"{name}: {value}" for name, value in refusal.details.items())
    words = f"{refusal.message} ({details})" if details else refusal.message
    return Fault(STATUS.get(refusal.code, grpc.StatusCode.INTERNAL), words)


def fault_of(error: Exception, *, rpc: str) -> Fault:
    """Give the status that an error ends a call with, and log what operators must know."""
    match error:
        case Fault():
            return error
        case Refusal():
            return fault_of_refusal(error)
        case NotReady() | DatabaseAway():
            return Fault(grpc.StatusCode.UNAVAILABLE, error.message)
        case TimeoutError():
            logger.warning("call took too long", extra={"rpc": rpc})
            return Fault(grpc.StatusCode.DEADLINE_EXCEEDED, LATE)
        case _ if _is_database_away(error):
            reason = f"{type(error).__name__}: {error}"
            logger.warning("database away", extra={"rpc": rpc, "reason": reason})
            return Fault(grpc.StatusCode.UNAVAILABLE, AWAY)
        case _:
            logger.error("call failed", extra={"rpc": rpc}, exc_info=error)
            return Fault(grpc.StatusCode.INTERNAL, INTERNAL)


def _is_database_away(error: Exception) -> bool:
    """Tell what the database says of itself from what it says of our rows."""
    is_about_rows = isinstance(error, (IntegrityError, DataError))
    return isinstance(error, DATABASE_AWAY) and not is_about_rows
