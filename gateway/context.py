"""One request on its way: identity, snapshot, trace, and the books it closes in the end."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from gateway import metrics
from gateway.auth import Principal
from gateway.dialects.exchange import Exchange, estimated
from gateway.dialects.openai.encoder import Envelope
from gateway.dialects.record import Usage
from gateway.dispatch import Dispatcher, Task, Trace
from gateway.errors import AilbError, NotFound, PermissionDenied
from gateway.kinds import Operation
from gateway.ledger import CLIENT_LEFT, Entry, Ledger
from gateway.limits import (
    NOTHING,
    BudgetStanding,
    Estimate,
    Grant,
    Limiter,
    Spent,
)
from gateway.limits.headers import rate_headers
from gateway.pricing import cost_nano_usd, estimated_cost_nano_usd
from gateway.remembering import Remembering
from gateway.retrieving import Retrieving
from gateway.routing.needs import Needs
from gateway.snapshot import Deployment, Model, Snapshot
from rag.scope import Scope

logger = logging.getLogger(__name__)

NOT_APPLICABLE = "off"  # memory, where no such step ran


# Seeded by the system once: asking it for each request costs more than the rest of an id.
_ids = random.Random()  # noqa: S311


def new_request_id() -> str:
    """Make a request id: 128 random bits in hex. It is no secret."""
    return f"{_ids.getrandbits(128):032x}"


@dataclass(slots=True)
class Context:
    """One request. `started_s` is on the monotonic clock.

    `session_id` names the conversation that the client wants to go on with, empty for
    none; `is_client_retry` says that the client has sent this before. `caller` is the IP
    address that it comes from, empty where no limit asks for it. `memory` is None
    where it is switched off, `retrieving` where no documents are asked for;
    `documents_status` says what became of them, empty before they were looked for.
    """

    request_id: str
    operation: Operation
    principal: Principal
    snapshot: Snapshot
    dispatcher: Dispatcher = field(repr=False)
    limiter: Limiter = field(repr=False)
    ledger: Ledger = field(repr=False)
    started_s: float = field(default_factory=time.monotonic)
    trace: Trace = field(default_factory=Trace)
    memory: Remembering | None = field(default=None, repr=False)
    session_id: str = ""
    is_client_retry: bool = False
    caller: str = ""
    memory_status: str = NOT_APPLICABLE
    retrieving: Retrieving | None = field(default=None, repr=False)
    documents_status: str = ""
    needs: Needs | None = None  # from the moment that there is a task, like the next
    model: Model | None = None
    grant: Grant = NOTHING
    has_books: bool = False
    is_settled: bool = False

    def find_model(self, name: str) -> Model:
        """Find what the client asked for.

        Raises:
            PermissionDenied: Its key may not ask for this name.
            NotFound: There is no such model, or nothing serves it for this operation.

        """
        model = self.snapshot.model(name)
        self._check_allowed(name, model)
        if model is None or not model.serves(self.operation):
            raise NotFound(
                f"The model '{name[:200]}' does not exist or does not serve "
                f"{self.operation}. GET /v1/models lists what there is.",
                param="model",
                code="model_not_found",
            )
        return model

    def _check_allowed(self, name: str, model: Model | None) -> None:
        """Refuse what the key may not ask for, whether it exists or not."""
        allowed = self.principal.models
        names = {name} if model is None else {name, model.name}
        if allowed is not None and not names & allowed:
            raise PermissionDenied(
                f"This API key may not use the model '{name[:200]}'. GET /v1/models "
                "lists what it may.",
                param="model",
                code="model_not_allowed",
            )

    @property
    def scope(self) -> Scope:
        """Whose sessions and collections it may see."""
        key, tenant = self.principal.key, self.principal.tenant
        if key is None:
            return Scope(tenant.id)
        return Scope(tenant.id, owner=key.public_id, collections=key.collections)

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
        self.needs, self.model = needs, model
        return Task(
            snapshot=self.snapshot,
            model=model,
            operation=self.operation,
            needs=needs,
            is_stream=is_stream,
            open_exchange=open_exchange,
            started_s=self.started_s,
            allowed_models=self.principal.models,
            requires_price=any(b.blocks_unknown_price for b in self.principal.budgets),
            conversation=self._conversation(),
        )

    def _conversation(self) -> str:
        """Name its session beyond its tenant, whether or not anything is remembered."""
        if not self.session_id:
            return ""
        return f"{self.principal.tenant.id}:{self.session_id}"

    async def admit(self, task: Task) -> None:
        """Let the request pass the limits and budgets of its key, tenant, model and caller.

        Raises:
            RateLimited: A limit is reached; nothing was counted.
            BudgetExhausted: A hard budget is spent; nothing was counted.

        """
        access, principal = self.snapshot.access, self.principal
        limits = (
            principal.limits
            + access.everybody
            + access.by_model.get(task.model.name, ())
        )
        if self.caller:
            limits += access.by_address.get(self.caller, ())
        budgets = principal.budgets
        if limits or budgets:
            needs = task.needs
            estimate = Estimate(
                needs.prompt_tokens,
                needs.output_tokens,
                dearest_nano_usd(task) if budgets else None,
            )
            self.grant = await self.limiter.admit(limits, budgets, estimate)

    def headers(self) -> dict[str, str]:
        """Give the response headers that say what became of the request."""
        trace = self.trace
        headers = {"x-ailb-config-version": str(self.snapshot.revision)}
        if self.grant is not NOTHING:
            headers |= rate_headers(self.grant.standings)
            if warnings := self.grant.warnings:
                headers["x-ailb-budget-warning"] = ", ".join(map(told, warnings))
        if trace.attempts:
            headers["x-ailb-attempts"] = str(trace.attempts)
        if trace.deployment is not None and trace.model is not None:
            headers["x-ailb-provider"] = trace.deployment.provider.name
            headers["x-ailb-upstream-model"] = trace.deployment.upstream_model
            headers["x-ailb-strategy"] = trace.model.strategy.name
            if trace.model.split:
                headers["x-ailb-version"] = trace.deployment.version
            if trace.deployment.provider.is_simulated:
                headers["x-ailb-simulated"] = "true"
        if trace.dropped:
            headers["x-ailb-dropped-params"] = ",".join(trace.dropped)
        if self.session_id:
            headers["x-ailb-memory"] = self.memory_status
        if self.documents_status:
            headers["x-ailb-rag"] = self.documents_status
        return headers

    def open_books(self, *, is_stream: bool = False) -> Entry:
        """Begin the request's entry; `close_books` must follow, whatever happens."""
        metrics.ACTIVE_CONNECTIONS.inc()
        self.has_books = True
        return Entry(
            request_id=self.request_id,
            operation=self.operation,
            at_s=time.time(),  # noqa: TID251 - a timestamp
            tenant=self.principal.tenant.name,
            api_key="" if self.principal.key is None else self.principal.key.public_id,
            is_stream=is_stream,
        )

    def close_books(self, entry: Entry) -> None:
        """Settle once: the same code on success, error and disconnect."""
        if self.is_settled:
            return
        self.is_settled = True
        metrics.ACTIVE_CONNECTIONS.dec()
        trace = self.trace
        entry.attempts = trace.attempts
        entry.duration_s = time.monotonic() - self.started_s
        entry.first_content_s = trace.first_content_s
        entry.budgets = self.grant.budget_periods
        if self.model is not None:
            entry.model = self.model.name
        if trace.deployment is not None and trace.model is not None:
            entry.model = trace.model.name
            entry.deployment = trace.deployment
            entry.strategy = trace.model.strategy.name
        self._settle_usage(entry)
        self.ledger.settle(entry)

    def _settle_usage(self, entry: Entry) -> None:
        """Reckon what was used, and settle what was reserved for it."""
        deployment = entry.deployment
        if not entry.has_reached_provider or deployment is None:
            self.limiter.release(self.grant)
            return
        if entry.usage is None and entry.status == CLIENT_LEFT and self.needs:
            entry.usage = estimated(self.needs, 0)  # its prompt was sent
        usage = entry.usage or Usage()
        entry.cost_nano_usd = cost_nano_usd(usage, deployment.prices)
        spent = Spent(usage.prompt_tokens, usage.completion_tokens, entry.cost_nano_usd)
        self.limiter.settle(self.grant, spent)

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


def dearest_nano_usd(task: Task) -> int | None:
    """Estimate what the request costs where it costs most; None without any price."""
    costs = [
        cost
        for prices in task.model.prices
        if (
            cost := estimated_cost_nano_usd(
                input_tokens=task.needs.prompt_tokens,
                output_tokens=task.needs.output_tokens,
                prices=prices,
            )
        )
        is not None
    ]
    return max(costs, default=None)


def told(warning: BudgetStanding) -> str:
    """Write a budget's warning for a header: `key day 83%`."""
    budget = warning.budget
    return f"{budget.scope.value} {budget.period.value} {warning.percent}%"
