"""The head of a request, checked more strictly than the parser does: what could be read in two ways is refused."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

import httptools

from yunhe.gateway.options import Options
from yunhe.gateway.refusal import Refusal, malformed_http

_DOT_SEGMENT: Final = re.compile(rb"(?:^|[/\\])\.{1,2}(?:[/\\]|$)")
#: Headers that must not be repeated: two readers could choose differently.
_SINGLE: Final = frozenset(
    {b"host", b"content-length", b"transfer-encoding", b"authorization", b"content-type", b"expect"}
)
#: Targets that need no closer look.
_COMMON: Final = frozenset({b"/v1/chat/completions", b"/v1/completions", b"/v1/embeddings"})
_TARGET_BYTES_MAX: Final = 8192


_LENGTH: Final = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,9})[ \t]*\r\n", re.IGNORECASE)


@dataclass(slots=True)
class RequestHead:
    """A request's head as far as the gateway needs it."""

    method: bytes
    #: Before the question mark, still percent-encoded.
    path: bytes
    #: The target as sent, for relaying.
    target: bytes
    headers: dict[bytes, bytes]
    #: Every header as sent, in order, for relaying; empty for common requests, which are not relayed.
    raw_headers: list[tuple[bytes, bytes]]
    http11: bool
    keep_alive: bool
    #: None: no body unless ``chunked``.
    content_length: int | None
    chunked: bool


class HeadReader:
    """Parses heads; one per connection, its parser made anew for each request.

    A client sends much the same head again and again: where only the digits of Content-Length differ from the last
    head of a common request, what that one said still holds, and nothing is parsed.
    """

    __slots__ = ("_after", "_before", "_headers", "_headers_max", "_last", "_raw", "_too_many", "_twice", "_url")

    def __init__(self, options: Options) -> None:
        self._headers_max = options.headers_max
        self._headers: dict[bytes, bytes] = {}
        self._raw: list[tuple[bytes, bytes]] = []
        self._url = b""
        self._twice: bytes | None = None
        self._too_many = False
        #: The last head's bytes before and after the digits, and what it said.
        self._before = self._after = b""
        self._last: RequestHead | None = None

    def on_url(self, url: bytes) -> None:
        """Parser callback."""
        self._url = url

    def on_header(self, name: bytes, value: bytes) -> None:
        """Parser callback, once a header."""
        lower = name.lower()
        headers = self._headers
        if lower in headers:
            if lower in _SINGLE:
                self._twice = lower
            headers[lower] += b", " + value
        else:
            headers[lower] = value
        raw = self._raw
        raw.append((name, value))
        if len(raw) > self._headers_max:
            self._too_many = True
            raise ValueError("too many headers")

    def read(self, head: bytes) -> RequestHead:
        """The head that ``head`` (ended by an empty line) holds. Raises Refusal (400, 431, 505 ...)."""
        last = self._last
        if last is not None and head.startswith(self._before) and head.endswith(self._after):
            digits = head[len(self._before) : -len(self._after)]
            if digits.isdigit() and len(digits) <= 9:
                last.content_length = int(digits)
                last.headers[b"content-length"] = digits
                return last
        read = self._parsed(head)
        self._last = None
        if read.path in _COMMON:
            read.raw_headers = []
            found = _LENGTH.search(head) if read.content_length is not None else None
            if found:
                self._before, self._after = head[: found.start(1)], head[found.end(1) :]
                self._last = read
        return read

    def _parsed(self, head: bytes) -> RequestHead:
        self._headers = {}
        self._raw = []
        self._url = b""
        self._twice = None
        self._too_many = False
        if head.count(b"\n") != head.count(b"\r\n"):
            raise malformed_http("A line of the request's head ends without CR LF.")
        parser = httptools.HttpRequestParser(self)
        try:
            parser.feed_data(head)
        except httptools.HttpParserUpgrade:
            # Upgrade offers (h2c, WebSocket) are ignored, as HTTP allows; CONNECT is refused below.
            pass
        except httptools.HttpParserError as error:
            if self._too_many:
                raise head_too_large(f"more than {self._headers_max} headers") from None
            raise malformed_http(f"Malformed HTTP request: {error}.") from None
        return self._checked(parser)

    def _checked(self, parser: httptools.HttpRequestParser) -> RequestHead:
        version = parser.get_http_version()
        if version not in ("1.1", "1.0"):
            raise malformed_http("Only HTTP/1.1 and HTTP/1.0 are served here.", 505, "http_version")
        http11 = version == "1.1"
        headers = self._headers
        if self._twice is not None:
            raise malformed_http(f"The header {self._twice.decode()} occurs twice.")
        if http11 and b"host" not in headers:
            raise malformed_http("The Host header is missing.")
        chunked = b"transfer-encoding" in headers and _chunked_alone(headers, http11)
        expected = headers.get(b"expect")
        if expected is not None and expected.lower() != b"100-continue":
            raise malformed_http("Only `Expect: 100-continue` is understood.", 417, "expectation_failed")
        length = headers.get(b"content-length")
        method = parser.get_method()
        path, target = self._path(method)
        return RequestHead(
            method,
            path,
            target,
            headers,
            self._raw,
            http11,
            parser.should_keep_alive(),
            None if length is None else content_length(length),
            chunked,
        )

    def _path(self, method: bytes) -> tuple[bytes, bytes]:
        url = self._url
        if url in _COMMON and method == b"POST":
            return url, url
        if method == b"CONNECT":
            raise malformed_http("CONNECT is not served here.", 405, "method_not_allowed")
        if url[:1] != b"/":
            if url == b"*" and method == b"OPTIONS":
                return url, url
            raise malformed_http("The request target must be a path that begins with a slash.")
        if len(url) > _TARGET_BYTES_MAX:
            raise malformed_http("The request target is too long.", 414, "uri_too_long")
        path = url.partition(b"?")[0]
        plain = path if b"%" not in path else unquote_to_bytes(path)
        if (b"." in plain and _DOT_SEGMENT.search(plain)) or b"\0" in plain or b"#" in url:
            raise malformed_http("The path holds `.` or `..` segments or characters that are not served.")
        return path, url


def _chunked_alone(headers: dict[bytes, bytes], http11: bool) -> bool:
    """True; raises Refusal when anything else could be meant."""
    if headers[b"transfer-encoding"].lower() != b"chunked" or not http11 or b"content-length" in headers:
        raise malformed_http("The body's framing is ambiguous: only `Transfer-Encoding: chunked` alone is read.")
    return True


def content_length(value: bytes) -> int:
    """Digits only. Raises Refusal otherwise."""
    digits = value.strip(b" \t")
    if not digits.isdigit() or len(digits) > 18:
        raise malformed_http("Content-Length must be one decimal number.")
    return int(digits)


def head_too_large(why: str) -> Refusal:
    """431."""
    return malformed_http(f"The request's headers are too large: {why}.", 431, "headers_too_large")
