"""The struct that is written must be the record that is read."""

import dataclasses
from typing import get_type_hints

import msgspec

from yunhe.gateway.settlement import Settled
from yunhe.ledger.usage import UsageRecord


def test_settled_has_exactly_the_fields_of_the_usage_record() -> None:
    ours = get_type_hints(Settled)
    theirs = get_type_hints(UsageRecord)
    assert list(Settled.__struct_fields__) == [field.name for field in dataclasses.fields(UsageRecord)]
    assert {name: ours[name] for name in theirs} == theirs


def test_what_is_written_is_read_as_the_record() -> None:
    settled = Settled(
        "req_1", "p", "k", "m", "completions", False, "ok", 200, 1, 0, 2, "engine", 1.5, 0.25, 0.1, None, "l", "r", "d",
        "served", 1, "gateway-0",
    )  # fmt: skip
    assert msgspec.structs.asdict(settled) == dataclasses.asdict(
        msgspec.json.decode(msgspec.json.encode(settled), type=UsageRecord)
    )
