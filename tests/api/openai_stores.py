"""What tests of files and vector stores share: clients with keys, files, what is unknown."""

from __future__ import annotations

from typing import Any

import openai

from tests.api.gateway_process import Gateway
from tests.api.vendors import sdk

LEAVE = b"# Leave\n\nThe parental leave is fourteen weeks long.\n"
RAIN = b"# Weather\n\nRain is expected in the mountains on Thursday.\n"
UNKNOWN = "file-" + "0" * 32
UNKNOWN_STORE = "vs_" + "0" * 32


def sdk_of_tenant(gateway: Gateway, tenant: str, **fields: Any) -> openai.OpenAI:
    """Give the SDK with a new key of a tenant; it forgives no wrong shape."""
    key = gateway.add_key(tenant=tenant, **{"rights": ["documents"], **fields})
    gateway.apply()
    return sdk(gateway, api_key=key, _strict_response_validation=True)


def bearer(client: openai.OpenAI) -> dict[str, str]:
    """Give the header of a client's key, for what no SDK sends."""
    return {"authorization": f"Bearer {client.api_key}"}


def keep(client: openai.OpenAI, name: str, data: bytes) -> str:
    """Keep a file; give its id."""
    return client.files.create(file=(name, data), purpose="assistants").id


def strategy(tokens: int, overlap: int) -> Any:
    static = {"max_chunk_size_tokens": tokens, "chunk_overlap_tokens": overlap}
    return {"type": "static", "static": static}
