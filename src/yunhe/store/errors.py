"""What can go wrong with the database, told without its password and with what to do."""

from __future__ import annotations

from typing import Final

from sqlalchemy.engine import URL
from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from yunhe.core.errors import InvalidRequest, Unavailable, YunheError


class DatabaseUnreachable(Unavailable):
    """The database does not answer."""

    code = "database_unreachable"
    default_next_step = "Check that it runs and that YUNHE_DATABASE_URL names it; `yunhe doctor` tries it."


class DatabaseBusy(Unavailable):
    """The database has more work than it can take now."""

    code = "database_busy"
    default_next_step = "Try again shortly; when it stays so, look at what else uses the database."


class DatabaseTooNew(YunheError):
    """The database was made by a newer version of Yunhe."""

    code = "database_too_new"
    default_next_step = "Install that version, or restore a backup from before the upgrade."


class BadDatabaseUrl(InvalidRequest):
    """YUNHE_DATABASE_URL is not the URL of a database that Yunhe knows."""

    code = "bad_database_url"
    default_next_step = "Use postgresql://USER:PASSWORD@HOST:PORT/NAME, or leave it unset for SQLite."


#: PostgreSQL: serialization failure, deadlock, lock or statement took too long, too many connections.
_BUSY_STATES: Final = frozenset({"40001", "40P01", "55P03", "57014", "53300"})
#: Connection, authorisation, no such database, resources, shutting down, system, read-only.
_GONE_STATES: Final = ("08", "28", "3D", "53", "57P", "58", "25006")
_SQLITE_GONE: Final = ("unable to open", "readonly", "disk is full", "disk i/o", "malformed", "not a database")
_SQLITE_NEXT_STEP: Final = (
    "Check that the data directory exists, is writable and has free space; restore the file from a backup if it is "
    "damaged."
)


def shown_url(url: URL) -> str:
    """The URL without its password, for people."""
    return url.render_as_string(hide_password=True)


def translated(error: SQLAlchemyError, url: URL) -> YunheError | None:
    """What to raise instead; None when the error is not about reaching the database but about a statement."""
    if isinstance(error, PoolTimeout):
        return DatabaseBusy("All connections to the database are in use.")
    if not isinstance(error, DBAPIError):
        return None
    state = getattr(error.orig, "sqlstate", None) or ""
    words = _reason(error, url)
    if state in _BUSY_STATES or "is locked" in words:
        return DatabaseBusy(f"{DatabaseBusy.__doc__} ({words})")
    if any(hint in words.lower() for hint in _SQLITE_GONE) and url.get_backend_name() == "sqlite":
        return DatabaseUnreachable(_message(words, url), next_step=_SQLITE_NEXT_STEP)
    lost = error.connection_invalidated or (
        isinstance(error, OperationalError | InterfaceError) and not error.statement
    )
    if lost or state.startswith(_GONE_STATES):
        return DatabaseUnreachable(_message(words, url))
    return None


def _message(words: str, url: URL) -> str:
    return f"The database does not answer: {shown_url(url)} ({words})"


def _reason(error: DBAPIError, url: URL) -> str:
    """The first line of what the driver says, without the password wherever it might stand."""
    words = (str(error.orig).strip().splitlines() or ["no reason given"])[0][:300]
    return words.replace(str(url.password), "***") if url.password else words
