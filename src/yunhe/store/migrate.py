"""Schema migrations: Alembic revisions packaged with the code, run by the process that starts first."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, event, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import NullPool

from yunhe.store import errors
from yunhe.store.errors import DatabaseTooNew, DatabaseUnreachable

#: The revisions in ``migrations/versions``, oldest first; a test holds the two together.
REVISIONS: Final = ("0001", "0002", "0003", "0004")
HEAD: Final = REVISIONS[-1]
_ADVISORY_LOCK: Final = 0x59756E6865


def upgrade(url: URL) -> None:
    """Upgrade to HEAD in one transaction: all of it or nothing. Raises DatabaseUnreachable, DatabaseTooNew."""
    sqlite = url.get_backend_name() == "sqlite"
    engine = create_engine(url.set(drivername="sqlite") if sqlite else url, poolclass=NullPool, hide_parameters=True)
    if sqlite:
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    try:
        with _alone(url), engine.begin() as connection:
            if not sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            found = current(connection)
            if found is not None and found not in REVISIONS:
                raise DatabaseTooNew(f"The database is at revision {found}, which this version does not know.")
            if found != HEAD:
                _run(connection)
    except SQLAlchemyError as error:
        told = errors.translated(error, url)
        if told is None:
            raise
        raise told from error
    except OSError as error:
        raise DatabaseUnreachable(
            f"The directory of the database cannot be used: {error.strerror}: {error.filename}",
            next_step="Make the data directory writable, or choose another with YUNHE_HOME.",
        ) from error
    finally:
        engine.dispose()


def current(connection: Connection) -> str | None:
    """The revision that the database is at; None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _run(connection: Connection) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextmanager
def _alone(url: URL) -> Iterator[None]:
    """One migrating process at a time on SQLite: switching to WAL waits for nobody, it fails.

    PostgreSQL has its advisory lock for that.
    """
    if url.get_backend_name() != "sqlite" or not url.database:
        yield
        return
    with Path(url.database + ".migrate-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Made by us because SQLite would let everybody read it; its other files take over the permissions.
        os.close(os.open(url.database, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        yield


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA busy_timeout=60000")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
