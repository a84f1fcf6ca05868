"""OpenAI's requests as clients send them: checked at the door, read into the record."""

from __future__ import annotations

from gateway.dialects.openai.request.chat import OWN_FIELDS, ChatCall, parse_chat
from gateway.dialects.openai.request.embeddings import (
    EmbeddingsCall,
    parse_embeddings,
    read_embeddings_record,
)
from gateway.dialects.openai.request.record import read_record

__all__ = [
    "OWN_FIELDS",
    "ChatCall",
    "EmbeddingsCall",
    "parse_chat",
    "parse_embeddings",
    "read_embeddings_record",
    "read_record",
]
