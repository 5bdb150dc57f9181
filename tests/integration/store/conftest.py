"""The same store tests on SQLite and on a real PostgreSQL."""

import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from yunhe.accounts.model import ApiKey, Membership, Organisation, Project, Role, Scope, User
from yunhe.store import keys, models, projects, users
from yunhe.store.database import Database
from yunhe.store.migrate import upgrade
from yunhe.store.tables import METADATA
from yunhe.testing import samples
from yunhe.testing.postgres import PostgresServer


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite file at the newest revision, to be copied."""
    path = tmp_path_factory.mktemp("migrated") / "template.db"
    upgrade(Database(f"sqlite:///{path}").url)
    return path


@pytest.fixture(scope="session")
def migrated_postgres(postgres: PostgresServer) -> str:
    """The URL of a PostgreSQL database at the newest revision, to be left empty by each test."""
    url = postgres.create("yunhe_store")
    upgrade(Database(url).url)
    return url


def wipe(url: str) -> None:
    """Empty every table; a replica's session fires no triggers, those that refuse it included."""
    with psycopg.connect(url) as connection:
        connection.execute("SET session_replication_role = replica")
        for name in METADATA.tables:
            connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(name)))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a migrated, empty database."""
    if request.param == "sqlite":
        shutil.copy(request.getfixturevalue("migrated_file"), tmp_path / "yunhe.db")
        yield f"sqlite:///{tmp_path / 'yunhe.db'}"
        return
    url: str = request.getfixturevalue("migrated_postgres")
    yield url
    wipe(url)


@pytest.fixture
async def db(database_url: str) -> AsyncIterator[Database]:
    """An empty, migrated database."""
    database = Database(database_url)
    yield database
    await database.dispose()


@pytest.fixture
async def stocked(db: Database) -> Database:
    """A database with a project, its owner and key, and the sample model with its price."""
    async with db.write() as tx:
        await projects.add_organisation(tx, Organisation("org_1", "default", samples.NOW))
        await projects.add_project(tx, Project("proj_sample", "org_1", "sample", samples.NOW))
        await users.add_user(tx, User("user_1", "ann", "hash", frozenset(), samples.NOW))
        await projects.add_member(tx, Membership("mem_1", "user_1", "proj_sample", Role.PROJECT_OWNER))
        await keys.add_key(
            tx,
            ApiKey(
                "key_1", "proj_sample", "user_1", "first", "prefix1", "d1", frozenset({Scope.INFERENCE}), samples.NOW
            ),
        )
        await models.add_model(tx, samples.model())
        await models.add_price(tx, samples.price())
    return db
