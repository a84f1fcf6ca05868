"""`/api/collections` as tests use it: one key's view of collections and documents."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import orjson

from tests.api.gateway_process import Gateway, fresh, wait_until
from tests.client import Client, Reply, reply_of

TEXT = b"The parental leave is fourteen weeks long.\n"
BOUNDARY = "AaB03x"
INDEX_S = 60.0  # a busy machine loads the embedder first
FORM = f"multipart/form-data; boundary={BOUNDARY}"


def at(*names: str) -> str:
    """Give the path of a collection and what is in it, as a careful client writes it."""
    return "".join(f"/{quote(name, safe='')}" for name in names)


def form_of(*parts: tuple[str, bytes]) -> bytes:
    """Write a form by hand: what stands behind `form-data; `, and the content."""
    lines = [
        b"--%b\r\nContent-Disposition: form-data; %b\r\n\r\n%b\r\n"
        % (BOUNDARY.encode(), disposition.encode(), content)
        for disposition, content in parts
    ]
    return b"".join(lines) + b"--%b--\r\n" % BOUNDARY.encode()


@dataclass(frozen=True)
class Librarian:
    """Speaks to `/api/collections` with one key; none where it is empty."""

    client: Client
    key: str = ""

    @property
    def headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"} if self.key else {}

    @property
    def public_id(self) -> str:
        return self.key.split("_")[1]

    def send(self, method: str, path: str = "", body: Any = None) -> Reply:
        """Send to `/api/collections` and what follows it."""
        path = f"/api/collections{path}"
        return self.client.send(method, path, body, **self.headers)

    def send_form(
        self, method: str, path: str, content: bytes, content_type: str = FORM
    ) -> Reply:
        """Send bytes as a form."""
        given = {**self.headers, "content-type": content_type}
        http = self.client._http
        path = f"/api/collections{path}"
        return reply_of(http.request(method, path, content=content, headers=given))

    def get(self, path: str = "") -> Any:
        """Read what must be there."""
        reply = self.send("GET", path)
        assert reply.status == 200, reply.body
        return reply.json

    def make(self, name: str | None = None, **fields: Any) -> str:
        """Make a collection, which must work; give its name."""
        name = name or fresh("collection")
        reply = self.send("POST", "", {"name": name, **fields})
        assert reply.status == 201, reply.body
        return name

    def upload(
        self,
        name: str,
        content: bytes = TEXT,
        filename: str = "leave.txt",
        *,
        document_id: str | None = None,
        attributes: Any = None,
    ) -> Reply:
        """Send a file as a common library does; with an id, in the place of another."""
        path = at(name, "documents", *([] if document_id is None else [document_id]))
        texts = {} if attributes is None else {"attributes": orjson.dumps(attributes)}
        return reply_of(
            self.client._http.request(
                "POST" if document_id is None else "PUT",
                f"/api/collections{path}",
                files={"file": (filename, content)},
                data=texts,
                headers=self.headers,
            )
        )

    def add(
        self, name: str, content: bytes = TEXT, filename: str = "leave.txt", **more: Any
    ) -> str:
        """Bring a document that must be new; give its id."""
        reply = self.upload(name, content, filename, **more)
        assert reply.status == 202, reply.body
        return str(reply.json["id"])

    def wait_for(self, name: str, *document_ids: str) -> list[Any]:
        """Wait until documents are ready or have failed; give them."""
        shown: list[Any] = []

        def are_done() -> bool:
            shown[:] = [self.get(at(name, "documents", each)) for each in document_ids]
            return all(each["state"] in {"ready", "failed"} for each in shown)

        wait_until(are_done, f"{document_ids} are done", limit_s=INDEX_S, poll_s=0.05)
        return shown

    def find(self, name: str, query: str, **fields: Any) -> Any:
        """Search, which must work; give the answer."""
        reply = self.send("POST", at(name, "search"), {"query": query, **fields})
        assert reply.status == 200, reply.body
        return reply.json

    def names(self) -> list[str]:
        return [row["name"] for row in self.get()["results"]]

    def document_ids(self, name: str) -> list[str]:
        listed = self.get(at(name, "documents"))["results"]
        return [row["id"] for row in listed]


def librarian(gateway: Gateway, tenant: str | None = None, **key: Any) -> Librarian:
    """Make a key, of a tenant of its own if none is named, and wait until it serves."""
    fields = {"rights": ["chat", "documents"], **key}
    made = gateway.add_key(tenant=tenant or fresh("tenant"), **fields)
    gateway.apply()
    return Librarian(gateway.client, made)


@contextmanager
def no_failures(gateway: Gateway) -> Iterator[None]:
    """See to it that the gateway logs no failure of its own until the block ends."""
    yield
    assert not [line for line in gateway.log() if line["level"] == "error"]
