"""What the pages of collections and of documents have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest

from rag.admin.service import SWITCHED_OFF, is_switched_on

if TYPE_CHECKING:
    Pages = admin.ModelAdmin[Any]
else:  # mixed into the theme's
    Pages = object


class RowPages(Pages):
    """Pages with views of their own beside Django's, each of one row."""

    def row_for(self, request: HttpRequest, row_id: object, *rights: str) -> Any:
        """Give a row that the user may see, and has all these rights to.

        `rights` are named as Django names them, such as `rag.add_document`.

        Raises:
            Http404: There is none.
            PermissionDenied: The user may not.

        """
        row = self.get_object(request, str(row_id))
        is_allowed = self.has_view_permission(request, row)
        if not is_allowed or not request.user.has_perms(rights):
            raise PermissionDenied
        if row is None:
            raise Http404
        return row

    def common_context(self) -> dict[str, Any]:
        """Give what the templates of every page need."""
        return {
            "switched_off": "" if is_switched_on() else SWITCHED_OFF,
            "most": settings.AILB_MAX_DOCUMENT_BYTES,
        }
