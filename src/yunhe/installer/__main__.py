"""``python -m yunhe.installer list|install|remove [NAME] --home H``: JSON lines on standard output.

Exit status 0 when done, 1 with a ``failed`` document.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import msgspec

from yunhe.agent.drivers import load_chips
from yunhe.agent.inventory import probe
from yunhe.catalogue.ports import InstallPlan
from yunhe.core.errors import InvalidRequest, NotFound, YunheError
from yunhe.core.home import Home, default_home
from yunhe.drivers.engines import installed
from yunhe.installer.carrying_out import install
from yunhe.installer.documents import Described, Document, Failed


def main() -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="python -m yunhe.installer", description=__doc__)
    parser.add_argument("action", choices=("list", "install", "remove"))
    parser.add_argument("name", nargs="?", default="")
    parser.add_argument("--home", type=Path, default=default_home())
    given = parser.parse_args()
    home = Home(given.home.expanduser().absolute())
    signal.signal(signal.SIGTERM, _stop)
    try:
        if given.action == "list":
            for described in _described(home):
                _tell(described)
        elif given.action == "install":
            plan = _plan(given.name, home)
            _tell(install(plan, home.engines / given.name, home.logs / f"install-{given.name}.log", _tell))
        else:
            _remove(given.name, home)
    except YunheError as error:
        log = error.details.get("log")
        _tell(Failed(error.code, error.message, error.next_step, str(log or "")))
        return 1
    except OSError as error:
        _tell(Failed("cannot_write", f"{error.filename or home.root}: {error.strerror}", "Make it writable (--home)."))
        return 1
    return 0


def _stop(number: int, _: Any) -> None:
    raise SystemExit(128 + number)


def _tell(document: Document) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(document) + b"\n")
    sys.stdout.buffer.flush()


def _instruction_sets() -> tuple[str, ...]:
    """Of this host's processor, as its chip driver names them."""
    cards = [card for chip in load_chips() for card in probe(chip)]
    return next((card.features for card in cards if card.kind == "cpu"), ())


def _drivers() -> Iterator[tuple[str, Any]]:
    for point in sorted(entry_points(group="yunhe.engines"), key=lambda point: point.name):
        driver = point.load()
        if hasattr(driver, "install_plan"):
            yield point.name, driver()


def _described(home: Home) -> Iterator[Described]:
    for name, driver in _drivers():
        there = installed.read(home.engines / name)
        version = there.version if there else ""
        try:
            plan: InstallPlan = driver.install_plan(home.engines / name, _instruction_sets())
        except InvalidRequest as error:
            yield Described(name, "", "", version, 0, 0.0, error.message)
            continue
        expected_s = sum(step.expected_s for step in plan.steps)
        yield Described(name, plan.summary, plan.version, version, plan.disk_bytes, expected_s)


def _plan(name: str, home: Home) -> InstallPlan:
    drivers = dict(_drivers())
    if name not in drivers:
        raise NotFound(f"there is no engine {name!r} to install", next_step=f"Choose one of: {', '.join(drivers)}.")
    plan: InstallPlan = drivers[name].install_plan(home.engines / name, _instruction_sets())
    return plan


def _remove(name: str, home: Home) -> None:
    directory = home.engines / name
    if not name or directory.parent != home.engines or not directory.is_dir():
        raise NotFound(f"the engine {name!r} is not installed here", next_step="List them: yunhe engine list --local.")
    (directory / installed.MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(directory)


if __name__ == "__main__":
    sys.exit(main())
