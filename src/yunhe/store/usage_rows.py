"""How a usage record lies in its table."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, Final

from sqlalchemy import Row

from yunhe.ledger.usage import UsageRecord

_TEXT: Final = tuple(field.name for field in fields(UsageRecord) if str(field.type).startswith("str"))
_FIELDS: Final = tuple(field.name for field in fields(UsageRecord))


@dataclass(frozen=True, slots=True)
class PricedUsage:
    """A usage record as stored."""

    record: UsageRecord
    cost_micro: int


def storable(record: UsageRecord) -> UsageRecord:
    """The record with text that no database can hold (NUL, lone surrogates) replaced: usage is never refused."""
    changed = {}
    for name in _TEXT:
        value = getattr(record, name)
        if value is not None and ("\0" in value or not value.isascii()):
            changed[name] = value.replace("\0", "\ufffd").encode("utf-8", "replace").decode()
    return replace(record, **changed) if changed else record


def row_of(usage: PricedUsage, now: float) -> dict[str, Any]:
    """The row to insert."""
    row = {name: getattr(usage.record, name) for name in _FIELDS}
    row["cost_micro"] = usage.cost_micro
    row["recorded_at"] = now
    return row


def priced(row: Row[Any]) -> PricedUsage:
    """The record back."""
    values = {name: getattr(row, name) for name in _FIELDS}
    values["stream"] = bool(values["stream"])
    return PricedUsage(UsageRecord(**values), row.cost_micro)
