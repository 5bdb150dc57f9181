"""Chunked request bodies."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.gateway.chunked import ChunkedReader
from yunhe.gateway.refusal import Refusal

CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=8)


def encoded(chunks: list[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in chunks) + b"0\r\n\r\n"


@given(CHUNKS, st.binary(max_size=20), st.lists(st.integers(0, 400), max_size=12))
def test_any_cutting_gives_the_same_body_and_rest(chunks: list[bytes], after: bytes, cuts: list[int]) -> None:
    wire = encoded(chunks) + after
    edges = sorted({0, len(wire), *(min(cut, len(wire)) for cut in cuts)})
    reader, body, rest = ChunkedReader(), b"", b""
    for start, end in itertools.pairwise(edges):
        if reader.done:
            rest += wire[start:end]
            continue
        pieces, rest = reader.feed(wire[start:end])
        body += b"".join(pieces)
    assert reader.done
    assert body == b"".join(chunks)
    assert rest == after


@pytest.mark.parametrize(
    "wire",
    [
        b"\r\n",
        b"x\r\n",
        b"-1\r\n",
        b"+1\r\n",
        b"0x1\r\n",
        b" 1\r\n",
        b"1 2\r\n",
        b"1\nab",
        b"1\r\nabc",
        b"2\r\nab\n\n",
        b"1" * 300,
        b"1;" + b"e" * 300 + b"\r\n",
        b"fffffffffffff\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0\r\n\n",
        b"0\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(wire: bytes) -> None:
    with pytest.raises(Refusal) as caught:
        ChunkedReader().feed(wire)
    assert caught.value.status == 400


def test_extensions_and_trailers_are_dropped() -> None:
    reader = ChunkedReader()
    pieces, rest = reader.feed(b"3;a=b\r\nabc\r\n0\r\nx-t: 1\r\n\r\nNEXT")
    assert (b"".join(pieces), rest, reader.done) == (b"abc", b"NEXT", True)


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_waited_for_but_never_breaks(wire: bytes) -> None:
    reader = ChunkedReader()
    try:
        reader.feed(wire)
    except Refusal as refusal:
        assert refusal.status == 400
