"""A client's connection: requests read strictly and in order, answers written with a bound on what waits."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from yunhe.gateway.chunked import ChunkedReader
from yunhe.gateway.exchange import Exchange
from yunhe.gateway.reasons import REASONS
from yunhe.gateway.refusal import Refusal, error_body, internal_error, malformed_http, too_large
from yunhe.gateway.request_head import HeadReader, RequestHead, head_too_large

if TYPE_CHECKING:
    from yunhe.gateway.worker import Worker

log = logging.getLogger(__name__)

_HEAD: Final = 0
_BODY: Final = 1
_BUSY: Final = 2
_LINGER: Final = 3
_CLOSING: Final = 4

JSON: Final = b"application/json"


class ClientConnection(asyncio.Protocol):
    """One TCP connection of a client."""

    __slots__ = (
        "_body_deadline_s",
        "_chunks",
        "_deadline_s",
        "_left",
        "_pending",
        "_pieces",
        "_reader",
        "_reading_paused",
        "_size",
        "_stalled_s",
        "_state",
        "_worker",
        "exchange",
        "head",
        "transport",
    )  # fmt: skip

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._reader = HeadReader(worker.options)
        self._state = _HEAD
        self._pending = b""
        self._pieces: list[bytes] = []
        self._size = 0
        self._left = 0
        self._chunks: ChunkedReader | None = None
        self._deadline_s = worker.now_s + worker.options.head_timeout_s
        self._body_deadline_s = 0.0
        self._stalled_s = 0.0
        self._reading_paused = False
        self.transport: Any = None
        self.head: RequestHead | None = None
        self.exchange: Exchange | None = None

    # asyncio callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client came."""
        self.transport = transport
        worker = self._worker
        self.transport.set_write_buffer_limits(high=worker.options.write_buffer_bytes)
        if not worker.welcome(self):
            body = error_body("Too many connections. Please try again shortly.", "server_error", "overloaded")
            transport.write(  # type: ignore[attr-defined]
                b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/json\r\nretry-after: 1\r\n"
                b"connection: close\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            )
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client is gone."""
        self._worker.farewell(self)
        exchange, self.exchange = self.exchange, None
        self._state = _CLOSING
        if exchange is not None:
            exchange.on_client_gone()

    def data_received(self, data: bytes) -> None:
        """Bytes of requests."""
        try:
            self._received(data)
        except Exception:
            # The edge of the process: one request fails, the worker goes on.
            log.exception("a request failed")
            self._failed()

    def _received(self, data: bytes) -> None:
        state = self._state
        if state == _HEAD:
            self._pending = self._pending + data if self._pending else data
            self._read_head()
        elif state == _BODY:
            self._read_body(data)
        elif state == _BUSY:
            self._pending += data
            if len(self._pending) > self._worker.options.pipelined_bytes_max:
                self.pause_reading()

    def _failed(self) -> None:
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.on_client_gone()
        if self._state in (_HEAD, _BODY, _BUSY):
            self._refuse_unread(internal_error())

    def pause_writing(self) -> None:
        """The client reads slowly."""
        self._stalled_s = self._worker.now_s
        if self.exchange is not None:
            self.exchange.on_client_writable(False)

    def resume_writing(self) -> None:
        """It reads again."""
        self._stalled_s = 0.0
        if self.exchange is not None:
            self.exchange.on_client_writable(True)

    def pause_reading(self) -> None:
        """Take no more of the request for now."""
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Take more again."""
        if self._reading_paused and not self.transport.is_closing():
            self._reading_paused = False
            self.transport.resume_reading()

    # reading

    def _read_head(self) -> None:
        data = self._pending
        options = self._worker.options
        if data[:2] == b"\r\n":
            # RFC 9112, 2.2: an empty line before a request is ignored.
            data = self._pending = data[2:]
        end = data.find(b"\r\n\r\n")
        if end < 0 or end + 4 > options.head_bytes_max:
            if len(data) > options.head_bytes_max or data.count(b"\n") > options.headers_max:
                self._refuse_unread(head_too_large(f"more than {options.head_bytes_max} bytes"))
            elif b"\n\n" in data:
                self._refuse_unread(malformed_http("A line of the request's head ends without CR LF."))
            elif len(data) > 24 and data[0] < 32:
                self._refuse_unread(malformed_http("This is not HTTP (TLS ends at a proxy in front of this port)."))
            elif len(data) and self._deadline_s > self._worker.now_s + options.head_timeout_s:
                self._deadline_s = self._worker.now_s + options.head_timeout_s
            return
        try:
            head = self._reader.read(data[: end + 4])
        except Refusal as refusal:
            self._refuse_unread(refusal)
            return
        self._pending = data[end + 4 :]
        self.head = head
        self._begin(head)

    def _begin(self, head: RequestHead) -> None:
        self._state = _BODY
        self._chunks = ChunkedReader() if head.chunked else None
        self._left = head.content_length or 0
        try:
            exchange = self.exchange = self._worker.dispatch(self, head)
            if exchange.buffered and self._left > self._worker.options.body_bytes_max:
                raise too_large(self._worker.options.body_bytes_max)
        except Refusal as refusal:
            self.refuse(refusal)
            return
        if b"expect" in head.headers and not self._pending:
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        left = self._left
        if self._chunks is None and (not left or (exchange.buffered and len(self._pending) >= left)):
            # The body is here already, as most are.
            self._state = _BUSY
            body, self._pending = self._pending[:left], self._pending[left:]
            exchange.begin(body)
            if not exchange.buffered and self.exchange is exchange:
                exchange.on_request_end()
            return
        if not exchange.buffered:
            exchange.begin(b"")
        now_s = self._worker.now_s
        self._deadline_s = now_s + self._worker.options.body_idle_timeout_s
        self._body_deadline_s = now_s + self._worker.options.body_timeout_s if exchange.buffered else 0.0
        if self._pending and self._state == _BODY:
            data, self._pending = self._pending, b""
            self._read_body(data)

    def _read_body(self, data: bytes) -> None:
        exchange = self.exchange
        assert exchange is not None
        if self._chunks is not None:
            try:
                pieces, rest = self._chunks.feed(data)
            except Refusal as refusal:
                self.exchange = None
                exchange.on_client_gone()
                self._refuse_unread(refusal)
                return
            done = self._chunks.done
        else:
            left = self._left
            if len(data) < left:
                self._left = left - len(data)
                pieces, rest, done = [data], b"", False
            else:
                pieces, rest, done = [data[:left]], data[left:], True
                self._left = 0
        if exchange.buffered:
            self._gather(exchange, pieces, rest, done)
            return
        for piece in pieces:
            exchange.on_request_body(piece)
        self._body_progress(rest, done)
        if done and self.exchange is exchange:
            exchange.on_request_end()

    def _body_progress(self, rest: bytes, done: bool) -> None:
        if self._state == _BODY:
            if done:
                self._state = _BUSY
                self._pending = rest
            else:
                self._deadline_s = self._worker.now_s + self._worker.options.body_idle_timeout_s

    def _gather(self, exchange: Exchange, pieces: list[bytes], rest: bytes, done: bool) -> None:
        limit = self._worker.options.body_bytes_max
        if done and not self._pieces and len(pieces) == 1:
            body = pieces[0]
        else:
            self._pieces.extend(pieces)
            self._size += sum(map(len, pieces))
            if self._size > limit:
                self.refuse(too_large(limit))
                return
            if not done:
                self._body_progress(rest, done)
                return
            body = b"".join(self._pieces)
            self._pieces = []
            self._size = 0
        if len(body) > limit:
            self.refuse(too_large(limit))
            return
        self._state = _BUSY
        self._pending = rest
        exchange.begin(body)

    # answering

    def answer(self, status: int, lines: bytes, body: bytes, content_type: bytes = JSON) -> None:
        """Write a whole answer and go on with the next request. ``lines`` are header lines, each ended by CRLF."""
        self.transport.write(
            b"%bcontent-type: %b\r\ncontent-length: %d\r\n%b\r\n%b"
            % (
                self.head_start(status),
                content_type,
                len(body),
                lines,
                b"" if self.head is not None and self.head.method == b"HEAD" else body,
            )
        )
        self.finish()

    def head_start(self, status: int) -> bytes:
        """Status line, Date, Server and Connection."""
        if status == 200 and self._stays_open() and self.head is not None and self.head.http11:
            return self._worker.ok_lines
        connection = b"connection: keep-alive\r\n" if self._stays_open() else b"connection: close\r\n"
        return b"HTTP/1.1 %d %b\r\n%b%b" % (
            status,
            REASONS.get(status, b"Status"),
            self._worker.common_lines,
            connection,
        )

    def _stays_open(self) -> bool:
        head = self.head
        return head is not None and head.keep_alive and self._state == _BUSY and not self._worker.draining

    def refuse(self, refusal: Refusal, request_id: str | None = None) -> None:
        """Answer with an error. ``request_id`` is the admitted request's, else one is made."""
        self.exchange = None
        if self._state == _BODY and self._chunks is None and len(self._pending) >= self._left:
            # The body is here already: dropping it keeps the connection usable.
            self._pending = self._pending[self._left :]
            self._state = _BUSY
        self._worker.stats.refused(refusal.status, refusal.openai_code, admitted=request_id is not None)
        own_id = self.head.headers.get(b"x-request-id", b"") if self.head is not None else b""
        lines = refusal.header_lines() + self._worker.request_id_lines(own_id, request_id)
        self.answer(refusal.status, lines, refusal.body())

    def _refuse_unread(self, refusal: Refusal) -> None:
        """What comes next cannot be told apart: answer and close."""
        self._state = _BODY
        self._pending = b""
        self._chunks = ChunkedReader()
        self.head = None
        self.refuse(refusal)

    def finish(self) -> None:
        """The answer is complete."""
        self.exchange = None
        if self._state in (_LINGER, _CLOSING):
            return
        if not self._stays_open():
            self._linger() if self._state == _BODY else self._close()
            return
        self._state = _HEAD
        self.head = None
        self._deadline_s = self._worker.now_s + self._worker.options.keepalive_idle_s
        if self._reading_paused:
            self.resume_reading()
        if self._pending:
            self._deadline_s = self._worker.now_s + self._worker.options.head_timeout_s
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        if self._state == _HEAD and self._pending:
            self._read_head()

    def _linger(self) -> None:
        """The client still sends: closing at once could destroy the answer on its way."""
        self._state = _LINGER
        self._pieces = []
        self._deadline_s = self._worker.now_s + self._worker.options.linger_s
        if self.transport.can_write_eof() and not self.transport.is_closing():
            self.transport.write_eof()
        self.resume_reading()

    def _close(self) -> None:
        self._state = _CLOSING
        self._deadline_s = self._worker.now_s + self._worker.options.write_stall_timeout_s
        self.transport.close()

    def abort(self) -> None:
        """End the connection now; what waits to be written is dropped."""
        self.transport.abort()

    def tick(self, now_s: float) -> None:
        """Time-outs."""
        if self._stalled_s and now_s > self._stalled_s + self._worker.options.write_stall_timeout_s:
            self._worker.stats.stalled += 1
            self.transport.abort()
            return
        state = self._state
        if state == _BUSY or (state == _BODY and self.exchange is not None and not self.exchange.buffered):
            if self.exchange is not None:
                self.exchange.tick(now_s)
            if state == _BUSY:
                return
        if state == _BODY and self._reading_paused:
            # We do not read because control reads slowly: not the client's fault.
            self._deadline_s = now_s + self._worker.options.body_idle_timeout_s
        if now_s < self._deadline_s and not (state == _BODY and 0 < self._body_deadline_s < now_s):
            return
        if state == _HEAD and not self._pending:
            self._close()
        elif state in (_HEAD, _BODY):
            exchange, self.exchange = self.exchange, None
            if exchange is not None:
                exchange.on_client_gone()
            self._refuse_unread(malformed_http("The request did not arrive in time.", 408, "request_timeout"))
        else:
            self.transport.abort()

    def cut_off(self) -> None:
        """The worker's time to drain is over: the request ends with an error."""
        if self.exchange is not None:
            self.exchange.stop()

    def drain(self) -> None:
        """The worker stops: an idle connection is closed, a busy one after its answer."""
        if self._state == _HEAD and not self._pending:
            self._close()
