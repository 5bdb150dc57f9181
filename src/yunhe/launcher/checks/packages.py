"""What is installed: packages, drivers, the console."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, entry_points, requires, version
from pathlib import Path
from typing import Final

from yunhe.launcher.checks.finding import Finding

GROUPS: Final = ("yunhe.engines", "yunhe.centres", "yunhe.chips")
_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")


def check_packages() -> Iterator[Finding]:
    """Whether everything that Yunhe requires is installed."""
    names = [
        match.group()
        for line in requires("yunhe") or ()
        if "extra ==" not in line and (match := _NAME.match(line)) is not None
    ]
    missing = [name for name in names if not _installed(name)]
    if missing:
        yield Finding("packages", "fail", f"missing: {', '.join(missing)}", "Install again: make install")
    else:
        yield Finding("packages", "ok", f"yunhe {version('yunhe')} and {len(names)} packages")


def _installed(name: str) -> bool:
    try:
        version(name)
    except PackageNotFoundError:
        return False
    return True


def check_drivers() -> Iterator[Finding]:
    """Whether every driver loads; one that does not takes nothing else down, but what it drives is missing."""
    for group in GROUPS:
        kind = group.rpartition(".")[2]
        loaded = []
        for point in sorted(entry_points(group=group), key=lambda point: point.name):
            try:
                point.load()
            except Exception as error:  # noqa: BLE001 - a stranger's import may raise anything
                found = f"{kind}: {point.name} does not load: {type(error).__name__}: {error}"
                package = point.dist.name if point.dist else point.value
                yield Finding("drivers", "fail", found, f"Install {package} again, or remove it.")
            else:
                loaded.append(point.name)
        if loaded:
            yield Finding("drivers", "ok", f"{kind}: {', '.join(loaded)}")
        elif not entry_points(group=group):
            yield Finding("drivers", "fail", f"{kind}: none is installed", "Install again: make install")


def check_console() -> Iterator[Finding]:
    """Whether the console was built into the package."""
    spec = importlib.util.find_spec("yunhe.control")
    places = list(spec.submodule_search_locations or ()) if spec else []
    if any((Path(place) / "console_dist" / "index.html").is_file() for place in places):
        yield Finding("console", "ok", "built")
    else:
        yield Finding("console", "warn", "not built; the API and the command line work without it", "make install")
