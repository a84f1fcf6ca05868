"""Calls ModuleService: `python -m moduleservice.call METHOD '{"field": "value"}'`.

Reads and prints JSON, with the names of the contract. A stream prints one line a message.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import json_format
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from moduleservice.pb import module_service_pb2

SERVICE = module_service_pb2.DESCRIPTOR.services_by_name["ModuleService"]
MAX_MESSAGE_BYTES = 16 * 1024 * 1024
TIMEOUT_S = 70.0  # the longest calls end by themselves a little earlier
OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
)


class CallFailed(Exception):
    """It did not work; the text is one line for whoever typed it."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Call, print, and give the exit code: 1 for whatever did not succeed."""
    options = parser().parse_args(arguments)
    try:
        call(options)
    except CallFailed as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:  # the usual end of a stream
        return 130
    return 0


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    found = argparse.ArgumentParser(
        prog="python -m moduleservice.call",
        description="Call an RPC of ModuleService with JSON, and print its answer.",
        epilog="Methods: " + ", ".join(method.name for method in SERVICE.methods),
        allow_abbrev=False,
    )
    found.add_argument("method", metavar="METHOD")
    found.add_argument("json", nargs="?", default="{}", metavar="JSON")
    port = os.environ.get("GRPC_PORT", "").strip() or "50051"
    found.add_argument(
        "--address",
        default=f"127.0.0.1:{port}",
        help="HOST:PORT (default: %(default)s)",
    )
    found.add_argument(
        "--token-file", type=Path, help="default: AILB_GRPC_TOKEN, or AILB's own file"
    )
    found.add_argument(
        "--ca", type=Path, help="use TLS, and trust this authority (PEM)"
    )
    found.add_argument("--cert", type=Path, help="show this certificate (PEM)")
    found.add_argument("--key", type=Path, help="its key (PEM)")
    return found


def call(options: argparse.Namespace) -> None:
    """Do what the command line says."""
    method = find_method(options.method)
    request = read_request(method, options.json)
    token = find_token(options.token_file)
    metadata = (("authorization", f"Bearer {token}"),) if token else ()
    indent = None if method.server_streaming else 2
    with closing(open_channel(options)) as channel:
        try:
            for answer in send(channel, method, request, metadata):
                show(answer, indent=indent)
        except grpc.RpcError as error:
            raise CallFailed(words_of(error)) from error


def send(
    channel: grpc.Channel,
    method: MethodDescriptor,
    request: Message,
    metadata: tuple[tuple[str, str], ...],
) -> Iterator[Message]:
    """Call, and give each answer as it comes."""
    rpc = (
        f"/{SERVICE.full_name}/{method.name}",
        type(request).SerializeToString,
        GetMessageClass(method.output_type).FromString,
    )
    if method.server_streaming:
        yield from channel.unary_stream(*rpc)(request, metadata=metadata)
    else:
        yield channel.unary_unary(*rpc)(request, timeout=TIMEOUT_S, metadata=metadata)


def show(answer: Message, *, indent: int | None) -> None:
    """Print an answer; one that tells of a refusal is a failure, too."""
    text = json_format.MessageToJson(
        answer,
        indent=indent,
        preserving_proto_field_name=True,
        always_print_fields_with_no_presence=True,
    )
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()
    if not getattr(answer, "success", True):
        raise CallFailed(f"Refused: {one_line(getattr(answer, 'message', ''))}")


def words_of(error: grpc.RpcError) -> str:
    """Say a gRPC status in one line."""
    call: Any = error  # it is a grpc.Call as well, which its type does not say
    return f"{call.code().name}: {one_line(call.details() or '')}"


def one_line(text: str) -> str:
    """Join lines."""
    return " ".join(text.split())


def find_method(name: str) -> MethodDescriptor:
    """Find an RPC by its name."""
    method = SERVICE.methods_by_name.get(name)
    if method is None:
        known = ", ".join(SERVICE.methods_by_name)
        raise CallFailed(f"There is no method {name!r}; there are: {known}.")
    return method


def read_request(method: MethodDescriptor, text: str) -> Message:
    """Read a request from JSON."""
    try:
        return json_format.Parse(text, GetMessageClass(method.input_type)())
    except json_format.ParseError as error:
        raise CallFailed(
            f"This is no {method.input_type.name}: {one_line(str(error))}"
        ) from error


def find_token(path: Path | None) -> str:
    """Read the token from where it is kept; empty if it cannot be found."""
    if path is not None:
        return read_file(path).decode().strip()
    if token := os.environ.get("AILB_GRPC_TOKEN", "").strip():
        return token
    if named := os.environ.get("AILB_GRPC_TOKEN_FILE", "").strip():
        return read_file(Path(named)).decode().strip()
    folder = os.environ.get("AILB_DATA_DIR", "").strip() or "data"
    kept = Path(folder, "secrets", "grpc_token")
    return read_file(kept).decode().strip() if os.access(kept, os.R_OK) else ""


def read_file(path: Path) -> bytes:
    """Read a file that was named."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise CallFailed(f"{path} cannot be read: {error.strerror}.") from error


def open_channel(options: argparse.Namespace) -> grpc.Channel:
    """Connect, with TLS where an authority is named."""
    if options.ca is None:
        return grpc.insecure_channel(options.address, options=OPTIONS)
    files = (options.ca, options.key, options.cert)
    credentials = grpc.ssl_channel_credentials(
        *(None if path is None else read_file(path) for path in files)
    )
    return grpc.secure_channel(options.address, credentials, options=OPTIONS)


if __name__ == "__main__":
    sys.exit(main())
