"""What may be added to a chat: never more than the model's context has room for."""

from __future__ import annotations

import pytest
from hypothesis import given, strategies as st

from gateway.dialects.openai import OpenAIDialect
from gateway.kinds import Algorithm, Operation
from gateway.rooms import room_of
from gateway.routing.needs import Needs
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
def test_a_session_alone_has_room_for_so_much(
    model: Model, asked: Needs, room: int | None
) -> None:
    found = room_of(model, asked, wants_documents=False)
    assert found.memory == room
    assert not found.documents


@pytest.mark.parametrize(
    ("model", "asked", "documents", "memory"),
    [
        (model_of(None), needs(), None, None),
        (model_of(10_000), needs(), 4_622, 1_500),  # half of 9,500 less 256; 15 %
        (model_of(10_000), needs(8_000, 1_000), 250, 250),
        (model_of(10_000), needs(9_500), 0, 0),
        (model_of(1_000, 100_000), needs(5_000), 44_872, 15_000),
    ],
)
def test_documents_have_half_of_what_is_left_and_memory_the_rest(
    model: Model, asked: Needs, documents: int | None, memory: int | None
) -> None:
    room = room_of(model, asked, wants_documents=True)
    assert (room.documents, room.memory) == (documents, memory)


@given(st.integers(1, 10**6), st.integers(0, 10**6), st.none() | st.integers(0, 10**5))
def test_both_together_never_take_more_than_is_left(
    window: int, prompt: int, output: int | None
) -> None:
    room = room_of(model_of(window), needs(prompt, output), wants_documents=True)
    assert room.documents is not None
    assert room.memory is not None
    assert min(room.documents, room.memory) >= 0
    assert room.documents + room.memory <= max(window - prompt - (output or 256), 0)
