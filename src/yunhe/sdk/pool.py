"""Centres, nodes and cards."""

from __future__ import annotations

from collections.abc import Iterator

from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport


class Centre(Record):
    """A separately owned site: online, away or never_joined."""

    id: str
    name: str
    driver: str
    state: str
    last_sync_at: Time | None
    nodes: int
    cards: int
    healthy_cards: int
    simulated: bool
    engines: list[str]


class NewCentre(Centre):
    """A centre just made; ``join_token`` is good for one agent and 24 hours, and never shown again."""

    join_token: str


class Node(Record):
    """A host with cards (``cards`` counts them)."""

    name: str
    centre: str
    memory_bytes: int | None
    cpu_cores: int | None
    os: str
    cards: int


class Measured(Record):
    """A number with its unit and where it comes from: measured, reported, declared, predicted, simulated."""

    value: float
    unit: str
    source: str


class Card(Record):
    """One physical accelerator; ``used_by`` holds ids of replicas."""

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
    health: str
    health_reason: str
    speeds: dict[str, Measured]
    driver_version: str | None
    simulated: bool
    used_by: list[str]


class Centres:
    """/centres."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def create(self, name: str, driver: str) -> NewCentre:
        """Expect an agent of a new centre (centre operator). Raises Conflict when the name is taken."""
        return self._transport.one(NewCentre, "POST", "/centres", body={"name": name, "driver": driver})

    def list(self) -> Iterator[Centre]:
        """Every centre. Raises ApiError."""
        return self._transport.pages(Centre, "/centres")


class Pool:
    """/nodes and /cards."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def nodes(self) -> Iterator[Node]:
        """Every node of every centre. Raises ApiError."""
        return self._transport.pages(Node, "/nodes")

    def cards(self) -> Iterator[Card]:
        """Every card of every centre. Raises ApiError."""
        return self._transport.pages(Card, "/cards")
