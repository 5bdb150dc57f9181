"""Deployments, replicas and their events. Times are float unix seconds."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from yunhe.catalogue.model import ExternalServer, Recipe
from yunhe.catalogue.ports import UsageProbe


class ReplicaState(StrEnum):
    """Life of a replica: pending, starting, probing, ready, draining, stopping, stopped; failed ends it too."""

    #: Wanted, no centre has taken it yet (no fit, or the agent is away).
    PENDING = "pending"
    #: Its process starts, or loads weights.
    STARTING = "starting"
    #: It listens; it is being asked the known prompt.
    PROBING = "probing"
    #: It answered sanely; it is in the gateway's routes.
    READY = "ready"
    #: Ready before, but its health checks fail now; out of the routes.
    UNHEALTHY = "unhealthy"
    #: Out of the routes, finishing what it has.
    DRAINING = "draining"
    STOPPING = "stopping"
    STOPPED = "stopped"
    #: Its process ended or never answered sanely; the deployment replaces it after a back-off.
    FAILED = "failed"


#: States in which a replica counts against the wanted number.
LIVE_STATES = frozenset(
    {
        ReplicaState.PENDING,
        ReplicaState.STARTING,
        ReplicaState.PROBING,
        ReplicaState.READY,
        ReplicaState.UNHEALTHY,
    }
)
ENDED_STATES = frozenset({ReplicaState.STOPPED, ReplicaState.FAILED})


@dataclass(frozen=True, slots=True)
class Deployment:
    """A wanted model service."""

    id: str
    project_id: str
    name: str
    model: str
    replicas: int
    recipe: Recipe
    #: Raised by every change that replicas must be restarted for; replicas carry the generation they were made from.
    generation: int
    created_at: float
    #: Centre name; None lets the broker choose.
    centre: str | None = None
    external: ExternalServer | None = None
    #: Set when it was deleted; its replicas are drained and it vanishes with the last.
    deleted_at: float | None = None


@dataclass(frozen=True, slots=True)
class Replica:
    """One running copy of a deployment's model."""

    id: str
    deployment_id: str
    model: str
    generation: int
    state: ReplicaState
    #: Why it is in this state, in words for people.
    reason: str
    recipe: Recipe
    created_at: float
    state_since: float
    centre_id: str | None = None
    node: str | None = None
    #: Card uids.
    cards: tuple[str, ...] = ()
    chip: str | None = None
    #: Base URL before /v1, once known.
    url: str | None = None
    upstream_model: str | None = None
    slots: int = 1
    #: Measured at the probe, or declared by an external server.
    tokens_per_s: float | None = None
    pid: int | None = None
    external: ExternalServer | None = None
    #: When it last became ready; None while it never was.
    ready_at: float | None = None
    #: Key that the gateway must send to its engine; goes to gateways only.
    engine_key: str | None = field(default=None, repr=False)
    usage_probe: UsageProbe = field(default_factory=UsageProbe)
    #: Share of the model's requests while it is the canary of a roll-out; None for any other.
    share: float | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """A state change with its reason; append-only."""

    id: str
    at: float
    #: deployment, replica, centre, node, card, key, model, agent
    subject_kind: str
    subject_id: str
    #: Name of what happened, snake_case: replica_ready, replica_failed, scaled ...
    kind: str
    reason: str
    #: info, warning, error
    severity: str = "info"
