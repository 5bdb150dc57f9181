"""What the broker may choose from, read from the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from yunhe.broker.fit import memory_need_bytes
from yunhe.broker.place import CardUse, CentreSupply, EngineOffer, Supply
from yunhe.catalogue.model import Model
from yunhe.pool.model import Centre
from yunhe.serve.model import ENDED_STATES, Replica
from yunhe.store import pool
from yunhe.store.database import Tx

#: An agent's syncs follow each other within ``sync wait`` (20 s) plus a round trip; after this it is away.
AWAY_AFTER_S: Final = 30.0
CENTRES_MAX: Final = 1000
NODES_MAX: Final = 1000


def is_online(centre: Centre, now: float, started_at: float) -> bool:
    """Whether the centre's agent has synced lately; nobody could while control was down (until ``started_at``)."""
    return centre.last_sync_at is not None and now - max(centre.last_sync_at, started_at) <= AWAY_AFTER_S


async def read_supply(tx: Tx, now: float, started_at: float) -> tuple[CentreSupply, ...]:
    """Every centre with its engines, nodes and cards."""
    engines = await pool.engines_by_centre(tx)
    nodes: dict[str, list[pool.PlacedNode]] = {}
    for placed in await pool.list_nodes(tx, NODES_MAX):
        nodes.setdefault(placed.centre_id, []).append(placed)
    return tuple(
        CentreSupply(
            centre=centre,
            online=is_online(centre, now, started_at),
            engines=tuple(EngineOffer(engine.name, engine.error, engine.rank) for engine in engines.get(centre.id, ())),
            nodes=tuple(placed.node for placed in nodes.get(centre.id, ())),
        )
        for centre in await pool.list_centres(tx, CENTRES_MAX)
    )


def with_uses(
    centres: tuple[CentreSupply, ...], replicas: Iterable[Replica], models: Mapping[str, Model], deployment_id: str
) -> Supply:
    """The supply as one deployment sees it: what replicas occupy already, its own ones counted as siblings."""
    used: dict[tuple[str, str], CardUse] = {}
    for replica in replicas:
        model = models.get(replica.model)
        if replica.state in ENDED_STATES or replica.centre_id is None or model is None:
            continue
        for uid in replica.cards:
            use = used.get((replica.centre_id, uid), CardUse())
            used[replica.centre_id, uid] = replace(
                use,
                memory_bytes=use.memory_bytes + memory_need_bytes(model, replica.recipe.settings, replica.slots),
                replicas=use.replicas + 1,
                siblings=use.siblings + (replica.deployment_id == deployment_id),
            )
    return Supply(centres, used)
