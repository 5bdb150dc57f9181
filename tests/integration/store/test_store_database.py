"""Transactions, durability and what is said when the database is away."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from yunhe.store import changes, usage
from yunhe.store.database import BadDatabaseUrl, Database, DatabaseUnreachable, parse_url
from yunhe.store.errors import DatabaseBusy
from yunhe.testing import samples
from yunhe.testing.postgres import PostgresServer, running_postgres

WRITER = """
import asyncio, sys
from yunhe.store import usage
from yunhe.store.database import Database
from yunhe.testing.samples import NOW, usage_record

async def main() -> None:
    db = Database(sys.argv[1])
    number = 0
    while True:
        async with db.write() as tx:
            await usage.record_usage(tx, [usage_record(f"req_{number:06d}")], NOW)
        print(number, flush=True)
        number += 1

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("sqlite:////tmp/x.db", "sqlite+aiosqlite"),
        ("sqlite+aiosqlite:////tmp/x.db", "sqlite+aiosqlite"),
        ("postgres://a:b@h/d", "postgresql+psycopg"),
        ("postgresql://a:b@h/d", "postgresql+psycopg"),
        ("postgresql+asyncpg://a:b@h/d?ssl=require", "postgresql+psycopg"),
        ("postgresql+psycopg2://a:b@h/d", "postgresql+psycopg"),
    ],
)
def test_urls_of_other_drivers_are_understood(given: str, driver: str) -> None:
    url = parse_url(given)
    assert url.drivername == driver
    assert "ssl" not in url.query
    assert url.query.get("sslmode") == ("require" if "ssl=" in given else None)


@pytest.mark.parametrize("given", ["mysql://u:sesame@h/d", "not a url sesame", "", "sqlite://", "sqlite:///:memory:"])
def test_other_urls_are_refused_without_showing_a_password(given: str) -> None:
    with pytest.raises(BadDatabaseUrl) as refusal:
        parse_url(given)
    assert "sesame" not in str(refusal.value)
    assert "postgresql://" in refusal.value.next_step


async def test_ping_answers(db: Database) -> None:
    await db.ping()


async def test_an_interrupted_writer_leaves_nothing_and_blocks_nobody(db: Database) -> None:
    inside = asyncio.Event()

    async def hang() -> None:
        async with db.write() as tx:
            await changes.bump(tx, "counter")
            inside.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hang())
    await inside.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with db.write() as tx:
        assert await changes.bump(tx, "counter") == 1


async def test_many_writers_at_once_all_get_their_turn(db: Database) -> None:
    async def write() -> int:
        async with db.write() as tx:
            return await changes.bump(tx, "counter")

    assert sorted(await asyncio.gather(*(write() for _ in range(60)))) == list(range(1, 61))


async def test_readers_go_on_while_somebody_writes(db: Database) -> None:
    async with db.write() as writer:
        await changes.bump(writer, changes.GATEWAY)
        async with db.read() as reader:
            assert await changes.current(reader) == 0


async def test_what_a_killed_process_was_told_is_committed_is_there(database_url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WRITER, database_url, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    told = -1
    async with asyncio.timeout(60):
        while told < 20:
            told = int(await process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    rest = (await process.communicate())[0].split()
    told = int(rest[-1]) if rest else told
    db = Database(database_url)
    async with db.read() as tx:
        stored = {priced.record.request_id for priced in await usage.list_usage(tx, 1000)}
    await db.dispose()
    assert {f"req_{number:06d}" for number in range(told + 1)} <= stored


async def test_an_sqlite_database_is_used_with_durable_settings(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'x.db'}")
    async with db.read() as tx:
        found = {
            name: (await tx.execute(text(f"PRAGMA {name}"))).scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys")
        }
    await db.dispose()
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1}


async def test_a_missing_directory_or_a_damaged_file_is_told_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "damaged.db").write_bytes(b"this is not a database, whatever its name says" * 100)
    for path in (tmp_path / "missing" / "x.db", tmp_path / "damaged.db"):
        db = Database(f"sqlite:///{path}")
        with pytest.raises(DatabaseUnreachable) as refusal:
            await db.ping()
        await db.dispose()
        assert "data directory" in refusal.value.next_step


async def test_a_full_disk_is_told_as_such_and_nothing_is_half_written(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'x.db'}")
    await db.migrate()
    records = [samples.usage_record(f"req_{number}") for number in range(2000)]
    with pytest.raises(DatabaseUnreachable, match="full") as refusal:
        async with db.write() as tx:
            await tx.execute(text("PRAGMA max_page_count = 100"))
            await usage.record_usage(tx, records, samples.NOW)
    assert "free space" in refusal.value.next_step
    async with db.write() as tx:
        await tx.execute(text("PRAGMA max_page_count = 1000000"))
        assert await usage.record_usage(tx, records, samples.NOW) == (2000, 0)
    await db.dispose()


async def test_a_locked_sqlite_is_busy_not_broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("yunhe.store.database.BUSY_TIMEOUT_MS", 1)
    holder, other = (Database(f"sqlite:///{tmp_path / 'x.db'}") for _ in range(2))
    async with holder.write() as tx:
        await tx.execute(text("CREATE TABLE t (x INTEGER)"))
        with pytest.raises(DatabaseBusy) as refusal:
            async with other.write():
                pass
    await holder.dispose()
    await other.dispose()
    assert refusal.value.retryable


async def test_a_postgresql_that_is_not_there_is_told_without_the_password(postgres: PostgresServer) -> None:
    for url in (
        f"postgresql://yunhe:sesame@/nothing?host={postgres.socket_directory}",
        f"postgresql://yunhe:sesame@/yunhe?host={postgres.socket_directory / 'nowhere'}",
    ):
        db = Database(url)
        with pytest.raises(DatabaseUnreachable, match="postgresql") as refusal:
            await db.ping()
        await db.dispose()
        assert "sesame" not in refusal.value.message
        assert "YUNHE_DATABASE_URL" in refusal.value.next_step


async def test_a_postgresql_that_restarts_is_reached_again_without_our_restart() -> None:
    with running_postgres() as server:
        db = Database(server.create("yunhe"))
        await db.ping()
        with pytest.raises(DatabaseUnreachable):
            async with db.read() as tx:
                server.restart()
                await tx.execute(text("SELECT 1"))
        await db.ping()
        server.restart()
        await db.ping()
        await db.dispose()
