"""The attempt loop: order, send, classify, then retry, fail over or give up.

The one place where the pure routing core meets the network; the same loop for whole
answers and for streams, whose first content is awaited inside the attempt.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from gateway.dialects import registry
from gateway.dialects.exchange import Exchange, Whole
from gateway.dispatch.attempt import Attempt, Live, figures_of
from gateway.dispatch.choice import chain, nothing_eligible, sample, untried
from gateway.dispatch.stream import OpenedStream, first_content
from gateway.dispatch.task import Task, Trace
from gateway.errors import RateLimited, UpstreamError, forget_frames
from gateway.kinds import Fault
from gateway.limits import NOTHING, Estimate, Grant, Limiter
from gateway.routing.availability import Admission
from gateway.routing.eligibility import PASSING, TROUBLED, Selection, select
from gateway.routing.failover import (
    MINIMUM_ATTEMPT_S,
    AttemptRecord,
    StepKind,
    final_error,
    may_follow,
    next_step,
)
from gateway.routing.health import HealthTable
from gateway.routing.rotations import Rotations
from gateway.routing.splitting import Splitting
from gateway.routing.strategies import order
from gateway.snapshot import Deployment, Model, Snapshot
from gateway.upstream import MAX_ERROR_BYTES, Incoming, Upstream

# A timer may fire up to 1 ms early, while the cooldown it waits for still runs.
TIMER_SLACK_S = 0.005


class Dispatcher:
    """Sends requests to deployments until one answers. One per process."""

    def __init__(
        self,
        upstream: Upstream,
        limiter: Limiter,
        *,
        clock: Callable[[], float] = time.monotonic,
        draw: Callable[[], float] = random.random,
    ) -> None:
        """`clock` is monotonic; `draw` gives numbers in [0, 1)."""
        self._upstream = upstream
        self._limiter = limiter
        self.live = Live(clock=clock, draw=draw, health=HealthTable())
        self._rotations = Rotations()
        self._splitting = Splitting()

    def retain(self, snapshot: Snapshot) -> None:
        """Forget the live state of what a new snapshot no longer has."""
        self.live.health.retain(snapshot)
        self._rotations.retain(snapshot)
        self._splitting.retain(snapshot)

    async def whole(self, task: Task, trace: Trace) -> Whole:
        """Get a whole answer.

        Raises:
            AllAttemptsFailed: No attempt succeeded.
            RateLimited: The limits of the providers left no attempt.
            NoEligibleDeployment: None could even be made.
            InvalidRequest: No deployment can do what the request asks.

        """
        answer = await self._run(task, trace)
        assert isinstance(answer, Whole)
        return answer

    async def stream(self, task: Task, trace: Trace) -> OpenedStream:
        """Get a stream whose first content has arrived; raises like `whole`."""
        answer = await self._run(task, trace)
        assert isinstance(answer, OpenedStream)
        return answer

    async def _run(self, task: Task, trace: Trace) -> Whole | OpenedStream:
        selections: list[Selection] = []
        models = chain(task)
        for position, model in enumerate(models):
            selection = self._sample(model, task) or self._select(model, task)
            selections.append(selection)
            answer = await self._try_model(
                task, trace, model, selection, models[position + 1 :]
            )
            if answer is not None:
                return answer
        if trace.failures:
            last = trace.failures[-1].error
            raise final_error([f.error for f in trace.failures]) from last
        if trace.refusals:
            raise min(trace.refusals, key=lambda refusal: refusal.retry_after_s or 0.0)
        raise nothing_eligible(task, selections, self._waiting_after(selections))

    def _waiting_after(self, selections: Sequence[Selection]) -> set[Fault | None]:
        now_s = self.live.clock()
        return {
            self.live.health.availability(deployment, now_s).fault
            for selection in selections
            for deployment, reason in selection.excluded
            if reason in PASSING
        }

    def _sample(self, model: Model, task: Task) -> Selection | None:
        """Look at a few of many deployments; None unless there is a choice among them."""
        if not model.lead or (few := sample(model, self.live.draw)) is None:
            return None
        found = self._select(model, task, few=few)
        has_choice = len(found.candidates) > 1 and found.admission is Admission.NORMAL
        return found if has_choice else None

    def _select(
        self, model: Model, task: Task, *, few: Sequence[Deployment] | None = None
    ) -> Selection:
        return select(
            model,
            task.needs,
            health=self.live.health,
            now_s=self.live.clock(),
            requires_price=task.requires_price,
            sample=few,
        )

    def _order(
        self, model: Model, selection: Selection, task: Task
    ) -> list[Deployment]:
        if model.split and selection.admission is not Admission.PANIC:
            return self._order_by_version(model, selection, task)
        return self._order_by_strategy(model, selection, task)

    def _order_by_version(
        self, model: Model, selection: Selection, task: Task
    ) -> list[Deployment]:
        """Put the candidates of one version first; the others are there for failover."""
        candidates = selection.candidates
        eligible = {deployment.version for deployment in candidates}
        self._note_missed(model, selection, eligible, task)
        version = self._splitting.choose(model, eligible, task.conversation)
        if version is None:
            return self._order_by_strategy(model, selection, task)
        chosen = tuple([d for d in candidates if d.version == version])
        others = tuple([d for d in candidates if d.version != version])
        return self._order_by_strategy(
            model, replace(selection, candidates=chosen), task
        ) + self._order_by_strategy(
            model, replace(selection, candidates=others), task, has_pick=False
        )

    def _note_missed(
        self, model: Model, selection: Selection, eligible: set[str], task: Task
    ) -> None:
        """Count a request whose turn a version would have, were it not kept from it."""
        kept = {d.version for d, reason in selection.excluded if reason in TROUBLED}
        kept -= eligible
        if kept:
            due = self._splitting.choose(model, eligible | kept, task.conversation)
            if due in kept:
                figures_of(self.live.versions, due).missed_requests += 1

    def _order_by_strategy(
        self, model: Model, selection: Selection, task: Task, *, has_pick: bool = True
    ) -> list[Deployment]:
        ordered = order(
            model.strategy,
            selection,
            needs=task.needs,
            health=self.live.health,
            rotations=self._rotations,
            draw=self.live.draw,
            now_s=self.live.clock(),
            has_pick=has_pick,
        )
        return list(ordered)

    async def _try_model(
        self,
        task: Task,
        trace: Trace,
        model: Model,
        selection: Selection,
        fallbacks: Sequence[Model],
    ) -> Whole | OpenedStream | None:
        """Try a model's deployments; None when none is left and a fallback may follow."""
        queue = self._left(model, selection, task, trace)
        failures: list[AttemptRecord] = []
        while queue:
            deployment = queue[0]
            try:
                answer = await self._attempt(task, trace, model, deployment, selection)
            except UpstreamError as error:
                forget_frames(error)
                record = AttemptRecord(deployment, error)
                trace.failures.append(record)
                failures.append(record)
                if selection.is_sample:
                    selection = self._select(model, task)
                    queue = [deployment, *self._left(model, selection, task, trace)]
                others = [d for d in queue[1:] if may_follow(error, deployment, d)]
                later = self._may_fall_back(task, trace, record, fallbacks)
                step = next_step(
                    error,
                    attempts=failures,
                    remaining=len(others) + later,
                    elapsed_s=self.live.clock() - task.started_s,
                    deadline_s=task.model.strategy.request_deadline_s,
                    max_attempts=model.strategy.max_attempts,
                    draw=self.live.draw,
                )
                if step.kind is StepKind.SAME:
                    await asyncio.sleep(step.delay_s + TIMER_SLACK_S)
                    continue
                if not others and later and self._has_time(task):
                    return None
                if step.kind is StepKind.STOP:
                    raise final_error([f.error for f in trace.failures]) from error
                queue = others
            else:
                if answer is not None:
                    return answer
                queue = queue[1:]  # no longer admitted since it was selected
                if not queue and selection.is_sample:
                    selection = self._select(model, task)
                    queue = self._left(model, selection, task, trace)
        return None

    def _left(
        self, model: Model, selection: Selection, task: Task, trace: Trace
    ) -> list[Deployment]:
        """Order what is left to be tried; providers that have failed come last."""
        left = untried(self._order(model, selection, task), trace)
        if trace.failures:
            failed = {failure.deployment.provider.id for failure in trace.failures}
            left.sort(key=lambda deployment: deployment.provider.id in failed)
        return left

    def _has_time(self, task: Task) -> bool:
        left_s = (
            task.model.strategy.request_deadline_s - self.live.clock() + task.started_s
        )
        return left_s > MINIMUM_ATTEMPT_S

    def _may_fall_back(
        self,
        task: Task,
        trace: Trace,
        failure: AttemptRecord,
        fallbacks: Sequence[Model],
    ) -> int:
        """Count the deployments of fallback models that may follow a failure."""
        return sum(
            may_follow(failure.error, failure.deployment, deployment)
            for model in fallbacks
            for deployment in untried(self._select(model, task).candidates, trace)
        )

    async def _attempt(
        self,
        task: Task,
        trace: Trace,
        model: Model,
        deployment: Deployment,
        selection: Selection,
    ) -> Whole | OpenedStream | None:
        """Make one attempt; None if the deployment is not, or no longer, admitted."""
        exchange = task.open_exchange(model, deployment)
        grant = await self._admit(task, trace, deployment)
        if grant is None:
            return None
        flight = self.live.health.begin(
            deployment,
            self.live.clock(),
            strategy=model.strategy,
            admission=selection.admission,
            is_retry=any(f.deployment.id == deployment.id for f in trace.failures),
        )
        if flight is None:
            self._limiter.release(grant)
            return None
        trace.model, trace.deployment = model, deployment
        trace.attempts += 1
        trace.dropped = exchange.dropped
        attempt = Attempt(
            self.live,
            task,
            deployment,
            flight,
            stream_deadline_s=model.strategy.stream_deadline_s,
            settle=partial(self._limiter.settle, grant),
        )
        try:
            if task.is_stream:
                return await self._open_stream(task, trace, attempt, exchange)
            return await self._get_whole(task, attempt, exchange)
        except UpstreamError as error:
            attempt.failed(error)
            raise
        except BaseException:
            attempt.cancelled()
            raise

    async def _admit(
        self, task: Task, trace: Trace, deployment: Deployment
    ) -> Grant | None:
        """Let an attempt pass the limits of its provider, and of a model not asked for.

        None if one is reached: another deployment may serve.
        """
        access = task.snapshot.access
        limits = access.by_provider.get(deployment.provider.name, ())
        if deployment.model != task.model.name:  # by `auto`, or as a fallback
            limits += access.by_model.get(deployment.model, ())
        if not limits:
            return NOTHING
        needs = task.needs
        estimate = Estimate(needs.prompt_tokens, needs.output_tokens)
        try:
            return await self._limiter.admit(limits, (), estimate)
        except RateLimited as refusal:
            trace.refusals.append(refusal)
            return None

    async def _get_whole(
        self, task: Task, attempt: Attempt, exchange: Exchange
    ) -> Whole:
        limit_s = self._limit_s(task, attempt.deployment.timeouts.response_s)
        try:
            async with asyncio.timeout(limit_s):
                incoming = await self._send(task, attempt, exchange)
                try:
                    whole = exchange.whole(await incoming.read())
                finally:
                    await incoming.aclose()
        except TimeoutError as error:
            raise too_slow(limit_s) from error
        attempt.succeeded(whole.usage, streamed=False)
        return whole

    async def _open_stream(
        self, task: Task, trace: Trace, attempt: Attempt, exchange: Exchange
    ) -> OpenedStream:
        limit_s = self._limit_s(task, attempt.deployment.timeouts.first_byte_s)
        incoming: Incoming | None = None
        try:
            async with asyncio.timeout(limit_s):
                incoming = await self._send(task, attempt, exchange)
                translator, chunks = exchange.stream(), incoming.chunks()
                head = await first_content(translator, chunks)
        except BaseException as error:
            if incoming is not None:
                await incoming.aclose()
            if isinstance(error, TimeoutError):
                raise too_slow(limit_s) from error
            raise
        attempt.has_content()
        trace.first_content_s = self.live.clock() - task.started_s
        return OpenedStream(attempt, incoming, translator, chunks, head)

    def _limit_s(self, task: Task, timeout_s: float) -> float:
        """Cut a timeout to what is left of the request's deadline."""
        deadline_s = task.started_s + task.model.strategy.request_deadline_s
        return max(min(timeout_s, deadline_s - self.live.clock()), 0.0)

    async def _send(self, task: Task, attempt: Attempt, exchange: Exchange) -> Incoming:
        """Send, and raise what a status other than success says."""
        deployment = attempt.deployment
        incoming = await self._upstream.send(
            deployment.provider,
            deployment.provider.urls[task.operation],
            exchange.body,
            connect_timeout_s=deployment.timeouts.connect_s,
        )
        if incoming.status == 200:
            return incoming
        try:
            data = await incoming.read(MAX_ERROR_BYTES)
        finally:
            await incoming.aclose()
        dialect = registry.dialect_of(deployment.provider.kind)
        raise dialect.read_error(incoming.status, data, incoming.retry_after_s())


def too_slow(limit_s: float) -> UpstreamError:
    """Make the error of an attempt that took too long."""
    return UpstreamError(
        Fault.TIMEOUT, f"The provider did not answer within {limit_s:g} s."
    )
