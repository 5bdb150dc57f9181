"""Centres, nodes and cards."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import Field

from yunhe.api.schemas.fields import Input, Measured, Output, Slug, Time
from yunhe.control.pool import CardView, CentreView, NodeView
from yunhe.pool.model import Health

CentreState = Literal["online", "away", "never_joined"]


def _centre_fields(view: CentreView) -> dict[str, Any]:
    centre = view.centre
    return {
        "id": centre.id,
        "name": centre.name,
        "driver": centre.driver,
        "state": view.state,
        "last_sync_at": centre.last_sync_at,
        "nodes": view.nodes,
        "cards": view.cards,
        "healthy_cards": view.healthy_cards,
        "simulated": centre.simulated,
        "engines": view.engines,
    }


class Centre(Output):
    """A separately owned site under its own engine."""

    id: str
    name: str
    driver: str
    state: CentreState
    last_sync_at: Time | None
    nodes: int
    cards: int
    healthy_cards: int
    simulated: bool
    engines: list[str]

    @classmethod
    def of_view(cls, view: CentreView) -> Self:
        """The shape of a centre with what it holds."""
        return cls(**_centre_fields(view))


class NewCentre(Input):
    """A centre to expect an agent from."""

    name: Slug
    driver: Annotated[Slug, Field(description="Name of the agent's centre driver.")]


class CentreWithToken(Centre):
    """A new centre; `join_token` is shown only here, is good for 24 hours and for one agent."""

    join_token: str

    @classmethod
    def of_new(cls, view: CentreView, join_token: str) -> Self:
        """The shape of a centre just made."""
        return cls(**_centre_fields(view), join_token=join_token)


class Node(Output):
    """A host with cards."""

    name: str
    centre: str
    memory_bytes: int | None
    cpu_cores: int | None
    os: str
    cards: int

    @classmethod
    def of_view(cls, view: NodeView) -> Self:
        """The shape of a node."""
        node = view.node
        return cls(
            name=node.name,
            centre=view.centre,
            memory_bytes=node.memory_bytes,
            cpu_cores=node.cpu_cores,
            os=node.os,
            cards=len(node.cards),
        )


class Card(Output):
    """One physical accelerator."""

    uid: str
    centre: str
    node: str
    chip: str
    maker: str
    kind: str
    model_name: str
    memory_bytes: int | None
    cores: int | None
    features: list[str]
    health: Health
    health_reason: str
    speeds: dict[str, Measured]
    driver_version: str | None
    simulated: bool
    used_by: list[str] = Field(description="Ids of the replicas that use it.")

    @classmethod
    def of_view(cls, view: CardView) -> Self:
        """The shape of a card with where it is and what uses it."""
        card = view.card
        return cls(
            uid=card.uid,
            centre=view.centre,
            node=view.node,
            chip=card.chip,
            maker=card.maker,
            kind=card.kind,
            model_name=card.model_name,
            memory_bytes=card.memory_bytes,
            cores=card.cores,
            features=list(card.features),
            health=card.health,
            health_reason=card.health_reason,
            speeds={name: Measured.of(measure) for name, measure in card.speeds.items()},
            driver_version=card.driver_version,
            simulated=card.simulated,
            used_by=list(view.used_by),
        )
