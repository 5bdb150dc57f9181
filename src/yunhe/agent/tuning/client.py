"""A client of OpenAI's completions that costs little beside an engine on the same cores: a connection for each request.

It times what users feel: the first event with text, and the last.
"""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import urlsplit

import httptools

#: No single answer of a trial takes longer.
ANSWER_LIMIT_S: Final = 300.0
_EVENT: Final = b"data: "
_DONE: Final = b"[DONE]"


class RequestFailed(Exception):
    """The server refused, broke off, or answered something else than a stream of events."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer in full. Times are of ``time.perf_counter``, seconds."""

    sent_s: float
    first_s: float
    last_s: float
    input_tokens: int
    output_tokens: int

    @property
    def ttft_s(self) -> float:
        """Time to the first token."""
        return self.first_s - self.sent_s

    @property
    def tpot_s(self) -> float | None:
        """Mean time per output token after the first; None for an answer of one token."""
        return (self.last_s - self.first_s) / (self.output_tokens - 1) if self.output_tokens > 1 else None


@dataclass(frozen=True, slots=True)
class Ask:
    """One completion: the answer shall have exactly so many tokens."""

    prompt: str
    output_tokens: int
    seed: int = 0


class Connection(asyncio.Protocol):
    """A connection to one server, for one request."""

    def __init__(self, base_url: str, api_key: str | None, model: str) -> None:
        parts = urlsplit(base_url)
        self._host, self._port = parts.hostname or "127.0.0.1", parts.port or 80
        self._path = parts.path.rstrip("/") + "/v1/completions"
        self._key, self._model = api_key, model
        self._transport: asyncio.Transport | None = None
        self._parser: Any = None
        self._done: asyncio.Future[None] | None = None
        self._clear()

    def _clear(self) -> None:
        self._status = 0
        self._first_s = self._last_s = 0.0
        self._rest = b""
        self._usage: dict[str, Any] | None = None
        self._refusal = b""

    async def ask(self, ask: Ask) -> Answer:
        """Send one and read all of it. Raises RequestFailed."""
        try:
            async with asyncio.timeout(ANSWER_LIMIT_S):
                return await self._exchange(ask)
        except TimeoutError:
            self.close()
            raise RequestFailed(f"no whole answer within {ANSWER_LIMIT_S:.0f} s") from None
        except OSError as error:
            self.close()
            raise RequestFailed(f"{type(error).__name__}: {error}") from error

    async def _exchange(self, ask: Ask) -> Answer:
        loop = asyncio.get_running_loop()
        await loop.create_connection(lambda: self, self._host, self._port)
        assert self._transport is not None
        self._clear()
        self._parser = httptools.HttpResponseParser(self)
        self._done = loop.create_future()
        sent_s = time.perf_counter()
        self._transport.write(self._request(ask))
        await self._done
        if self._status != 200:
            raise RequestFailed(f"status {self._status}: {self._refusal[:300].decode(errors='replace')}")
        usage = self._usage or {}
        tokens = int(usage.get("completion_tokens") or 0)
        if not self._first_s or tokens < 1:
            raise RequestFailed("the stream held no token, or no usage at its end")
        return Answer(sent_s, self._first_s, self._last_s, int(usage.get("prompt_tokens") or 0), tokens)

    def _request(self, ask: Ask) -> bytes:
        body = json.dumps(
            {
                "model": self._model,
                "prompt": ask.prompt,
                "max_tokens": ask.output_tokens,
                # Engines that know neither ignore them; then the window is refused for its number of tokens.
                "ignore_eos": True,
                "min_tokens": ask.output_tokens,
                "temperature": 0.8,
                "seed": ask.seed,
                "stream": True,
                "stream_options": {"include_usage": True},
            }
        ).encode()
        head = [f"POST {self._path} HTTP/1.1", f"host: {self._host}:{self._port}", "content-type: application/json"]
        head.append(f"content-length: {len(body)}")
        if self._key:
            head.append(f"authorization: Bearer {self._key}")
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()
            self._transport = None

    # asyncio.Protocol
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep it."""
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._end(RequestFailed(f"no HTTP: {error}"))

    def connection_lost(self, exc: Exception | None) -> None:
        """Whatever was awaited will not come."""
        self._transport = None
        self._end(RequestFailed(f"the server hung up{f': {exc}' if exc else ''}"))

    # httptools
    def on_headers_complete(self) -> None:
        """Remember the status."""
        self._status = self._parser.get_status_code()

    def on_body(self, body: bytes) -> None:
        """Time events, and find the usage in the last."""
        if self._status != 200:
            self._refusal += body
            return
        now = time.perf_counter()
        *lines, self._rest = (self._rest + body).split(b"\n")
        for line in lines:
            if line.startswith(_EVENT) and not line.startswith(_DONE, len(_EVENT)):
                self._event(line[len(_EVENT) :], now)

    def _event(self, event: bytes, now: float) -> None:
        # Only the events that hold a usage are parsed: the others are many, and their time is all that counts.
        if b'"usage":{' in event or b'"usage": {' in event:
            try:
                found = json.loads(event)
            except ValueError:
                return
            self._usage = found.get("usage") or self._usage
            if not found.get("choices"):
                return
        if b'"error"' in event and b'"choices"' not in event:
            self._refusal += event
            self._status = 599
            return
        self._first_s = self._first_s or now
        self._last_s = now

    def on_message_complete(self) -> None:
        """All is there."""
        self._end(None)

    def _end(self, error: RequestFailed | None) -> None:
        if self._done is not None and not self._done.done():
            if error is None:
                self._done.set_result(None)
            else:
                self._done.set_exception(error)
