"""The migrations lead to exactly the tables that the code declares, whoever starts them and however often."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine, create_engine, inspect, text
from sqlalchemy.pool import NullPool

import yunhe.store
from yunhe.store import migrate
from yunhe.store.database import Database, parse_url
from yunhe.store.errors import DatabaseTooNew, DatabaseUnreachable
from yunhe.store.tables import METADATA
from yunhe.testing.postgres import PostgresServer


def engine_of(url: str) -> Engine:
    parsed = parse_url(url)
    return create_engine(parsed.set(drivername=parsed.drivername.replace("+aiosqlite", "")), poolclass=NullPool)


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of a database without any table."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    url: str = request.getfixturevalue("postgres_url")
    return url


def test_upgrading_an_empty_database_gives_the_declared_tables(database_url: str) -> None:
    with engine_of(database_url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, METADATA) == []
        assert migrate.current(connection) == migrate.HEAD


def test_constraints_in_the_database_have_the_names_that_the_code_gives_them(database_url: str) -> None:
    with engine_of(database_url).connect() as connection:
        seen = inspect(connection)
        for table in METADATA.tables.values():
            declared = {str(c.name) for c in table.constraints if c.name}
            found = {c["name"] for c in seen.get_unique_constraints(table.name)}
            found |= {c["name"] for c in seen.get_check_constraints(table.name)}
            found |= {c["name"] for c in seen.get_foreign_keys(table.name)}
            found.add(seen.get_pk_constraint(table.name)["name"])
            assert found - {None} == declared


def test_the_code_knows_every_revision_that_is_packaged() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(yunhe.store.__file__).parent / "migrations"))
    scripts = ScriptDirectory.from_config(config)
    assert tuple(script.revision for script in scripts.walk_revisions())[::-1] == migrate.REVISIONS


def test_several_processes_may_migrate_at_once_and_again(empty_url: str) -> None:
    with ThreadPoolExecutor(6) as many:
        list(many.map(migrate.upgrade, [parse_url(empty_url)] * 6))
    migrate.upgrade(parse_url(empty_url))
    with engine_of(empty_url).connect() as connection:
        assert migrate.current(connection) == migrate.HEAD


def test_a_migration_that_fails_leaves_nothing_behind(empty_url: str) -> None:
    with engine_of(empty_url).begin() as connection:
        # In the way of the first migration's last tables.
        connection.execute(text("CREATE TABLE users (x INTEGER)"))
    with pytest.raises(Exception, match="users"):
        migrate.upgrade(parse_url(empty_url))
    with engine_of(empty_url).begin() as connection:
        assert inspect(connection).get_table_names() == ["users"]
        connection.execute(text("DROP TABLE users"))
    migrate.upgrade(parse_url(empty_url))


def test_a_database_of_a_newer_version_is_refused_with_what_to_do(empty_url: str) -> None:
    migrate.upgrade(parse_url(empty_url))
    with engine_of(empty_url).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(DatabaseTooNew, match="9999") as refusal:
        migrate.upgrade(parse_url(empty_url))
    assert "Install that version" in refusal.value.next_step


def test_only_its_owner_can_read_a_new_sqlite_database(tmp_path: Path) -> None:
    migrate.upgrade(parse_url(f"sqlite:///{tmp_path / 'yunhe.db'}"))
    assert (tmp_path / "yunhe.db").stat().st_mode & 0o777 == 0o600


def test_a_directory_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatabaseUnreachable, match="missing") as refusal:
        migrate.upgrade(parse_url(f"sqlite:///{tmp_path / 'missing' / 'yunhe.db'}"))
    assert "YUNHE_HOME" in refusal.value.next_step


def test_migrating_a_postgresql_that_is_not_there_says_so_without_the_password(postgres: PostgresServer) -> None:
    url = f"postgresql://somebody:sesame@/nothing?host={postgres.socket_directory}"
    with pytest.raises(DatabaseUnreachable, match="somebody") as refusal:
        migrate.upgrade(Database(url).url)
    assert "sesame" not in str(refusal.value)
