"""Routes for gateway workers, behind the internal token, and the health check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from yunhe.control.hub import CONTROLLER
from yunhe.control.intake import Intake
from yunhe.control.snapshots import WAIT_MAX_S, SnapshotDesk
from yunhe.control.state import ControlState
from yunhe.control.wire import answer, check_internal, guarded, number, read
from yunhe.core.units import MIB
from yunhe.ledger.model import LeaseAsk, LeaseGrant
from yunhe.ledger.usage import UsageRecord
from yunhe.serve.snapshot import WorkerStats

USAGE_BYTES_MAX: Final = 32 * MIB


@dataclass(frozen=True, slots=True)
class UsageBatch:
    """Settled records from one worker's spool."""

    worker: str
    records: tuple[UsageRecord, ...]


@dataclass(frozen=True, slots=True)
class UsageReceipt:
    """How many records were stored now, and how many were there already."""

    accepted: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class LeaseBatch:
    """A worker's asks, and the leases that it needs no more."""

    worker: str
    asks: tuple[LeaseAsk, ...] = ()
    release: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LeaseAnswer:
    """One grant for each ask, in their order."""

    grants: tuple[LeaseGrant, ...]


def internal_routes(state: ControlState) -> list[Route]:
    """Snapshot, usage, leases, stats, health."""
    snapshots = SnapshotDesk(state)
    intake = Intake(state)

    async def snapshot(request: Request) -> Response:
        check_internal(request, state.secrets.internal_token)
        since = int(number(request, "since", -1, -1, 2**53))
        return answer(await snapshots.read(since, number(request, "wait_s", 0.0, 0.0, WAIT_MAX_S)))

    async def usage(request: Request) -> Response:
        check_internal(request, state.secrets.internal_token)
        batch = await read(request, UsageBatch, USAGE_BYTES_MAX)
        accepted, duplicates = await intake.usage(batch.records)
        return answer(UsageReceipt(accepted, duplicates))

    async def leases(request: Request) -> Response:
        check_internal(request, state.secrets.internal_token)
        batch = await read(request, LeaseBatch)
        return answer(LeaseAnswer(await intake.leases(batch.worker, batch.asks, batch.release)))

    async def stats(request: Request) -> Response:
        check_internal(request, state.secrets.internal_token)
        told = await read(request, WorkerStats)
        state.stats.add(told, state.clock.unix_s())
        if any(part.errors for part in told.by_replica.values()):
            # A canary that fails is taken back at once.
            state.hub.wake(CONTROLLER)
        return Response(status_code=204)

    async def health(_request: Request) -> Response:
        await state.db.ping()
        return answer({"ok": True})

    return [
        Route("/internal/v1/snapshot", guarded(snapshot), methods=["GET"]),
        Route("/internal/v1/usage", guarded(usage), methods=["POST"]),
        Route("/internal/v1/leases", guarded(leases), methods=["POST"]),
        Route("/internal/v1/stats", guarded(stats), methods=["POST"]),
        Route("/healthz", guarded(health), methods=["GET"]),
    ]
