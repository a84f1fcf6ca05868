"""What a load balancer means by a rate limit: its amounts by kind of row, and its target."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from gateway.caller_address import normal_address
from gateway.kinds import Measure, Scope, Window
from gateway.models.quotas import MAX_AMOUNT

MAX_ID_LENGTH = 200
MAX_METADATA_CHARACTERS = 10_000
GLOBAL = "global"
SCOPES: Mapping[str, Scope] = {
    "model": Scope.MODEL,
    "provider": Scope.PROVIDER,
    "key": Scope.KEY,
    "ip": Scope.ADDRESS,
    "tenant": Scope.TENANT,
}

Kind = tuple[str, str]  # a Limit's measure and window; concurrency has none
SECOND, MINUTE, HOUR = (
    (Measure.REQUESTS.value, window.value)
    for window in (Window.SECOND, Window.MINUTE, Window.HOUR)
)
RATES: Mapping[str, Kind] = {
    "requests_per_second": SECOND,
    "requests_per_minute": MINUTE,
    "requests_per_hour": HOUR,
}
# What each name in the metadata stands for; other names are only kept.
NAMES: Mapping[str, Kind] = {
    "max_concurrency": (Measure.CONCURRENCY.value, ""),
    **{
        f"{measure}_per_{window}": (measure.value, window.value)
        for measure in Measure
        if measure is not Measure.CONCURRENCY
        for window in Window
    },
}
# What the metadata say of a row that an operator made.
MEASURE, AMOUNT, WINDOW = ROW_FIELDS = ("measure", "amount", "window")


class RateLimitRefused(Exception):
    """A rate limit that cannot be: the message says why."""

    def __init__(self, message: str) -> None:
        """`message` is for whoever asked."""
        super().__init__(message)
        self.message = message


class RateLimitUnknown(RateLimitRefused):
    """There is no such rate limit, or what it is to limit is not there."""


@dataclass(frozen=True, slots=True)
class RateLimit:
    """At most so many requests of a target; a rate of 0 is not limited.

    `target` is `global`, `model:NAME`, `provider:NAME`, `key:ID` (its public id, or its
    name if no other key has it), `tenant:NAME` or `ip:ADDRESS`. With a `burst_size` over
    the rate per second, a second may hold so many, and that rate holds over a minute (an
    hour, if the burst is more than a minute's worth). A smaller one, or one without a
    rate per second, is what any one second may hold. Of the metadata, `max_concurrency`
    and the likes of `tokens_per_minute` are enforced.
    """

    id: str
    target: str
    requests_per_second: int = 0
    requests_per_minute: int = 0
    requests_per_hour: int = 0
    burst_size: int = 0
    enabled: bool = True
    metadata: Mapping[str, str] = field(default_factory=dict)


def check_texts(limit: RateLimit) -> None:
    """Refuse texts that are too long, or that no database keeps."""
    if len(limit.id) > MAX_ID_LENGTH:
        raise RateLimitRefused(
            f"The id of a rate limit has at most {MAX_ID_LENGTH} characters."
        )
    said = [text for item in limit.metadata.items() for text in item]
    if sum(map(len, said)) > MAX_METADATA_CHARACTERS:
        raise RateLimitRefused(
            f"The metadata have more than {MAX_METADATA_CHARACTERS:,} characters."
        )
    if not limit.id.isprintable() or any("\0" in text for text in said):
        raise RateLimitRefused(
            "Ids are printable text, and metadata hold no zero byte."
        )


def amounts_of(limit: RateLimit) -> dict[Kind, int]:
    """Say how much each kind of Limit row allows: the strictest of what was given.

    Raises:
        RateLimitRefused: Nothing is limited, or an amount cannot be.

    """
    amounts: dict[Kind, int] = {}
    for name, kind, amount in [*rates_in(limit), *metadata_in(limit.metadata)]:
        if not 1 <= amount <= MAX_AMOUNT:
            raise RateLimitRefused(
                f"{name} must be 1 to {MAX_AMOUNT}; {amount} is not."
            )
        amounts[kind] = min(amount, amounts.get(kind, amount))
    if not amounts:
        raise RateLimitRefused(
            "Nothing is limited: give requests_per_second, requests_per_minute or "
            "requests_per_hour, or max_concurrency or the like in the metadata."
        )
    return amounts


def rates_in(limit: RateLimit) -> Iterable[tuple[str, Kind, int]]:
    """Read the rates and the burst: what each is called, its kind and its amount."""
    rates = {name: getattr(limit, name) for name in (*RATES, "burst_size")}
    for name, amount in rates.items():
        if amount < 0:
            raise RateLimitRefused(f"{name} is negative: {amount}.")
    burst, per_second = limit.burst_size, limit.requests_per_second
    if burst and not any(getattr(limit, name) for name in RATES):
        raise RateLimitRefused("burst_size needs a rate beside it, such as a second's.")
    given = [(name, kind, rates[name]) for name, kind in RATES.items() if rates[name]]
    if not burst:
        return given
    if not 0 < per_second < burst:
        return [*given, ("burst_size", SECOND, burst)]
    return [*given[1:], *burst_over(per_second, burst)]


def burst_over(per_second: int, burst: int) -> Iterable[tuple[str, Kind, int]]:
    """Spread a rate per second over as long a window as a burst leaves it."""
    name, minute, hour = "requests_per_second", 60 * per_second, 3600 * per_second
    if burst > hour:
        raise RateLimitRefused(
            f"burst_size {burst} is more than an hour of requests_per_second: so large "
            "a burst would make the rate void."
        )
    yield "burst_size", SECOND, burst
    yield name, MINUTE, max(minute, burst)
    if burst > minute:
        yield name, HOUR, hour


def metadata_in(metadata: Mapping[str, str]) -> Iterable[tuple[str, Kind, int]]:
    """Read what the metadata limit, in the words of `rates_in`."""
    for name, kind in NAMES.items():
        if name in metadata:
            yield name, kind, whole_number(name, metadata[name])
    if MEASURE in metadata and AMOUNT in metadata:
        kind = metadata[MEASURE], metadata.get(WINDOW, "")
        if kind not in NAMES.values():
            raise RateLimitRefused(
                f"The metadata name no limit: measure {kind[0][:50]!r}, window "
                f"{kind[1][:50]!r}."
            )
        yield AMOUNT, kind, whole_number(AMOUNT, metadata[AMOUNT])


def whole_number(name: str, text: str) -> int:
    """Read an amount in the metadata."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MAX_AMOUNT))):
        raise RateLimitRefused(
            f"{name} in the metadata must be a whole number from 1 to {MAX_AMOUNT}; "
            f"{text[:50]!r} is not."
        )
    return int(text)


def read_target(target: str) -> tuple[Scope, str]:
    """Read a target: whose requests are counted, and its name; addresses in normal form.

    Raises:
        RateLimitRefused: It has no such form.

    """
    if target == GLOBAL:
        return Scope.EVERYBODY, ""
    prefix, _, name = target.partition(":")
    scope = SCOPES.get(prefix)
    if scope is None or not name or not name.isprintable():
        forms = ", ".join([GLOBAL, *(f"{prefix}:..." for prefix in SCOPES)])
        raise RateLimitRefused(f"{target[:200]!r} is no target; targets are: {forms}.")
    if scope is not Scope.ADDRESS:
        return scope, name
    try:
        return scope, normal_address(name)
    except ValueError as error:
        raise RateLimitRefused(f"{name[:100]!r} is no IP address.") from error
