"""The shared table of limits."""

from pathlib import Path

import pytest

from yunhe.gateway.limits import UNLIMITED, LimitTable, Owner, duration_text, header_lines
from yunhe.gateway.refusal import Refusal

FREE = Owner("project", "p", None, None)


def test_two_tables_over_one_file_are_one_limit(tmp_path: Path) -> None:
    tables = [LimitTable(tmp_path), LimitTable(tmp_path)]
    keys = [Owner("key", "k", 10, None), Owner("key", "k", 10, None)]
    passed = 0
    for n in range(30):
        try:
            tables[n % 2].admit(1000.0, keys[n % 2], FREE, 1)
            passed += 1
        except Refusal:
            pass
    assert passed == 10
    for table in tables:
        table.close()


def test_a_refusal_by_one_owner_counts_against_neither(tmp_path: Path) -> None:
    table = LimitTable(tmp_path)
    key, project = Owner("key", "k", 100, None), Owner("project", "p", 1, None)
    table.admit(1000.0, key, project, 1)
    for _ in range(5):
        with pytest.raises(Refusal):
            table.admit(1000.0, key, project, 1)
    assert table.admit(1000.0, key, FREE, 1).requests_left == 98
    table.close()


def test_corrections_are_written_with_the_next_decision_or_by_the_flush(tmp_path: Path) -> None:
    table = LimitTable(tmp_path)
    key = Owner("key", "k", None, 1000)
    assert table.admit(1000.0, key, FREE, 900).tokens_left == 100
    table.correct(key, FREE, -800)
    assert table.admit(1000.0, key, FREE, 100).tokens_left == 800
    table.correct(key, FREE, 300)
    table.flush(1000.0)
    other = LimitTable(tmp_path)
    assert other.admit(1000.0, Owner("key", "k", None, 1000), FREE, 0).tokens_left == 500
    table.close()
    other.close()


def test_the_tighter_limit_is_told(tmp_path: Path) -> None:
    table = LimitTable(tmp_path)
    room = table.admit(1000.0, Owner("key", "k", 100, 50), Owner("project", "p", 10, 5000), 20)
    assert (room.rpm, room.requests_left, room.tpm, room.tokens_left) == (10, 9, 50, 30)
    table.close()


def test_a_limit_of_nothing_refuses_everything(tmp_path: Path) -> None:
    table = LimitTable(tmp_path)
    with pytest.raises(Refusal) as caught:
        table.admit(1000.0, Owner("key", "k", 0, None), FREE, 1)
    assert caught.value.status == 429
    table.close()


def test_many_owners_share_the_table(tmp_path: Path) -> None:
    table = LimitTable(tmp_path)
    for n in range(3000):
        owner = Owner("key", str(n), 1, None)
        table.admit(1000.0, owner, FREE, 1)
    refused = 0
    for n in range(3000):
        try:
            table.admit(1000.0, Owner("key", str(n), 1, None), FREE, 1)
        except Refusal:
            refused += 1
    assert refused == 3000
    table.close()


def test_without_limits_nothing_is_counted(tmp_path: Path) -> None:
    table = LimitTable(tmp_path)
    assert table.admit(1000.0, FREE, FREE, 1) is UNLIMITED
    assert header_lines(UNLIMITED) == b""
    table.close()


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.0, "0ms"), (0.0204, "20ms"), (1.0, "1s"), (1.5, "1.5s"), (59.9, "59.9s"), (360.0, "6m0s")]
)
def test_durations_are_written_as_openai_does(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text.encode()
