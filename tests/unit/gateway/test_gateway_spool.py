"""The spool's files."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.gateway.options import Options
from yunhe.gateway.spool import RECORD_BYTES_MAX, Spool, whole_lines


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    made = Spool(tmp_path, Options(segment_bytes=8192, fsync_interval_s=0.001), lambda: None)
    yield made
    made.close()


def test_records_are_in_the_file_when_append_returns(spool: Spool) -> None:
    assert spool.reserve()
    spool.append(b'{"a":1}')
    ((path, used, active),) = spool.segments()
    assert whole_lines(path.read_bytes()) == b'{"a":1}\n'
    assert (used, active) == (8, True)


def test_reserved_room_is_given_back(spool: Spool) -> None:
    for _ in range(1000):
        assert spool.reserve()
        spool.unreserve()


def test_a_closed_spool_leaves_only_what_was_written(tmp_path: Path) -> None:
    made = Spool(tmp_path, Options(segment_bytes=8192), lambda: None)
    assert made.reserve()
    made.append(b"x" * 100)
    made.close()
    (left,) = tmp_path.glob("*.ndjson")
    assert left.read_bytes() == b"x" * 100 + b"\n"


def test_an_unwritable_directory_admits_nothing_and_recovers(tmp_path: Path) -> None:
    ready = False

    def prepare() -> None:
        if not ready:
            raise OSError(28, "No space left on device")

    made = Spool(tmp_path, Options(segment_bytes=8192), prepare)
    assert not made.reserve()
    assert made.trouble is not None
    assert "No space" in made.trouble
    made.append(b"kept", reserved=False)
    ready = True
    made._look()
    made.retry_backlog()
    assert made.waiting == 0
    assert made.reserve()
    made.close()


@given(
    st.lists(st.binary(min_size=1, max_size=30).filter(lambda b: b"\n" not in b and b"\0" not in b)), st.integers(0, 9)
)
def test_torn_ends_and_zeros_are_left_out(records: list[bytes], torn: int) -> None:
    whole = b"".join(record + b"\n" for record in records)
    assert whole_lines(whole + b"{half a rec"[:torn] + b"\0" * 50) == whole


def test_the_reserved_unit_is_larger_than_any_record_of_ours() -> None:
    assert RECORD_BYTES_MAX >= 1024
