"""Prometheus metrics of conversation memory; docs/metrics.md lists them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RECALLS = Counter(
    "ailb_memory_recalls_total",
    "Requests with a session, by what memory gave: hit, miss, degraded, off.",
    ["status"],
)
RECALL_DURATION = Histogram(
    "ailb_memory_recall_duration_seconds",
    "Time that a recall took, the embedding of the question included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 5),
)
TURNS_WRITTEN = Counter(
    "ailb_memory_turns_written_total",
    "Turns that were stored, imported ones included.",
)
WRITES_DROPPED = Counter(
    "ailb_memory_writes_dropped_total",
    "Exchanges that are not remembered: the queue was full or the database away.",
    ["reason"],
)
EMBEDDING_FAILURES = Counter(
    "ailb_memory_embedding_failures_total",
    "Turns that could not be embedded, and are found by keywords only.",
)
WAITING_TURNS = Gauge(
    "ailb_memory_waiting_turns",
    "Turns that wait for their vector.",
    multiprocess_mode="livemax",
)
CACHE_BYTES = Gauge(
    "ailb_memory_cache_bytes",
    "What the copies of sessions in memory take; the sum of all workers.",
    multiprocess_mode="livesum",
)
