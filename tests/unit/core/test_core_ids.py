import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.core.ids import is_id, new_id, uuid7_hex


@given(st.integers(0, 2**48 - 1), st.binary(min_size=10, max_size=10))
def test_every_id_is_a_uuid_of_version_7_that_holds_its_time(unix_ms: int, random_bytes: bytes) -> None:
    parsed = uuid.UUID(hex=uuid7_hex(unix_ms, random_bytes))
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == unix_ms


@given(st.integers(0, 2**48 - 2), st.binary(min_size=10, max_size=10), st.binary(min_size=10, max_size=10))
def test_ids_sort_by_their_time(unix_ms: int, first: bytes, second: bytes) -> None:
    assert uuid7_hex(unix_ms, first) < uuid7_hex(unix_ms + 1, second)


@given(st.integers(0, 2**48 - 1), st.integers(0, 4094), st.binary(min_size=10, max_size=10))
def test_ids_of_one_millisecond_sort_by_its_parts(unix_ms: int, fraction: int, random_bytes: bytes) -> None:
    assert uuid7_hex(unix_ms, b"\xff" * 10, fraction) < uuid7_hex(unix_ms, random_bytes, fraction + 1)
    assert uuid.UUID(hex=uuid7_hex(unix_ms, random_bytes, fraction)).version == 7


def test_ids_made_in_a_row_differ() -> None:
    assert len({new_id("req") for _ in range(1000)}) == 1000


@pytest.mark.parametrize(
    "text", ["", "req_", "req_123", "key_" + "0" * 32, "req_" + "g" * 32, "key_01a20c55dcfd76439a2c5ed4358232c6"]
)
def test_what_is_not_a_request_id_is_told_apart(text: str) -> None:
    assert not is_id(text, "req")


def test_an_id_is_of_the_kind_it_was_made_for() -> None:
    assert is_id(new_id("req"), "req")
