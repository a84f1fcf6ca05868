"""Ollama's native API: `/api/chat`, `/api/embed`, `/api/tags`, `/api/show`."""

from __future__ import annotations

from gateway.dialects.ollama.catalogue import read_show
from gateway.dialects.ollama.dialect import OllamaDialect

__all__ = ["OllamaDialect", "read_show"]
