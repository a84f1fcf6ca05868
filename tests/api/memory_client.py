"""`/api/memory` as tests use it: one key's view of its tenant's sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from tests.api.gateway_process import Gateway, fresh
from tests.client import Client, Reply


@dataclass(frozen=True)
class Rememberer:
    """Speaks to `/api/memory` with one key; none where it is empty."""

    client: Client
    key: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    @property
    def public_id(self) -> str:
        return self.key.split("_")[1]

    def send(self, method: str, path: str = "", body: Any = None) -> Reply:
        """Send to `/api/memory/sessions` and what follows it."""
        path = f"/api/memory/sessions{path}"
        return self.client.send(method, path, body, **self.headers)

    def get(self, path: str = "") -> Any:
        """Read what must be there."""
        reply = self.send("GET", path)
        assert reply.status == 200, reply.body
        return reply.json

    def add(self, session_id: str, *turns: Any) -> Any:
        """Import, which must work; a text is a turn of the user."""
        whole = [
            {"role": "user", "content": turn} if isinstance(turn, str) else turn
            for turn in turns
        ]
        reply = self.send("POST", f"{at(session_id)}/turns", {"turns": whole})
        assert reply.status == 200, reply.body
        return reply.json

    def find(self, session_id: str, query: str, **fields: Any) -> Any:
        """Search, which must work; give the results."""
        body = {"query": query, **fields}
        reply = self.send("POST", f"{at(session_id)}/search", body)
        assert reply.status == 200, reply.body
        return reply.json["results"]

    def texts(self, session_id: str) -> list[str]:
        """Give what the turns of a session say."""
        shown = self.get(f"{at(session_id)}?limit=1000")
        return [turn["content"] for turn in shown["turns"]]

    def session_ids(self) -> list[str]:
        return [row["session_id"] for row in self.get("?limit=1000")["results"]]


def at(session_id: str) -> str:
    """Give a session's path, as a careful client writes it."""
    return "/" + quote(session_id, safe="")


def rememberer(gateway: Gateway, tenant: str | None = None, **key: Any) -> Rememberer:
    """Make a key, of a tenant of its own if none is named, and wait until it serves."""
    made = gateway.add_key(tenant=tenant or fresh("tenant"), **key)
    gateway.apply()
    return Rememberer(gateway.client, made)
