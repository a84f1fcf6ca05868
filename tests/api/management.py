"""A gateway's management API as tests use it: a key that may manage, and a body each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, Protocol, TypeVar

from gateway.kinds import Right
from tests.api.gateway_process import Gateway, fresh
from tests.client import Client, Reply

MANAGEMENT = (Right.MANAGEMENT_READ.value, Right.MANAGEMENT_WRITE.value)
KINDS = (
    "tenants",
    "keys",
    "limits",
    "budgets",
    "providers",
    "models",
    "deployments",
    "strategies",
)
UPSTREAM = "http://127.0.0.1:9/v1"  # where nobody answers
CREDENTIAL = "sk-credential-canary-0123456789wxyz"


class Served(Protocol):
    """Something that serves."""

    @property
    def client(self) -> Client: ...


G = TypeVar("G", bound=Served)


@dataclass(frozen=True)
class ManagerOf(Generic[G]):
    """Speaks to `/api` with one key."""

    gateway: G
    key: str

    def send(self, method: str, path: str, body: Any = None) -> Reply:
        return self.gateway.client.send(
            method, f"/api/{path}", body, authorization=f"Bearer {self.key}"
        )

    def get(self, path: str) -> Any:
        """Read what must be there."""
        reply = self.send("GET", path)
        assert reply.status == 200, reply.body
        return reply.json

    def make(self, kind: str, **fields: Any) -> Any:
        """Make a row, which must work; fields left out are valid ones."""
        reply = self.send("POST", kind, {**self.fields_of(kind, fields), **fields})
        assert reply.status == 201, reply.body
        return reply.json

    def change(self, path: str, **fields: Any) -> Any:
        """Change a row, which must work."""
        reply = self.send("PATCH", path, fields)
        assert reply.status == 200, reply.body
        return reply.json

    def delete(self, path: str) -> None:
        """Delete a row, which must work."""
        reply = self.send("DELETE", path)
        assert reply.status == 200, reply.body

    def fields_of(self, kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
        """Give what a row needs; the rows it names are made where they are not given."""
        match kind:
            case "tenants" | "models" | "keys":
                return {"name": fresh(kind)}
            case "limits":
                return {"tenant": self.other("tenants", given, "tenant"), "amount": 7}
            case "budgets":
                return {
                    "tenant": self.other("tenants", given, "tenant"),
                    "amount_usd": 12.5,
                }
            case "providers":
                return {"name": fresh(kind), "kind": "openai", "base_url": UPSTREAM}
            case "strategies":
                return {"name": fresh(kind), "algorithm": "failover"}
            case _:
                return {
                    "model": self.other("models", given, "model"),
                    "provider": self.other("providers", given, "provider"),
                    "upstream_model": "m",
                }

    def other(self, kind: str, given: Mapping[str, Any], field: str) -> str | None:
        """Name another row, made if nothing is given for it or another owner."""
        if field in given or "key" in given:
            return given.get(field)
        name: str = self.make(kind)["name"]
        return name


Manager = ManagerOf[Gateway]


def path_of(kind: str, row: Mapping[str, Any]) -> str:
    """Give the path of a row under `/api`."""
    return f"{kind}/{row['id'] if 'id' in row else row['name']}"


def manager_of(gateway: Gateway, *rights: str) -> Manager:
    """Make a key with these rights, or to manage, and wait until it serves."""
    key = gateway.add_key(name=fresh("manager"), rights=list(rights or MANAGEMENT))
    gateway.apply()
    return Manager(gateway, key)
