"""The admin's theme for memory's pages, which is that of all pages."""

from __future__ import annotations

from rag.admin.theme import ChangeList, ModelAdmin, RowForm, Select, action, display

__all__ = ["ChangeList", "ModelAdmin", "RowForm", "Select", "action", "display"]
