"""The data directory and its disk."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from yunhe.core.home import Home
from yunhe.core.units import GIB, MIB, bytes_text
from yunhe.launcher.checks.finding import Finding

FREE_FAIL_BYTES: Final = 256 * MIB
FREE_WARN_BYTES: Final = 2 * GIB


def check_home(home: Home) -> Iterator[Finding]:
    """Whether an instance can keep its things there, and how much room the disk has."""
    place = home.root
    while not place.exists() and place != place.parent:
        place = place.parent
    problem = _unwritable(place)
    if problem:
        yield Finding(
            "data directory",
            "fail",
            f"{home.root} cannot be written: {problem}",
            f"Choose another with YUNHE_HOME, or correct owner and permissions of {place}.",
        )
    else:
        yield Finding("data directory", "ok", f"{home.root}{'' if home.root.exists() else ' (will be made)'}")
    yield from _loose_secrets(home)
    yield disk_finding(place, shutil.disk_usage(place).free)


def _unwritable(place: Path) -> str:
    """Why nothing can be written there; tried, because permission bits do not tell everything."""
    if not place.is_dir():
        return f"{place} is not a directory"
    try:
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"x")
            file.flush()
    except OSError as error:
        return error.strerror or str(error)
    return ""


def _loose_secrets(home: Home) -> Iterator[Finding]:
    files = [home.credentials, *(home.secrets.glob("*") if os.access(home.secrets, os.R_OK) else ())]
    loose = [str(path) for path in files if path.exists() and path.stat().st_mode & 0o077]
    if loose:
        yield Finding("secrets", "warn", f"others can read {', '.join(loose)}", f"chmod 600 {' '.join(loose)}")


def disk_finding(place: Path, free_bytes: int) -> Finding:
    """Whether logs, usage and added models will fit."""
    text = f"{bytes_text(free_bytes)} free at {place}"
    if free_bytes < FREE_FAIL_BYTES:
        remedy = "Free space: the gateway refuses requests that it cannot write down."
        return Finding("disk", "fail", text, remedy)
    if free_bytes < FREE_WARN_BYTES:
        return Finding("disk", "warn", text, "Free space before adding models.")
    return Finding("disk", "ok", text)
