"""The controllers' part of roll-outs: from what was seen to the next stage, and what that changes."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from yunhe.control.effects import Effects
from yunhe.control.live import percentile
from yunhe.control.state import ControlState
from yunhe.control.world import World
from yunhe.serve.model import Deployment, Replica
from yunhe.serve.rollout import (
    Figures,
    Observations,
    Rollout,
    RolloutStage,
    apply,
    decide,
    replicas_of,
)
from yunhe.serve.snapshot import ReplicaStats

#: stage -> (kind of event, severity)
_EVENTS: Final = {
    RolloutStage.CANARY: ("rollout_started", "info"),
    RolloutStage.SWITCHING: ("rollout_switching", "warning"),
    RolloutStage.DEFAULT: ("rollout_default", "info"),
    RolloutStage.ROLLED_BACK: ("rollout_rolled_back", "warning"),
}


def figures_of(state: ControlState, replica_ids: Iterable[str]) -> Figures:
    """What the gateway's workers reported to this process of these replicas."""
    return figures(state.stats.of_replicas(replica_ids))


def figures(parts: Iterable[ReplicaStats]) -> Figures:
    """Many reports as one. Percentiles as in ``live``: exact for one report, and for many of one stream each. Pure."""
    found = list(parts)
    ttft_ms = percentile(0.95, ((one.streams, one.ttft_ms_p50, one.ttft_ms_p95) for one in found))
    tpot_ms = percentile(0.5, ((one.streams, one.tpot_ms_p50, one.tpot_ms_p95) for one in found))
    return Figures(
        requests=sum(one.requests for one in found),
        errors=sum(one.errors for one in found),
        ttft_p95_s=None if ttft_ms is None else ttft_ms / 1000,
        tpot_p50_s=None if tpot_ms is None else tpot_ms / 1000,
    )


def step_rollouts(world: World, no_room: AbstractSet[str], effects: Effects) -> bool:
    """Take every roll-out as far as it can go now; whether any changed its stage."""
    stepped = False
    for before in world.rollouts.values():
        deployment = world.deployments.get(before.deployment_id)
        if not before.open or deployment is None:
            continue
        own = world.own(deployment.id)
        made = replicas_of(before, own)
        seen = Observations(deployment, made, world.figures(one.id for one in made), no_room)
        after = decide(before, seen, world.now)
        if after is before:
            continue
        deployment, changed = carry_out(before, after, deployment, own, effects)
        world.deployments[deployment.id] = deployment
        world.replicas.update({one.id: one for one in changed})
        world.rollouts[deployment.id] = after
        stepped = True
    return stepped


def carry_out(
    before: Rollout, after: Rollout, deployment: Deployment, own: Iterable[Replica], effects: Effects
) -> tuple[Deployment, list[Replica]]:
    """Tell ``effects`` all that a change of stage changes; the deployment after it, and the replicas that changed."""
    changed, replicas = apply(before, after, deployment, own)
    if changed != deployment:
        effects.deployment(changed)
    for one in replicas:
        effects.save(one)
    effects.rollout(after)
    tell(after, effects)
    return changed, replicas


def tell(rollout: Rollout, effects: Effects) -> None:
    """The event of the stage that it is in."""
    kind, severity = _EVENTS[rollout.stage]
    words = f"recipe {rollout.recipe.name}: {rollout.reason}"
    effects.event("deployment", rollout.deployment_id, kind, words, severity)
