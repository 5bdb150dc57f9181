"""Schema migrations: Alembic revisions packaged with the code, run by the process that starts first."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import Connection, create_engine, inspect, text
from sqlalchemy.engine import URL
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

#: The newest revision in ``migrations/versions``; a test holds the two together.
HEAD: Final = "0001"
_ADVISORY_LOCK: Final = 0x59756E6865


def upgrade(url: URL) -> None:
    """Upgrade to HEAD. Raises DatabaseUnreachable."""
    from yunhe.store.database import DatabaseUnreachable

    engine = create_engine(_sync(url), poolclass=NullPool)
    try:
        with _alone(url), engine.connect() as connection:
            if url.get_backend_name() == "postgresql":
                connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": _ADVISORY_LOCK})
            if current(connection) != HEAD:
                _run(connection)
            connection.commit()
    except OperationalError as error:
        shown = url.render_as_string(hide_password=True)
        raise DatabaseUnreachable(f"The database does not answer: {shown}.") from error
    finally:
        engine.dispose()


def current(connection: Connection) -> str | None:
    """The revision that the database is at; None when it is empty."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()


def _run(connection: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def _sync(url: URL) -> URL:
    return url.set(drivername="sqlite") if url.get_backend_name() == "sqlite" else url


@contextmanager
def _alone(url: URL) -> Iterator[None]:
    """One migrating process at a time on SQLite; PostgreSQL has its advisory lock for that."""
    if url.get_backend_name() != "sqlite" or not url.database or url.database == ":memory:":
        yield
        return
    with Path(url.database + ".migrate-lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
