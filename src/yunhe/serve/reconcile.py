"""What to do so that a deployment's replicas become what is wanted.

Pure and level-triggered: called again after every change and at ``look_again_at``, it converges from any state. It
decides about states only; the broker chooses the place of a pending replica.
"""

from __future__ import annotations

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Final

from yunhe.serve.backoff import backoff
from yunhe.serve.model import LIVE_STATES, Deployment, Replica, ReplicaState
from yunhe.serve.rollout import Rollout, RolloutStage, is_canary

#: Requests that a leaving replica has may run on for so long before its process is stopped.
DRAIN_GRACE_S: Final = 30.0
#: The same while gateways see requests there and others stand in for it: long answers are not cut off by a roll-out.
DRAIN_LIMIT_S: Final = 600.0
#: The agent kills the process so long after it asked it to stop.
STOP_GRACE_S: Final = 10.0
#: Longest time from taken by a centre to ready; loading large weights takes minutes.
START_LIMIT_S: Final = 900.0
#: A replica whose health checks fail for so long is replaced (not an external server: nobody here can restart it).
UNHEALTHY_LIMIT_S: Final = 60.0

_S = ReplicaState


@dataclass(frozen=True, slots=True)
class Create:
    """Make one more pending replica: of the deployment's generation, or the canary of its roll-out."""

    reason: str
    canary: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """Take a replica to another state."""

    replica_id: str
    to: ReplicaState
    reason: str


Decision = Create | Move


@dataclass(frozen=True, slots=True)
class Plan:
    """Decisions to carry out now, and when time alone makes a new decision due (None: never)."""

    decisions: tuple[Decision, ...]
    look_again_at: float | None


def reconcile(
    deployment: Deployment,
    replicas: Sequence[Replica],
    now: float,
    no_room: AbstractSet[str] = frozenset(),
    away: AbstractSet[str] = frozenset(),
    rollout: Rollout | None = None,
    busy: AbstractSet[str] = frozenset(),
) -> Plan:
    """What to do now.

    ``replicas``: those that have not ended, and the recently failed ones (for the back-off). ``no_room``: ids of
    pending replicas that some card could run if others left it; a rolling restart then makes room instead of waiting
    for ever. ``away``: ids of centres whose agents are silent; what they have not taken yet is given up there.
    ``rollout``: the one that is under way; its canary runs beside the wanted replicas and is not one of them.
    ``busy``: ids of replicas at which gateways have requests.
    """
    wanted = 0 if deployment.deleted_at is not None else deployment.replicas
    patient = wanted > 0 and not any(replica.id in no_room for replica in replicas)
    due, times = _overdue(replicas, now, busy if patient else frozenset())
    due += [
        Move(replica.id, _S.STOPPED, "its centre fell silent before it took it")
        for replica in replicas
        if replica.state is _S.PENDING and replica.centre_id in away
    ]
    gone = {move.replica_id for move in due}
    live = [replica for replica in replicas if replica.state in LIVE_STATES and replica.id not in gone]
    if wanted == 0:
        why = "its deployment was deleted" if deployment.deleted_at is not None else "scaled to 0 replicas"
        return _plan([*due, *(_leave(replica, why) for replica in live)], times)

    decisions: list[Decision] = [*due, *_canary(rollout, replicas, gone)]
    live = [replica for replica in live if not is_canary(replica)]
    current = [replica for replica in live if replica.generation == deployment.generation]
    old = [replica for replica in live if replica.generation != deployment.generation]
    surplus = _victims(current, len(current) - wanted)
    decisions += (_leave(replica, f"scaled to {wanted}") for replica in surplus)
    leaving = {replica.id for replica in surplus}
    current = [replica for replica in current if replica.id not in leaving]
    leaving_already = any(replica.state in (_S.DRAINING, _S.STOPPING) for replica in replicas)
    retired = _retired(old, current, wanted, frozenset() if leaving_already else no_room)
    decisions += (_leave(replica, "replaced by a newer generation") for replica in retired)

    room = wanted - len(current) if not old else min(wanted - len(current), wanted + 1 - len(current) - len(old))
    if any(move.to is _S.FAILED for move in due):
        # The back-off counts failures that are on record; these will be at the next look, right after this plan.
        times.append(now)
    elif room > 0:
        back = backoff(deployment, replicas)
        if back.waits(now):
            times.append(back.not_before)
        else:
            decisions += [Create(_why_created(deployment, bool(old), back.failures, back.last_reason))] * room
    return _plan(decisions, times)


