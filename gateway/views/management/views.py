"""Lists of rows, single rows, and the rotation of keys."""

from __future__ import annotations

from datetime import timedelta

from django.http import HttpResponseBase
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request

from gateway.keyring import DEFAULT_OVERLAP
from gateway.views.management import resources, schema
from gateway.views.management.base import (
    ManagementView,
    ip_address,
    page_size,
    row_number,
)
from gateway.views.management.fields import WholeNumberField
from gateway.views.management.refusals import refusals
from gateway.views.management.resources import Page, Resource
from gateway.views.rendering import render

PAGING = ("limit", "after")
MAX_OVERLAP_S = 365 * 86_400


class ResourceView(ManagementView):
    """A view of one kind of row, given in the URL table."""

    schema = schema.ResourceSchema()
    resource: Resource = resources.TENANTS


class RowsView(ResourceView):
    """`/api/<rows>`."""

    async def get(self, request: Request) -> HttpResponseBase:
        """List rows in the order of what names them, a page at a time."""
        page = self.page()
        return render(
            await self.in_database(lambda: resources.list_rows(self.resource, page))
        )

    async def post(self, request: Request) -> HttpResponseBase:
        """Make a row; it serves within about a second."""
        data = self.json_object()
        made = await self.in_database(lambda: resources.make_row(self.resource, data))
        return render(made, status=201)

    def page(self) -> Page:
        """Read which part of the list is asked for."""
        filters = self.resource.filters
        query = self.query((*filters, *PAGING))
        after = query.pop("after", None)
        if self.resource.is_numbered:
            after = row_number(after, "after")
        if "address" in query:
            query["address"] = ip_address(query["address"], "address")
        return Page(page_size(query.pop("limit", None)), after, query)


class RowView(ResourceView):
    """`/api/<rows>/{id}`."""

    async def get(self, request: Request, row_id: str | int) -> HttpResponseBase:
        """Show a row."""
        return render(
            await self.in_database(
                lambda: resources.show_row(self.resource, str(row_id))
            )
        )

    async def patch(self, request: Request, row_id: str | int) -> HttpResponseBase:
        """Change the fields that are sent; it serves within about a second."""
        data = self.json_object()
        return render(
            await self.in_database(
                lambda: resources.change_row(
                    self.resource, str(row_id), data, self.principal
                )
            )
        )

    async def delete(self, request: Request, row_id: str | int) -> HttpResponseBase:
        """Delete a row, if nothing needs it."""
        return render(
            await self.in_database(
                lambda: resources.delete_row(self.resource, str(row_id), self.principal)
            )
        )


class RotationSerializer(serializers.Serializer[None]):
    """How a key is rotated."""

    overlap_s = WholeNumberField(
        min_value=0,
        max_value=MAX_OVERLAP_S,
        default=int(DEFAULT_OVERLAP.total_seconds()),
        help_text="Seconds for which the former secret still works.",
    )


class RotationView(ManagementView):
    """`/api/keys/{id}/rotate`."""

    @extend_schema(**schema.rotation(RotationSerializer))
    async def post(self, request: Request, row_id: str) -> HttpResponseBase:
        """Give a key a new secret, shown once; the former one works for a while."""
        overlap = self.overlap()
        return render(await self.in_database(lambda: resources.rotate(row_id, overlap)))

    def overlap(self) -> timedelta:
        """Read the body, which may be left out."""
        data = self.json_object() if self.asgi_request.body else {}
        serializer = RotationSerializer(data=data)
        with refusals():
            serializer.is_valid(raise_exception=True)
        return timedelta(seconds=serializer.validated_data["overlap_s"])
