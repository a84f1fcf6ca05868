"""Joins the parts into the service of the contract, each method behind the guard."""

from __future__ import annotations

import inspect
from collections.abc import Sequence

import grpc
from google.protobuf.descriptor import MethodDescriptor

from moduleservice.base import Part
from moduleservice.guard import Guard, Rpc
from moduleservice.pb import module_service_pb2

SERVICE = module_service_pb2.DESCRIPTOR.services_by_name["ModuleService"]


class ContractBroken(Exception):
    """The parts do not answer exactly the RPCs of the contract; the text says which."""


def compose(parts: Sequence[Part], guard: Guard) -> grpc.GenericRpcHandler:
    """Give gRPC the methods of all parts.

    Raises:
        ContractBroken: An RPC is answered by no part, by two, or in the wrong way.

    """
    owners = {method.name: _owners(method, parts) for method in SERVICE.methods}
    faults = [f"{name} ({len(own)})" for name, own in owners.items() if len(own) != 1]
    if faults:
        raise ContractBroken(
            "Each RPC needs one part with a method of its name, a coroutine, or an"
            f" asynchronous generator for a stream. Found for {', '.join(faults)}."
        )
    return grpc.method_handlers_generic_handler(
        SERVICE.full_name,
        {
            method.name: _handler(method, owners[method.name][0], guard)
            for method in SERVICE.methods
        },
    )


def _owners(method: MethodDescriptor, parts: Sequence[Part]) -> list[Part]:
    is_right = (
        inspect.isasyncgenfunction
        if method.server_streaming
        else inspect.iscoroutinefunction
    )
    return [part for part in parts if is_right(getattr(part, method.name, None))]


def _handler(
    method: MethodDescriptor, part: Part, guard: Guard
) -> grpc.RpcMethodHandler[bytes, bytes]:
    """Wrap one method; messages are read and written behind the guard, as bytes."""
    rpc, function = Rpc.of(method), getattr(part, method.name)
    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(guard.stream(rpc, function))
    return grpc.unary_unary_rpc_method_handler(guard.unary(rpc, function))
