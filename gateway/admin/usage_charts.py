"""Charts of what requests used, from reports of usage."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gateway.admin import figures
from gateway.admin.charts import Chart, Point, chart
from gateway.usage_reports import UsageReport, UsageRow


@dataclass(frozen=True, slots=True)
class Sums:
    """What some groups of requests used, added up."""

    requests: int = 0
    failed: int = 0
    unpriced: int = 0
    cost_nano_usd: int = 0
    tokens_in: int = 0
    tokens_out: int = 0

    @property
    def cost(self) -> str:
        """Write what they cost, as far as it is known."""
        return figures.cost(
            self.cost_nano_usd, requests=self.requests, unpriced=self.unpriced
        )

    @property
    def failures(self) -> str:
        """Write how many failed, and which share."""
        if not self.failed:
            return "0"
        return f"{self.failed:,} ({self.failed / self.requests:.1%})"


def added(rows: Iterable[UsageRow]) -> Sums:
    """Add up the rows of a report."""
    rows = list(rows)

    def total(name: str) -> int:
        return int(sum(row.sums[name] for row in rows))

    return Sums(
        requests=total("requests"),
        failed=total("failed_requests"),
        unpriced=total("unpriced_requests"),
        cost_nano_usd=total("cost_nano_usd"),
        tokens_in=sum(row.usage.prompt_tokens for row in rows),
        tokens_out=sum(row.usage.completion_tokens for row in rows),
    )


def charts(report: UsageReport, labels: Mapping[str, str]) -> list[Chart]:
    """Draw requests, tokens and cost; `labels` name the columns by group, in order."""
    known = {row.group[0]: added([row]) for row in report.rows}
    columns = [(labels[key], known.get(key, Sums())) for key in labels]
    everything = added(report.rows)
    return [
        requests_chart(columns, everything),
        tokens_chart(columns, everything),
        cost_chart(columns, everything),
    ]


def requests_chart(columns: Sequence[tuple[str, Sums]], everything: Sums) -> Chart:
    """Draw how many requests there were, and how many failed."""
    return chart(
        title="Requests",
        headline=figures.count(everything.requests),
        remark=f"{everything.failures} failed",
        points=[
            Point(
                label,
                (sums.requests - sums.failed, sums.failed),
                f"{label}: {sums.requests:,} requests, {sums.failures} failed",
            )
            for label, sums in columns
        ],
        styles=("", "ailb-failed"),
        written=figures.compact,
    )


def tokens_chart(columns: Sequence[tuple[str, Sums]], everything: Sums) -> Chart:
    """Draw the tokens of prompts and answers."""
    return chart(
        title="Tokens",
        headline=figures.count(everything.tokens_in + everything.tokens_out),
        remark=tokens_remark(everything),
        points=[
            Point(
                label,
                (sums.tokens_in, sums.tokens_out),
                f"{label}: {tokens_remark(sums)}",
            )
            for label, sums in columns
        ],
        styles=("", "ailb-second"),
        written=figures.compact,
    )


def cost_chart(columns: Sequence[tuple[str, Sums]], everything: Sums) -> Chart:
    """Draw what is known of the cost."""
    return chart(
        title="Cost",
        headline=figures.usd(everything.cost_nano_usd),
        remark=cost_remark(everything),
        points=[
            Point(label, (sums.cost_nano_usd,), f"{label}: {sums.cost}")
            for label, sums in columns
        ],
        styles=("",),
        written=lambda nano_usd: figures.usd(int(nano_usd)),
    )


def tokens_remark(sums: Sums) -> str:
    """Write the tokens of prompts and answers apart."""
    return f"{sums.tokens_in:,} in, {sums.tokens_out:,} out"


def cost_remark(sums: Sums) -> str:
    """Say what a sum of costs does not know."""
    if not sums.unpriced:
        return "every price is known"
    return f"without {sums.unpriced:,} of unknown price"
