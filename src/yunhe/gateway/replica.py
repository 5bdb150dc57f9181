"""A replica as a worker sees it: its load, its breaker, its connections, and request heads rendered beforehand."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec

from yunhe.gateway.options import Options
from yunhe.gateway.upstream import UpstreamConnection
from yunhe.serve import routing
from yunhe.serve.snapshot import ReplicaEntry

log = logging.getLogger(__name__)

PATHS: Final = {
    "chat.completions": "/v1/chat/completions",
    "completions": "/v1/completions",
    "embeddings": "/v1/embeddings",
}
ConnectResult = Callable[[UpstreamConnection | None, str], None]


class Address:
    """Where a server listens: parsed once from its URL."""

    __slots__ = ("host", "host_header", "port", "prefix", "tls")

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"not an http URL: {url!r}")
        self.tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.tls else 80)
        self.host_header = parts.netloc.rpartition("@")[2].encode()
        self.prefix = parts.path.rstrip("/").encode()


class Pool:
    """Connections to one address. The newest idle one is used first, so that few stay open when load falls."""

    __slots__ = ("_address", "_idle", "_kind", "_open", "_options", "_tasks")

    def __init__(self, address: Address, options: Options, kind: type[UpstreamConnection] = UpstreamConnection) -> None:
        self._address = address
        self._kind = kind
        self._options = options
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    def take_idle(self) -> UpstreamConnection | None:
        """An idle connection, or None."""
        while self._idle:
            connection = self._idle.pop()
            if not connection.transport.is_closing():
                return connection
        return None

    def connect(self, result: ConnectResult) -> None:
        """Open a connection; ``result(connection or None, why not)`` is called once."""
        task = asyncio.get_running_loop().create_task(self._connect(result))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _connect(self, result: ConnectResult) -> None:
        address = self._address
        loop = asyncio.get_running_loop()
        made: Any
        try:
            async with asyncio.timeout(self._options.connect_timeout_s):
                _, made = await loop.create_connection(
                    lambda: self._kind(self),
                    address.host,
                    address.port,
                    ssl=ssl.create_default_context() if address.tls else None,
                )
        except TimeoutError:
            result(None, "it did not accept a connection in time")
            return
        except OSError as error:
            result(None, f"it refused the connection: {error.strerror or error}")
            return
        self._open.add(made)
        made.transport.set_write_buffer_limits(high=self._options.write_buffer_bytes)
        result(made, "")

    def released(self, connection: UpstreamConnection) -> None:
        """A connection finished its request."""
        connection.idle_since_s = time.monotonic()
        self._idle.append(connection)

    def closed(self, connection: UpstreamConnection) -> None:
        """A connection is gone."""
        self._open.discard(connection)
        if connection in self._idle:
            self._idle.remove(connection)

    def sweep(self, now_s: float) -> None:
        """Close what has been idle too long (the oldest lie at the front)."""
        limit_s = now_s - self._options.upstream_idle_s
        while self._idle and self._idle[0].idle_since_s < limit_s:
            self._idle.pop(0).transport.abort()
        for connection in [c for c in self._open if c.ending and c.idle_since_s < limit_s]:
            connection.abort()

    def close(self) -> None:
        """Close every idle connection; those in use end with their requests."""
        for connection in self._idle:
            connection.transport.abort()
        self._idle.clear()

    def close_all(self) -> None:
        """Close every connection, at the end of the process."""
        for task in self._tasks:
            task.cancel()
        for connection in list(self._open):
            connection.abort()


class Replica:
    """Runtime state of a replica; lives as long as the snapshot names it or a request runs there."""

    __slots__ = (
        "_heads", "address", "breaker", "entry", "failures", "fields", "in_flight", "model_patterns", "needles",
        "outstanding_tokens", "pool", "probe_key", "ready", "served_by", "suffix", "tokens_per_s",
    )  # fmt: skip

    def __init__(self, entry: ReplicaEntry, options: Options) -> None:
        self.address = Address(entry.url)
        self.pool = Pool(self.address, options)
        self.breaker = routing.CLOSED
        self.outstanding_tokens = 0
        self.in_flight = 0
        self.failures = 0
        self._heads: dict[str, bytes] = {}
        self.update(entry)

    def update(self, entry: ReplicaEntry) -> None:
        """Take over what the snapshot says; load and breaker stay."""
        self.entry = entry
        self.ready = entry.state == "ready"
        self.tokens_per_s = entry.tokens_per_s if entry.tokens_per_s > 0 else routing.DEFAULT_TOKENS_PER_S
        self.served_by = entry.served_by.encode("ascii", "replace").replace(b"\r", b"").replace(b"\n", b"")[:256]
        self.fields: dict[str, Any] = {"stream_options": {"include_usage": True}, **entry.usage_probe.request_fields}
        self.suffix = b"," + msgspec.json.encode(self.fields)[1:]
        self.needles = tuple(msgspec.json.encode(name) for name in self.fields)
        key = entry.usage_probe.chunk_key
        self.probe_key = f'"{key}":'.encode() if key else b""
        #: What to put where in a stream when the model is called otherwise over there.
        self.model_patterns: list[tuple[bytes, bytes]] = []
        if entry.upstream_model != entry.model:
            theirs, ours = msgspec.json.encode(entry.upstream_model), msgspec.json.encode(entry.model)
            for colon in (b":", b": "):
                self.model_patterns.append((b'"model"' + colon + theirs, b'"model":' + ours))
        authorization = b"authorization: Bearer %b\r\n" % entry.api_key.encode() if entry.api_key else b""
        for endpoint, path in PATHS.items():
            self._heads[endpoint] = (
                b"POST %b%b HTTP/1.1\r\nhost: %b\r\ncontent-type: application/json\r\nuser-agent: yunhe-gateway\r\n"
                b"accept: */*\r\n%bcontent-length: "
                % (self.address.prefix, path.encode(), self.address.host_header, authorization)
            )

    def request(self, endpoint: str, request_id: str, body: bytes) -> bytes:
        """A whole request."""
        return b"%b%d\r\nx-request-id: %b\r\n\r\n%b" % (
            self._heads[endpoint],
            len(body),
            request_id.encode(),
            body,
        )

    def begin(self, weight: int) -> None:
        """A request of that weight is on its way there."""
        self.outstanding_tokens += weight
        self.in_flight += 1

    def end(self, weight: int) -> None:
        """It ended, however."""
        self.outstanding_tokens -= weight
        self.in_flight -= 1

    def succeeded(self) -> None:
        """It answered: the breaker closes."""
        if self.breaker is not routing.CLOSED:
            self.breaker = routing.CLOSED

    def failed(self, now_s: float, why: str, *, decisive: bool = False) -> None:
        """It failed to answer."""
        self.failures += 1
        was_open = self.breaker.open_until_s > 0
        self.breaker = routing.on_failure(self.breaker, now_s, decisive=decisive)
        if self.breaker.open_until_s and not was_open:
            log.warning("replica %s is left alone for a while: %s", self.entry.replica_id, why)
