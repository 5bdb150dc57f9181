from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from yunhe.agent import drivers, inventory
from yunhe.catalogue.ports import NOT_INSTALLED
from yunhe.core.errors import InvalidRequest
from yunhe.pool.model import Card, Inventory, Node


class Broken:
    def __init__(self) -> None:
        raise RuntimeError("its library is not here")


def with_points(monkeypatch: pytest.MonkeyPatch, *points: EntryPoint) -> None:
    monkeypatch.setattr(
        drivers,
        "entry_points",
        lambda group, name=None: [p for p in points if p.group == group and name in (None, p.name)],
    )


def test_a_driver_that_does_not_load_is_reported_and_takes_nothing_else_down(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with_points(
        monkeypatch,
        EntryPoint("absent", "no.such.module:Engine", "yunhe.engines"),
        EntryPoint("broken", f"{__name__}:Broken", "yunhe.engines"),
        EntryPoint("external", "yunhe.drivers.engines.external:ExternalEngine", "yunhe.engines"),
    )
    monkeypatch.setattr(EntryPoint, "load", lambda self: Broken if self.name == "broken" else _load(self))
    engines = drivers.load_engines()
    assert list(engines.by_name) == ["external"]
    errors = {info.name: info.error for info in engines.infos}
    assert errors == {
        "absent": "ModuleNotFoundError: No module named 'no'",
        "broken": "RuntimeError: its library is not here",
        "external": "",
    }
    with pytest.raises(InvalidRequest, match="it has external"):
        engines.get("broken")


_load = EntryPoint.load


class Elsewhere:
    version = NOT_INSTALLED


def test_an_engine_that_is_not_installed_is_not_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    with_points(monkeypatch, EntryPoint("elsewhere", f"{__name__}:Elsewhere", "yunhe.engines"))
    engines = drivers.load_engines()
    assert (engines.by_name, engines.infos) == ({}, ())


def test_an_unknown_centre_driver_names_the_known_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with_points(monkeypatch, EntryPoint("local", "x:y", "yunhe.centres"))
    with pytest.raises(InvalidRequest, match="there are: local"):
        drivers.load_centre("slurm", tmp_path)


def test_every_declared_driver_loads(tmp_path: Path) -> None:
    assert all(not info.error for info in drivers.load_engines().infos)
    assert drivers.load_chips()
    assert drivers.load_centre("local", tmp_path).inventory().nodes


class OneNode:
    def __init__(self, *cards: Card) -> None:
        self._cards = cards

    def inventory(self) -> Inventory:
        return Inventory((Node("host", 1000, 2, "os", self._cards),), 1.0)


CPU = Card("cpu-1", "cpu-x", "x", "cpu", "X", 4000, 8)


class Chip:
    maker = "cpu"

    def __init__(self, *command: str) -> None:
        self._command = command

    def probe_command(self) -> tuple[str, ...]:
        return self._command

    def parse(self, stdout: str, stderr: str, exit_code: int) -> list[Card]:
        return [CPU] if stdout == "yes\n" else []

    def measure(self, card: Card, cache_dir: Path) -> Card:
        raise ArithmeticError("no clock")


def test_a_cpu_offers_no_more_than_its_node_may_use() -> None:
    (card,) = inventory.take(OneNode(), [Chip("echo", "yes")]).nodes[0].cards
    assert (card.uid, card.memory_bytes, card.cores) == ("cpu-1", 1000, 2)


def test_a_centre_that_knows_its_cards_is_believed() -> None:
    assert inventory.take(OneNode(CPU), [Chip("echo", "yes")]).nodes[0].cards == (CPU,)


@pytest.mark.parametrize("command", ["/no/such/tool", "false"])
def test_a_tool_that_is_not_here_finds_no_card(command: str) -> None:
    assert inventory.take(OneNode(), [Chip(command)]).nodes[0].cards == ()


async def test_a_measurement_that_fails_leaves_the_inventory_as_it_was(tmp_path: Path) -> None:
    taken = OneNode(CPU).inventory()
    assert await inventory.measured_aside(taken, [Chip("true")], tmp_path) == taken
