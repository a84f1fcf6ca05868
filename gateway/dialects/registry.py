"""Which dialect each kind of provider speaks: one line a kind."""

from __future__ import annotations

from gateway.dialects.anthropic import AnthropicDialect
from gateway.dialects.base import Dialect
from gateway.dialects.ollama import OllamaDialect
from gateway.dialects.openai import OpenAIDialect

DIALECTS: dict[str, Dialect | OpenAIDialect] = {
    "openai": OpenAIDialect(),
    "anthropic": AnthropicDialect(),
    "ollama": OllamaDialect(),
    "openai_compatible": OpenAIDialect(),
}


def kinds() -> list[str]:
    """List the kinds in the order they are offered."""
    return list(DIALECTS)


def dialect_of(kind: str) -> Dialect | OpenAIDialect:
    """Find the dialect of a kind; KeyError for an unknown one."""
    return DIALECTS[kind]
