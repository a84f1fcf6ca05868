"""The configuration of one revision as immutable values; a request holds one (pure)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.access import Access
from gateway.kinds import Algorithm, Operation, PriceOrigin
from memory.config import Policies


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Limits of one attempt, in seconds."""

    connect_s: float = 5.0
    first_byte_s: float = 60.0  # streams: until the first content
    response_s: float = 120.0  # one whole non-streamed attempt
    idle_s: float = 60.0  # between two reads of a stream


@dataclass(frozen=True, slots=True)
class Breaker:
    """When a deployment's breaker trips and how long it stays open."""

    consecutive_failures: int = 5
    failure_rate: float = 0.5  # 0 to 1
    minimum_requests: int = 10  # finished in the window before the rate counts
    window_s: float = 30.0
    open_s: float = 5.0  # doubles with every trip
    max_open_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Strategy:
    """One RoutingStrategy row."""

    name: str
    algorithm: Algorithm
    max_attempts: int = 3
    request_deadline_s: float = 600.0
    stream_deadline_s: float = 1800.0
    latency_decay_s: float = 60.0  # time constant of the latency averages
    breaker: Breaker = field(default_factory=Breaker)


@dataclass(frozen=True, slots=True)
class Provider:
    """One Provider row, with its URLs and headers prepared.

    `headers` hold the credential: they are left out of `repr` and never logged.
    `fingerprint` changes when the address, kind or credential changes; live health is
    kept per fingerprint, so an edit starts a provider afresh.
    """

    id: int
    name: str
    kind: str
    base_url: str
    urls: Mapping[Operation, str] = field(repr=False)
    models_url: str = field(repr=False)
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    fingerprint: str = field(repr=False)
    timeouts: Timeouts = field(default_factory=Timeouts)
    proxy_url: str | None = field(default=None, repr=False)
    ca_file: str | None = None
    max_concurrency: int | None = None  # None = no cap
    is_simulated: bool = False
    is_credential_unreadable: bool = False  # ciphertext without its key: never called


@dataclass(frozen=True, slots=True)
class Prices:
    """USD per million tokens; None = unknown, which is not zero.

    `origin` says where the prices of plain input and output came from.
    """

    input_per_mtok_usd: float | None = None
    output_per_mtok_usd: float | None = None
    cache_read_per_mtok_usd: float | None = None
    cache_write_per_mtok_usd: float | None = None
    cache_write_1h_per_mtok_usd: float | None = None
    audio_input_per_mtok_usd: float | None = None
    audio_output_per_mtok_usd: float | None = None
    origin: PriceOrigin = PriceOrigin.UNKNOWN


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a deployment can do; None = unknown, which may serve everything.

    The field names are the keys of the row's JSON object.
    """

    chat: bool | None = None
    embeddings: bool | None = None
    tools: bool | None = None
    forced_tool_choice: bool | None = None
    images: bool | None = None
    image_urls: bool | None = None  # may be given http(s) URLs, not only data
    files: bool | None = None
    audio: bool | None = None
    json_schema: bool | None = None  # native structured output
    logprobs: bool | None = None
    choices: bool | None = None  # n > 1
    sampling: bool | None = None  # temperature, top_p, top_k
    prefill: bool | None = None  # a trailing assistant message is continued
    mid_conversation_system: bool | None = None
    reasoning: str | None = None  # "none", "budget", "adaptive" or "always"
    max_output_tokens: int | None = None


@dataclass(frozen=True, slots=True)
class Deployment:
    """One upstream model at one provider."""

    id: int
    model: str  # the name clients ask for
    upstream_model: str
    provider: Provider
    weight: int = 1  # product of the row's and the provider's
    priority: int = 0  # lower is tried first
    version: str = "v1"
    context_window: int | None = None  # tokens
    capabilities: Capabilities = field(default_factory=Capabilities)
    prices: Prices = field(default_factory=Prices)
    timeouts: Timeouts = field(default_factory=Timeouts)
    options: Mapping[str, object] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Traffic:
    """How requests are split over versions: the VersionWeight and TrafficPolicy rows.

    `weights` are percent by version label; without any, the active version has all.
    Instances of a version in `draining` say that they are not ready.
    """

    active_version: str = "v1"
    weights: Mapping[str, int] = field(default_factory=dict)
    draining: frozenset[str] = frozenset()

    def weight(self, version: str) -> int:
        """Give a version's weight in percent; 0 for one that is not named."""
        if self.weights:
            return self.weights.get(version, 0)
        return 100 if version == self.active_version else 0


@dataclass(frozen=True, slots=True)
class Model:
    """What clients ask for: its deployments, strategy, fallbacks and defaults.

    `split` gives the versions among its deployments that share its requests, with their
    weights in percent, when there are several; a deployment whose version has no share
    is not among `deployments`. `lead` gives those of the lowest priority where there are
    so many that a request had better look at a few; else it is empty. `prices` are those
    of all deployments, each once.
    """

    name: str
    strategy: Strategy
    deployments: tuple[Deployment, ...]
    fallbacks: tuple[str, ...] = ()
    defaults: Mapping[str, object] = field(default_factory=dict, repr=False)
    created_s: int = 0  # unix seconds
    split: tuple[tuple[str, int], ...] = ()
    lead: tuple[Deployment, ...] = field(default=(), repr=False)
    prices: tuple[Prices, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Gather the prices: a request is not to look at a thousand deployments for them."""
        prices = dict.fromkeys(deployment.prices for deployment in self.deployments)
        object.__setattr__(self, "prices", tuple(prices))

    def serves(self, operation: Operation) -> bool:
        """Say whether some deployment may serve the operation."""
        return any(
            getattr(deployment.capabilities, operation.value) is not False
            for deployment in self.deployments
        )


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every row a request may need, at one revision.

    `aliases` maps other spellings to model names (Ollama's `llama3` for
    `llama3:latest`); they work but are not listed. `installation` names the database that
    it was read from. `memory` says how sessions are remembered.
    """

    revision: int
    providers: Mapping[str, Provider]
    models: Mapping[str, Model]
    aliases: Mapping[str, str]
    default_strategy: Strategy
    access: Access = field(default_factory=Access)
    installation: str = ""
    memory: Policies = field(default_factory=Policies)
    traffic: Traffic = field(default_factory=Traffic)
    warnings: tuple[str, ...] = ()

    def model(self, name: str) -> Model | None:
        """Find a model by name or alias."""
        found = self.models.get(name)
        if found is None and (target := self.aliases.get(name)) is not None:
            found = self.models.get(target)
        return found

    @property
    def is_simulated(self) -> bool:
        """Say whether whatever serves is a simulator; idle providers do not count."""
        serving = [
            deployment.provider
            for model in self.models.values()
            for deployment in model.deployments
        ]
        return bool(serving) and all(provider.is_simulated for provider in serving)
