"""What gateways follow: a log of changed entities under one growing revision.

The revision is one row that every change updates, so that revisions become visible in their order: a reader that has
seen revision R has seen everything up to R. Changes noted in a transaction are written together as its last
statements: the row is held for a moment only, and nobody waits for another lock while holding it.
"""

from __future__ import annotations

from typing import Final, Literal

from sqlalchemy import delete, func, insert, select

from yunhe.store.rows import upsert
from yunhe.store.tables_serve import counters, gateway_changes
from yunhe.store.tx import NOTED, Tx

Kind = Literal["key", "project", "model", "replica"]

GATEWAY: Final = "gateway_revision"
KEPT_CHANGES: Final = 20_000
#: After more changes than this a gateway is better served with the whole.
DELTA_MAX: Final = 2_000


async def bump(tx: Tx, counter: str, by: int = 1) -> int:
    """Raise a counter and return it; holds its row until the transaction ends."""
    statement = upsert(tx, counters).values(name=counter, value=by)
    statement = statement.on_conflict_do_update(index_elements=["name"], set_={"value": counters.c.value + by})
    return int((await tx.execute(statement.returning(counters.c.value))).scalar_one())


async def note(tx: Tx, kind: Kind, entity: str) -> None:
    """Record that an entity changed: ``key`` by prefix, ``model`` by name, ``project`` and ``replica`` by id.

    It gets its revision when the transaction (``Database.write``) commits.
    """
    tx.info[NOTED][kind, entity] = None


async def write_noted(tx: Tx) -> None:
    """Give what was noted its revisions; ``Database.write`` calls it last."""
    noted = tx.info.pop(NOTED)
    if not noted:
        return
    last = await bump(tx, GATEWAY, len(noted))
    first = last - len(noted) + 1
    rows = [{"revision": first + n, "kind": kind, "entity": entity} for n, (kind, entity) in enumerate(noted)]
    await tx.execute(insert(gateway_changes), rows)


async def current(tx: Tx) -> int:
    """The newest revision; 0 before the first change."""
    found = await tx.execute(select(counters.c.value).where(counters.c.name == GATEWAY))
    return int(found.scalar() or 0)


async def since(tx: Tx, revision: int) -> list[tuple[str, str]] | None:
    """Distinct ``(kind, entity)`` changed after the revision.

    None when the log does not reach back that far, when the revision is not of this database, or when so much has
    changed that the whole is the better answer.
    """
    newest = await current(tx)
    if revision == newest:
        return []
    oldest = (await tx.execute(select(func.min(gateway_changes.c.revision)))).scalar()
    if not 0 <= revision < newest or oldest is None or revision + 1 < oldest:
        return None
    query = select(gateway_changes.c.kind, gateway_changes.c.entity).where(gateway_changes.c.revision > revision)
    found = [(row.kind, row.entity) for row in await tx.execute(query.distinct().limit(DELTA_MAX + 1))]
    return found if len(found) <= DELTA_MAX else None


async def trim(tx: Tx) -> None:
    """Forget changes older than the newest ``KEPT_CHANGES``."""
    newest = await current(tx)
    await tx.execute(delete(gateway_changes).where(gateway_changes.c.revision <= newest - KEPT_CHANGES))
