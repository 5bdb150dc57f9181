"""Adaptations, and the journals that centres keep of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, func, insert, select, update

from yunhe.adapt.adaptation import AdaptationSpec, Phase
from yunhe.catalogue.model import Model, Recipe
from yunhe.store.rows import newest
from yunhe.store.schema import pack, unpack
from yunhe.store.tables_adapt import adaptation_entries, adaptations
from yunhe.store.tx import Tx


@dataclass(frozen=True, slots=True)
class Assignment:
    """What the centre is told beside the spec. Kept as it was when asked for, whatever changes meanwhile."""

    model: Model
    #: Uids of the centre's cards.
    cards: tuple[str, ...]
    #: Chip of those cards.
    chip: str
    baseline: Recipe


@dataclass(frozen=True, slots=True)
class Adaptation:
    """An adaptation as control knows it."""

    id: str
    project_id: str | None
    centre_id: str
    spec: AdaptationSpec
    assignment: Assignment
    state: Phase
    #: In words for people: what is under way, or why it ended.
    activity: str
    created_at: float
    state_since: float
    used_s: float = 0.0
    finished_at: float | None = None
    #: Content id of the signed recipe that came of it.
    recipe_id: str | None = None
    cancel_asked: bool = False


@dataclass(frozen=True, slots=True)
class StoredEntry:
    """One line of a journal."""

    number: int
    #: When it was written over there, unix seconds.
    at: float
    #: JSON text of ``adapt.adaptation.Entry``.
    document: str


_PLAIN = (
    "id", "project_id", "centre_id", "state", "activity", "created_at", "state_since", "used_s", "finished_at",
    "recipe_id", "cancel_asked",
)  # fmt: skip


def _columns(adaptation: Adaptation) -> dict[str, Any]:
    return {name: getattr(adaptation, name) for name in _PLAIN} | {
        "model": adaptation.assignment.model.name,
        "spec": pack(adaptation.spec),
        "assignment": pack(adaptation.assignment),
    }


def _adaptation(row: Row[Any]) -> Adaptation:
    plain = {name: getattr(row, name) for name in _PLAIN} | {"cancel_asked": bool(row.cancel_asked)}
    return Adaptation(**plain, spec=unpack(row.spec, AdaptationSpec), assignment=unpack(row.assignment, Assignment))


async def add_adaptation(tx: Tx, adaptation: Adaptation) -> None:
    """Store a new one; the caller holds the serve lock."""
    await tx.execute(insert(adaptations).values(_columns(adaptation)))


async def save_adaptation(tx: Tx, adaptation: Adaptation) -> None:
    """Write a changed one."""
    await tx.execute(update(adaptations).where(adaptations.c.id == adaptation.id).values(_columns(adaptation)))


async def adaptation(tx: Tx, adaptation_id: str) -> Adaptation | None:
    """By id."""
    row = (await tx.execute(select(adaptations).where(adaptations.c.id == adaptation_id))).first()
    return _adaptation(row) if row else None


async def list_adaptations(
    tx: Tx, limit: int, after: str | None = None, model: str | None = None, centre_id: str | None = None
) -> list[Adaptation]:
    """Newest first; of one model and one centre when given."""
    query = select(adaptations)
    if model is not None:
        query = query.where(adaptations.c.model == model)
    if centre_id is not None:
        query = query.where(adaptations.c.centre_id == centre_id)
    return [_adaptation(row) for row in await tx.execute(newest(query, adaptations.c.id, limit, after))]


async def unfinished(tx: Tx, centre_ids: Collection[str]) -> list[Adaptation]:
    """Those of these centres that have not ended, oldest first: the order in which a centre takes them up."""
    query = select(adaptations).where(adaptations.c.centre_id.in_(centre_ids), adaptations.c.finished_at.is_(None))
    return [_adaptation(row) for row in await tx.execute(query.order_by(adaptations.c.id))]


async def entry_counts(tx: Tx, adaptation_ids: Collection[str]) -> dict[str, int]:
    """adaptation id -> entries stored; those without any are absent. The next entry has this number."""
    number = adaptation_entries.c.number
    query = select(adaptation_entries.c.adaptation_id, func.max(number).label("newest"))
    query = query.where(adaptation_entries.c.adaptation_id.in_(adaptation_ids))
    rows = await tx.execute(query.group_by(adaptation_entries.c.adaptation_id))
    return {row.adaptation_id: int(row.newest) + 1 for row in rows}


async def add_entries(tx: Tx, adaptation_id: str, entries: Sequence[StoredEntry]) -> None:
    """Append; the caller holds the serve lock and has checked that they follow those that are stored."""
    if entries:
        rows = [
            {"adaptation_id": adaptation_id, "number": one.number, "at": one.at, "document": one.document}
            for one in entries
        ]
        await tx.execute(insert(adaptation_entries), rows)


async def entries(tx: Tx, adaptation_id: str, since: int, limit: int) -> list[StoredEntry]:
    """Those from this number on, in their order."""
    query = (
        select(adaptation_entries)
        .where(adaptation_entries.c.adaptation_id == adaptation_id, adaptation_entries.c.number >= since)
        .order_by(adaptation_entries.c.number)
        .limit(limit)
    )
    return [StoredEntry(row.number, row.at, row.document) for row in await tx.execute(query)]
