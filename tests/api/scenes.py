"""Scenes: a model of a gateway with three deployments a, b and c at scripted upstreams.

A test scripts who fails how, asks, and reads who was asked in which order. Scenes come
from a stock, so that not every test waits for the gateway to follow its rows; each has
providers of its own, so that none inherits a breaker or a cooldown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.models import Deployment, Model, Provider, RoutingStrategy
from gateway.simulator import Entry
from tests.api.gateway_process import Gateway, base_url, fresh, wait_until
from tests.client import Reply
from tests.upstreams.simulators import RunningSimulator

LETTERS = "abc"
COMMON_STOCK = 40
SPECIAL_STOCK = 6  # for the cases of one test
ANSWER = "The quick brown fox jumps over the lazy dog."
KINDS = ("openai", "anthropic", "ollama")

Upstreams = Mapping[str, RunningSimulator]


@dataclass(frozen=True, slots=True)
class Scene:
    """`model` has the deployments a, b and c, tried in this order; `solo` has only a."""

    gateway: Gateway
    sims: Upstreams
    model: str

    @property
    def solo(self) -> str:
        return f"{self.model}-solo"

    def script(self, *, repeat: bool = False, **plans: Iterable[str]) -> None:
        """Say what the upstreams do, by letter; the others answer."""
        for letter, sim in self.sims.items():
            sim.plan.replace(plans.get(letter, ()), repeat=repeat)

    def ask(self, *, stream: bool, **fields: Any) -> Reply:
        return self.gateway.client.chat(self.model, stream=stream, **fields)

    def ask_solo(self, *, stream: bool, **fields: Any) -> Reply:
        return self.gateway.client.chat(self.solo, stream=stream, **fields)

    @property
    def calls(self) -> list[tuple[str, Entry]]:
        """The calls of this scene so far, by letter, in the order they arrived."""
        found = [
            (letter, entry)
            for letter, sim in self.sims.items()
            for entry in sim.calls
            if entry.model in {self.model, self.solo}
        ]
        return sorted(found, key=lambda call: call[1].at_s)

    @property
    def attempts(self) -> str:
        """Who was called, in order: `abc`."""
        return "".join(letter for letter, _ in self.calls)

    def settled_calls(self) -> list[tuple[str, Entry]]:
        """Give the calls as soon as each upstream knows how its own ended."""
        wait_until(
            lambda: all(call.closed_after_s is not None for _, call in self.calls),
            "every call of the scene ends",
        )
        return self.calls

    def provider(self, letter: str) -> str:
        """Give the name of a provider of this scene."""
        return f"{self.model}-{letter}"

    def served_by(self, reply: Reply) -> str:
        """Give the letter of the provider that the answer names."""
        return reply.headers["x-ailb-provider"].removeprefix(f"{self.model}-")


class Stage:
    """Makes scenes on three simulators."""

    def __init__(self, gateway: Gateway, sims: Upstreams) -> None:
        self.gateway = gateway
        self.sims = sims
        self._stock: dict[str, list[Scene]] = {}

    def scene(self, kind: str = "openai") -> Scene:
        """Take a scene; provider a is of this kind, the others OpenAI's."""
        return self._take(COMMON_STOCK, {}, {"a": {"kind": kind}}, ())

    def special(
        self,
        *,
        strategy: Mapping[str, Any] | None = None,
        solo_fallbacks: Sequence[str] = (),
        **providers: Mapping[str, Any],
    ) -> Scene:
        """Take a scene with other rows.

        `providers` are fields by letter; `upstream` is an address instead of the
        simulator's, `deployment` are the deployment's fields. Of the solo model's
        fallbacks "abc" stands for the scene's other model.
        """
        return self._take(SPECIAL_STOCK, strategy or {}, providers, solo_fallbacks)

    def _take(
        self,
        number: int,
        strategy: Mapping[str, Any],
        providers: Mapping[str, Mapping[str, Any]],
        solo_fallbacks: Sequence[str],
    ) -> Scene:
        stock = self._stock.setdefault(repr((strategy, providers, solo_fallbacks)), [])
        if not stock:
            given = {"algorithm": "failover", **strategy}
            row = self.gateway.strategy(**given) if strategy else None
            stock += self._make(
                number, providers, strategy=row, solo_fallbacks=solo_fallbacks
            )
            self.gateway.apply()
        scene = stock.pop()
        scene.script()
        return scene

    def _make(
        self,
        number: int,
        fields: Mapping[str, Mapping[str, Any]],
        *,
        strategy: RoutingStrategy | None,
        solo_fallbacks: Sequence[str],
    ) -> list[Scene]:
        rows = self.gateway.rows
        strategy = strategy or self.gateway.strategy("failover")
        names = [fresh("scene") for _ in range(number)]
        models = rows(Model).bulk_create(
            Model(name=name + suffix, strategy=strategy, fallbacks=fallbacks)
            for name in names
            for suffix, fallbacks in (
                ("", []),
                ("-solo", [name if f == "abc" else f for f in solo_fallbacks]),
            )
        )
        for letter in LETTERS:
            given = dict(fields.get(letter, {}))
            deployment = given.pop("deployment", {})
            kind = given.pop("kind", "openai")
            url = base_url(kind, given.pop("upstream", self.sims[letter]))
            providers = rows(Provider).bulk_create(
                Provider(
                    name=f"{name}-{letter}",
                    kind=kind,
                    base_url=url,
                    **{"priority": LETTERS.index(letter), **given},
                )
                for name in names
            )
            by_name = {p.name: p for p in providers}
            rows(Deployment).bulk_create(
                Deployment(
                    model=model,
                    provider=by_name[f"{model.name.removesuffix('-solo')}-{letter}"],
                    upstream_model=model.name,
                    **deployment,
                )
                for model in models
                if letter == "a" or not model.name.endswith("-solo")
            )
        return [Scene(self.gateway, self.sims, name) for name in names]
