"""A bare HTTP/1.1 client for tests that must see, and may send, exactly the bytes."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any

import msgspec


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer; header names in lower case, repeated ones joined by a line feed."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)

    def error(self) -> dict[str, Any]:
        """The ``error`` member."""
        error: dict[str, Any] = self.json()["error"]
        return error

    def events(self) -> list[bytes]:
        """The data of each event of a stream."""
        return [e[5:].strip() for e in self.body.replace(b"\r\n", b"\n").split(b"\n\n") if e.startswith(b"data:")]


class Connection:
    """One connection. ``send`` and ``read`` may be mixed freely."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, port: int) -> Connection:
        """Connect to 127.0.0.1."""
        return cls(*await asyncio.open_connection("127.0.0.1", port, limit=1 << 22))

    async def send(self, data: bytes) -> None:
        """Write raw bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> tuple[int, dict[str, str]]:
        """Read a head (not the body). Raises IncompleteReadError when the connection ends instead."""
        raw = (await self.reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        first, *lines = raw.strip().split("\r\n")
        headers: dict[str, str] = {}
        for line in lines:
            name, _, value = line.partition(":")
            name, value = name.lower(), value.strip()
            headers[name] = f"{headers[name]}\n{value}" if name in headers else value
        return int(first.split(" ")[1]), headers

    async def chunk(self) -> bytes:
        """Read one chunk of a chunked body; empty at its end."""
        size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
        return (await self.reader.readexactly(size + 2))[:-2]

    async def answer(self, *, method: str = "GET") -> Answer:
        """Read a whole answer."""
        status, headers = await self.head()
        if method == "HEAD" or status in (204, 304) or status < 200:
            return Answer(status, headers, b"")
        if headers.get("transfer-encoding") == "chunked":
            body = b""
            while piece := await self.chunk():
                body += piece
        elif "content-length" in headers:
            body = await self.reader.readexactly(int(headers["content-length"]))
        else:
            body = await self.reader.read()
        return Answer(status, headers, body)

    async def at_end(self) -> bool:
        """Whether the other side has closed; waits for it (a reset counts)."""
        try:
            return await self.reader.read(1) == b""
        except ConnectionError:
            return True

    async def close(self) -> None:
        """Close."""
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()

    def abort(self) -> None:
        """Reset the connection."""
        self.writer.transport.abort()


def request_bytes(
    method: str, path: str, body: bytes | Any = b"", *, key: str | None = None, headers: dict[str, str] | None = None
) -> bytes:
    """A well-formed request; a body that is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else msgspec.json.encode(body)
    lines = {"host": "test", "content-length": str(len(raw)), **(headers or {})}
    if key is not None:
        lines["authorization"] = f"Bearer {key}"
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items())
    return head.encode("latin-1") + b"\r\n" + raw


async def fetch(
    port: int,
    method: str,
    path: str,
    body: bytes | Any = b"",
    *,
    key: str | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:
    """One request on a connection of its own."""
    connection = await Connection.open(port)
    try:
        await connection.send(request_bytes(method, path, body, key=key, headers=headers))
        return await connection.answer(method=method)
    finally:
        await connection.close()
