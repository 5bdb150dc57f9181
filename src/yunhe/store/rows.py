"""What the query modules share: inserting, upserting and reading newest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Column, Select, Table, insert
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from yunhe.core.errors import Conflict
from yunhe.store.tx import Tx

PAGE_MAX: Final = 1000


async def add(tx: Tx, table: Table, values: Mapping[str, Any], taken: str) -> None:
    """Insert a row. Raises Conflict with ``taken`` as message when a unique value is already there."""
    try:
        async with tx.begin_nested():
            await tx.execute(insert(table).values(values))
    except IntegrityError as error:
        raise Conflict(taken) from error


def upsert(tx: Tx, table: Table) -> Any:
    """The dialect's ``INSERT`` that knows ``ON CONFLICT``."""
    return postgresql.insert(table) if tx.dialect.name == "postgresql" else sqlite.insert(table)


async def put(tx: Tx, table: Table, values: Mapping[str, Any], keys: Sequence[str]) -> None:
    """Insert a row, or replace the one with the same ``keys``."""
    statement = upsert(tx, table).values(values)
    kept = {name: statement.excluded[name] for name in values if name not in keys and name != "id"}
    await tx.execute(statement.on_conflict_do_update(index_elements=list(keys), set_=kept))


def newest(query: Select[Any], column: Column[Any], limit: int, after: str | None) -> Select[Any]:
    """The query's page, newest first by an identifier that sorts by time."""
    if after is not None:
        query = query.where(column < after)
    return query.order_by(column.desc()).limit(min(limit, PAGE_MAX))


def named(query: Select[Any], column: Column[Any], limit: int, after: str | None) -> Select[Any]:
    """The query's page in the order of a name."""
    if after is not None:
        query = query.where(column > after)
    return query.order_by(column).limit(min(limit, PAGE_MAX))
