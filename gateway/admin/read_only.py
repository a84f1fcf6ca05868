"""Pages of rows that nobody changes in the admin."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from typing_extensions import override

from gateway.admin.theme import ModelAdmin


class ReadOnlyPages(ModelAdmin[Any]):
    """Pages of rows that only AILB itself writes."""

    @override
    def has_add_permission(self, request: HttpRequest) -> bool:
        """Say no."""
        return False

    @override
    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no."""
        return False

    @override
    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Say no."""
        return False
