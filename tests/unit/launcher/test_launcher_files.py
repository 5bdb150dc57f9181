"""Secrets, run files, the lock, logs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from yunhe.core.home import Home
from yunhe.launcher.credentials import (
    first_start_path,
    forget_first_start,
    make_report,
    read_credentials,
    write_address,
)
from yunhe.launcher.errors import AlreadyRunning, BadHome
from yunhe.launcher.lock import held
from yunhe.launcher.logs import last_words, open_for_append, rotate, tail
from yunhe.launcher.processes import NamedProcess, identify
from yunhe.launcher.run_files import (
    UpRecord,
    clear,
    processes_path,
    read_processes,
    read_up,
    up_path,
    write_processes,
    write_up,
)
from yunhe.launcher.secrets import NAMES, make_secrets


@pytest.fixture
def home(tmp_path: Path) -> Home:
    made = Home(tmp_path / "home")
    made.make()
    return made


def record(home: Home) -> UpRecord:
    me = identify(os.getpid())
    assert me is not None
    return UpRecord(me, "0", "ready", 1.0, "127.0.0.1", 1, 2, 3, "http://127.0.0.1:1/", "http://127.0.0.1:1/v1")


def test_secrets_are_made_once_and_for_their_owner_only(home: Home) -> None:
    make_secrets(home)
    texts = [(home.secrets / name).read_text() for name in NAMES]
    make_secrets(home)
    assert [(home.secrets / name).read_text() for name in NAMES] == texts
    assert len(set(texts)) == len(NAMES)
    assert all(len(bytes.fromhex(text)) == 32 for text in texts)
    assert {path.name for path in home.secrets.iterdir()} == set(NAMES)
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in home.secrets.iterdir())


def test_damaged_secret_is_never_replaced(home: Home) -> None:
    (home.secrets / "pepper").write_text("half of i")
    with pytest.raises(BadHome, match="pepper is damaged"):
        make_secrets(home)
    assert (home.secrets / "pepper").read_text() == "half of i"


def test_run_files_say_what_was_written_and_nothing_when_they_are_broken(home: Home) -> None:
    assert read_up(home) is None
    assert read_processes(home) == []
    up = record(home)
    write_up(home, up)
    write_processes(home, [NamedProcess("control", up.process)])
    assert read_up(home) == up
    assert read_processes(home) == [NamedProcess("control", up.process)]
    assert stat.S_IMODE(up_path(home).stat().st_mode) == 0o600
    up_path(home).write_text('{"process":')
    processes_path(home).write_text("[]]")
    assert read_up(home) is None
    assert read_processes(home) == []
    clear(home)
    assert list(home.run.iterdir()) == []


def test_second_holder_of_the_lock_learns_what_runs(home: Home) -> None:
    with held(home):
        with pytest.raises(AlreadyRunning, match="just starting"), held(home):
            pass
        write_up(home, record(home))
        with pytest.raises(AlreadyRunning, match=r"http://127.0.0.1:1/ \(pid \d+, ready\)"), held(home):
            pass
    with held(home):
        pass


def test_report_shows_the_password_until_it_was_shown(home: Home) -> None:
    home.credentials.write_text('{"api_key": "yh_a", "manage_key": "yh_m"}')
    first_start_path(home).write_text('{"admin_user": "admin", "admin_password": "pw", "api_key": "yh_a"}')
    where = {"console_url": "http://h/", "base_url": "http://h/v1", "pid": 7}
    first = make_report(home, **where)  # type: ignore[arg-type]
    assert (first.admin_user, first.admin_password, first.api_key) == ("admin", "pw", "yh_a")
    assert "pw" not in repr(first)
    forget_first_start(home)
    later = make_report(home, **where)  # type: ignore[arg-type]
    assert (later.admin_user, later.admin_password, later.api_key) == (None, None, "yh_a")


def test_address_joins_the_keys_in_the_credentials(home: Home) -> None:
    home.credentials.write_text('{"api_key": "yh_a", "manage_key": "yh_m"}')
    write_address(home, "http://127.0.0.1:1/v1")
    found = read_credentials(home)
    assert (found.base_url, found.api_key, found.manage_key) == ("http://127.0.0.1:1/v1", "yh_a", "yh_m")
    assert stat.S_IMODE(home.credentials.stat().st_mode) == 0o600


def test_rotation_keeps_the_writers_going_and_the_number_bounded(tmp_path: Path) -> None:
    path = tmp_path / "control.out"
    writer = open_for_append(path)
    try:
        for number in range(6):
            os.write(writer, f"{number:09}\n".encode())
            assert rotate(path, bytes_max=9, files_max=2) is True
            assert path.read_bytes() == b""
        assert rotate(path, bytes_max=9, files_max=2) is False
    finally:
        os.close(writer)
    kept = {found.name: found.read_text().strip() for found in tmp_path.iterdir()}
    assert kept == {"control.out": "", "control.out.1": "000000005", "control.out.2": "000000004"}


def test_tail_bounds_lines_and_knows_no_missing_file(tmp_path: Path) -> None:
    path = tmp_path / "agent.out"
    assert tail(path, 5) == ()
    path.write_text("\n".join(str(number) for number in range(100_000)))
    assert tail(path, 2) == ("99998", "99999")
    (tmp_path / "agent.log").write_text("its own log\n")
    assert last_words(path, 1) == ("its own log", "99999")
