"""The parser path under hostile bytes: never an exception, never a second reading of what was refused.

A real worker (files in a temporary directory, no sockets) gets bytes through a recorded transport.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yunhe.core.home import Home
from yunhe.gateway.client import ClientConnection
from yunhe.gateway.options import Options
from yunhe.gateway.replica import ConnectResult, Pool
from yunhe.gateway.worker import Worker

BOUNDED = settings(
    max_examples=150, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


class RecordedTransport(asyncio.Transport):
    """Keeps what is written; closes like a socket."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed = False

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        assert not self.closed
        self.sent += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def is_closing(self) -> bool:
        return self.closed

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        pass

    def close(self) -> None:
        self.closed = True

    abort = close

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default


class NoSockets(Pool):
    """Control is away."""

    def connect(self, result: ConnectResult) -> None:
        result(None, "no sockets here")


class Bench:
    """A worker and the loop that it runs in."""

    def __init__(self, directory: Path) -> None:
        self.options = Options(
            segment_bytes=65536, journal_slots=16, head_bytes_max=4096, body_bytes_max=4096, headers_max=32
        )
        self.loop = asyncio.new_event_loop()
        self.worker = self.loop.run_until_complete(self._make(directory))

    async def _make(self, directory: Path) -> Worker:
        worker = Worker(Home(directory), 0, 1, "http://127.0.0.1:9", self.options, b"p" * 32, "0" * 64)
        worker.control_pool = NoSockets(worker.control_address, self.options)
        return worker

    def feed(self, segments: list[bytes]) -> RecordedTransport:
        """One connection's segments, one after the other; what was answered."""
        transport = RecordedTransport()
        self.loop.run_until_complete(self._feed(transport, segments))
        return transport

    async def _feed(self, transport: RecordedTransport, segments: list[bytes]) -> None:
        client = ClientConnection(self.worker)
        client.connection_made(transport)
        for segment in segments:
            if not transport.closed and segment:
                client.data_received(segment)
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        client.connection_lost(None)

    def close(self) -> None:
        self.worker.close()
        self.loop.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def statuses(sent: bytes) -> list[int]:
    """Every answer's status; the bytes must be nothing but whole answers."""
    found = []
    while sent:
        match = re.match(rb"HTTP/1\.1 (\d{3}) [A-Za-z ]+\r\n(.*?)\r\n\r\n", sent, re.DOTALL)
        assert match, sent[:200]
        found.append(int(match[1]))
        if match[1] == b"100":
            sent = sent[len(b"HTTP/1.1 100 Continue\r\n\r\n") :]
            continue
        length = re.search(rb"content-length: (\d+)", match[2])
        assert length
        sent = sent[match.end() + int(length[1]) :]
    return found


FRAGMENTS = st.sampled_from(
    [
        b"GET ", b"POST ", b"OPTIONS ", b"/", b"/v1/models", b"/v1/chat/completions", b"/gateway/health", b"/x", b" ",
        b"HTTP/1.1", b"HTTP/1.0", b"HTTP/9.9", b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"Host: a\r\n", b"Content-Length: 5",
        b"Content-Length: 0\r\n", b"Content-Length:", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
        b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\nConnection: Upgrade\r\n", b"Authorization: Bearer yh_x\r\n",
        b":", b"5\r\nhello\r\n", b"0\r\n\r\n", b"hello", b"{}", b"\0", b"\xff\xfe", b"%2e%2e/", b"../", b"a" * 500,
        b" b\r\n", b"X: y\r\n" * 40, b"\t", b"*", b"http://h/", b"GET /gateway/health HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
)  # fmt: skip
WIRE = st.lists(st.one_of(FRAGMENTS, st.binary(max_size=12)), min_size=1, max_size=24).map(b"".join)
CUTS = st.lists(st.integers(0, 600), max_size=6)


def cut(wire: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted(min(c, len(wire)) for c in cuts), len(wire)]
    return [wire[a:b] for a, b in itertools.pairwise(edges)]


def test_arbitrary_bytes_get_whole_answers_or_none(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    @BOUNDED
    @given(WIRE, CUTS)
    def check(wire: bytes, cuts: list[int]) -> None:
        answered = statuses(bench.feed(cut(wire, cuts)).sent)
        assert 500 not in answered
        assert not [record for record in caplog.records if record.exc_info]

    check()


def test_how_bytes_are_cut_does_not_change_the_answers(bench: Bench) -> None:
    @BOUNDED
    @given(WIRE, CUTS)
    def check(wire: bytes, cuts: list[int]) -> None:
        whole = [s for s in statuses(bench.feed([wire]).sent) if s != 100]
        pieces = [s for s in statuses(bench.feed(cut(wire, cuts)).sent) if s != 100]
        # A request that is refused before its end may be refused at another byte, never accepted.
        if 431 not in whole and 431 not in pieces:
            assert whole == pieces

    check()


VALID = (
    b"POST /v1/chat/completions HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer yh_x\r\nContent-Length: 12\r\n\r\n"
    b'{"model":"a"}'[:-1]
    + b"GET /gateway/health HTTP/1.1\r\nHost: a\r\n\r\n"
)


def test_one_changed_byte_never_lets_the_second_request_be_read_differently(bench: Bench) -> None:
    @settings(parent=BOUNDED, max_examples=400)
    @given(st.integers(0, len(VALID) - 1), st.integers(0, 255))
    def check(at: int, byte: int) -> None:
        wire = VALID[:at] + bytes([byte]) + VALID[at + 1 :]
        answered = statuses(bench.feed([wire]).sent)
        assert 500 not in answered
        assert len(answered) <= 2

    check()
    assert statuses(bench.feed([VALID]).sent) == [401, 200]
