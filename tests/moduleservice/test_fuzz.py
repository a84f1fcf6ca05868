"""Whatever is sent, the server goes on to answer."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from moduleservice.pb import module_service_pb2 as pb
from moduleservice.servicer import SERVICE
from tests.moduleservice.tiny_parts import (
    BEARER,
    LIMIT_S,
    RawCall,
    Stage,
    code_of,
    staged,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
METHODS = [method.name for method in SERVICE.methods if not method.server_streaming]
AT_ONCE = 50
COUNTS = [2_000, pytest.param(50_000, marks=pytest.mark.soak)]
OURS = {
    grpc.StatusCode.OK,
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.UNAUTHENTICATED,
}
NUMBERS = (0, 1, -1, 2**31 - 1, -(2**31))
TEXTS = ("", "m", "\0", "é" * 50, "x" * 3_000, "../..", "' or 1=1 --", "\U0001f600")


async def test_random_bytes_on_the_socket_take_nothing_down() -> None:
    draw = random.Random(7)  # noqa: S311 - the same in every run
    async with staged() as stage:
        for _ in range(300):
            await throw(stage, rubbish(draw))
        await answers(stage)


async def throw(stage: Stage, data: bytes) -> None:
    """Send bytes to the port and hang up."""
    _, writer = await asyncio.open_connection("127.0.0.1", stage.server.port)
    writer.write(data)
    with suppress(ConnectionError):
        await writer.drain()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def rubbish(draw: random.Random) -> bytes:
    """Make bytes: some that are nothing, some that begin as HTTP/2 does."""
    noise = draw.randbytes(draw.choice([1, 9, 100, 5_000]))
    frames = b"".join(
        len(body).to_bytes(3, "big")
        + bytes([draw.randrange(12), draw.randrange(256)])
        + draw.randrange(2**32).to_bytes(4, "big")
        + body
        for body in (draw.randbytes(draw.randrange(40)) for _ in range(5))
    )
    begun = PREFACE + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
    return draw.choice(
        [noise, PREFACE + noise, begun + frames, b"GET / HTTP/1.1\r\n\r\n"]
    )


@pytest.mark.django_db(transaction=True)  # an instance may be asked for by chance
@pytest.mark.parametrize("count", COUNTS)
async def test_random_messages_are_answered_or_refused_in_our_words(
    count: int, caplog: pytest.LogCaptureFixture
) -> None:
    draw = random.Random(11)  # noqa: S311 - the same in every run
    caplog.set_level(logging.ERROR)
    async with staged() as stage, stage.channel() as channel:
        stage.part.answers = dict.fromkeys(METHODS, read_everything)
        for _ in range(count // AT_ONCE):
            calls = [(draw.choice(METHODS), message(draw)) for _ in range(AT_ONCE)]
            async with asyncio.TaskGroup() as tasks:
                found = [tasks.create_task(send(channel, *call)) for call in calls]
            assert {task.result() for task in found} <= OURS
        await answers(stage)
    assert [record.getMessage() for record in caplog.records] == []


def message(draw: random.Random) -> bytes:
    """Make a message: noise, a well-formed one of any kind, or one that was cut."""
    kind = GetMessageClass(draw.choice(list(SERVICE.methods)).input_type)
    made = filled(kind(), draw).SerializeToString()
    return draw.choice(
        [
            draw.randbytes(draw.randrange(200)),
            made,
            made,
            made[: draw.randrange(len(made) + 1)],
        ]
    )


def filled(made: Message, draw: random.Random, depth: int = 0) -> Message:
    """Fill some fields with what is at the edge of what they may be."""
    for field in made.DESCRIPTOR.fields:
        if draw.random() < 0.4 or field.name == "instance_id":
            continue
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            fill_message(made, field, draw, depth)
            continue
        value = value_of(field, draw)
        if field.is_repeated:
            getattr(made, field.name).extend([value] * draw.randrange(4))
        else:
            setattr(made, field.name, value)
    return made


def fill_message(made: Message, field: Any, draw: random.Random, depth: int) -> None:
    place: Any = getattr(made, field.name)
    if field.message_type.GetOptions().map_entry:
        value = field.message_type.fields_by_name["value"]
        if value.type != FieldDescriptor.TYPE_MESSAGE:
            place[draw.choice(TEXTS)] = value_of(value, draw)
    elif depth < 3:
        filled(place.add() if field.is_repeated else place, draw, depth + 1)


def value_of(field: Any, draw: random.Random) -> object:
    match field.type:
        case FieldDescriptor.TYPE_STRING:
            return draw.choice(TEXTS)
        case FieldDescriptor.TYPE_BYTES:
            return draw.randbytes(draw.randrange(100))
        case FieldDescriptor.TYPE_BOOL:
            return draw.random() < 0.5
        case FieldDescriptor.TYPE_DOUBLE:
            return draw.choice([0.0, -1.5, float("nan"), float("inf")])
        case _:
            return draw.choice(NUMBERS)


async def read_everything(request: Message) -> Message:
    """Touch every field, as a part would, and answer."""
    str(request)
    name = METHODS_BY_REQUEST[type(request).DESCRIPTOR.name]
    return GetMessageClass(SERVICE.methods_by_name[name].output_type)()


METHODS_BY_REQUEST = {m.input_type.name: m.name for m in SERVICE.methods}


async def send(channel: grpc.aio.Channel, method: str, raw: bytes) -> grpc.StatusCode:
    call: RawCall = channel.unary_unary(f"/{SERVICE.full_name}/{method}")
    metadata = BEARER if len(raw) % 3 else ()
    return await code_of(call(raw, metadata=metadata, timeout=LIMIT_S))


async def answers(stage: Stage) -> None:
    async with stage.calling() as stub:
        call = stub.GetStatus(pb.GetStatusRequest(), timeout=LIMIT_S)
        assert await code_of(call) is grpc.StatusCode.OK
