"""What cards are here: chip drivers' cards put into the centre's nodes, measured once in the background."""

from __future__ import annotations

import logging
import subprocess
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
    cards = [_placed(card, node) for chip in chips for card in _probe(chip)]
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


def _probe(chip: ChipDriver) -> list[Card]:
    command = chip.probe_command()
    try:
        done = subprocess.run(
            command, capture_output=True, timeout=PROBE_TIMEOUT_S, text=True, errors="replace", check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        _LOG.warning("%s: %s did not answer: %s", chip.maker, command[0], type(error).__name__)
        return []
    return chip.parse(done.stdout, done.stderr, done.returncode)


def _placed(card: Card, node: Node) -> Card:
    """The card with an identity that is unique in the centre, and no more than the node may use."""
    memory, cores = card.memory_bytes, card.cores
    if card.kind == "cpu":
        memory = min((m for m in (memory, node.memory_bytes) if m is not None), default=None)
        cores = min((c for c in (cores, node.cpu_cores) if c is not None), default=None)
    return replace(card, uid=f"{node.name}/{card.uid}", memory_bytes=memory, cores=cores)
