"""The state of a deployment in words for people."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from yunhe.serve.backoff import backoff
from yunhe.serve.model import ENDED_STATES, LIVE_STATES, Deployment, Replica, ReplicaState
from yunhe.serve.rollout import is_canary

DeploymentState = Literal["ready", "starting", "degraded", "down", "stopped", "deleting"]

#: A pending replica that found no place for so long counts as down, no longer as starting.
PATIENCE_S: Final = 30.0
_COMING: Final = frozenset({ReplicaState.PENDING, ReplicaState.STARTING, ReplicaState.PROBING})


@dataclass(frozen=True, slots=True)
class Condition:
    """How a deployment stands."""

    state: DeploymentState
    reason: str
    ready_replicas: int


def condition(deployment: Deployment, replicas: Sequence[Replica], now: float) -> Condition:
    """How the deployment stands; ``replicas`` as for ``reconcile``. A canary is not one of the wanted replicas."""
    present = [replica for replica in replicas if replica.state not in ENDED_STATES]
    canaries = [replica for replica in present if replica.state in LIVE_STATES and is_canary(replica)]
    live = [replica for replica in present if replica.state in LIVE_STATES and not is_canary(replica)]
    ready = sum(replica.state is ReplicaState.READY for replica in live)
    leaving = len(present) - len(live) - len(canaries)
    if deployment.deleted_at is not None:
        return Condition("deleting", f"{len(present)} replica(s) still to stop", ready)
    if deployment.replicas == 0:
        return Condition("stopped", f"scaled to 0; {leaving} replica(s) still to stop" if leaving else "scaled to 0", 0)
    counted = f"{ready} of {deployment.replicas} replicas ready"
    older = sum(replica.generation != deployment.generation for replica in live)
    if ready >= deployment.replicas:
        rolling = f"; {older} still to be replaced by generation {deployment.generation}" if older else ""
        beside = f"; a canary of recipe {canaries[0].recipe.name} is {canaries[0].state}" if canaries else ""
        return Condition("ready", counted + rolling + beside, ready)
    why = _what_is_missing(deployment, replicas, live, now)
    if ready > 0:
        return Condition("degraded", f"{counted}; {why}", ready)
    return Condition("starting" if _is_coming(deployment, replicas, live, now) else "down", why, ready)


def _is_coming(deployment: Deployment, replicas: Sequence[Replica], live: Sequence[Replica], now: float) -> bool:
    """Whether the first ready replica may be expected soon: something starts, and it is no crash loop."""
    if backoff(deployment, replicas).failures > 1:
        return False
    if not live:
        return True
    return any(
        replica.state in _COMING
        and not (
            replica.state is ReplicaState.PENDING
            and replica.centre_id is None
            and now - replica.created_at > PATIENCE_S
        )
        for replica in live
    )


def _what_is_missing(deployment: Deployment, replicas: Sequence[Replica], live: Sequence[Replica], now: float) -> str:
    """The most telling reason: a crash loop first, then the state of the oldest replica that is not ready."""
    parts = []
    back = backoff(deployment, replicas)
    if back.failures:
        wait = max(0.0, back.not_before - now)
        next_try = f"next try in {wait:.0f} s" if wait > 0 and len(live) < deployment.replicas else "trying again"
        parts.append(f"failed {back.failures} time(s) in a row ({back.last_reason}), {next_try}")
    unready = sorted(
        (replica for replica in live if replica.state is not ReplicaState.READY), key=lambda replica: replica.created_at
    )
    if unready:
        parts.append(f"a replica is {unready[0].state}: {unready[0].reason}")
    return "; ".join(parts) or "its first replica is about to be made"
