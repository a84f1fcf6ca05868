"""Closed vocabularies shared by rows, routing, dialects and metrics (pure)."""

from __future__ import annotations

from enum import StrEnum


class Algorithm(StrEnum):
    """How a strategy orders the eligible deployments of a model."""

    ROUND_ROBIN = "round_robin"
    COST_OPTIMIZED = "cost_optimized"
    LATENCY_OPTIMIZED = "latency_optimized"
    LOAD_BALANCED = "load_balanced"
    FAILOVER = "failover"
    RANDOM = "random"


class Operation(StrEnum):
    """What a request asks an upstream to do."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"


class Source(StrEnum):
    """Who owns a row: an operator, the environment, discovery, or the simulator."""

    OPERATOR = "operator"
    ENVIRONMENT = "environment"
    DISCOVERY = "discovery"
    SIMULATOR = "simulator"


class FaultDomain(StrEnum):
    """Whose fault a failed request was; the label every failure metric carries."""

    CALLER = "caller"
    POLICY = "policy"
    PROVIDER = "provider"
    GATEWAY = "gateway"


class FinishReason(StrEnum):
    """Why a model stopped, in OpenAI's words."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class Fault(StrEnum):
    """What went wrong with one attempt: the rows of the classification table.

    `gateway.routing.failover.RULES` says what follows from each.
    """

    UNREACHABLE = "unreachable"  # DNS, connect, TLS, connect timeout, pool wait
    STALE_CONNECTION = "stale_connection"  # kept-alive socket closed, no byte came
    TIMEOUT = "timeout"  # no first content, or no whole answer, in time
    SERVER_ERROR = "server_error"  # 500 and 5xx without a row of its own
    UNAVAILABLE = "unavailable"  # 502, 503, 504, 529
    CONFLICT = "conflict"  # 408, 409, 425
    RATE_LIMITED = "rate_limited"  # 429
    QUOTA_EXHAUSTED = "quota_exhausted"  # 402, 429 insufficient_quota
    CREDENTIAL_REJECTED = "credential_rejected"  # 401, 403: our credential is bad
    MODEL_MISSING = "model_missing"  # 404
    CONTEXT_LENGTH = "context_length"  # 400: the prompt is too long for this model
    UNSUPPORTED_PARAMETER = "unsupported_parameter"  # 400, or our dialect cannot say it
    CONTENT_POLICY = "content_policy"  # 400: refused by the vendor's policy
    REJECTED = "rejected"  # other 4xx: the request itself is at fault
    INVALID_RESPONSE = "invalid_response"  # 200 with garbage; 3xx
    INTERRUPTED = "interrupted"  # stall or reset after the first forwarded byte


class Right(StrEnum):
    """What a virtual key may do; a key has the rights its row names and no other."""

    CHAT = "chat"
    EMBEDDINGS = "embeddings"
    MEMORY = "memory"  # the conversations of its own tenant
    DOCUMENTS = "documents"  # the collections it may read, to fill and to search
    MANAGEMENT_READ = "management_read"
    MANAGEMENT_WRITE = "management_write"


class Scope(StrEnum):
    """Whose requests a limit counts or a budget pays for."""

    KEY = "key"
    TENANT = "tenant"
    MODEL = "model"
    PROVIDER = "provider"
    ADDRESS = "address"  # the caller's, as `AILB_TRUSTED_PROXIES` lets it be known
    EVERYBODY = "everybody"


class Measure(StrEnum):
    """What a limit counts; TOKENS are input and output together."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    INPUT_TOKENS = "input_tokens"
    OUTPUT_TOKENS = "output_tokens"
    CONCURRENCY = "concurrency"  # requests in flight at once: no window


class Window(StrEnum):
    """The sliding window of a limit."""

    SECOND = "second"
    MINUTE = "minute"
    HOUR = "hour"
    DAY = "day"

    @property
    def length_s(self) -> int:
        """Give its length in seconds."""
        return {"second": 1, "minute": 60, "hour": 3600, "day": 86_400}[self.value]


class Period(StrEnum):
    """What a budget is for: calendar periods in UTC, weeks from Monday, or for ever."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"


class PriceOrigin(StrEnum):
    """Where the price of a usage came from; UNKNOWN is not free."""

    ROW = "row"  # the deployment's own
    SHIPPED = "shipped"  # the table that comes with AILB
    SIMULATED = "simulated"  # a simulator's answer costs nothing
    UNKNOWN = "unknown"


class TrafficAction(StrEnum):
    """What was done to the split of traffic over versions."""

    SET_WEIGHT = "set_weight"
    PROMOTE = "promote"
    PROMOTION_STEP = "promotion_step"
    ROLLBACK = "rollback"
    AUTOMATIC_ROLLBACK = "automatic_rollback"


class PromotionState(StrEnum):
    """How far a promotion in steps is; only RUNNING goes on."""

    RUNNING = "running"
    FINISHED = "finished"
    CANCELLED = "cancelled"  # by another change of the weights
    ROLLED_BACK = "rolled_back"


class WorkerState(StrEnum):
    """How a process that serves HTTP stands, by its own word."""

    SERVING = "serving"
    DRAINING = "draining"
    ENDED = "ended"
