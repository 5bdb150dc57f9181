"""Decoding of chunked request bodies, strict: sizes in hex, CR LF everywhere, extensions and trailers bounded."""

from __future__ import annotations

from typing import Final

from yunhe.gateway.refusal import malformed_http

_LINE_BYTES_MAX: Final = 256
_TRAILER_BYTES_MAX: Final = 4096
_HEX: Final = frozenset(b"0123456789abcdefABCDEF")


class ChunkedReader:
    """Takes raw bytes, gives the body's; knows where it ends."""

    __slots__ = ("_buffer", "_left", "_trailers", "done")

    def __init__(self) -> None:
        self._buffer = b""
        #: Bytes of the current chunk still to come, its CR LF included; 0 between chunks.
        self._left = 0
        self._trailers = -1
        self.done = False

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """``(pieces of the body, bytes after its end)``. Raises Refusal 400 when it is not well formed."""
        pieces: list[bytes] = []
        data = self._buffer + data
        at = 0
        while True:
            if self._trailers >= 0:
                return pieces, self._trailer(data[at:])
            if self._left:
                if len(data) - at < self._left:
                    self._take_part(data, at, pieces)
                    return pieces, b""
                at = self._take_rest(data, at, pieces)
                continue
            end = data.find(b"\r\n", at, at + _LINE_BYTES_MAX + 2)
            if end < 0:
                if len(data) - at > _LINE_BYTES_MAX or b"\n" in data[at:]:
                    raise malformed_http("A chunk's size line is malformed.")
                self._buffer = data[at:]
                return pieces, b""
            size = _size(data[at:end])
            at = end + 2
            if size == 0:
                self._trailers = 0
            else:
                self._left = size + 2

    def _take_rest(self, data: bytes, at: int, pieces: list[bytes]) -> int:
        """The current chunk ends within ``data``; answers the index after it."""
        end = at + self._left
        if data[end - 2 : end] != b"\r\n":
            raise malformed_http("A chunk does not end with CR LF.")
        if self._left > 2:
            pieces.append(data[at : end - 2])
        self._left = 0
        return end

    def _take_part(self, data: bytes, at: int, pieces: list[bytes]) -> None:
        """``data`` ends within the current chunk: keeps at most half a CR LF back."""
        body = min(len(data) - at, self._left - 2)
        if body > 0:
            pieces.append(data[at : at + body])
            self._left -= body
            at += body
        self._buffer = data[at:]
        if self._buffer not in (b"", b"\r"):
            raise malformed_http("A chunk does not end with CR LF.")

    def _trailer(self, data: bytes) -> bytes:
        """Drops trailers up to the empty line; answers what comes after it."""
        while True:
            end = data.find(b"\r\n")
            if end < 0:
                if len(data) + self._trailers > _TRAILER_BYTES_MAX or b"\n" in data:
                    raise malformed_http("The trailers are malformed or too large.")
                self._buffer = data
                return b""
            if end == 0:
                self.done = True
                self._buffer = b""
                return data[2:]
            self._trailers += end + 2
            if self._trailers > _TRAILER_BYTES_MAX or b":" not in data[:end]:
                raise malformed_http("The trailers are malformed or too large.")
            data = data[end + 2 :]


def _size(line: bytes) -> int:
    digits = line.partition(b";")[0].rstrip(b" \t")
    if not digits or len(digits) > 12 or not _HEX.issuperset(digits) or b"\n" in line or b"\r" in line:
        raise malformed_http("A chunk's size line is malformed.")
    return int(digits, 16)
