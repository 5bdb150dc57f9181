"""How the instance stands: each part with its state, and the next step where something is wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import yunhe
from yunhe.control.pool import CentreState, centre_state
from yunhe.control.state import ControlState
from yunhe.control.supply import CENTRES_MAX
from yunhe.core.errors import YunheError
from yunhe.pool.model import Centre
from yunhe.serve.condition import Condition, condition
from yunhe.serve.model import Deployment
from yunhe.serve.snapshot import WorkerStats
from yunhe.store import pool, serve
from yunhe.store.database import Tx

PartKind = Literal["control", "gateway", "agent", "database", "deployment"]
PartState = Literal["ok", "degraded", "down"]

#: A worker with more usage waiting than this lags behind.
SPOOL_LAG: Final = 10_000
_OF_CONDITION: Final[dict[str, PartState]] = {
    "ready": "ok",
    "stopped": "ok",
    "deleting": "ok",
    "starting": "degraded",
    "degraded": "degraded",
    "down": "down",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the instance."""

    name: str
    kind: PartKind
    state: PartState
    detail: str
    next_step: str


@dataclass(frozen=True, slots=True)
class Status:
    """Everything at a glance; ``healthy`` when every part is ok."""

    version: str
    started_at: float
    healthy: bool
    parts: tuple[Part, ...]


class StatusBoard:
    """Reads the status."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    async def read(self) -> Status:
        """Now."""
        now = self._state.clock.unix_s()
        parts = [Part("control", "control", "ok", f"runs for {now - self._state.started_at:.0f} s", "")]
        try:
            async with self._state.db.read() as tx:
                stored = [*await self._centres(tx, now), *await self._deployments(tx, now)]
            parts.append(Part("database", "database", "ok", self._state.db.shown_url, ""))
        except YunheError as error:
            stored = []
            parts.append(Part("database", "database", "down", error.message, error.next_step))
        parts += _gateway_parts(self._state.stats.running(now))
        parts += stored
        healthy = all(part.state == "ok" for part in parts)
        return Status(yunhe.__version__, self._state.started_at, healthy, tuple(parts))

    async def _centres(self, tx: Tx, now: float) -> list[Part]:
        started_at = self._state.started_at
        return [
            _agent_part(centre, centre_state(centre, now, started_at), now)
            for centre in await pool.list_centres(tx, CENTRES_MAX)
        ]

    async def _deployments(self, tx: Tx, now: float) -> list[Part]:
        parts = []
        for deployment in await serve.all_deployments(tx):
            replicas = await serve.replicas_of(tx, deployment_id=deployment.id, ended=True)
            parts.append(_deployment_part(deployment, condition(deployment, replicas, now)))
        return parts


def _gateway_parts(running: Sequence[WorkerStats]) -> list[Part]:
    if not running:
        step = "Look whether the gateway runs (its log is in the data directory's logs folder)."
        return [Part("gateway", "gateway", "down", "no worker has reported in the last seconds", step)]
    return [
        Part(
            f"gateway {stats.worker}",
            "gateway",
            "degraded" if stats.spool_pending > SPOOL_LAG else "ok",
            f"pid {stats.pid}, {stats.in_flight} requests in flight, {stats.spool_pending} usage records to ship",
            "It catches up by itself while control answers." if stats.spool_pending > SPOOL_LAG else "",
        )
        for stats in running
    ]


def _agent_part(centre: Centre, state: CentreState, now: float) -> Part:
    name = f"agent of {centre.name}"
    if state == "online":
        return Part(name, "agent", "ok", f"synced {now - (centre.last_sync_at or now):.0f} s ago", "")
    if state == "never_joined":
        step = "Start its agent with the join token (yunhe join)."
        return Part(name, "agent", "degraded", "its agent has never joined", step)
    silent_s = now - (centre.last_sync_at or now)
    detail = f"its agent has not synced for {silent_s:.0f} s; what runs there goes on and stays routed"
    return Part(name, "agent", "down", detail, "Start the agent again, or check its way to this server.")


def _deployment_part(deployment: Deployment, told: Condition) -> Part:
    state = _OF_CONDITION[told.state]
    step = "" if state == "ok" else f"See its replicas and events: yunhe deployment show {deployment.name}."
    return Part(deployment.name, "deployment", state, f"{told.state}: {told.reason}", step)
