"""Streams in flight, kept over the worker's death."""

from pathlib import Path

import msgspec

from yunhe.catalogue.ports import UsageProbe
from yunhe.gateway import journal, meter
from yunhe.ledger.usage import UsageRecord

PROBE = UsageProbe({}, "timings", ("prompt_n", "cache_n"), "cache_n", "predicted_n")
RECORD = UsageRecord(
    "req_1", "p", "k", "m", "chat.completions", True, "gateway_crash", 200, 0, 0, 0, "none", 1.0, 0.0, None, None, None,
    None, None, None, 1, "gateway-0",
)  # fmt: skip


def opened(tmp_path: Path, probe: UsageProbe = PROBE) -> tuple[journal.Journal, int]:
    made = journal.Journal(tmp_path, 8)
    made.prepare()
    return made, made.open(journal.OpenStream(msgspec.Raw(msgspec.json.encode(RECORD)), probe, 11))


def test_the_newest_counts_are_found(tmp_path: Path) -> None:
    kept, slot = opened(tmp_path)
    for n in range(1, 6):
        kept.note(slot, n, b'{"prompt_n":10,"cache_n":3,"predicted_n":%d}' % n)
    (found,) = journal.read(tmp_path)
    record = meter.crashed(found)
    assert (record.prompt_tokens, record.cached_tokens, record.completion_tokens) == (13, 3, 5)
    assert record.token_source == "engine_partial"


def test_a_half_written_update_leaves_the_one_before(tmp_path: Path) -> None:
    kept, slot = opened(tmp_path)
    kept.note(slot, 1, b'{"prompt_n":10,"cache_n":3,"predicted_n":1}')
    # Killed after the counts were copied, before the number was raised.
    number = kept._map[slot + 4 : slot + 8] if kept._map else b""
    kept.note(slot, 2, b'{"prompt_n":10,"cache_n":3,"predicted_n":2}')
    if kept._map:
        kept._map[slot + 4 : slot + 8] = number
    (found,) = journal.read(tmp_path)
    assert meter.crashed(found).completion_tokens == 1


def test_without_counts_delivered_events_are_billed_with_the_estimated_prompt(tmp_path: Path) -> None:
    kept, slot = opened(tmp_path, UsageProbe())
    kept.note(slot, 1, b"")
    kept.note(slot, 2, b"")
    (found,) = journal.read(tmp_path)
    record = meter.crashed(found)
    assert (record.prompt_tokens, record.completion_tokens, record.token_source) == (11, 2, "delivered")


def test_a_stream_that_delivered_nothing_costs_nothing(tmp_path: Path) -> None:
    opened(tmp_path)
    (found,) = journal.read(tmp_path)
    assert meter.crashed(found) == RECORD


def test_closed_slots_are_gone_and_used_again(tmp_path: Path) -> None:
    kept, slot = opened(tmp_path)
    kept.close_slot(slot)
    assert journal.read(tmp_path) == []
    assert kept.open(journal.OpenStream(msgspec.Raw(msgspec.json.encode(RECORD)), PROBE, 11)) == slot
    assert journal.read(tmp_path)[0].delivered == 0


def test_a_full_or_garbled_journal_does_no_harm(tmp_path: Path) -> None:
    kept, _ = opened(tmp_path)
    stream = journal.OpenStream(msgspec.Raw(msgspec.json.encode(RECORD)), PROBE, 11)
    slots = [kept.open(stream) for _ in range(9)]
    assert slots[-1] == -1
    path = tmp_path / journal.FILE_NAME
    path.write_bytes(b"\x05\x00\x00\x00garbage" + path.read_bytes()[11:])
    assert len(journal.read(tmp_path)) == 7
    kept.close()
    assert journal.read(tmp_path) == []
