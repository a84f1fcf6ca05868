"""One request on its way: identity, snapshot, trace, and the books it closes in the end."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gateway import metrics
from gateway.auth import Principal
from gateway.dialects.exchange import Exchange
from gateway.dialects.openai.encoder import Envelope
from gateway.dispatch import Dispatcher, Task, Trace
from gateway.errors import AilbError, NotFound
from gateway.kinds import Operation
from gateway.ledger import Entry, settle
from gateway.routing.needs import Needs
from gateway.snapshot import Deployment, Model, Snapshot

logger = logging.getLogger(__name__)

NOT_APPLICABLE = "off"  # memory and documents, where no such step ran


def new_request_id() -> str:
    """Make a request id: 128 random bits in hex."""
    return secrets.token_hex(16)


@dataclass(slots=True)
class Context:
    """One request. `started_s` is on the monotonic clock.

    `wants_memory` and `wants_documents` say what the client asked to be added.
    """

    request_id: str
    operation: Operation
    principal: Principal
    snapshot: Snapshot
    dispatcher: Dispatcher = field(repr=False)
    started_s: float = field(default_factory=time.monotonic)
    trace: Trace = field(default_factory=Trace)
    wants_memory: bool = False
    wants_documents: bool = False
    has_books: bool = False

    def find_model(self, name: str) -> Model:
        """Find what the client asked for.

        Raises:
            NotFound: There is no such model, or nothing serves it for this operation.

        """
        model = self.snapshot.model(name)
        if model is None or not model.serves(self.operation):
            raise NotFound(
                f"The model '{name[:200]}' does not exist or does not serve "
                f"{self.operation}. GET /v1/models lists what there is.",
                param="model",
                code="model_not_found",
            )
        return model

    def envelope(self, model: str) -> Envelope:
        """Give what our own answers carry; `model` is what was asked for."""
        return Envelope(
            answer_id=f"chatcmpl-{self.request_id}",
            model=model,
            created_s=int(time.time()),  # noqa: TID251 - a timestamp, on the wire as unix
        )

    def task(
        self,
        model: Model,
        needs: Needs,
        open_exchange: Callable[[Model, Deployment], Exchange],
        *,
        is_stream: bool = False,
    ) -> Task:
        """Make the task that the attempt loop works on."""
        return Task(
            snapshot=self.snapshot,
            model=model,
            operation=self.operation,
            needs=needs,
            is_stream=is_stream,
            open_exchange=open_exchange,
            started_s=self.started_s,
        )

    def headers(self) -> dict[str, str]:
        """Give the response headers that say what became of the request."""
        trace = self.trace
        headers = {"x-ailb-config-version": str(self.snapshot.revision)}
        if trace.attempts:
            headers["x-ailb-attempts"] = str(trace.attempts)
        if trace.deployment is not None and trace.model is not None:
            headers["x-ailb-provider"] = trace.deployment.provider.name
            headers["x-ailb-upstream-model"] = trace.deployment.upstream_model
            headers["x-ailb-strategy"] = trace.model.strategy.name
            if trace.deployment.provider.is_simulated:
                headers["x-ailb-simulated"] = "true"
        if trace.dropped:
            headers["x-ailb-dropped-params"] = ",".join(trace.dropped)
        if self.wants_memory:
            headers["x-ailb-memory"] = NOT_APPLICABLE
        if self.wants_documents:
            headers["x-ailb-rag"] = NOT_APPLICABLE
        return headers

    def open_books(self, *, is_stream: bool = False) -> Entry:
        """Begin the request's entry; `close_books` must follow, whatever happens."""
        metrics.ACTIVE_CONNECTIONS.inc()
        self.has_books = True
        return Entry(
            request_id=self.request_id,
            operation=self.operation,
            tenant=self.principal.tenant,
            is_stream=is_stream,
        )

    def close_books(self, entry: Entry) -> None:
        """Settle: the same code on success, error and disconnect."""
        metrics.ACTIVE_CONNECTIONS.dec()
        trace = self.trace
        entry.attempts = trace.attempts
        entry.duration_s = time.monotonic() - self.started_s
        entry.first_content_s = trace.first_content_s
        if trace.deployment is not None and trace.model is not None:
            entry.model = trace.model.name
            entry.provider = trace.deployment.provider.name
            entry.upstream_model = trace.deployment.upstream_model
            entry.strategy = trace.model.strategy.name
        settle(entry)

    @contextmanager
    def books(self) -> Iterator[Entry]:
        """Keep the books of a request that is answered whole."""
        entry = self.open_books()
        try:
            yield entry
        except AilbError as error:
            entry.failed(error)
            raise
        except Exception:
            entry.failed(AilbError("An error inside the gateway."))
            raise
        except BaseException:
            entry.client_left()
            raise
        finally:
            self.close_books(entry)
