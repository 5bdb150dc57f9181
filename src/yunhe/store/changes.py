"""What gateways follow: a log of changed entities under one growing revision.

The revision is one row that every change updates, so that revisions become visible in their order: a reader that has
seen revision R has seen everything up to R.
"""

from __future__ import annotations

from typing import Final, Literal

from sqlalchemy import delete, func, insert, select

from yunhe.store.database import Tx
from yunhe.store.rows import upsert
from yunhe.store.tables_serve import counters, gateway_changes

Kind = Literal["key", "project", "model", "replica"]

GATEWAY: Final = "gateway_revision"
KEPT_CHANGES: Final = 20_000


async def bump(tx: Tx, counter: str) -> int:
    """Raise a counter by one and return it; holds its row until the transaction ends."""
    statement = upsert(tx, counters).values(name=counter, value=1)
    statement = statement.on_conflict_do_update(index_elements=["name"], set_={"value": counters.c.value + 1})
    return int((await tx.execute(statement.returning(counters.c.value))).scalar_one())


async def note(tx: Tx, kind: Kind, entity: str) -> int:
    """Record that an entity changed: ``key`` by prefix, ``model`` by name, ``project`` and ``replica`` by id."""
    revision = await bump(tx, GATEWAY)
    await tx.execute(insert(gateway_changes).values(revision=revision, kind=kind, entity=entity))
    return revision


async def current(tx: Tx) -> int:
    """The newest revision; 0 before the first change."""
    found = await tx.execute(select(counters.c.value).where(counters.c.name == GATEWAY))
    return int(found.scalar() or 0)


async def since(tx: Tx, revision: int) -> list[tuple[str, str]] | None:
    """Distinct ``(kind, entity)`` changed after the revision; None when the log does not reach back that far."""
    oldest = (await tx.execute(select(func.min(gateway_changes.c.revision)))).scalar()
    newest = await current(tx)
    if revision > newest or revision < 0 or (oldest is not None and revision + 1 < oldest):
        return None
    if revision == newest:
        return []
    query = select(gateway_changes.c.kind, gateway_changes.c.entity).where(gateway_changes.c.revision > revision)
    return [(row.kind, row.entity) for row in await tx.execute(query.distinct())]


async def trim(tx: Tx) -> None:
    """Forget changes older than the newest ``KEPT_CHANGES``."""
    newest = await current(tx)
    await tx.execute(delete(gateway_changes).where(gateway_changes.c.revision <= newest - KEPT_CHANGES))
