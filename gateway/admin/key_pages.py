"""Pages that show an API key once, in the answer to the POST that made it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.views.decorators.debug import sensitive_variables

from gateway.admin.key_forms import UNREADABLE, RotationForm
from gateway.crypto import SecretUnreadable
from gateway.keyring import rotate_key
from gateway.models import ApiKey

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

    Pages = ModelAdmin[ApiKey]

CONFIRMED = "rotation"  # the field that tells the form's own POST from the list's


@sensitive_variables()
def new_key_page(
    pages: Pages, request: HttpRequest, made: Sequence[tuple[ApiKey, str]]
) -> HttpResponse:
    """Show keys that nothing can show again, each with its row.

    They stand in this answer alone: not in the URL, the session or the log, and nobody
    may cache it. The page renames itself in the browser's history, so that reloading it
    opens the row instead of posting the form again.
    """
    after = reverse("admin:gateway_apikey_changelist")
    if len(made) == 1:
        after = reverse("admin:gateway_apikey_change", args=[made[0][0].pk])
    context = {
        "title": "New API key" if len(made) == 1 else "New API keys",
        "made": [{"row": row, "key": key} for row, key in made],
        "after": after,
    }
    return answer(pages, request, "gateway/new_keys.html", context)


@sensitive_variables()
def rotation_page(
    pages: Pages, request: HttpRequest, rows: Sequence[ApiKey]
) -> HttpResponse:
    """Ask how long the former keys shall work; then rotate and show the new ones."""
    form = RotationForm(request.POST if CONFIRMED in request.POST else None)
    if form.is_valid():
        try:
            made = rotated(pages, request, rows, form.overlap)
        except SecretUnreadable:
            form.add_error(None, UNREADABLE)
        else:
            return new_key_page(pages, request, made)
    context = {
        "title": "Rotate API key" if len(rows) == 1 else "Rotate API keys",
        "rows": rows,
        "form": form,
        "confirmed": CONFIRMED,
        "checkbox": ACTION_CHECKBOX_NAME,
        "action": request.POST.get("action", ""),
    }
    return answer(pages, request, "gateway/rotate_keys.html", context)


def rotated(
    pages: Pages, request: HttpRequest, rows: Iterable[ApiKey], overlap: timedelta
) -> list[tuple[ApiKey, str]]:
    """Rotate each key and note it in the history of its page, without the secret."""
    made = []
    for row in rows:
        made.append((row, rotate_key(row, overlap=overlap)))
        pages.log_change(request, row, "Rotated.")
    return made


def answer(
    pages: Pages, request: HttpRequest, template: str, context: dict[str, Any]
) -> HttpResponse:
    """Render a page of the admin around a template."""
    shared = {**pages.admin_site.each_context(request), "opts": pages.opts}
    return TemplateResponse(request, template, {**shared, **context})
