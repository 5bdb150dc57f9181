"""The controllers' part of roll-outs: from what was seen to the next stage, and what that changes."""

from __future__ import annotations

from collections.abc import Iterable
from collections.abc import Set as AbstractSet
from typing import Final

from yunhe.control.effects import Effects
from yunhe.control.live import percentile
from yunhe.control.stats import StatsRing
from yunhe.control.world import World
from yunhe.serve.model import ENDED_STATES, Deployment, Replica
from yunhe.serve.rollout import (
    Figures,
    Observations,
    Rollout,
    RolloutStage,
    apply,
    decide,
    ready_since,
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


def observe(
    rollout: Rollout,
    deployment: Deployment,
    replicas: Iterable[Replica],
    stats: StatsRing,
    no_room: AbstractSet[str] = frozenset(),
) -> Observations:
    """What the roll-out is judged by; ``replicas``: those of all deployments."""
    present = [one for one in replicas if one.deployment_id == deployment.id or one.state not in ENDED_STATES]
    made = replicas_of(rollout, (one for one in present if one.deployment_id == deployment.id))
    own = {one.id for one in made}
    beside = [one for one in present if one.id not in own and one.state not in ENDED_STATES]
    cards = {(one.centre_id, card) for one in made if one.state not in ENDED_STATES for card in one.cards}
    since = ready_since(made)
    others = [one.id for one in beside if one.deployment_id == deployment.id]
    return Observations(
        deployment=deployment,
        replicas=made,
        figures=figures(stats.of_replicas(own)),
        others=figures(stats.of_replicas(others, since)) if since is not None else Figures(),
        shares_card=any((one.centre_id, card) in cards for one in beside for card in one.cards),
        no_room=no_room,
    )


def figures(parts: Iterable[ReplicaStats]) -> Figures:
    """Many reports as one. Percentiles as in ``live``: exact for one report, and for many of one stream each. Pure."""
    found = list(parts)
    ttft = [(one.streams, one.ttft_ms_p50, one.ttft_ms_p95) for one in found]
    tpot = [(one.streams, one.tpot_ms_p50, one.tpot_ms_p95) for one in found]
    return Figures(
        requests=sum(one.requests for one in found),
        errors=sum(one.errors for one in found),
        streams=sum(one.streams for one in found),
        ttft_p95_s=_seconds(percentile(0.95, ttft)),
        tpot_p50_s=_seconds(percentile(0.5, tpot)),
    )


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000


def step_rollouts(world: World, no_room: AbstractSet[str], effects: Effects) -> bool:
    """Take every roll-out as far as it can go now; whether any changed its stage."""
    stepped = False
    for before in world.rollouts.values():
        deployment = world.deployments.get(before.deployment_id)
        if not before.open or deployment is None:
            continue
        seen = observe(before, deployment, world.replicas.values(), world.stats, no_room)
        after = decide(before, seen, world.now)
        if after is before:
            continue
        deployment, changed = carry_out(before, after, deployment, world.own(deployment.id), effects)
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
