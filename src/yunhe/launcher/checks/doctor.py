"""All checks, in the order in which their causes lie."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from yunhe.core.home import Home
from yunhe.launcher.checks.database import check_database
from yunhe.launcher.checks.finding import Finding
from yunhe.launcher.checks.host import (
    check_clock,
    check_cpu,
    check_isolation,
    check_memory,
    check_open_files,
    check_python,
)
from yunhe.launcher.checks.instance import check_instance
from yunhe.launcher.checks.packages import check_console, check_drivers, check_packages
from yunhe.launcher.checks.port import check_port
from yunhe.launcher.checks.storage import check_home
from yunhe.launcher.checks.weights import check_weights
from yunhe.launcher.config import Settings
from yunhe.launcher.processes import is_alive
from yunhe.launcher.run_files import read_up


def examine(settings: Settings) -> Iterator[Finding]:
    """Look at everything, finding after finding; works whether an instance runs or not, and changes nothing."""
    home = Home(settings.home)
    record = read_up(home)
    running = record if record is not None and is_alive(record.process) else None
    database = settings.database_url.get_secret_value() if settings.database_url else None
    checks: tuple[tuple[str, Callable[[], Iterable[Finding]]], ...] = (
        ("python", check_python),
        ("packages", check_packages),
        ("drivers", check_drivers),
        ("weights", check_weights),
        ("cpu", check_cpu),
        ("memory", check_memory),
        ("open files", check_open_files),
        ("isolation", check_isolation),
        ("data directory", lambda: check_home(home)),
        ("clock", lambda: check_clock(home)),
        ("database", lambda: check_database(database, home)),
        ("port", lambda: check_port(settings.host, settings.port, running)),
        ("console", check_console),
        ("instance", lambda: check_instance(home, running)),
    )
    for name, check in checks:
        try:
            yield from check()
        except Exception as error:  # noqa: BLE001 - one check that breaks must not hide what the others find
            yield Finding(name, "fail", f"the check itself failed: {type(error).__name__}: {error}", "Report this.")
