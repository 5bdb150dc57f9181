"""Loading drivers by entry point; one that fails to load is reported, and takes nothing else down."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from pathlib import Path

from yunhe.catalogue.ports import NOT_INSTALLED, Engine
from yunhe.core.errors import InvalidRequest
from yunhe.pool.ports import CentreDriver, ChipDriver
from yunhe.serve.sync import EngineInfo

_LOG = logging.getLogger(__name__)


@dataclass(slots=True)
class Engines:
    """The engine drivers of this agent."""

    by_name: dict[str, Engine]
    #: What control is told, failures included.
    infos: tuple[EngineInfo, ...] = field(default=())
    #: What was installed when they were loaded.
    _seen: tuple[tuple[str, int], ...] = field(default=())

    def get(self, name: str) -> Engine:
        """Raises InvalidRequest when this agent has no such driver."""
        if name not in self.by_name:
            raise InvalidRequest(
                f"This centre has no engine {name!r}; it has {', '.join(sorted(self.by_name)) or 'none'}.", engine=name
            )
        return self.by_name[name]

    def look_again(self, installed: Path) -> bool:
        """Load all drivers anew when what lies in the directory of installed engines has changed; whether it has."""
        seen = _installed(installed)
        if seen == self._seen:
            return False
        fresh = load_engines()
        changed = fresh.infos != self.infos
        self.by_name, self.infos, self._seen = fresh.by_name, fresh.infos, seen
        return changed


def _installed(directory: Path) -> tuple[tuple[str, int], ...]:
    """Each engine's manifest and when it was written."""
    try:
        return tuple(sorted((str(path), path.stat().st_mtime_ns) for path in directory.glob("*/engine.json")))
    except OSError:
        return ()


def load_engines() -> Engines:
    """Every engine driver that loads and whose product is installed, and those that do not load."""
    found: dict[str, Engine] = {}
    infos = []
    for point in sorted(entry_points(group="yunhe.engines"), key=lambda point: point.name):
        try:
            engine: Engine = point.load()()
        except Exception as error:  # noqa: BLE001 - a stranger's import may raise anything
            _LOG.exception("engine driver %s does not load", point.name)
            infos.append(EngineInfo(point.name, "", f"{type(error).__name__}: {error}"))
            continue
        if engine.version == NOT_INSTALLED:
            # It can plan for chips elsewhere; here it has nothing to start, so control must not choose it.
            _LOG.info("engine %s is not installed here", point.name)
            continue
        found[point.name] = engine
        infos.append(EngineInfo(point.name, engine.version, rank=int(getattr(engine, "rank", 0))))
    return Engines(found, tuple(infos))


def load_chips() -> list[ChipDriver]:
    """Every chip driver that is installed and loads."""
    found: list[ChipDriver] = []
    for point in sorted(entry_points(group="yunhe.chips"), key=lambda point: point.name):
        try:
            found.append(point.load()())
        except Exception:  # noqa: BLE001 - a stranger's import may raise anything
            _LOG.exception("chip driver %s does not load", point.name)
    return found


def load_centre(name: str, state_dir: Path) -> CentreDriver:
    """The named centre driver over its state directory. Raises InvalidRequest when there is none of that name."""
    points = entry_points(group="yunhe.centres", name=name)
    if not points:
        names = sorted(point.name for point in entry_points(group="yunhe.centres"))
        raise InvalidRequest(f"There is no centre driver {name!r}; there are: {', '.join(names)}.", driver=name)
    driver: CentreDriver = next(iter(points)).load()(state_dir)
    return driver
