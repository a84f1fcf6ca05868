"""The RPCs on configuration: documents of rows, read and applied; never a secret."""

from __future__ import annotations

from django.utils import timezone

from gateway import config_documents
from gateway.config_documents import READ_ONLY, TYPES, Applied, Document
from moduleservice.base import Part, Refusal
from moduleservice.pb import module_service_pb2, types_pb2


class Config(Part):
    """GetConfig, UpdateConfig.

    The configuration belongs to all replicas: whichever is asked, all follow.
    """

    async def GetConfig(
        self, request: module_service_pb2.GetConfigRequest
    ) -> module_service_pb2.GetConfigResponse:
        """Give the document of a type, or all of them."""
        wanted = request.config_type
        if wanted and wanted not in TYPES:
            known = ", ".join(TYPES)
            raise Refusal(
                types_pb2.STATUS_CODE_NOT_FOUND,
                f"There is no config_type {wanted[:100]!r}; known are {known}.",
            )
        found = await self.host.database.run(lambda: config_documents.documents(wanted))
        answer = module_service_pb2.GetConfigResponse(configs=map(message_of, found))
        changed = [each.updated_at for each in found if each.updated_at is not None]
        if changed:
            answer.last_updated.FromDatetime(max(changed))
        return answer

    async def UpdateConfig(
        self, request: module_service_pb2.UpdateConfigRequest
    ) -> module_service_pb2.UpdateConfigResponse:
        """Apply a document, whole or not at all; it serves within about a second."""
        config, validate_only = request.config, request.validate_only
        applied = await self.host.database.run(
            lambda: config_documents.apply(
                config.config_type,
                config.config_data,
                checksum=config.checksum,
                validate_only=validate_only,
            )
        )
        if applied.faults:
            return refused(applied)
        done = "would change; nothing was changed" if validate_only else "were changed"
        return module_service_pb2.UpdateConfigResponse(
            success=True,
            message=f"The document is valid: {applied.changed} rows {done}.",
            validation_passed=True,
        )


def message_of(document: Document) -> types_pb2.ConfigUpdate:
    """Write a document."""
    message = types_pb2.ConfigUpdate(
        config_id=document.type,
        config_type=document.type,
        config_data=document.data,
        checksum=document.checksum,
        metadata={
            "format": "application/json",
            "revision": str(document.revision),
            "read_only": "true" if document.type in READ_ONLY else "false",
        },
    )
    if document.updated_at is not None:
        message.updated_at.FromDatetime(document.updated_at)
    return message


def refused(applied: Applied) -> module_service_pb2.UpdateConfigResponse:
    """Say what is wrong with a document."""
    more = len(applied.faults) - 1
    message = "Nothing was changed. " + applied.faults[0]
    if more:
        message += f" (and {more} more)"
    error = types_pb2.Error(
        code=types_pb2.STATUS_CODE_INVALID_ARGUMENT, message=message
    )
    error.occurred_at.FromDatetime(timezone.now())
    return module_service_pb2.UpdateConfigResponse(
        message=message, validation_errors=applied.faults, error=error
    )
