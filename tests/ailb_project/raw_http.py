"""A socket, the bytes that are sent over it, and answers read by the letter."""

from __future__ import annotations

import json
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Any

TIMEOUT_S = 15.0


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error: dict[str, Any] = self.json["error"]
        assert set(error) == {"message", "type", "param", "code"}
        return error


class Connection:
    """One client connection; every wait has a limit."""

    def __init__(self, address: tuple[str, int], *, receive_buffer: int = 0) -> None:
        self.socket = socket.socket()
        self.socket.settimeout(TIMEOUT_S)
        if receive_buffer:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            self.socket.connect(address)
        except OSError:
            self.socket.close()
            raise
        self.buffer = b""

    def __enter__(self) -> Connection:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def get(self, target: str, *headers: str) -> None:
        lines = [f"GET {target} HTTP/1.1", "Host: localhost", *headers, "", ""]
        self.send("\r\n".join(lines).encode())

    def ask(self, target: str, *headers: str) -> Answer:
        self.get(target, *headers)
        return self.answer()

    def reset(self) -> None:
        """Leave with RST instead of FIN."""
        linger = struct.pack("ii", 1, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.socket.close()

    def _more(self) -> bool:
        data = self.socket.recv(1 << 20)
        self.buffer += data
        return bool(data)

    def read_until(self, end: bytes) -> bytes:
        """Take everything up to and including `end`; EOFError when it never comes."""
        while end not in self.buffer:
            if not self._more():
                raise EOFError(self.buffer)
        head, self.buffer = self.buffer.split(end, 1)
        return head + end

    def read(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self._more():
                raise EOFError(self.buffer)
        data, self.buffer = self.buffer[:size], self.buffer[size:]
        return data

    def read_to_end(self) -> bytes:
        """Take everything until the server closes; ConnectionResetError passes."""
        while self._more():
            pass
        data, self.buffer = self.buffer, b""
        return data

    def is_closed(self) -> bool:
        """Wait for the server to close and tell whether it sent nothing before."""
        try:
            return self.read_to_end() == b""
        except ConnectionResetError:
            return True

    def answer(self, *, has_body: bool = True) -> Answer:
        """Read one answer: by its length, its chunks, or to the end."""
        lines = self.read_until(b"\r\n\r\n").decode().split("\r\n")
        version, code, _ = lines[0].split(" ", 2)
        assert version in {"HTTP/1.0", "HTTP/1.1"}, "the answer before it left bytes"
        status = int(code)
        headers = {
            name.lower(): value
            for name, value in (line.split(": ", 1) for line in lines[1:] if line)
        }
        if not has_body:
            body = b""
        elif "content-length" in headers:
            body = self.read(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            body = self._chunks()
        else:
            body = self.read_to_end()
        return Answer(status, headers, body)

    def _chunks(self) -> bytes:
        parts = []
        while size := int(self.read_until(b"\r\n"), 16):
            parts.append(self.read(size))
            self.read(2)
        self.read(2)
        return b"".join(parts)
