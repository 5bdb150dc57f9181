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


@dataclass(frozen=True, slots=True)
class Engines:
    """The engine drivers of this agent."""

    by_name: dict[str, Engine]
    #: What control is told, failures included.
    infos: tuple[EngineInfo, ...] = field(default=())

    def get(self, name: str) -> Engine:
        """Raises InvalidRequest when this agent has no such driver."""
        if name not in self.by_name:
            raise InvalidRequest(
                f"This centre has no engine {name!r}; it has {', '.join(sorted(self.by_name)) or 'none'}.", engine=name
            )
        return self.by_name[name]


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
        infos.append(EngineInfo(point.name, engine.version))
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
