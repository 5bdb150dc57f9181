"""The database: SQLite (WAL) on one machine, PostgreSQL beyond; the same queries on both."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from sqlalchemy import event, make_url, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from yunhe.store import changes, errors
from yunhe.store.errors import BadDatabaseUrl, DatabaseUnreachable
from yunhe.store.migrate import upgrade
from yunhe.store.tx import NOTED, Tx

__all__ = ["BadDatabaseUrl", "Database", "DatabaseUnreachable", "Tx", "parse_url"]

#: Another process may hold SQLite's write lock for so long (a migration, a backup).
BUSY_TIMEOUT_MS: Final = 15_000
CONNECT_TIMEOUT_S: Final = 10
POOL_SIZE: Final = 10
POOL_TIMEOUT_S: Final = 30
#: PostgreSQL gives up a statement, or a wait for a lock, that takes longer; no query of ours does.
_POSTGRES_LIMITS: Final = (
    "-c statement_timeout=60000 -c lock_timeout=15000 -c idle_in_transaction_session_timeout=120000"
)
_WRITE: Final = "yunhe_write"


def parse_url(text_url: str) -> URL:
    """The URL with the driver that we use: ``sqlite+aiosqlite`` or ``postgresql+psycopg``. Raises BadDatabaseUrl."""
    try:
        url = make_url(text_url)
    except (ArgumentError, ValueError):
        # Not quoted: it may hold a password.
        raise BadDatabaseUrl() from None
    family = url.drivername.split("+")[0]
    if family == "sqlite":
        if not url.database or url.database == ":memory:":
            raise BadDatabaseUrl("SQLite needs a file: several connections share it.")
        return url.set(drivername="sqlite+aiosqlite")
    if family in ("postgresql", "postgres"):
        query = dict(url.query)
        if "ssl" in query:
            # Another driver's name of the same option.
            query.setdefault("sslmode", query.pop("ssl"))
        return url.set(drivername="postgresql+psycopg", query=query)
    raise BadDatabaseUrl(f"Yunhe does not know databases of the kind {family!r}.")


class Database:
    """Connections to one database. ``read`` and ``write`` open transactions; nothing waits on a network inside one."""

    def __init__(self, text_url: str) -> None:
        self.url = parse_url(text_url)
        self.dialect = self.url.get_backend_name()
        options: dict[str, Any] = {
            "pool_size": POOL_SIZE,
            "max_overflow": POOL_SIZE,
            "pool_timeout": POOL_TIMEOUT_S,
            # Statements' values are people's data: they do not belong into errors and logs.
            "hide_parameters": True,
        }
        if self.dialect == "postgresql":
            connect: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT_S}
            if "options" not in self.url.query:
                connect["options"] = _POSTGRES_LIMITS
            options |= {"pool_pre_ping": True, "connect_args": connect}
        self._engine = create_async_engine(self.url, **options)
        #: SQLite has one writer; waiting here is fair and cheap, waiting in its busy handler is neither.
        self._one_writer = asyncio.Lock() if self.dialect == "sqlite" else None
        if self.dialect == "sqlite":
            event.listen(self._engine.sync_engine, "connect", _prepare_sqlite)
            event.listen(self._engine.sync_engine, "begin", _begin_sqlite)
            self._read_options: dict[str, Any] = {_WRITE: False}
        else:
            # Several statements of one reader must see one state, as they do on SQLite.
            self._read_options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}

    @property
    def shown_url(self) -> str:
        """The URL without its password, for people."""
        return errors.shown_url(self.url)

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        """A transaction for reading; all of it sees one state. Raises DatabaseUnreachable, DatabaseBusy."""
        async with self._transaction(self._read_options) as tx:
            yield tx

    @asynccontextmanager
    async def write(self) -> AsyncIterator[Tx]:
        """A transaction that commits at its end and rolls back on an exception. Raises as ``read`` does.

        When it returned, the commit is durable. What was noted for gateways (``changes.note``) is part of it.
        """
        if self._one_writer is None:
            async with self._writing() as tx:
                yield tx
            return
        async with self._one_writer, self._writing() as tx:
            yield tx

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Tx]:
        async with self._transaction({_WRITE: True}) as tx:
            # The dict lives as long as the pooled connection: a transaction that failed may have left notes there.
            tx.info[NOTED] = {}
            yield tx
            await changes.write_noted(tx)

    @asynccontextmanager
    async def _transaction(self, options: dict[str, Any]) -> AsyncIterator[Tx]:
        try:
            async with self._engine.connect() as connection:
                tx = await connection.execution_options(**options)
                async with tx.begin():
                    yield tx
        except SQLAlchemyError as error:
            told = errors.translated(error, self.url)
            if told is None:
                raise
            raise told from error

    async def ping(self) -> None:
        """Ask for nothing. Raises DatabaseUnreachable, DatabaseBusy."""
        async with self.read() as tx:
            await tx.execute(text("SELECT 1"))

    async def migrate(self) -> None:
        """Bring the tables to this version's shape; safe when several processes start at once.

        Raises DatabaseUnreachable, DatabaseTooNew.
        """
        await asyncio.to_thread(upgrade, self.url)

    async def dispose(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # Transactions are begun by ``_begin_sqlite``, not guessed by the driver.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in (
        f"busy_timeout={BUSY_TIMEOUT_MS}",
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        # REPLACE would otherwise delete rows without firing the triggers that protect them.
        "recursive_triggers=ON",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Any) -> None:
    # A transaction that begins as a reader and then writes can fail on a lock that no waiting helps against.
    write = connection.get_execution_options().get(_WRITE)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")
