"""A real PostgreSQL for tests: a server of its own in a temporary directory, reached through a Unix socket only."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import psycopg
from psycopg import sql

_USER: Final = "yunhe"
_START_LIMIT_S: Final = 60
#: Durability is PostgreSQL's own business; these tests are about our statements.
_SETTINGS: Final = (
    "listen_addresses=",
    "fsync=off",
    "synchronous_commit=off",
    "full_page_writes=off",
    "max_connections=200",
    "shared_buffers=32MB",
)


class PostgresMissing(RuntimeError):
    """The PostgreSQL server's programs are not installed; run: apt-get install postgresql."""

    def __init__(self) -> None:
        super().__init__((type(self).__doc__ or "").strip())


@dataclass(frozen=True, slots=True)
class PostgresServer:
    """A running server."""

    socket_directory: Path
    _account: pwd.struct_passwd | None
    #: pg_ctl with the arguments that name this server.
    _control: tuple[str | Path, ...]

    def restart(self) -> None:
        """Stop it at once, as a crash would, and start it again."""
        _run(self._account, *self._control, "-m", "immediate", "-l", self.socket_directory / "log", "restart")

    def url(self, database: str) -> str:
        """The URL of one of its databases."""
        return f"postgresql://{_USER}@/{database}?host={self.socket_directory}"

    def create(self, database: str) -> str:
        """Make an empty database and return its URL."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
        return self.url(database)

    def drop(self, database: str) -> None:
        """Remove a database, whoever is connected to it."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))


@contextmanager
def running_postgres() -> Iterator[PostgresServer]:
    """Start a server, stop it at the end and remove its files. Raises PostgresMissing."""
    programs = _programs()
    # Directly below /tmp or its like: a socket's path may not be longer than 107 bytes.
    home = Path(tempfile.mkdtemp(prefix="yunhe-pg-"))
    account = _account()
    try:
        if account is not None:
            os.chown(home, account.pw_uid, account.pw_gid)
        data = home / "data"
        _run(
            account,
            programs / "initdb",
            "-D",
            data,
            "-U",
            _USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
            "--no-locale",
        )
        options = " ".join(f"-c {setting}" for setting in (*_SETTINGS, f"unix_socket_directories={home}"))
        control = (programs / "pg_ctl", "-D", data, "-w", "-t", str(_START_LIMIT_S))
        _run(account, *control, "-l", home / "log", "-o", options, "start")
        try:
            yield PostgresServer(home, account, control)
        finally:
            _run(account, *control, "-m", "immediate", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _programs() -> Path:
    """Where initdb and pg_ctl are: the newest below Debian's directory, else in PATH."""
    versions = sorted(
        (path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/initdb")),
        key=lambda path: float(path.parent.name) if path.parent.name.replace(".", "", 1).isdigit() else 0.0,
    )
    if versions:
        return versions[-1]
    found = shutil.which("initdb")
    if found is None:
        raise PostgresMissing
    return Path(found).resolve().parent


def _account() -> pwd.struct_passwd | None:
    """Who runs the server: ourselves, or as root an unprivileged account, because PostgreSQL refuses root."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise PostgresMissing


def _run(account: pwd.struct_passwd | None, *command: str | Path) -> None:
    """Run one of PostgreSQL's programs to its end. Raises RuntimeError with its output when it fails."""
    with tempfile.TemporaryFile() as output:
        # A file, not a pipe: the server that pg_ctl leaves behind would hold a pipe open for ever.
        code = subprocess.call(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            timeout=2 * _START_LIMIT_S,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"},
            user=None if account is None else account.pw_uid,
            group=None if account is None else account.pw_gid,
            extra_groups=None if account is None else [],
        )
        if code != 0:
            output.seek(0)
            text = output.read()[-4000:].decode(errors="replace")
            raise RuntimeError(f"{Path(command[0]).name} ended with {code}: {text}")
