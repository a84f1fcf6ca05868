"""`/v1/files` and `/v1/vector_stores`: collections as OpenAI's SDKs know them."""

from __future__ import annotations
