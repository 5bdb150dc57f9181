"""What the pure parts of the checks make of what they read."""

from __future__ import annotations

from pathlib import Path

import pytest

from yunhe.core.home import Home
from yunhe.core.units import GIB, MIB
from yunhe.launcher.checks.database import check_database, without_password
from yunhe.launcher.checks.host import clock_finding, cpu_finding, cpu_flags, memory_finding
from yunhe.launcher.checks.storage import disk_finding

CPUINFO = "processor\t: 0\nmodel name\t: X\nflags\t\t: fpu avx2 avx512f amx_tile\n\nprocessor\t: 1\nflags\t\t: fpu\n"


def test_flags_are_those_of_the_first_processor() -> None:
    assert cpu_flags(CPUINFO) == {"fpu", "avx2", "avx512f", "amx_tile"}
    assert cpu_flags("") == frozenset()


def test_processor_without_avx2_cannot_run_the_default_engine() -> None:
    assert cpu_finding("x86_64", frozenset({"fpu"})).state == "fail"
    assert cpu_finding("aarch64", frozenset({"asimd"})).state == "ok"


def test_unused_instruction_sets_are_a_note_and_no_fault() -> None:
    finding = cpu_finding("x86_64", cpu_flags(CPUINFO))
    assert finding.state == "ok"
    assert "does not use AVX-512, AMX" in finding.found


@pytest.mark.parametrize(("available", "state"), [(300 * MIB, "fail"), (600 * MIB, "warn"), (2 * GIB, "ok")])
def test_memory_is_judged_by_what_is_available(available: int, state: str) -> None:
    assert memory_finding(available, 16 * GIB).state == state


@pytest.mark.parametrize(("free", "state"), [(10 * MIB, "fail"), (GIB, "warn"), (10 * GIB, "ok")])
def test_disk_is_judged_by_what_is_free(free: int, state: str) -> None:
    assert disk_finding(Path("/data"), free).state == state


def test_clock_before_this_release_is_wrong() -> None:
    assert clock_finding(0.0, 0.0).state == "fail"
    assert clock_finding(1_800_000_000.0, 1_800_000_000.0).state == "ok"
    assert clock_finding(1_800_000_000.0, 1_800_001_000.0).state == "warn"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://u:secret@h:5432/d", "postgresql://u:***@h:5432/d"),
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgresql://h/d?password=secret", "postgresql://h/d"),
        ("postgresql+psycopg://u:p%40secret@[::1]:5/d", "postgresql+psycopg://u:***@[::1]:5/d"),
    ],
)
def test_password_in_an_address_is_starred(url: str, shown: str) -> None:
    assert without_password(url) == shown


def test_address_of_another_kind_of_database_is_refused(tmp_path: Path) -> None:
    (finding,) = check_database("mysql://u:secret@h/d", Home(tmp_path))
    assert finding.state == "fail"
    assert "secret" not in finding.found


def test_sqlite_file_that_is_none_is_found(tmp_path: Path) -> None:
    home = Home(tmp_path)
    home.database.write_bytes(b"this is no database" * 100)
    (finding,) = check_database(None, home)
    assert finding.state == "fail"
    assert "backup" in finding.next_step
