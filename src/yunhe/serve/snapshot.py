"""What a gateway worker holds in memory to serve without asking anybody: control pushes it as revisions.

``GET /internal/v1/snapshot?since=R&wait_s=W`` with the internal token answers a ``SnapshotDelta``: at once when
something changed after revision R, else empty after W seconds. ``full`` replaces everything (first call, or R too
old). Entities are complete, never patched; ``removed`` names what is gone as ``kind:id``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from yunhe.catalogue.ports import UsageProbe


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """An API key as the gateway checks it. A revoked key comes as ``removed`` (``key:PREFIX``)."""

    prefix: str
    key_id: str
    #: HMAC-SHA256 under the pepper, hexadecimal.
    digest: str
    project_id: str
    scopes: tuple[str, ...]
    expires_at: float | None
    rpm_limit: int | None
    tpm_limit: int | None
    models: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class ProjectEntry:
    """A project's limits and standing."""

    project_id: str
    name: str
    rpm_limit: int | None
    tpm_limit: int | None
    suspended_reason: str | None
    #: Credit not leased to anybody when this was made: for refusals and for bounded offline leases.
    available_micro: int


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """The price in force, micro-credits per million tokens."""

    price_id: str
    input_micro_per_mtok: int
    output_micro_per_mtok: int


@dataclass(frozen=True, slots=True)
class Bounded:
    """A measured number with its interval; None where there were too few repeats for one."""

    value: float
    low: float | None
    high: float | None
    #: Of the interval, between 0 and 1.
    confidence: float | None


@dataclass(frozen=True, slots=True)
class CertificateEntry:
    """How faithful a recipe that serves a model is to the reference weights, as its signer measured it."""

    recipe_id: str
    #: Name and version of the build.
    engine: str
    #: Of the catalogue.
    chip: str
    #: Whose thresholds were used: chat, code, exact.
    use_class: str
    #: Of the gate: passed, failed ...
    verdict: str
    #: Mean divergence from the reference over ``positions`` teacher-forced positions, in nats.
    kl_nats: Bounded
    #: Share of those positions where both choose the same token.
    top1_share: Bounded
    positions: int
    #: Unix seconds, as the signer says.
    made_at: float
    #: Of the key that signed the recipe.
    key_id: str


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """A model that has or had a route."""

    name: str
    created_at: int
    owned_by: str
    context_length: int
    capabilities: tuple[str, ...]
    price: PriceEntry | None
    #: Of the signed recipes that its deployments run on.
    certificates: tuple[CertificateEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplicaEntry:
    """A replica that takes requests (``ready``) or only finishes what it has (``draining``)."""

    replica_id: str
    deployment_id: str
    model: str
    #: http://host:port[/prefix], before /v1.
    url: str
    upstream_model: str
    api_key: str | None
    state: str
    slots: int
    tokens_per_s: float
    served_by: str
    usage_probe: UsageProbe
    #: Share of the model's requests, for the canary of a roll-out; None: by its load, like all others.
    share: float | None = None


@dataclass(frozen=True, slots=True)
class SnapshotDelta:
    """Everything that changed after the asked revision, up to ``revision``."""

    revision: int
    full: bool
    server_time: float
    keys: tuple[KeyEntry, ...] = ()
    projects: tuple[ProjectEntry, ...] = ()
    models: tuple[ModelEntry, ...] = ()
    replicas: tuple[ReplicaEntry, ...] = ()
    #: ``key:PREFIX``, ``project:ID``, ``model:NAME``, ``replica:ID``
    removed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class ReplicaStats:
    """A replica's part in a worker's last seconds."""

    #: Answered there in the end, or failed there and tried elsewhere.
    requests: int = 0
    #: Of those, failed there.
    errors: int = 0
    #: Streams among them that were answered whole, at the first attempt: only these tell a speed.
    streams: int = 0
    #: Milliseconds, over those streams; None when there was none.
    ttft_ms_p50: float | None = None
    ttft_ms_p95: float | None = None
    #: Time from one token to the next within a stream.
    tpot_ms_p50: float | None = None
    tpot_ms_p95: float | None = None
    #: At the end of the window.
    in_flight: int = 0


@dataclass(frozen=True, slots=True)
class WorkerStats:
    """What a worker tells control about its last seconds (POST /internal/v1/stats, about once a second)."""

    worker: str
    pid: int
    at: float
    window_s: float
    requests: int
    errors: int
    prompt_tokens: int
    completion_tokens: int
    in_flight: int
    #: Milliseconds; None when the window had no such request.
    ttft_ms_p50: float | None
    ttft_ms_p95: float | None
    duration_ms_p50: float | None
    duration_ms_p95: float | None
    #: Usage records in the spool that control has not confirmed.
    spool_pending: int
    snapshot_revision: int
    #: model -> requests in the window
    by_model: dict[str, int] = field(default_factory=dict)
    #: replica id -> its part of the window; those without any are left out
    by_replica: dict[str, ReplicaStats] = field(default_factory=dict)