def _canary(rollout: Rollout | None, replicas: Sequence[Replica], gone: AbstractSet[str]) -> list[Decision]:
    """One canary while the roll-out is at that stage, none otherwise; one that failed is not made again."""
    wanted = rollout.generation if rollout is not None and rollout.stage is RolloutStage.CANARY else None
    canaries = [one for one in replicas if is_canary(one)]
    live = [one for one in canaries if one.state in LIVE_STATES and one.id not in gone]
    own = [one for one in live if one.generation == wanted]
    decisions: list[Decision] = [_leave(one, "its roll-out has ended") for one in live if one.generation != wanted]
    decisions += (_leave(one, "one canary is enough") for one in _victims(own, len(own) - 1))
    ended = any(one.generation == wanted and (one.state is _S.FAILED or one.id in gone) for one in canaries)
    if rollout is not None and wanted is not None and not own and not ended:
        decisions.append(Create(f"canary of recipe {rollout.recipe.name}", canary=True))
    return decisions


def _overdue(replicas: Sequence[Replica], now: float, busy: AbstractSet[str]) -> tuple[list[Move], list[float]]:
    """Replicas whose time in their state is over, and when the others' will be."""
    due: list[Move] = []
    times: list[float] = []
    for replica in replicas:
        limit_s, to, reason = _time_limit(replica, replica.id in busy)
        if limit_s is None:
            continue
        if now - replica.state_since >= limit_s:
            due.append(Move(replica.id, to, reason))
        else:
            times.append(replica.state_since + limit_s)
    return due, times


def _time_limit(replica: Replica, busy: bool) -> tuple[float | None, ReplicaState, str]:
    """How long it may stay in its state, what follows, and why."""
    if replica.state is _S.DRAINING:
        grace_s = DRAIN_LIMIT_S if busy else DRAIN_GRACE_S
        return grace_s, _S.STOPPING, f"drained for at least {grace_s:.0f} s; was: {replica.reason}"
    if replica.state in (_S.STARTING, _S.PROBING):
        return START_LIMIT_S, _S.FAILED, f"{replica.state} for {START_LIMIT_S:.0f} s without becoming ready"
    if replica.state is _S.UNHEALTHY and replica.external is None:
        return UNHEALTHY_LIMIT_S, _S.FAILED, f"unhealthy for {UNHEALTHY_LIMIT_S:.0f} s: {replica.reason}"
    return None, replica.state, ""


def _leave(replica: Replica, reason: str) -> Move:
    """How a replica leaves: a ready one drains, an unplaced one is simply crossed out, any other is stopped."""
    if replica.state in (_S.READY, _S.UNHEALTHY):
        return Move(replica.id, _S.DRAINING, reason)
    if replica.state is _S.PENDING and replica.centre_id is None:
        return Move(replica.id, _S.STOPPED, reason)
    return Move(replica.id, _S.STOPPING, reason)


def _victims(replicas: Sequence[Replica], count: int) -> list[Replica]:
    """Which replicas leave when fewer are wanted: not ready ones first, then the youngest."""
    if count <= 0:
        return []
    ranked = sorted(replicas, key=lambda replica: (replica.state is _S.READY, -replica.created_at, replica.id))
    return ranked[:count]


def _retired(
    old: Sequence[Replica], current: Sequence[Replica], wanted: int, no_room: AbstractSet[str]
) -> list[Replica]:
    """Replicas of older generations that may leave now without ready ones falling below the wanted number.

    Those that are not ready serve nobody and leave at once. Where no card has room for a newer one beside them, one
    leaves to make room: no other way leads on.
    """
    retired = [replica for replica in old if replica.state is not _S.READY]
    serving = [replica for replica in old if replica.state is _S.READY]
    ready = sum(replica.state is _S.READY for replica in current)
    spare = ready + len(serving) - wanted
    unready = [replica for replica in current if replica.state is not _S.READY]
    if spare <= 0 and serving and not retired and unready and all(replica.id in no_room for replica in unready):
        spare = 1
    return retired + _victims(serving, min(spare, len(serving)))


def _why_created(deployment: Deployment, rolling: bool, failures: int, last_reason: str) -> str:
    if rolling:
        return f"rolling restart to generation {deployment.generation}"
    if failures:
        return f"replaces one that failed ({failures} in a row): {last_reason}"
    return f"{deployment.replicas} wanted"


def _plan(decisions: list[Decision], times: list[float]) -> Plan:
    return Plan(tuple(decisions), min(times, default=None))
