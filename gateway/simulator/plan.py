"""Scripted behaviour of a simulator: faults, their one-line spelling, and the plan."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from threading import Lock

# A colon inside a value (an HTTP date) is no separator: options start with a letter.
_OPTION = re.compile(r":(?=[a-z_]+(?:=|:|$))")


class FaultKind(StrEnum):
    """What may happen to one request; `FAULT_HELP` says what each does."""

    OK = "ok"
    STATUS = "status"
    HANG = "hang"
    HANG_AFTER_HEADERS = "hang_after_headers"
    SLOW_HEADERS = "slow_headers"
    SLOW_BODY = "slow_body"
    RESET_AT = "reset_at"
    FIN_AT = "fin_at"
    STALL_AFTER = "stall_after"
    DIE_AFTER = "die_after"
    ERROR_EVENT_AFTER = "error_event_after"
    EMPTY_STREAM = "empty_stream"
    GARBAGE = "garbage"
    BAD_JSON = "bad_json"
    BAD_UTF8 = "bad_utf8"
    WRONG_TYPE = "wrong_type"
    TRUNCATED_CHUNK = "truncated_chunk"
    WRONG_LENGTH = "wrong_length"
    REDIRECT = "redirect"
    DRIP = "drip"
    GZIP = "gzip"
    HUGE_LINE = "huge_line"
    STALE_KEEPALIVE = "stale_keepalive"


FAULT_HELP: dict[FaultKind, str] = {
    FaultKind.OK: "ok: answer normally",
    FaultKind.STATUS: (
        "status:S[:code=C][:param=P][:message=M][:retry_after=R]: the vendor's real"
        " error body with status S; R is sent as it stands (seconds, HTTP date, junk);"
        " a bare word is the code"
    ),
    FaultKind.HANG: "hang: send nothing at all, hold the connection",
    FaultKind.HANG_AFTER_HEADERS: "hang_after_headers: headers, then nothing",
    FaultKind.SLOW_HEADERS: "slow_headers:T: T seconds before the first byte",
    FaultKind.SLOW_BODY: "slow_body:T: headers at once, the body T seconds later",
    FaultKind.RESET_AT: (
        "reset_at:N: TCP reset after N bytes of the response, headers included"
    ),
    FaultKind.FIN_AT: "fin_at:N: orderly close after N bytes, headers included",
    FaultKind.STALL_AFTER: "stall_after:N: N stream events, then silence",
    FaultKind.DIE_AFTER: (
        "die_after:N: N stream events, then an orderly close without an end of body"
    ),
    FaultKind.ERROR_EVENT_AFTER: (
        "error_event_after:N: N stream events, then the vendor's in-stream error and a"
        " clean end of body; no effect on a whole answer"
    ),
    FaultKind.EMPTY_STREAM: "empty_stream: status 200, right type, no body",
    FaultKind.GARBAGE: "garbage: an HTML page with status 200",
    FaultKind.BAD_JSON: "bad_json: JSON cut in half (streams: the first event)",
    FaultKind.BAD_UTF8: "bad_utf8: JSON holding bytes that are no UTF-8",
    FaultKind.WRONG_TYPE: "wrong_type: a JSON array where an object belongs",
    FaultKind.TRUNCATED_CHUNK: (
        "truncated_chunk: a chunk announced longer than sent, then a close"
    ),
    FaultKind.WRONG_LENGTH: (
        "wrong_length: Content-Length longer than the body, then a close"
    ),
    FaultKind.REDIRECT: "redirect: status 307 to /simulated-redirect on this server",
    FaultKind.DRIP: "drip:N: the body in writes (and chunks) of N bytes",
    FaultKind.GZIP: "gzip: the body gzip-compressed, asked for or not",
    FaultKind.HUGE_LINE: "huge_line:N: one event or body carrying N bytes of text",
    FaultKind.STALE_KEEPALIVE: (
        "stale_keepalive: a request on a reused connection is dropped before any"
        " response byte; on a new connection it is answered and the step waits"
    ),
}

_NEEDS_AMOUNT = frozenset(
    {
        FaultKind.STATUS,
        FaultKind.SLOW_HEADERS,
        FaultKind.SLOW_BODY,
        FaultKind.RESET_AT,
        FaultKind.FIN_AT,
        FaultKind.STALL_AFTER,
        FaultKind.DIE_AFTER,
        FaultKind.ERROR_EVENT_AFTER,
        FaultKind.DRIP,
        FaultKind.HUGE_LINE,
    }
)
_SECONDS = frozenset({FaultKind.SLOW_HEADERS, FaultKind.SLOW_BODY})
_OPTIONS = frozenset({"code", "param", "message", "retry_after"})
_WELL_KNOWN_STATUS = frozenset(range(400, 600))


class FaultSpecError(ValueError):
    """A fault spec nobody can act on; the message says what would be accepted."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that happens to one request.

    `amount` is a status, bytes, events or seconds, as the kind needs; 0 where it
    needs none. The options only matter to `status`.
    """

    kind: FaultKind = FaultKind.OK
    amount: float = 0
    code: str | None = None
    param: str | None = None
    message: str | None = None
    retry_after: str | None = None

    @classmethod
    def parse(cls, spec: str) -> Fault:
        """Read one line such as `status:429:retry_after=2`; raise FaultSpecError."""
        head, *options = _OPTION.split(spec.strip())
        name, _, amount = head.partition(":")
        try:
            kind = FaultKind(name)
        except ValueError:
            names = ", ".join(FaultKind)
            raise FaultSpecError(
                f"fault {spec!r}: unknown kind {name!r}; known are {names}"
            ) from None
        return cls(kind, _amount(kind, amount, spec), **_options(kind, options, spec))

    @property
    def spec(self) -> str:
        """The one line that `parse` reads back as the same value."""
        parts = [str(self.kind)]
        if self.kind in _NEEDS_AMOUNT:
            parts.append(
                f"{self.amount:g}" if self.amount % 1 else f"{self.amount:.0f}"
            )
        for name in ("code", "param", "message", "retry_after"):
            value = getattr(self, name)
            if value is not None:
                parts.append(f"{name}={value}")
        return ":".join(parts)


def _amount(kind: FaultKind, text: str, spec: str) -> float:
    if kind not in _NEEDS_AMOUNT:
        if text:
            raise FaultSpecError(f"fault {spec!r}: {kind} takes no number")
        return 0
    try:
        value = float(text) if kind in _SECONDS else int(text)
    except ValueError:
        raise FaultSpecError(
            f"fault {spec!r}: write {kind}:NUMBER; {FAULT_HELP[kind]}"
        ) from None
    if not 0 <= value < float("inf") or (kind is FaultKind.DRIP and value == 0):
        raise FaultSpecError(f"fault {spec!r}: the number must be positive and finite")
    if kind is FaultKind.STATUS and value not in _WELL_KNOWN_STATUS:
        raise FaultSpecError(f"fault {spec!r}: the status must be 400 to 599")
    return value


def _options(kind: FaultKind, options: list[str], spec: str) -> dict[str, str]:
    if options and kind is not FaultKind.STATUS:
        raise FaultSpecError(f"fault {spec!r}: only status takes options")
    values: dict[str, str] = {}
    for option in options:
        name, separator, value = option.partition("=")
        if not separator:
            name, value = "code", option
        if name not in _OPTIONS:
            raise FaultSpecError(
                f"fault {spec!r}: unknown option {name!r};"
                f" known are {', '.join(sorted(_OPTIONS))}"
            )
        values[name] = value
    return values


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a simulator answers when the plan says nothing.

    A request waits `latency_s` plus or minus up to `jitter_s` (evenly drawn, never
    below 0), then produces `tokens_per_s` tokens a second (0: at once). A share
    `error_rate` (0 to 1) of requests, drawn from `seed`, fails with `error_status`.
    `answer_text` replaces the answer word for word; `answer_tokens` makes it that long.
    With `in_one_piece` a stream carries the whole text in one event. With
    `floats_only` embeddings are float lists even where base64 was asked for, as many
    compatible servers answer (and as OpenAI's SDK needs it when it validates strictly).
    """

    latency_s: float = 0.0
    jitter_s: float = 0.0
    tokens_per_s: float = 0.0
    error_rate: float = 0.0
    error_status: int = HTTPStatus.INTERNAL_SERVER_ERROR
    seed: int = 0
    answer_text: str | None = None
    answer_tokens: int | None = None
    in_one_piece: bool = False
    floats_only: bool = False

    def __post_init__(self) -> None:
        """Refuse values that mean nothing; raise ValueError naming the field."""
        for name in ("latency_s", "jitter_s", "tokens_per_s"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(f"{name} must be 0 or more")
        if not 0 <= self.error_rate <= 1:
            raise ValueError("error_rate must be between 0 and 1")
        if self.error_status not in _WELL_KNOWN_STATUS:
            raise ValueError("error_status must be 400 to 599")
        if self.answer_tokens is not None and self.answer_tokens < 0:
            raise ValueError("answer_tokens must be 0 or more")

    def delay_s(self, draw: float) -> float:
        """Seconds before the first byte, for a draw from 0 to 1."""
        return max(0.0, self.latency_s + (2 * draw - 1) * self.jitter_s)

    def chance_fault(self, draw: float) -> Fault:
        """Say what befalls an unscripted request, for a draw from 0 (incl.) to 1."""
        if draw < self.error_rate:
            return Fault(FaultKind.STATUS, self.error_status)
        return Fault()


class Plan:
    """Steps consumed one per request; safe to read and replace from any thread.

    Without `repeat`, requests after the last step are answered by the Behaviour.
    """

    def __init__(
        self, steps: Iterable[Fault | str] = (), *, repeat: bool = False
    ) -> None:
        """Take faults or their specs; raise FaultSpecError for a bad one."""
        self._lock = Lock()
        self._steps: tuple[Fault, ...] = ()
        self._repeat = False
        self._next = 0
        self.replace(steps, repeat=repeat)

    def replace(self, steps: Iterable[Fault | str], *, repeat: bool = False) -> None:
        """Start over with other steps; a bad spec leaves the old ones in place."""
        parsed = tuple(s if isinstance(s, Fault) else Fault.parse(s) for s in steps)
        with self._lock:
            self._steps, self._repeat, self._next = parsed, repeat, 0

    def take(self, *, reused_connection: bool = False) -> Fault | None:
        """Consume the next step; None when the plan has nothing to say."""
        with self._lock:
            if self._repeat and self._next >= len(self._steps):
                self._next = 0
            if self._next >= len(self._steps):
                return None
            step = self._steps[self._next]
            if step.kind is FaultKind.STALE_KEEPALIVE and not reused_connection:
                return Fault()
            self._next += 1
            return step

    @property
    def remaining(self) -> tuple[Fault, ...]:
        """The steps not yet consumed (of this round, when repeating)."""
        with self._lock:
            return self._steps[self._next :]
