"""The worker's own calls to control: snapshot, leases, usage, stats. Not on any request's path."""

from __future__ import annotations

import asyncio
from typing import Final

from yunhe.gateway.replica import Address, Pool
from yunhe.gateway.upstream import UpstreamConnection

_ANSWER_BYTES_MAX: Final = 256 * 1024 * 1024


class ControlAway(ConnectionError):
    """Control did not answer."""


class _Gather:
    """Takes one whole answer."""

    def __init__(self) -> None:
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.status = 0
        self.pieces: list[bytes] = []
        self._size = 0

    def on_answer_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Keep the status."""
        self.status = status

    def on_answer_body(self, data: bytes) -> None:
        """Keep the body, within bounds."""
        self._size += len(data)
        if self._size <= _ANSWER_BYTES_MAX:
            self.pieces.append(data)

    def on_answer_end(self) -> None:
        """Wake the caller."""
        if not self.done.done():
            self.done.set_result(None)

    def on_answer_lost(self, why: str) -> None:
        """Wake the caller with the error."""
        if not self.done.done():
            self.done.set_exception(ControlAway(why))

    def on_upstream_writable(self, writable: bool) -> None:
        """Bodies are small enough for the transport."""


class ControlLink:
    """Calls with the internal token over kept connections."""

    def __init__(self, address: Address, pool: Pool, internal_token: str) -> None:
        self._address = address
        self._pool = pool
        self._authorization = f"authorization: Bearer {internal_token}\r\n".encode()
        #: Whether the last short call was answered.
        self.connected = False

    async def call(self, method: str, path: str, body: bytes = b"", *, timeout_s: float) -> tuple[int, bytes]:
        """``(status, body)``. Raises ControlAway."""
        request = (
            b"%b %b%b HTTP/1.1\r\nhost: %b\r\n%bcontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b"
            % (
                method.encode(),
                self._address.prefix,
                path.encode(),
                self._address.host_header,
                self._authorization,
                len(body),
                body,
            )
        )
        try:
            async with asyncio.timeout(timeout_s):
                connection = self._pool.take_idle()
                if connection is not None:
                    try:
                        return await self._on(connection, request)
                    except ControlAway:
                        # A kept connection may have been closed by a restart: once more on a new one.
                        pass
                return await self._on(await self._connect(), request)
        except TimeoutError:
            raise ControlAway("it did not answer in time") from None

    async def _connect(self) -> UpstreamConnection:
        made: asyncio.Future[UpstreamConnection] = asyncio.get_running_loop().create_future()

        def result(connection: UpstreamConnection | None, why: str) -> None:
            if made.done():
                if connection is not None:
                    connection.abort()
            elif connection is None:
                made.set_exception(ControlAway(why))
            else:
                made.set_result(connection)

        self._pool.connect(result)
        return await made

    async def _on(self, connection: UpstreamConnection, request: bytes) -> tuple[int, bytes]:
        gather = _Gather()
        connection.send(gather, request)
        try:
            await gather.done
        except asyncio.CancelledError:
            connection.abort()
            raise
        return gather.status, b"".join(gather.pieces)
