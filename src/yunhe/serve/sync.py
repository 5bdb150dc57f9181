"""The agent protocol, version 1: what an agent and control say to each other (JSON forms of these records).

Outbound only: the agent POSTs ``SyncRequest`` to ``/api/v1/agent/sync`` with its agent token; control answers at once
when what it desires differs from ``desired_revision``, else after at most ``wait_s``. Level-triggered: every request
carries all that the agent observes, every answer all that is desired of it. Losing, repeating or reordering messages
therefore changes nothing: the agent ignores an answer whose revision is older than the newest it has, and control
ignores a request whose (boot_id, sequence) it has seen or surpassed. What is absent from ``desired`` is to be stopped.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from yunhe.catalogue.model import ExternalServer, Model, Recipe
from yunhe.catalogue.ports import UsageProbe
from yunhe.pool.model import Inventory

PROTOCOL_VERSION = 1


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """A new agent presents a one-time join token (POST /api/v1/agent/join)."""

    token: str
    driver: str
    host: str
    protocol: int = PROTOCOL_VERSION
    #: Repeated with the same value when the answer was lost, so that joining is idempotent.
    nonce: str = ""


@dataclass(frozen=True, slots=True)
class JoinAnswer:
    """The agent's identity; ``agent_token`` is shown only here."""

    centre_id: str
    centre_name: str
    agent_id: str
    agent_token: str


@dataclass(frozen=True, slots=True)
class DesiredReplica:
    """A replica that this centre shall run."""

    replica_id: str
    deployment: str
    model: Model
    recipe: Recipe
    cards: tuple[str, ...]
    external: ExternalServer | None = None
    #: False: stop it, giving running requests ``grace_s``.
    run: bool = True
    grace_s: float = 10.0


@dataclass(frozen=True, slots=True)
class ObservedReplica:
    """A replica as the agent sees it.

    phase: starting, probing, ready, unhealthy, stopping, exited. ``exited`` stays until control no longer desires it.
    """

    replica_id: str
    phase: str
    reason: str
    url: str | None = None
    upstream_model: str | None = None
    slots: int = 1
    tokens_per_s: float | None = None
    usage_probe: UsageProbe = field(default_factory=UsageProbe)
    #: Key that the gateway must send to the engine; None when it needs none.
    api_key: str | None = None
    pid: int | None = None
    node: str | None = None
    exit_code: int | None = None
    started_at: float | None = None
    #: Cumulative counters of the engine itself where it has them, for reconciliation.
    prompt_tokens_total: int | None = None
    completion_tokens_total: int | None = None


@dataclass(frozen=True, slots=True)
class LogAsk:
    """Control wants a piece of a replica's log."""

    ask_id: str
    replica_id: str
    offset: int
    limit_bytes: int


@dataclass(frozen=True, slots=True)
class LogAnswer:
    """The piece, or the error that prevented it."""

    ask_id: str
    text: str
    offset: int
    next_offset: int
    end: bool
    error: str = ""


@dataclass(frozen=True, slots=True)
class EngineInfo:
    """An engine driver that this agent has loaded, or failed to load."""

    name: str
    version: str
    error: str = ""
    #: Where a deployment leaves the engine open the lowest is taken (``catalogue.ports.Ranked``).
    rank: int = 0


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """All that the agent observes."""

    agent_id: str
    boot_id: str
    sequence: int
    #: Newest desired revision that the agent has taken; -1 before the first.
    desired_revision: int
    sent_at: float
    wait_s: float
    #: None when unchanged since an acknowledged sync of this boot.
    inventory: Inventory | None
    replicas: tuple[ObservedReplica, ...]
    engines: tuple[EngineInfo, ...] = ()
    logs: tuple[LogAnswer, ...] = ()
    #: Adaptations under way here: JSON texts of ``adapt.adaptation.TuningReport``, which this room need not understand.
    tunings: tuple[str, ...] = ()
    protocol: int = PROTOCOL_VERSION


@dataclass(frozen=True, slots=True)
class SyncAnswer:
    """All that control desires of this centre."""

    desired_revision: int
    replicas: tuple[DesiredReplica, ...]
    log_asks: tuple[LogAsk, ...]
    server_time: float
    #: False when control has no inventory of this boot yet: send it with the next sync.
    inventory_known: bool
    #: Adaptations that this centre shall carry out: JSON texts of ``adapt.adaptation.TuningOrder``.
    tunings: tuple[str, ...] = ()
    protocol: int = PROTOCOL_VERSION
