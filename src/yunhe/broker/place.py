"""Where a replica runs: the simplest placement that fits, and why each other place does not.

One replica takes one card of one node. Several replicas may share a card as long as their predicted memory fits
together; a card's memory is the only capacity counted. An attached external server needs no card, only an online centre
whose agent checks and reports it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from yunhe.broker.fit import memory_need_bytes
from yunhe.catalogue.model import ANY, EXTERNAL_ENGINE, Model, SettingValue
from yunhe.catalogue.ports import Verdict
from yunhe.core.units import bytes_text
from yunhe.pool.model import Card, Centre, Node

#: A card is used when it is one of these, the better health first.
_HEALTH_RANK: Final = {"healthy": 0, "degraded": 1}


@dataclass(frozen=True, slots=True)
class EngineOffer:
    """An engine that a centre's agent has loaded (``error`` empty) or failed to load."""

    name: str
    error: str = ""
    #: The lowest is taken where the demand leaves the engine open.
    rank: int = 0


@dataclass(frozen=True, slots=True)
class CentreSupply:
    """What a centre offers now."""

    centre: Centre
    online: bool
    engines: tuple[EngineOffer, ...]
    nodes: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class CardUse:
    """What already occupies a card: predicted memory, and replicas of the deployment that asks."""

    memory_bytes: int = 0
    replicas: int = 0
    siblings: int = 0


