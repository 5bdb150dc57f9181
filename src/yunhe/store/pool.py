"""Centres, their agents and join tokens, nodes, cards and engines."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Row, delete, insert, or_, select, update

from yunhe.core.ids import new_id
from yunhe.pool.model import Card, Centre, Inventory, Node
from yunhe.serve.sync import EngineInfo
from yunhe.store.rows import add, newest, put
from yunhe.store.schema import pack, unpack
from yunhe.store.tables_pool import cards, centre_engines, centres, nodes
from yunhe.store.tx import Tx


@dataclass(frozen=True, slots=True)
class PlacedCard:
    """A card with where it is; ``row_id`` is its cursor."""

    row_id: str
    centre_id: str
    node: str
    card: Card


@dataclass(frozen=True, slots=True)
class PlacedNode:
    """A node with where it is; ``row_id`` is its cursor."""

    row_id: str
    centre_id: str
    node: Node


def _centre(row: Row[Any]) -> Centre:
    return Centre(row.id, row.name, row.driver, row.created_at, row.last_sync_at, bool(row.simulated))


async def add_centre(tx: Tx, centre: Centre) -> None:
    """Raises Conflict when the name is taken."""
    values = {
        "id": centre.id,
        "name": centre.name,
        "driver": centre.driver,
        "created_at": centre.created_at,
        "last_sync_at": centre.last_sync_at,
        "simulated": centre.simulated,
        "desired_revision": 0,
    }
    await add(tx, centres, values, f"There is a centre {centre.name!r} already.")


async def centre(tx: Tx, ref: str) -> Centre | None:
    """By id or name."""
    row = (await tx.execute(select(centres).where(or_(centres.c.id == ref, centres.c.name == ref)))).first()
    return _centre(row) if row else None


async def list_centres(tx: Tx, limit: int, after: str | None = None) -> list[Centre]:
    """Newest first."""
    return [_centre(row) for row in await tx.execute(newest(select(centres), centres.c.id, limit, after))]


async def touch_centre(tx: Tx, centre_id: str, now: float) -> None:
    """Its agent has just synced."""
    await tx.execute(update(centres).where(centres.c.id == centre_id).values(last_sync_at=now))


async def bump_desired(tx: Tx, centre_id: str) -> int:
    """What the centre shall run has changed; returns the new revision."""
    statement = update(centres).where(centres.c.id == centre_id)
    statement = statement.values(desired_revision=centres.c.desired_revision + 1)
    return int((await tx.execute(statement.returning(centres.c.desired_revision))).scalar_one())


async def raise_desired(tx: Tx, centre_id: str, known: int) -> bool:
    """Let the revision lie above one that the centre's agent knows already; whether it did not.

    It does not when this database is an older copy that was put back: the agent would take no answer from it.
    """
    statement = update(centres).where(centres.c.id == centre_id, centres.c.desired_revision < known)
    return bool((await tx.execute(statement.values(desired_revision=known + 1))).rowcount)


async def desired_revision(tx: Tx, centre_id: str) -> int:
    """The newest revision of what the centre shall run."""
    query = select(centres.c.desired_revision).where(centres.c.id == centre_id)
    return int((await tx.execute(query)).scalar_one())


async def take_inventory(tx: Tx, centre_id: str, inventory: Inventory) -> list[Card]:
    """Store what the centre has now; cards that were there and are not any more become *missing*. Returns those."""
    now = inventory.taken_at
    seen: set[str] = set()
    for node in inventory.nodes:
        values = {"memory_bytes": node.memory_bytes, "cpu_cores": node.cpu_cores, "os": node.os, "seen_at": now}
        await put(
            tx,
            nodes,
            {"id": new_id("node"), "centre_id": centre_id, "name": node.name, **values},
            ("centre_id", "name"),
        )
        for card in node.cards:
            seen.add(card.uid)
            await _put_card(tx, centre_id, node.name, card, now)
    gone = []
    for placed in await cards_of(tx, (centre_id,)):
        if placed.card.uid not in seen and placed.card.health != "missing":
            lost = replace(placed.card, health="missing", health_reason="its node no longer shows it")
            await _put_card(tx, centre_id, placed.node, lost, now)
            gone.append(lost)
    return gone


async def _put_card(tx: Tx, centre_id: str, node: str, card: Card, now: float) -> None:
    values = {
        "id": new_id("card"),
        "centre_id": centre_id,
        "node": node,
        "uid": card.uid,
        "chip": card.chip,
        "maker": card.maker,
        "health": card.health,
        "record": pack(card),
        "seen_at": now,
    }
    await put(tx, cards, values, ("centre_id", "uid"))


async def cards_of(tx: Tx, centre_ids: Collection[str] | None = None) -> list[PlacedCard]:
    """Every card of these centres, or of all."""
    query = select(cards)
    if centre_ids is not None:
        query = query.where(cards.c.centre_id.in_(centre_ids))
    return [_placed(row) for row in await tx.execute(query.order_by(cards.c.id))]


async def list_cards(tx: Tx, limit: int, after: str | None = None) -> list[PlacedCard]:
    """Newest first."""
    return [_placed(row) for row in await tx.execute(newest(select(cards), cards.c.id, limit, after))]


def _placed(row: Row[Any]) -> PlacedCard:
    return PlacedCard(row.id, row.centre_id, row.node, unpack(row.record, Card))


async def list_nodes(
    tx: Tx, limit: int, after: str | None = None, centre_ids: Collection[str] | None = None
) -> list[PlacedNode]:
    """Newest first, each with its cards."""
    query = select(nodes)
    if centre_ids is not None:
        query = query.where(nodes.c.centre_id.in_(centre_ids))
    rows = (await tx.execute(newest(query, nodes.c.id, limit, after))).all()
    by_node: dict[tuple[str, str], list[Card]] = {}
    for placed in await cards_of(tx, {row.centre_id for row in rows}):
        by_node.setdefault((placed.centre_id, placed.node), []).append(placed.card)
    return [
        PlacedNode(
            row.id,
            row.centre_id,
            Node(row.name, row.memory_bytes, row.cpu_cores, row.os, tuple(by_node.get((row.centre_id, row.name), ()))),
        )
        for row in rows
    ]


async def set_engines(tx: Tx, centre_id: str, engines: Collection[EngineInfo]) -> None:
    """Replace what the centre's agent says of its engine drivers."""
    await tx.execute(delete(centre_engines).where(centre_engines.c.centre_id == centre_id))
    for engine in engines:
        own = {"name": engine.name, "version": engine.version, "error": engine.error, "rank": engine.rank}
        await tx.execute(insert(centre_engines).values({"centre_id": centre_id, **own}))


async def engines_by_centre(tx: Tx) -> dict[str, list[EngineInfo]]:
    """centre id -> its engine drivers."""
    found: dict[str, list[EngineInfo]] = {}
    for row in await tx.execute(select(centre_engines).order_by(centre_engines.c.name)):
        found.setdefault(row.centre_id, []).append(EngineInfo(row.name, row.version, row.error, row.rank))
    return found
