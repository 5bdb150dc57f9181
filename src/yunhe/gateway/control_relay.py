"""Everything that is not /v1 or /gateway goes to control, streamed both ways, so that users see one port."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

import msgspec

from yunhe.gateway.client import JSON, ClientConnection
from yunhe.gateway.request_head import RequestHead
from yunhe.gateway.upstream import UpstreamConnection

if TYPE_CHECKING:
    from yunhe.gateway.worker import Worker

_HOP: Final = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection", b"te",
        b"trailer", b"transfer-encoding", b"upgrade", b"content-length", b"expect", b"x-forwarded-for",
        b"x-forwarded-proto", b"x-forwarded-host",
    }
)  # fmt: skip
_HOP_BACK: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-connection",
        b"transfer-encoding",
        b"upgrade",
        b"trailer",
        b"date",
        b"server",
    }
)
#: Agents and consoles poll long through here.
_FIRST_BYTE_TIMEOUT_S: Final = 120.0
_IDLE_TIMEOUT_S: Final = 300.0
_HELD_BYTES_MAX: Final = 256 * 1024


class ControlRelay:
    """One relayed request."""

    __slots__ = (
        "_body_done", "_chunked_back", "_client", "_deadline_s", "_fresh", "_head", "_held", "_held_bytes", "_over",
        "_plain_back", "_started", "_upstream", "_worker",
    )  # fmt: skip

    buffered: ClassVar[bool] = False

    def __init__(self, worker: Worker, client: ClientConnection, head: RequestHead) -> None:
        self._worker = worker
        self._client = client
        self._head = head
        self._upstream: UpstreamConnection | None = None
        #: Pieces of the request's body that came before the connection was up.
        self._held: list[bytes] = []
        self._held_bytes = 0
        self._body_done = False
        self._started = False
        self._over = False
        self._fresh = False
        self._chunked_back = False
        self._plain_back = False
        self._deadline_s = 0.0

    @property
    def _has_body(self) -> bool:
        return self._head.chunked or bool(self._head.content_length)

    def begin(self, body: bytes) -> None:
        """Take a connection. One that was used before may be closing, so only what can be repeated goes there."""
        self._deadline_s = float("inf")
        pool = self._worker.control_pool
        connection = None if self._has_body or self._fresh else pool.take_idle()
        if connection is not None:
            self._send(connection)
        else:
            pool.connect(self._connected)

    def _connected(self, connection: UpstreamConnection | None, why: str) -> None:
        if self._over:
            if connection is not None:
                connection.abort()
        elif connection is None:
            self._fail(503, "control_unavailable", f"The control plane is away: {why}.")
        else:
            self._send(connection)

    def _send(self, connection: UpstreamConnection) -> None:
        self._upstream = connection
        self._deadline_s = self._worker.now_s + _FIRST_BYTE_TIMEOUT_S
        connection.head_only = self._head.method == b"HEAD"
        connection.send(self, self._request_head() + b"".join(self._held))
        self._held = []
        self._client.resume_reading()

    def _request_head(self) -> bytes:
        head = self._head
        headers = head.headers
        dropped = _HOP
        if b"connection" in headers:
            dropped = _HOP | {name.strip().lower() for name in headers[b"connection"].split(b",")}
        lines = [b"%b %b HTTP/1.1" % (head.method, head.target)]
        lines.extend(b"%b: %b" % (name, value) for name, value in head.raw_headers if name.lower() not in dropped)
        if b"host" not in headers:
            lines.append(b"host: " + self._worker.control_address.host_header)
        peer = self._client.transport.get_extra_info("peername")
        address = str(peer[0]).encode() if isinstance(peer, tuple) else b"unknown"
        before = headers.get(b"x-forwarded-for")
        lines.append(b"x-forwarded-for: %b" % (address if before is None else before + b", " + address))
        lines.append(b"x-forwarded-proto: %b" % headers.get(b"x-forwarded-proto", b"http"))
        lines.append(b"x-forwarded-host: %b" % headers.get(b"x-forwarded-host", headers.get(b"host", b"")))
        if head.chunked:
            lines.append(b"transfer-encoding: chunked")
        elif head.content_length is not None:
            lines.append(b"content-length: %d" % head.content_length)
        return b"\r\n".join(lines) + b"\r\n\r\n"

    def on_request_body(self, data: bytes) -> None:
        """Pass it on, or hold it while the connection is being made."""
        if self._over:
            return
        if self._head.chunked:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        if self._upstream is not None:
            self._upstream.write(data)
            return
        self._held.append(data)
        self._held_bytes += len(data)
        if self._held_bytes > _HELD_BYTES_MAX:
            self._client.pause_reading()

    def on_request_end(self) -> None:
        """The body is complete."""
        self._body_done = True
        if self._head.chunked and not self._over:
            if self._upstream is not None:
                self._upstream.write(b"0\r\n\r\n")
            else:
                self._held.append(b"0\r\n\r\n")

    # control's answer

    def on_answer_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Write the head to the client."""
        self._started = True
        head = self._head
        empty = status in (204, 304) or head.method == b"HEAD"
        self._plain_back = empty or b"content-length" in headers
        self._chunked_back = not self._plain_back and head.http11
        if not self._plain_back and not head.http11:
            head.keep_alive = False
        lines = [self._client.head_start(status)]
        for name, value in headers.items():
            if name in _HOP_BACK or (name == b"content-length" and status == 204):
                continue
            lines.extend(b"%b: %b\r\n" % (name, one) for one in value.split(b"\n"))
        if self._chunked_back:
            lines.append(b"transfer-encoding: chunked\r\n")
        lines.append(b"\r\n")
        self._client.transport.write(b"".join(lines))
        self._worker.stats.relayed += 1

    def on_answer_body(self, data: bytes) -> None:
        """Pass it on."""
        self._deadline_s = self._worker.now_s + _IDLE_TIMEOUT_S
        self._client.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked_back else data)

    def on_answer_end(self) -> None:
        """Complete."""
        self._over = True
        self._upstream = None
        if self._chunked_back:
            self._client.transport.write(b"0\r\n\r\n")
        self._client.finish()

    def on_answer_lost(self, why: str) -> None:
        """Control went away."""
        connection, self._upstream = self._upstream, None
        if self._started:
            # A half answer can only be ended by closing, which the framing tells apart from its end.
            self._over = True
            self._client.abort()
        elif connection is not None and connection.used > 1 and not connection.answered and not self._has_body:
            self._fresh = True
            self.begin(b"")
        else:
            self._fail(502, "control_unavailable", f"The control plane did not answer: {why}.")

    def _fail(self, status: int, code: str, message: str) -> None:
        self._over = True
        body = msgspec.json.encode(
            {
                "error": {
                    "code": code,
                    "message": message,
                    "next_step": "Models go on answering under /v1. Try again shortly; `yunhe status` tells more.",
                    "request_id": None,
                    "details": {},
                }
            }
        )
        self._client.answer(status, b"retry-after: 1\r\n", body, JSON)

    # the client and time

    def on_client_gone(self) -> None:
        """Nobody waits for the answer."""
        self._over = True
        if self._upstream is not None:
            self._upstream.abort()
            self._upstream = None

    def on_client_writable(self, writable: bool) -> None:
        """The client reads slowly: so do we."""
        if self._upstream is not None:
            if writable:
                self._upstream.resume()
            else:
                self._upstream.pause()

    def on_upstream_writable(self, writable: bool) -> None:
        """Control reads slowly: so do we."""
        if writable:
            self._client.resume_reading()
        else:
            self._client.pause_reading()

    def stop(self) -> None:
        """The worker stops."""
        self.on_client_gone()
        self._client.abort()

    def tick(self, now_s: float) -> None:
        """Time-outs."""
        if self._over or now_s < self._deadline_s:
            return
        upstream, self._upstream = self._upstream, None
        if upstream is not None:
            upstream.abort()
        if self._started:
            self._over = True
            self._client.abort()
        else:
            self._fail(504, "control_unavailable", "The control plane did not answer in time.")
