"""Signed recipes, and the keys that are believed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from sqlalchemy import Row, delete, select, update

from yunhe.store.rows import PAGE_MAX, add, upsert
from yunhe.store.tables_adapt import recipes, trusted_keys
from yunhe.store.tx import Tx

Origin = Literal["local", "imported"]


@dataclass(frozen=True, slots=True)
class KeptRecipe:
    """A signed recipe as it is kept; the columns beside the envelope say what is in it."""

    #: Content id, ``rcp_...``.
    id: str
    model: str
    chip: str
    engine: str
    workload: str
    #: Canonical JSON of ``adapt.signing.Envelope``, as it was signed.
    envelope: str
    key_id: str
    origin: Origin
    created_at: float
    revoked_at: float | None = None
    revoked_why: str | None = None


@dataclass(frozen=True, slots=True)
class KeptKey:
    """A key of the trust list."""

    key_id: str
    name: str
    #: The 32 raw bytes, hexadecimal.
    public_key: str
    valid_from: float
    valid_until: float | None
    added_at: float
    revoked_at: float | None = None
    revoked_why: str | None = None


def _recipe(row: Row[Any]) -> KeptRecipe:
    return KeptRecipe(**row._mapping)


async def add_recipe(tx: Tx, recipe: KeptRecipe) -> bool:
    """Keep it; False when a recipe of this very content is kept already, which then stays as it was."""
    statement = upsert(tx, recipes).values(asdict(recipe)).on_conflict_do_nothing(index_elements=["id"])
    return (await tx.execute(statement.returning(recipes.c.id))).first() is not None


async def recipe(tx: Tx, recipe_id: str) -> KeptRecipe | None:
    """By its whole id."""
    row = (await tx.execute(select(recipes).where(recipes.c.id == recipe_id))).first()
    return _recipe(row) if row else None


async def recipes_beginning(tx: Tx, beginning: str, limit: int = 3) -> list[KeptRecipe]:
    """Those whose id begins so; ``beginning`` holds hexadecimal digits after ``rcp_`` only."""
    query = select(recipes).where(recipes.c.id.startswith(beginning, autoescape=True)).order_by(recipes.c.id)
    return [_recipe(row) for row in await tx.execute(query.limit(limit))]


async def list_recipes(
    tx: Tx,
    limit: int,
    after: tuple[float, str] | None = None,
    *,
    model: str | None = None,
    chip: str | None = None,
    engine: str | None = None,
) -> list[KeptRecipe]:
    """Newest first; ``after`` is (created_at, id) of the last one seen. Of one model, chip, engine when given."""
    query = select(recipes)
    for column, wanted in ((recipes.c.model, model), (recipes.c.chip, chip), (recipes.c.engine, engine)):
        if wanted is not None:
            query = query.where(column == wanted)
    if after is not None:
        at, last = after
        older = recipes.c.created_at < at
        query = query.where(older | ((recipes.c.created_at == at) & (recipes.c.id < last)))
    query = query.order_by(recipes.c.created_at.desc(), recipes.c.id.desc()).limit(min(limit, PAGE_MAX))
    return [_recipe(row) for row in await tx.execute(query)]


async def revoke_recipe(tx: Tx, recipe_id: str, at: float, why: str) -> bool:
    """Take it back; False when it was taken back before, or there is none."""
    statement = update(recipes).where(recipes.c.id == recipe_id, recipes.c.revoked_at.is_(None))
    return bool((await tx.execute(statement.values(revoked_at=at, revoked_why=why))).rowcount)


async def revoked_recipes(tx: Tx) -> list[KeptRecipe]:
    """Those that were taken back."""
    query = select(recipes).where(recipes.c.revoked_at.is_not(None)).order_by(recipes.c.id)
    return [_recipe(row) for row in await tx.execute(query)]


async def add_key(tx: Tx, key: KeptKey) -> None:
    """Believe a key. Raises Conflict when it is in the list already."""
    await add(tx, trusted_keys, asdict(key), f"The key {key.key_id} is in the trust list already.")


async def ensure_key(tx: Tx, key: KeptKey) -> None:
    """Believe a key unless it is in the list, revoked or not."""
    statement = upsert(tx, trusted_keys).values(asdict(key))
    await tx.execute(statement.on_conflict_do_nothing(index_elements=["key_id"]))


async def trusted(tx: Tx) -> list[KeptKey]:
    """The whole trust list, by name."""
    rows = await tx.execute(select(trusted_keys).order_by(trusted_keys.c.name, trusted_keys.c.key_id))
    return [KeptKey(**row._mapping) for row in rows]


async def remove_key(tx: Tx, key_id: str) -> bool:
    """Believe it no longer; False when it is not in the list."""
    return bool((await tx.execute(delete(trusted_keys).where(trusted_keys.c.key_id == key_id))).rowcount)


async def revoke_key(tx: Tx, key_id: str, at: float, why: str) -> bool:
    """Refuse whatever it signed; False when it was revoked before, or is not in the list."""
    statement = update(trusted_keys).where(trusted_keys.c.key_id == key_id, trusted_keys.c.revoked_at.is_(None))
    return bool((await tx.execute(statement.values(revoked_at=at, revoked_why=why))).rowcount)