@dataclass(frozen=True, slots=True)
class Demand:
    """A replica that wants a place."""

    model: Model
    #: Engine by name, or ``any``.
    engine: str = ANY
    #: Chip id of the recipe, or ``any``.
    chip: str = ANY
    #: Centre by name; None leaves it open.
    centre: str | None = None
    #: True for a server that already runs elsewhere.
    external: bool = False
    #: Of the recipe: slots and context decide how large the cache is.
    settings: Mapping[str, SettingValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Placement:
    """The place found."""

    centre_id: str
    centre: str
    engine: str
    node: str | None
    cards: tuple[str, ...]
    chip: str | None
    reason: str


@dataclass(frozen=True, slots=True)
class Refused:
    """Why one place does not do. ``place`` is ``centre``, ``centre/node`` or ``centre/node/card``."""

    place: str
    reason: str
    #: True when it would do if other replicas left.
    for_room: bool = False


@dataclass(frozen=True, slots=True)
class NoFit:
    """No place, and why not: reasons by place."""

    refused: tuple[Refused, ...]

    @property
    def for_room(self) -> bool:
        """Whether some place would do if other replicas left it."""
        return any(refusal.for_room for refusal in self.refused)

    @property
    def reason(self) -> str:
        """All reasons in one line; equal ones are counted together, at most five are named."""
        if not self.refused:
            return "no centre has joined yet"
        places: dict[str, list[str]] = {}
        for refusal in self.refused:
            places.setdefault(refusal.reason, []).append(refusal.place)
        told = [
            f"{where[0]}{f' and {len(where) - 1} more' if len(where) > 1 else ''}: {why}"
            for why, where in list(places.items())[:5]
        ]
        return "no place fits: " + "; ".join(told)


@dataclass(frozen=True, slots=True)
class Supply:
    """All centres, what occupies their cards, and what engines say of the model."""

    centres: Sequence[CentreSupply]
    #: (centre id, card uid) -> use
    used: Mapping[tuple[str, str], CardUse] = field(default_factory=dict)
    #: (engine, chip) -> verdict on the demanded model. What is absent is not known: the agent then decides at launch.
    verdicts: Mapping[tuple[str, str], Verdict] = field(default_factory=dict)


def place(demand: Demand, supply: Supply) -> Placement | NoFit:
    """The best fitting place: healthy before degraded, fewest siblings, fewest replicas, then by name."""
    refused: list[Refused] = []
    found: list[tuple[tuple[int, int, int, str], Placement]] = []
    for offer in sorted(supply.centres, key=lambda offer: offer.centre.name):
        engines = _usable_engines(demand, offer, refused)
        if not engines:
            continue
        if demand.external:
            return Placement(
                offer.centre.id,
                offer.centre.name,
                engines[0],
                None,
                (),
                None,
                f"attached in centre {offer.centre.name}",
            )
        found += _fitting_cards(demand, supply, offer, engines, refused)
    if not found:
        return NoFit(tuple(refused))
    return min(found, key=lambda item: item[0])[1]


def _usable_engines(demand: Demand, offer: CentreSupply, refused: list[Refused]) -> list[str]:
    """Engines of the centre that may take the demand; none, with the reason noted, when the centre is out."""
    name = offer.centre.name
    if demand.centre is not None and demand.centre != name:
        refused.append(Refused(name, f"the deployment asks for centre {demand.centre}"))
        return []
    if not offer.online:
        never = offer.centre.last_sync_at is None
        refused.append(Refused(name, "its agent has not joined yet" if never else "its agent is away"))
        return []
    wanted = EXTERNAL_ENGINE if demand.external and demand.engine == ANY else demand.engine
    candidates = [
        engine
        for engine in sorted(offer.engines, key=lambda engine: (engine.rank, engine.name))
        if engine.name == wanted or (wanted == ANY and engine.name != EXTERNAL_ENGINE)
    ]
    usable = [engine.name for engine in candidates if not engine.error]
    if not usable:
        broken = "; ".join(f"{engine.name} did not load: {engine.error}" for engine in candidates)
        missing = "it has no engine for this model" if wanted == ANY else f"it has no engine {wanted}"
        refused.append(Refused(name, broken or missing))
    return usable


def _fitting_cards(
    demand: Demand, supply: Supply, offer: CentreSupply, engines: Iterable[str], refused: list[Refused]
) -> list[tuple[tuple[int, int, int, str], Placement]]:
    need = memory_need_bytes(demand.model, demand.settings)
    found = []
    cards = [(node, card) for node in offer.nodes for card in node.cards]
    if not cards:
        refused.append(Refused(offer.centre.name, "it has no cards"))
    for node, card in cards:
        where = f"{offer.centre.name}/{node.name}/{card.uid}"
        use = supply.used.get((offer.centre.id, card.uid), CardUse())
        refusal = _why_not(demand, node, card, need, use, where)
        engine = None if refusal else _supporting(engines, card, supply.verdicts)
        if refusal or engine is None:
            refused.append(refusal or Refused(where, _unsupported(engines, card, supply.verdicts)))
            continue
        rank = (_HEALTH_RANK[card.health], use.siblings, use.replicas, where)
        reason = f"card {card.uid} of {offer.centre.name}/{node.name} ({card.chip}) has room for {bytes_text(need)}"
        found.append(
            (rank, Placement(offer.centre.id, offer.centre.name, engine, node.name, (card.uid,), card.chip, reason))
        )
    return found


def _why_not(demand: Demand, node: Node, card: Card, need: int, use: CardUse, where: str) -> Refused | None:
    """The reason against a card apart from its engines; None when there is none."""
    if demand.chip not in (ANY, card.chip):
        return Refused(where, f"the recipe is for chip {demand.chip}, this is {card.chip}")
    if card.health not in _HEALTH_RANK:
        return Refused(
            where, f"its health is {card.health}" + (f": {card.health_reason}" if card.health_reason else "")
        )
    memory = card.memory_bytes if card.memory_bytes is not None else node.memory_bytes
    if memory is None:
        return Refused(where, "its memory is unknown")
    if need > memory:
        return Refused(where, f"needs about {bytes_text(need)}, the card has {bytes_text(memory)}")
    if need + use.memory_bytes > memory:
        free = max(0, memory - use.memory_bytes)
        return Refused(
            where,
            f"needs about {bytes_text(need)}, {bytes_text(free)} of {bytes_text(memory)} are free beside "
            f"{use.replicas} replica(s)",
            for_room=True,
        )
    return None


def _supporting(engines: Iterable[str], card: Card, verdicts: Mapping[tuple[str, str], Verdict]) -> str | None:
    """The first engine known to support the chip, else the first of which nothing is known."""
    unknown = None
    for engine in engines:
        verdict = verdicts.get((engine, card.chip))
        if verdict is None:
            unknown = unknown or engine
        elif verdict.supported:
            return engine
    return unknown


def _unsupported(engines: Iterable[str], card: Card, verdicts: Mapping[tuple[str, str], Verdict]) -> str:
    return "; ".join(
        f"{engine} does not support it: {verdicts[engine, card.chip].reason}"
        for engine in engines
        if (engine, card.chip) in verdicts
    )
