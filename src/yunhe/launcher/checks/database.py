"""The database."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from yunhe.core.home import Home
from yunhe.launcher.checks.finding import Finding

TIMEOUT_S: Final = 5


def check_database(url: str | None, home: Home) -> Iterator[Finding]:
    """Whether it answers; a password in the URL is never shown."""
    if url is None or url.startswith("sqlite"):
        yield _sqlite(home)
        return
    try:
        parts = urlsplit(url)
        shown = without_password(url)
        password = parts.password
    except ValueError:
        parts, shown, password = urlsplit(""), "YUNHE_DATABASE_URL", None
    if parts.scheme.partition("+")[0] not in ("postgresql", "postgres"):
        yield Finding(
            "database",
            "fail",
            f"{shown} is no address of a database that we know",
            "Write postgresql://USER:PASSWORD@HOST:5432/DATABASE, or unset YUNHE_DATABASE_URL for SQLite.",
        )
        return
    yield _postgresql(urlunsplit(("postgresql", *parts[1:])), shown, password)


def without_password(url: str) -> str:
    """The URL with its password starred, and without query (which may hold one too). Raises ValueError."""
    parts = urlsplit(url)
    location = parts.netloc.rpartition("@")[2]
    user = parts.username or ""
    who = f"{user}:***@" if parts.password else f"{user}@" if user else ""
    return urlunsplit((parts.scheme, who + location, parts.path, "", ""))


def _postgresql(url: str, shown: str, password: str | None) -> Finding:
    import psycopg

    try:
        with psycopg.connect(url, connect_timeout=TIMEOUT_S) as connection:
            version = connection.info.server_version // 10_000
    except psycopg.Error as error:
        reason = " ".join(str(error).split())
        if password:
            reason = reason.replace(password, "***")
        return Finding(
            "database",
            "fail",
            f"{shown} cannot be reached: {reason}",
            "Start it, or correct YUNHE_DATABASE_URL; unset it to use SQLite in the data directory.",
        )
    return Finding("database", "ok", f"PostgreSQL {version} at {shown}")


def _sqlite(home: Home) -> Finding:
    path = home.database
    if not path.exists():
        return Finding("database", "ok", f"SQLite at {path} (will be made)")
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=TIMEOUT_S)
        try:
            tables = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0]
        finally:
            connection.close()
    except sqlite3.Error as error:
        remedy = "Stop the instance and restore yunhe.db from a backup; look at `yunhe logs control`."
        return Finding("database", "fail", f"SQLite at {path}: {error}", remedy)
    return Finding("database", "ok", f"SQLite at {path}, {tables} tables")
