"""The list of requests and the page of each, read only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.html import format_html
from typing_extensions import override

from gateway.admin import figures
from gateway.admin.read_only import ReadOnlyPages
from gateway.admin.theme import ChangeList, badge
from gateway.admin.usage_export import UsageExports
from gateway.admin.usage_list import (
    BoundedPaginator,
    FaultFilter,
    KeyFilter,
    ModelFilter,
    ProviderFilter,
    RequestList,
    TenantFilter,
    TimeFilter,
    key_names,
)
from gateway.admin.usage_summary import summary_page
from gateway.models import UsageRecord

MOMENT = "j M H:i:s"
MOMENT_OF_YEAR = "j M Y H:i:s"
PROMPT = {
    "input_tokens": "plain",
    "cache_read_tokens": "read from the cache",
    "cache_write_tokens": "written to the cache",
    "cache_write_1h_tokens": "written to the cache for an hour",
    "audio_input_tokens": "audio",
}
COMPLETION = {
    "output_tokens": "text",
    "reasoning_tokens": "reasoning",
    "audio_output_tokens": "audio",
}
COLOURS = {
    **{str(status): "success" for status in range(200, 300)},
    **{str(status): "warning" for status in range(400, 500)},
    **{str(status): "danger" for status in range(500, 600)},
}
WHENCE = {
    "row": "the deployment's own price",
    "shipped": "AILB's price table",
    "simulated": "a simulator costs nothing",
    "unknown": "no price is known: this is missing in budgets and reports",
}


@admin.register(UsageRecord)
class UsagePages(UsageExports, ReadOnlyPages):
    """What each request asked for, used and cost."""

    list_display = (
        "when",
        "request_id",
        "tenant",
        "key",
        "model",
        "provider",
        "answer",
        "tries",
        "tokens",
        "cost",
        "took",
        "ttft",
    )
    list_display_links = ("when", "request_id")
    list_filter = (
        TimeFilter,
        TenantFilter,
        KeyFilter,
        ModelFilter,
        ProviderFilter,
        FaultFilter,
    )
    search_fields = ("request_id__exact",)
    search_help_text = "A whole request id"
    ordering = ("-id",)
    sortable_by = ()  # no index would help
    paginator = BoundedPaginator
    show_full_result_count = False
    list_fullwidth = True
    fieldsets = (
        (
            None,
            {
                "fields": (
                    "when",
                    "request_id",
                    "tenant",
                    "key",
                    "operation",
                    "is_stream",
                )
            },
        ),
        (
            "Outcome",
            {"fields": ("answer", "code", "fault_domain", "is_partial")},
        ),
        (
            "Routing",
            {
                "fields": (
                    "model",
                    "provider",
                    "upstream_model",
                    "deployment",
                    "strategy",
                    "attempts",
                )
            },
        ),
        (
            "Tokens",
            {
                "fields": ("prompt", "completion", "counted"),
            },
        ),
        ("Cost", {"fields": ("cost", "whence")}),
        ("Speed", {"fields": ("took", "ttft", "speed")}),
    )
    readonly_fields = (
        "when",
        "prompt",
        "completion",
        "counted",
        "key",
        "answer",
        "deployment",
        "cost",
        "whence",
        "took",
        "ttft",
        "speed",
    )

    @override
    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Read the keys' names with the list."""
        return RequestList

    @override
    def get_urls(self) -> list[Any]:
        """Add the summary."""
        view = self.admin_site.admin_view(self.summary)
        return [
            path("summary/", view, name="gateway_usage_summary"),
            *super().get_urls(),
        ]

    def summary(self, request: HttpRequest) -> HttpResponse:
        """Show what was used in the last day and month."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        return summary_page(self, request)

    @admin.display(description="Time (UTC)")
    def when(self, row: UsageRecord) -> str:
        """Write when the request arrived; the year if it is another."""
        at = timezone.localtime(row.at)
        is_this_year = at.year == timezone.localtime().year
        return date_format(at, MOMENT if is_this_year else MOMENT_OF_YEAR)

    @admin.display(description="API key")
    def key(self, row: Any) -> str:
        """Name the key, if there was one."""
        if not row.api_key:
            return "none"
        if hasattr(row, "key_name"):  # from the list
            return str(row.key_name)
        name = key_names([row.api_key]).get(row.api_key)
        return f"{name} ({row.api_key})" if name else str(row.api_key)

    @badge("Status", COLOURS)
    def answer(self, row: UsageRecord) -> str:
        """Write the HTTP status that the client saw."""
        return str(row.status)

    @admin.display(description="Tries")
    def tries(self, row: UsageRecord) -> int:
        """Count the attempts, all deployments together."""
        return row.attempts

    @admin.display(description="Tokens in, out")
    def tokens(self, row: UsageRecord) -> str:
        """Write the tokens of the prompt and of the answer, each in all."""
        about = "~" if row.is_estimated else ""
        both = (in_all(row, PROMPT), in_all(row, COMPLETION))
        return ", ".join(f"{about}{tokens:,}" for tokens in both)

    @admin.display(description="Prompt")
    def prompt(self, row: UsageRecord) -> str:
        """Write the tokens of the prompt."""
        return in_parts(row, PROMPT)

    @admin.display(description="Answer")
    def completion(self, row: UsageRecord) -> str:
        """Write the tokens of the answer."""
        return in_parts(row, COMPLETION)

    @admin.display(description="Counted")
    def counted(self, row: UsageRecord) -> str:
        """Say who counted the tokens."""
        if row.is_estimated:
            return "estimated: the provider reported none"
        return "as the provider reported"

    @admin.display(description="Cost")
    def cost(self, row: UsageRecord) -> str:
        """Write what it cost."""
        return figures.usd(row.cost_nano_usd)

    @admin.display(description="Price")
    def whence(self, row: UsageRecord) -> str:
        """Say where the price came from."""
        return WHENCE.get(row.price_origin, row.price_origin)

    @admin.display(description="Took")
    def took(self, row: UsageRecord) -> str:
        """Write how long it took."""
        return figures.duration(row.duration_ms)

    @admin.display(description="TTFT")
    def ttft(self, row: UsageRecord) -> str:
        """Write how long a stream's first content took."""
        return figures.duration(row.ttft_ms)

    @admin.display(description="Generation")
    def speed(self, row: UsageRecord) -> str:
        """Write how fast the answer was generated."""
        per_s = row.tokens_per_s
        return "-" if per_s is None else f"{per_s:.1f} tokens/s"

    @admin.display(description="Deployment")
    def deployment(self, row: UsageRecord) -> str:
        """Lead to the deployment, which may be gone."""
        url = reverse("admin:gateway_deployment_change", args=[row.deployment_id])
        return format_html(
            '<a href="{}" class="text-link">{} at {}</a>',
            url,
            row.upstream_model,
            row.provider,
        )


def in_all(row: UsageRecord, buckets: Iterable[str]) -> int:
    """Sum some of its disjoint buckets."""
    return sum(getattr(row, bucket) for bucket in buckets)


def in_parts(row: UsageRecord, buckets: Mapping[str, str]) -> str:
    """Write a sum, and its parts by what `buckets` call them, if there are several."""
    counts = {text: getattr(row, bucket) for bucket, text in buckets.items()}
    parts = [f"{tokens:,} {text}" for text, tokens in counts.items() if tokens]
    total = f"{in_all(row, buckets):,}"
    return f"{total} ({', '.join(parts)})" if len(parts) > 1 else total
