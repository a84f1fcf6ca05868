"""What a session may add to a chat: never more than the model's context has room for."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given, strategies as st

from gateway.dialects.openai import OpenAIDialect
from gateway.dialects.openai.request import parse_chat
from gateway.kinds import Algorithm, Operation
from gateway.routing.needs import Needs
from gateway.sessions import room_tokens
from gateway.snapshot import Capabilities, Deployment, Model, Provider, Strategy

URL = "http://127.0.0.1:1"
PROVIDER = Provider(
    id=1,
    name="p",
    kind="openai",
    base_url=URL,
    urls=OpenAIDialect().urls(URL),
    models_url=URL,
    headers=(),
    fingerprint="",
)


def model_of(*windows: int | None, embeds: int | None = None) -> Model:
    """Make a model with a chat deployment for each window, and one that embeds."""
    deployments = [
        Deployment(
            id=number,
            model="m",
            upstream_model="m",
            provider=PROVIDER,
            context_window=window,
        )
        for number, window in enumerate(windows)
    ]
    if embeds is not None:
        deployments.append(
            Deployment(
                id=99,
                model="m",
                upstream_model="m",
                provider=PROVIDER,
                context_window=embeds,
                capabilities=Capabilities(chat=False),
            )
        )
    strategy = Strategy(name="s", algorithm=Algorithm.FAILOVER)
    return Model(name="m", strategy=strategy, deployments=tuple(deployments))


def needs(prompt_tokens: int = 0, max_tokens: int | None = None) -> Needs:
    return Needs(Operation.CHAT, prompt_tokens=prompt_tokens, max_tokens=max_tokens)


@pytest.mark.parametrize(
    ("model", "asked", "room"),
    [
        (model_of(), needs(), None),
        (model_of(None), needs(), None),
        (model_of(10_000), needs(), 1500),  # 15 %
        (model_of(10_000, None, 20_000), needs(), 1500),
        (model_of(10_000), needs(8_000, 1_000), 500),  # 9,500 less 9,000
        (model_of(10_000), needs(9_000), 244),  # 256 expected
        (model_of(10_000), needs(9_500), 0),
        (model_of(1_000, 100_000), needs(5_000), 15_000),  # one that takes the prompt
        (model_of(10_000, embeds=512), needs(), 1500),
    ],
)
def test_there_is_room_for_so_much(
    model: Model, asked: Needs, room: int | None
) -> None:
    assert room_tokens(model, asked) == room


TEXTS = st.lists(st.text(min_size=1), min_size=1, max_size=5)


@given(TEXTS, TEXTS)
def test_other_messages_need_what_they_would_have_needed_themselves(
    own: list[str], others: list[str]
) -> None:
    def body(texts: list[str]) -> bytes:
        messages = [{"role": "user", "content": text} for text in texts]
        return orjson.dumps({"model": "m", "messages": messages, "store": True})

    call, wanted = parse_chat(body(own)), parse_chat(body(others))
    woven = call.with_messages(wanted.messages)
    assert woven.body == wanted.body
    assert list(woven.body) == ["model", "messages", "store"]
    assert abs(woven.needs.prompt_tokens - wanted.needs.prompt_tokens) <= 1
    assert call == parse_chat(body(own)), "the client's own stays as it was"
