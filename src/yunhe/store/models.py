"""Models and their prices."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict

from sqlalchemy import delete, or_, select

from yunhe.catalogue.model import Model
from yunhe.ledger.model import Price
from yunhe.store import changes
from yunhe.store.rows import add, named, newest
from yunhe.store.schema import pack, unpack
from yunhe.store.tables_ledger import prices
from yunhe.store.tables_serve import models
from yunhe.store.tx import Tx


async def add_model(tx: Tx, model: Model) -> None:
    """Raises Conflict when the name is taken."""
    values = {"id": model.id, "name": model.name, "created_at": model.created_at, "record": pack(model)}
    await add(tx, models, values, f"There is a model {model.name!r} already.")
    await changes.note(tx, "model", model.name)


async def model(tx: Tx, ref: str) -> Model | None:
    """By name or id."""
    row = (await tx.execute(select(models.c.record).where(or_(models.c.name == ref, models.c.id == ref)))).first()
    return unpack(row.record, Model) if row else None


async def list_models(
    tx: Tx, limit: int, after: str | None = None, names: Collection[str] | None = None
) -> list[Model]:
    """In the order of their names (``after`` is a name); only these names when given."""
    query = select(models.c.record)
    if names is not None:
        query = query.where(models.c.name.in_(names))
    return [unpack(row.record, Model) for row in await tx.execute(named(query, models.c.name, limit, after))]


async def all_models(tx: Tx, names: Collection[str] | None = None) -> list[Model]:
    """Every model, or every one of these."""
    query = select(models.c.record)
    if names is not None:
        query = query.where(models.c.name.in_(names))
    return [unpack(row.record, Model) for row in await tx.execute(query)]


async def remove_model(tx: Tx, name: str) -> None:
    """Take it out of the catalogue."""
    await tx.execute(delete(models).where(models.c.name == name))
    await changes.note(tx, "model", name)


async def add_price(tx: Tx, price: Price) -> None:
    """A price is never changed, only followed by a later one."""
    await add(tx, prices, asdict(price), "There is this price already.")
    await changes.note(tx, "model", price.model)


async def list_prices(tx: Tx, limit: int, after: str | None = None, model_name: str | None = None) -> list[Price]:
    """Newest first."""
    query = select(prices)
    if model_name is not None:
        query = query.where(prices.c.model == model_name)
    return [Price(**row._mapping) for row in await tx.execute(newest(query, prices.c.id, limit, after))]


async def prices_in_force(tx: Tx, now: float, names: Collection[str] | None = None) -> dict[str, Price]:
    """model name -> the price in force at that time: the latest to take effect, the later made among equals."""
    query = select(prices).where(prices.c.effective_from <= now).order_by(prices.c.effective_from, prices.c.id)
    if names is not None:
        query = query.where(prices.c.model.in_(names))
    return {row.model: Price(**row._mapping) for row in await tx.execute(query)}


async def note_prices_taking_effect(tx: Tx, since: float, now: float) -> int:
    """Tell gateways of prices whose date came in (since, now]; returns how many."""
    query = select(prices.c.model).where(prices.c.effective_from > since, prices.c.effective_from <= now).distinct()
    due = [row.model for row in await tx.execute(query)]
    for name in due:
        await changes.note(tx, "model", name)
    return len(due)
