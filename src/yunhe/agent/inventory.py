"""What cards are here: chip drivers' cards put into the centre's nodes, measured once in the background."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Protocol

from yunhe.pool.model import Card, Inventory, Node
from yunhe.pool.ports import ChipDriver

_LOG = logging.getLogger(__name__)
PROBE_TIMEOUT_S: Final = 20.0


class _Centre(Protocol):
    def inventory(self) -> Inventory: ...


def take(centre: _Centre, chips: Sequence[ChipDriver]) -> Inventory:
    """The centre's inventory; a single node without cards gets what the chip drivers find on this host. Blocks."""
    inventory = centre.inventory()
    if len(inventory.nodes) != 1 or inventory.nodes[0].cards:
        return inventory
    node = inventory.nodes[0]
    cards = [_bounded(card, node) for chip in chips for card in probe(chip)]
    return replace(inventory, nodes=(replace(node, cards=tuple(cards)),))


def measured(inventory: Inventory, chips: Sequence[ChipDriver], cache_dir: Path) -> Inventory:
    """The same with measured speeds, where a chip driver can measure. Blocks for seconds, once."""
    by_maker: dict[str, Any] = {chip.maker: chip for chip in chips if hasattr(chip, "measure")}
    nodes = []
    for node in inventory.nodes:
        cards = []
        for card in node.cards:
            chip = by_maker.get(card.kind) or by_maker.get(card.maker)
            cards.append(chip.measure(card, cache_dir) if chip is not None else card)
        nodes.append(replace(node, cards=tuple(cards)))
    return replace(inventory, nodes=tuple(nodes))


async def measured_aside(inventory: Inventory, chips: Sequence[ChipDriver], cache_dir: Path) -> Inventory:
    """``measured`` in a thread that an agent which ends does not wait for. The inventory itself when it fails."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Inventory] = loop.create_future()

    def resolve(found: Inventory) -> None:
        if not done.done():
            done.set_result(found)

    def work() -> None:
        found = inventory
        try:
            found = measured(inventory, chips, cache_dir)
        except Exception:  # noqa: BLE001 - the edge of a thread, and a stranger's driver may raise anything
            _LOG.exception("the cards cannot be measured")
        if not loop.is_closed():
            loop.call_soon_threadsafe(resolve, found)

    threading.Thread(target=work, name="measure cards", daemon=True).start()
    return await done


def probe(chip: ChipDriver) -> list[Card]:
    """The cards that a chip driver finds on this host; none when its tool does not answer. Blocks."""
    command = chip.probe_command()
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=PROBE_TIMEOUT_S, text=True, errors="replace", check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _LOG.warning("%s: %s did not answer: %s", chip.maker, command[0], type(error).__name__)
        return []
    return chip.parse(done.stdout, done.stderr, done.returncode)


def _bounded(card: Card, node: Node) -> Card:
    """A host's CPU offers no more than the node may use of it."""
    if card.kind != "cpu":
        return card
    memory = min((m for m in (card.memory_bytes, node.memory_bytes) if m is not None), default=None)
    cores = min((c for c in (card.cores, node.cpu_cores) if c is not None), default=None)
    return replace(card, memory_bytes=memory, cores=cores)
