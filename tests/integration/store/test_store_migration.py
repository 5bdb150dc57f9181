"""The migrations lead to exactly the tables that the code declares, wherever they start from."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

from yunhe.store import migrate
from yunhe.store.database import Database, DatabaseUnreachable, parse_url
from yunhe.store.tables import METADATA


def sync_engine(url: str) -> object:
    parsed = parse_url(url)
    return create_engine(parsed.set(drivername=parsed.drivername.replace("+aiosqlite", "")), poolclass=NullPool)


def test_upgrading_an_empty_database_gives_the_declared_tables(database_url: str) -> None:
    engine = sync_engine(database_url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
        assert migrate.current(connection) == migrate.HEAD
    engine.dispose()
