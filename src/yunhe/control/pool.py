"""The pool as people see it: centres, nodes, cards, engines; and how a centre is expected."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from yunhe.catalogue.names import check_plain_name
from yunhe.control.bootstrap import new_join_token
from yunhe.control.effects import Effects
from yunhe.control.page import Page, page_of
from yunhe.control.state import ControlState
from yunhe.control.supply import CENTRES_MAX, is_online
from yunhe.core.ids import new_id
from yunhe.pool.model import Card, Centre, Node
from yunhe.serve.sync import EngineInfo
from yunhe.store import pool, serve
from yunhe.store.database import Tx

CentreState = Literal["online", "away", "never_joined"]
_HEALTHY: Final = "healthy"


@dataclass(frozen=True, slots=True)
class CentreView:
    """A centre and what it has; ``engines`` are those that its agent could load."""

    centre: Centre
    state: CentreState
    nodes: int
    cards: int
    healthy_cards: int
    engines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class NodeView:
    """A node with its cards and its centre's name."""

    node: Node
    centre: str


@dataclass(frozen=True, slots=True)
class CardView:
    """A card with where it is and the ids of the replicas on it."""

    card: Card
    centre: str
    node: str
    used_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EngineView:
    """An engine driver over all centres; ``error`` tells why the last centre named failed to load it."""

    name: str
    version: str
    centres: tuple[str, ...]
    error: str


class Pool:
    """All centres seen as one."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def centres(self, limit: int, after: str | None) -> Page[CentreView]:
        """Newest first."""
        now = self._state.clock.unix_s()
        async with self._state.db.read() as tx:
            found = await pool.list_centres(tx, limit + 1, after)
            engines = await pool.engines_by_centre(tx)
            ids = [centre.id for centre in found]
            cards = await pool.cards_of(tx, ids)
            nodes = await pool.list_nodes(tx, CENTRES_MAX, centre_ids=ids)
        views = [
            CentreView(
                centre,
                centre_state(centre, now, self._state.started_at),
                sum(placed.centre_id == centre.id for placed in nodes),
                sum(placed.centre_id == centre.id for placed in cards),
                sum(placed.centre_id == centre.id and placed.card.health == _HEALTHY for placed in cards),
                tuple(engine.name for engine in engines.get(centre.id, ()) if not engine.error),
            )
            for centre in found
        ]
        return page_of(views, limit, lambda view: view.centre.id)

    async def nodes(self, limit: int, after: str | None) -> Page[NodeView]:
        """Newest first."""
        async with self._state.db.read() as tx:
            found = await pool.list_nodes(tx, limit + 1, after)
            names = await _centre_names(tx)
        page = page_of(found, limit, lambda placed: placed.row_id)
        return Page(
            tuple(NodeView(placed.node, names.get(placed.centre_id, placed.centre_id)) for placed in page.items),
            page.next,
        )

    async def cards(self, limit: int, after: str | None) -> Page[CardView]:
        """Newest first."""
        async with self._state.db.read() as tx:
            found = await pool.list_cards(tx, limit + 1, after)
            names = await _centre_names(tx)
            users: dict[tuple[str, str], list[str]] = {}
            for replica in await serve.replicas_of(tx):
                for uid in replica.cards:
                    users.setdefault((replica.centre_id or "", uid), []).append(replica.id)
        page = page_of(found, limit, lambda placed: placed.row_id)
        return Page(
            tuple(
                CardView(
                    placed.card,
                    names.get(placed.centre_id, placed.centre_id),
                    placed.node,
                    tuple(users.get((placed.centre_id, placed.card.uid), ())),
                )
                for placed in page.items
            ),
            page.next,
        )

    async def engines(self) -> tuple[EngineView, ...]:
        """Every engine driver that some agent loaded or failed to load, by name."""
        async with self._state.db.read() as tx:
            by_centre = await pool.engines_by_centre(tx)
            names = await _centre_names(tx)
        found: dict[str, list[tuple[str, EngineInfo]]] = {}
        for centre_id, engines in by_centre.items():
            for engine in engines:
                found.setdefault(engine.name, []).append((names.get(centre_id, centre_id), engine))
        return tuple(
            EngineView(
                name,
                next((engine.version for _, engine in told if not engine.error), ""),
                tuple(sorted(centre for centre, engine in told if not engine.error)),
                next((f"{centre}: {engine.error}" for centre, engine in told if engine.error), ""),
            )
            for name, told in sorted(found.items())
        )

    async def create_centre(self, name: str, driver: str) -> tuple[CentreView, str]:
        """Expect an agent; the join token's text is given only here. Raises Conflict, InvalidRequest."""
        now = self._state.clock.unix_s()
        centre = Centre(
            new_id("centre"), check_plain_name(name), check_plain_name(driver, "body.driver"), created_at=now
        )
        effects = Effects(now)
        async with self._state.db.write() as tx:
            await pool.add_centre(tx, centre)
            token = await new_join_token(tx, self._state, centre.id)
            effects.event("centre", centre.id, "centre_created", "waits for its agent")
            await effects.write(tx)
        return CentreView(centre, "never_joined", 0, 0, 0, ()), token


def centre_state(centre: Centre, now: float, started_at: float) -> CentreState:
    """Whether its agent syncs, has fallen silent, or never came."""
    if centre.last_sync_at is None:
        return "never_joined"
    return "online" if is_online(centre, now, started_at) else "away"


async def _centre_names(tx: Tx) -> dict[str, str]:
    return {centre.id: centre.name for centre in await pool.list_centres(tx, CENTRES_MAX)}
