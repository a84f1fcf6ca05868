"""The figures of an instance: statistics since a reset, metrics of now or of past hours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Collection, Iterable
from datetime import UTC, datetime, timedelta

from django.utils import timezone
from google.protobuf.timestamp_pb2 import Timestamp

from gateway import instances, usage_reports
from gateway.errors import InvalidRequest
from moduleservice.base import Part, Refusal
from moduleservice.messages import module_stats, timestamp
from moduleservice.metric_points import GROUPS, Point, points_now, points_past
from moduleservice.pb import module_service_pb2, types_pb2
from moduleservice.status import traffic_of

INTERVAL_S = 10
SHORTEST_INTERVAL_S = 1
LONGEST_SPAN = timedelta(days=31)
EARLIEST, LATEST = datetime(2000, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)


class Figures(Part):
    """GetMetrics, GetStats and StreamMetrics."""

    async def GetStats(
        self, request: module_service_pb2.GetStatsRequest
    ) -> module_service_pb2.GetStatsResponse:
        """Give an instance's figures since its start or their last reset.

        With `reset_counters` they begin anew afterwards: nothing is counted twice or lost
        between this answer and the next.
        """
        name = request.instance_id or self.host.instance
        read = instances.reset if request.reset_counters else instances.statistics
        found = await self.host.database.run(lambda: read(name, now=timezone.now()))
        return module_service_pb2.GetStatsResponse(stats=module_stats(found))

    async def GetMetrics(
        self, request: module_service_pb2.GetMetricsRequest
    ) -> module_service_pb2.GetMetricsResponse:
        """Give the metrics of now; with a span, what each of its hours had."""
        if request.HasField("start_time") or request.HasField("end_time"):
            metrics = await self._past(request)
        else:
            metrics = await self._present(request.instance_id, request.metric_names)
        return module_service_pb2.GetMetricsResponse(
            metrics=metrics, collected_at=metrics.collected_at
        )

    async def StreamMetrics(
        self, request: module_service_pb2.StreamMetricsRequest
    ) -> AsyncGenerator[module_service_pb2.StreamMetricsResponse, None]:
        """Send the metrics of now at once and then at each interval."""
        given_s = request.interval_seconds
        interval_s = max(given_s, SHORTEST_INTERVAL_S) if given_s else INTERVAL_S
        while True:
            metrics = await self._present(request.instance_id, request.metric_names)
            yield module_service_pb2.StreamMetricsResponse(
                metrics=metrics, timestamp=metrics.collected_at
            )
            await asyncio.sleep(interval_s)

    async def _present(
        self, instance_id: str, names: Collection[str]
    ) -> types_pb2.ModuleMetrics:
        name, now = instance_id or self.host.instance, timezone.now()
        found = await self.host.database.run(lambda: instances.reported(name, now=now))
        return metrics_of(name, points_now(found, traffic_of(self.host)), names, now)

    async def _past(
        self, request: module_service_pb2.GetMetricsRequest
    ) -> types_pb2.ModuleMetrics:
        since, until = span_of(request, now=timezone.now())
        try:
            report = await self.host.database.run(
                lambda: usage_reports.usage(since=since, until=until, group_by=GROUPS)
            )
        except InvalidRequest as error:
            raise invalid(error.message) from error
        name, points = request.instance_id or self.host.instance, points_past(report)
        return metrics_of(name, points, request.metric_names, report.as_of)


def metrics_of(
    name: str, points: Iterable[Point], names: Collection[str], now: datetime
) -> types_pb2.ModuleMetrics:
    """Write the points that are asked for, all without any names."""
    wanted = frozenset(names)
    return types_pb2.ModuleMetrics(
        instance_id=name,
        module_type=types_pb2.MODULE_TYPE_AILB,
        metrics=[
            types_pb2.MetricDataPoint(
                name=point.name,
                value=point.value,
                labels=point.labels,
                timestamp=timestamp(point.at or now),
            )
            for point in points
            if not wanted or point.name in wanted
        ],
        collected_at=timestamp(now),
    )


def span_of(
    request: module_service_pb2.GetMetricsRequest, *, now: datetime
) -> tuple[datetime, datetime]:
    """Read the span that is asked for, which ends now unless it says otherwise."""
    if not request.HasField("start_time"):
        raise invalid("end_time needs a start_time.")
    since = moment("start_time", request.start_time)
    until = (
        moment("end_time", request.end_time) if request.HasField("end_time") else now
    )
    if until - since > LONGEST_SPAN:
        raise invalid(f"At most {LONGEST_SPAN.days} days can be asked for at a time.")
    return since, until


def moment(field: str, stamp: Timestamp) -> datetime:
    """Read a moment of a request."""
    try:
        found = stamp.ToDatetime(tzinfo=UTC)
    except (OverflowError, ValueError) as error:
        raise invalid(f"{field} is no moment: {error}") from error
    if not EARLIEST <= found <= LATEST:
        raise invalid(f"{field} must be between the years 2000 and 3000.")
    return found


def invalid(message: str) -> Refusal:
    """Refuse what cannot be answered."""
    return Refusal(types_pb2.STATUS_CODE_INVALID_ARGUMENT, message)
