"""A connection to a replica: one request at a time, answers parsed in C, kept alive while both sides agree."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final, Protocol

import httptools

log = logging.getLogger(__name__)

_HEADERS_MAX: Final = 100


class AnswerSink(Protocol):
    """Who takes a replica's answer."""

    def on_answer_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """The final (not 1xx) head. ``headers`` is filled by a ``HeadedConnection`` only."""
        ...

    def on_answer_body(self, data: bytes) -> None:
        """A piece of the body."""
        ...

    def on_answer_end(self) -> None:
        """The body is complete; the connection is already free."""
        ...

    def on_answer_lost(self, why: str) -> None:
        """The connection broke, or the answer is not HTTP, before the end."""
        ...

    def on_upstream_writable(self, writable: bool) -> None:
        """Whether more of a request body may be written."""
        ...


class ConnectionOwner(Protocol):
    """The pool that a connection belongs to."""

    def released(self, connection: UpstreamConnection) -> None:
        """The connection may take another request."""
        ...

    def closed(self, connection: UpstreamConnection) -> None:
        """The connection is gone."""
        ...


class _Ignore:
    """Takes the rest of an answer."""

    def on_answer_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        """Ignored."""

    def on_answer_body(self, data: bytes) -> None:
        """Ignored."""

    def on_answer_end(self) -> None:
        """Ignored."""

    def on_answer_lost(self, why: str) -> None:
        """Ignored."""

    def on_upstream_writable(self, writable: bool) -> None:
        """Ignored."""


IGNORE: Final = _Ignore()


class UpstreamConnection(asyncio.Protocol):
    """One TCP connection."""

    __slots__ = (
        "_headers", "_owner", "_parser", "_sink", "_status", "_until_close", "answered", "ending", "head_only",
        "idle_since_s", "paused", "transport", "used",
    )  # fmt: skip

    def __init__(self, owner: ConnectionOwner) -> None:
        self._owner = owner
        self.transport: Any = None
        self._sink: AnswerSink | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._headers: dict[bytes, bytes] = {}
        self._status = 0
        self._until_close = False
        self.head_only = False
        #: Requests begun on it; a second one may meet a connection that the server is just closing.
        self.used = 0
        #: Bytes of the current answer have come.
        self.answered = False
        self.idle_since_s = 0.0
        #: Only the rest of an answer that nobody wants is awaited, since ``idle_since_s``.
        self.ending = False
        self.paused = False

    def send(self, sink: AnswerSink, data: bytes) -> None:
        """Begin a request; ``sink`` gets the answer."""
        self._sink = sink
        self.used += 1
        self.answered = False
        self.ending = False
        self._until_close = False
        self.transport.write(data)

    def write(self, data: bytes) -> None:
        """More of the request's body."""
        self.transport.write(data)

    def abort(self) -> None:
        """Give the request up: the replica sees the connection end at once."""
        self._sink = None
        if self.transport is not None:
            self.transport.abort()

    def let_end(self, now_s: float) -> None:
        """Nobody wants the rest of the answer, which is about to end: read it, then be free again."""
        if self._sink is not None:
            self._sink = IGNORE
            self.idle_since_s = now_s
            self.ending = True
            self.resume()

    def pause(self) -> None:
        """Stop reading: the client is slow."""
        if not self.paused:
            self.paused = True
            self.transport.pause_reading()

    def resume(self) -> None:
        """Read again."""
        if self.paused:
            self.paused = False
            self.transport.resume_reading()

    # asyncio callbacks

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The connection is up."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Bytes of an answer."""
        if self._sink is None:
            # Nobody asked: a server that talks out of turn cannot be trusted with the next request.
            self.transport.abort()
            return
        self.answered = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserCallbackError as error:
            log.error("an answer could not be handled", exc_info=error)
            self._lost("its answer could not be handled")
        except httptools.HttpParserError as error:
            self._lost(f"its answer is not HTTP/1.1: {error}")
        except httptools.HttpParserUpgrade:
            self._lost("it switched protocols unasked")

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone."""
        self._owner.closed(self)
        sink = self._sink
        if sink is None:
            return
        self._sink = None
        if self._until_close and exc is None:
            sink.on_answer_end()
        else:
            sink.on_answer_lost("it closed the connection" if exc is None else f"the connection broke: {exc}")

    def pause_writing(self) -> None:
        """The replica reads slowly."""
        if self._sink is not None:
            self._sink.on_upstream_writable(False)

    def resume_writing(self) -> None:
        """It reads again."""
        if self._sink is not None:
            self._sink.on_upstream_writable(True)

    def _lost(self, why: str) -> None:
        sink = self._sink
        self._sink = None
        self.transport.abort()
        if sink is not None:
            sink.on_answer_lost(why)

    # parser callbacks

    def on_message_begin(self) -> None:
        """A new answer."""
        self._headers = {}
        if self._sink is None and self.used:
            self.transport.abort()

    def on_headers_complete(self) -> None:
        """The head is complete."""
        status = self._status = self._parser.get_status_code()
        if status < 200:
            return
        self._until_close = self._ends_by_close(status)
        sink = self._sink
        if sink is not None:
            sink.on_answer_head(status, self._headers)
            if self.head_only and self._sink is sink:
                self._finish(reusable=False)

    def _ends_by_close(self, status: int) -> bool:
        """Whether the body may last until the connection ends. Without headers this is only a guess, for an answer
        with a length and ``Connection: close`` looks the same; replicas' answers tell by their content whether they
        are whole."""
        return not self._parser.should_keep_alive()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        sink = self._sink
        if sink is not None:
            sink.on_answer_body(body)

    def on_message_complete(self) -> None:
        """The answer is complete."""
        if self._status >= 200:
            self._finish(reusable=self._parser.should_keep_alive())

    def _finish(self, *, reusable: bool) -> None:
        sink = self._sink
        self._sink = None
        self.resume()
        if reusable and not self.transport.is_closing():
            self._owner.released(self)
        else:
            self.transport.close()
        if sink is not None:
            sink.on_answer_end()


class HeadedConnection(UpstreamConnection):
    """A connection that also reads the answers' headers; replicas' are of no use to us and cost time to read."""

    __slots__ = ()

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header line; repeated ones (Set-Cookie) are kept apart by a line feed, which no header can hold."""
        headers = self._headers
        lower = name.lower()
        if lower in headers:
            headers[lower] += b"\n" + value
        else:
            headers[lower] = value
        if len(headers) > _HEADERS_MAX:
            raise ValueError("too many headers")

    def _ends_by_close(self, status: int) -> bool:
        headers = self._headers
        framed = b"content-length" in headers or b"chunked" in headers.get(b"transfer-encoding", b"").lower()
        return not framed and status not in (204, 304) and not self.head_only
