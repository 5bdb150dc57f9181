"""The database: SQLite (WAL) on one machine, PostgreSQL beyond; the same queries on both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, OperationalError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from yunhe.core.errors import InvalidRequest, Unavailable

#: What every named query takes first: an open transaction.
Tx = AsyncConnection

BUSY_TIMEOUT_MS: Final = 15_000
CONNECT_TIMEOUT_S: Final = 10
POOL_SIZE: Final = 10
_WRITE: Final = "yunhe_write"


class DatabaseUnreachable(Unavailable):
    """The database does not answer."""

    code = "database_unreachable"
    default_next_step = "Check that it runs and that YUNHE_DATABASE_URL names it; `yunhe doctor` tries it."


class BadDatabaseUrl(InvalidRequest):
    """YUNHE_DATABASE_URL is not the URL of a database that Yunhe knows."""

    code = "bad_database_url"
    default_next_step = "Use postgresql://USER:PASSWORD@HOST:PORT/NAME, or leave it unset for SQLite."


def parse_url(text_url: str) -> URL:
    """The URL with the driver that we use: ``sqlite+aiosqlite`` or ``postgresql+psycopg``. Raises BadDatabaseUrl."""
    try:
        url = make_url(text_url)
    except (ArgumentError, ValueError):
        raise BadDatabaseUrl() from None
    family = url.drivername.split("+")[0]
    if family == "sqlite":
        return url.set(drivername="sqlite+aiosqlite")
    if family in ("postgresql", "postgres"):
        return url.set(drivername="postgresql+psycopg")
    raise BadDatabaseUrl(f"Yunhe does not know databases of the kind {family!r}.")


class Database:
    """Connections to one database. ``read`` and ``write`` open transactions; nothing waits on a network inside one."""

    def __init__(self, text_url: str) -> None:
        self.url = parse_url(text_url)
        self.dialect = self.url.get_backend_name()
        options: dict[str, Any] = {"pool_size": POOL_SIZE, "max_overflow": POOL_SIZE, "pool_timeout": 30}
        if self.dialect == "postgresql":
            options |= {"pool_pre_ping": True, "connect_args": {"connect_timeout": CONNECT_TIMEOUT_S}}
        self._engine = create_async_engine(self.url, **options)
        #: SQLite has one writer; waiting here is fair and cheap, waiting in its busy handler is neither.
        self._one_writer = asyncio.Lock() if self.dialect == "sqlite" else None
        if self.dialect == "sqlite":
            event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)

    @property
    def shown_url(self) -> str:
        """The URL without its password, for people."""
        return self.url.render_as_string(hide_password=True)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        """A transaction for reading. Raises DatabaseUnreachable."""
        async with self._transaction(write=False) as tx:
            yield tx

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Tx]:
        """A transaction that commits at its end and rolls back on an exception. Raises DatabaseUnreachable."""
        if self._one_writer is None:
            async with self._transaction(write=True) as tx:
                yield tx
            return
        async with self._one_writer, self._transaction(write=True) as tx:
            yield tx

    @asynccontextmanager
    async def _transaction(self, *, write: bool) -> AsyncIterator[Tx]:
        try:
            async with self._engine.connect() as connection:
                tx = await connection.execution_options(**{_WRITE: write})
                async with tx.begin():
                    yield tx
        except OperationalError as error:
            if _is_connection_trouble(error):
                raise DatabaseUnreachable(f"The database does not answer: {self.shown_url}.") from error
            raise

    async def ping(self) -> None:
        """Ask for nothing. Raises DatabaseUnreachable."""
        async with self.read() as tx:
            await tx.execute(text("SELECT 1"))

    async def migrate(self) -> None:
        """Bring the tables to this version's shape; safe when several processes start at once."""
        from yunhe.store.migrate import upgrade

        await asyncio.to_thread(upgrade, self.url)

    async def dispose(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


def _is_connection_trouble(error: DBAPIError) -> bool:
    return error.connection_invalidated or error.statement is None or "unable to open" in str(error.orig)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_TIMEOUT_MS}"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    write = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
