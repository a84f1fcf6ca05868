"""Prometheus metrics of documents; docs/metrics.md lists them."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RETRIEVALS = Counter(
    "ailb_rag_retrievals_total",
    "Questions to collections, by what they gave: hit, miss, degraded.",
    ["status"],
)
RETRIEVAL_DURATION = Histogram(
    "ailb_rag_retrieval_duration_seconds",
    "Time that a question to collections took, reranking included.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 5),
)
RERANK_FAILURES = Counter(
    "ailb_rag_rerank_failures_total",
    "Questions whose hits were not reranked although their collection asks for it.",
)
DOCUMENTS_INGESTED = Counter(
    "ailb_rag_documents_ingested_total",
    "Versions of documents that are done with, by how it ended: ready, failed.",
    ["outcome"],
)
WAITING_DOCUMENTS = Gauge(
    "ailb_rag_waiting_documents",
    "Documents that are not ready yet, and have not failed.",
    multiprocess_mode="livemax",
)
WAITING_CHUNKS = Gauge(
    "ailb_rag_waiting_chunks",
    "Chunks that wait for their vector.",
    multiprocess_mode="livemax",
)


def note_waiting(documents: int, chunks: int) -> None:
    """Say how much is still to be indexed."""
    WAITING_DOCUMENTS.set(documents)
    WAITING_CHUNKS.set(chunks)


def count_ingested(outcome: str) -> None:
    """Count a version that is done with: `ready` or `failed`."""
    DOCUMENTS_INGESTED.labels(outcome).inc()
