"""Rolling a recipe out: a canary takes a share of the requests, then the recipe becomes the deployment's, or it goes.

Pure: ``decide`` says the next stage from what was seen, ``apply`` what that makes of the deployment and its replicas.
A canary is one replica beside the others; it carries its share and the generation that the deployment will have, so
that promoting it restarts nothing. Where no card has room beside, the replicas are replaced one by one under the same
guards (``switching``).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from yunhe.catalogue.model import Recipe
from yunhe.serve.model import LIVE_STATES, Deployment, Replica, ReplicaState
from yunhe.serve.snapshot import CertificateEntry

#: Fewer streams say nothing of a speed: the first ones find everything cold.
STREAMS_MIN: Final = 10
#: A canary that no centre could take for so long is given up.
PLACE_LIMIT_S: Final = 120.0


class RolloutStage(StrEnum):
    """How far a roll-out is; the last two are final."""

    #: One replica more, with the new recipe, takes a share of the requests.
    CANARY = "canary"
    #: No room for a canary: replicas are replaced one by one; taken back when the guards say so.
    SWITCHING = "switching"
    #: The recipe is the deployment's.
    DEFAULT = "default"
    #: The deployment runs on the recipe that it had.
    ROLLED_BACK = "rolled_back"


OPEN_STAGES: Final = frozenset({RolloutStage.CANARY, RolloutStage.SWITCHING})


@dataclass(frozen=True, slots=True)
class Guards:
    """Upper bounds that the new recipe must keep; None where nothing is promised.

    What a recipe promises was measured on a card of its own: where the canary shares one with others, it is compared
    with them only.
    """

    #: 95th percentile over streams.
    ttft_p95_s: float | None = None
    #: Median over streams.
    tpot_p50_s: float | None = None
    #: Of its requests.
    error_share: float = 0.0
    #: Its median TPOT over that of the replicas beside it, at the same time. TTFT is not compared: theirs profits from
    #: prompts that they have seen before.
    slowdown_max: float | None = 2.0


@dataclass(frozen=True, slots=True)
class Policy:
    """How much must be seen before the recipe becomes the default."""

    #: Shortest time that a canary is ready.
    canary_s: float = 60.0
    #: Requests that it has answered.
    requests_min: int = 20


@dataclass(frozen=True, slots=True)
class Rollout:
    """A recipe on its way to become a deployment's."""

    id: str
    deployment_id: str
    recipe: Recipe
    #: Content id of the signed recipe; None for one given without evidence.
    recipe_id: str | None
    #: What the deployment had, and gets back.
    previous: Recipe
    #: Of the model's requests, for the canary.
    share: float
    #: Of the replicas made for this roll-out, and of the deployment once promoted.
    generation: int
    stage: RolloutStage
    stage_since: float
    #: Why it is in this stage, in words for people.
    reason: str
    created_at: float
    guards: Guards = field(default_factory=Guards)
    policy: Policy = field(default_factory=Policy)
    #: Of the signed recipe; shown with the model once the recipe is the default.
    certificate: CertificateEntry | None = None

    @property
    def open(self) -> bool:
        """Whether it is still under way."""
        return self.stage in OPEN_STAGES


@dataclass(frozen=True, slots=True)
class Figures:
    """What gateways saw of some replicas' requests; None where no stream has told it."""

    requests: int = 0
    errors: int = 0
    #: Those that tell a speed.
    streams: int = 0
    ttft_p95_s: float | None = None
    tpot_p50_s: float | None = None


@dataclass(frozen=True, slots=True)
class Observations:
    """What a roll-out is judged by."""

    deployment: Deployment
    #: Those made for it (``replicas_of``), ended ones too.
    replicas: Sequence[Replica]
    figures: Figures = field(default_factory=Figures)
    #: Of the deployment's other replicas, since the first one of the roll-out was ready.
    others: Figures = field(default_factory=Figures)
    #: Whether one of its replicas shares a card with a replica that is not of the roll-out.
    shares_card: bool = False
    #: Ids of pending replicas that some card could run if others left it.
    no_room: AbstractSet[str] = frozenset()


def next_generation(deployment: Deployment, replicas: Iterable[Replica]) -> int:
    """A generation that none of the deployment's replicas has, not even one of a roll-out that was taken back."""
    return max([deployment.generation, *(replica.generation for replica in replicas)]) + 1


def is_canary(replica: Replica) -> bool:
    """Whether it takes a share of the requests only, and does not count as one of the wanted replicas."""
    return replica.share is not None


def replicas_of(rollout: Rollout, replicas: Iterable[Replica]) -> list[Replica]:
    """Those of the deployment's replicas that were made for the roll-out, ended ones too."""
    return [one for one in replicas if one.generation == rollout.generation]


def decide(rollout: Rollout, seen: Observations, now: float) -> Rollout:
    """The roll-out as it shall be now; the same when nothing is to change.

    Rolled back at once for errors, for a failed replica, and for a speed beyond the bounds once enough requests were
    seen; promoted after the policy's time and number of requests.
    """
    if not rollout.open:
        return rollout
    back = _overtaken(rollout, seen.deployment) or _broken(seen, now) or _beyond(rollout, seen)
    if back is not None:
        return _to(rollout, RolloutStage.ROLLED_BACK, back, now)
    crowded = [one for one in seen.replicas if one.state is ReplicaState.PENDING and one.id in seen.no_room]
    if rollout.stage is RolloutStage.CANARY and crowded:
        why = f"no card has room for a canary beside the replicas, so they are replaced one by one: {crowded[0].reason}"
        return _to(rollout, RolloutStage.SWITCHING, why, now)
    if _seen_enough(rollout, seen, now):
        how = "compared with those on the same card" if seen.shares_card else "kept its bounds"
        return _to(rollout, RolloutStage.DEFAULT, f"{how}: {told(seen.figures)}", now)
    return rollout


def progress(rollout: Rollout, seen: Observations, now: float) -> str:
    """What an open roll-out waits for, or why it ended."""
    if not rollout.open:
        return rollout.reason
    ready = ready_since(seen.replicas)
    if ready is None:
        unready = [one for one in seen.replicas if one.state in LIVE_STATES]
        return (
            f"its replica is {unready[0].state}: {unready[0].reason}" if unready else "its replica is about to be made"
        )
    policy = rollout.policy
    return (
        f"{told(seen.figures)}; ready for {max(0.0, now - ready):.0f} of {policy.canary_s:.0f} s, "
        f"{min(seen.figures.requests, policy.requests_min)} of {policy.requests_min} requests"
    )


def apply(
    before: Rollout, after: Rollout, deployment: Deployment, replicas: Iterable[Replica]
) -> tuple[Deployment, list[Replica]]:
    """The deployment after a change of stage, and those replicas that it changes.

    On promotion the canary becomes a replica like any other, of the deployment's new generation. A canary that was
    rolled back is left to ``reconcile``, which drains it.
    """
    taken = after.stage in (RolloutStage.SWITCHING, RolloutStage.DEFAULT)
    if before.stage is RolloutStage.CANARY and taken:
        freed = [
            replace(one, share=None)
            for one in replicas_of(after, replicas)
            if one.state in LIVE_STATES and is_canary(one)
        ]
        return replace(deployment, recipe=after.recipe, generation=after.generation), freed
    returns = before.stage is RolloutStage.SWITCHING and after.stage is RolloutStage.ROLLED_BACK
    if returns and deployment.deleted_at is None and deployment.generation == after.generation:
        return replace(deployment, recipe=after.previous, generation=after.generation + 1), []
    return deployment, []


def promoted(rollout: Rollout, reason: str, now: float) -> Rollout:
    """The roll-out after somebody made the recipe the default."""
    return _to(rollout, RolloutStage.DEFAULT, reason, now)


def aborted(rollout: Rollout, reason: str, now: float) -> Rollout:
    """The roll-out after somebody took it back."""
    return _to(rollout, RolloutStage.ROLLED_BACK, reason, now)


def told(figures: Figures) -> str:
    """Figures in words."""
    parts = [f"{figures.requests} requests, {figures.errors} errors"]
    if figures.ttft_p95_s is not None:
        parts.append(f"TTFT p95 {figures.ttft_p95_s * 1000:.0f} ms")
    if figures.tpot_p50_s is not None:
        parts.append(f"TPOT {figures.tpot_p50_s * 1000:.2f} ms")
    if figures.streams < STREAMS_MIN:
        parts.append(f"{figures.streams} streams, too few to judge its speed")
    return ", ".join(parts)


def _to(rollout: Rollout, stage: RolloutStage, reason: str, now: float) -> Rollout:
    return replace(rollout, stage=stage, stage_since=now, reason=reason)


def _overtaken(rollout: Rollout, deployment: Deployment) -> str | None:
    """What else was done to the deployment that ends the roll-out."""
    if deployment.deleted_at is not None:
        return "its deployment was deleted"
    if deployment.replicas == 0:
        return "its deployment was scaled to 0"
    behind = deployment.generation < rollout.generation
    if behind != (rollout.stage is RolloutStage.CANARY) or deployment.generation > rollout.generation:
        return "its deployment was changed otherwise"
    return None


def _broken(seen: Observations, now: float) -> str | None:
    """What is wrong with the replicas themselves."""
    for one in seen.replicas:
        if one.state is ReplicaState.FAILED:
            return f"its replica {one.id} failed: {one.reason}"
        if one.state is ReplicaState.UNHEALTHY:
            return f"its replica {one.id} is unhealthy: {one.reason}"
        waits = one.state is ReplicaState.PENDING and one.centre_id is None and one.id not in seen.no_room
        if waits and now - one.created_at >= PLACE_LIMIT_S:
            return f"no centre took its replica in {PLACE_LIMIT_S:.0f} s: {one.reason}"
    return None


def _beyond(rollout: Rollout, seen: Observations) -> str | None:
    """Which guard is broken. Errors count from the first on; a speed is judged over enough streams."""
    guards, policy, figures = rollout.guards, rollout.policy, seen.figures
    if figures.errors > guards.error_share * max(figures.requests, policy.requests_min):
        return f"{figures.errors} of {figures.requests} requests failed, the bound is {guards.error_share:.1%}"
    if figures.streams < max(STREAMS_MIN, policy.requests_min // 2):
        return None
    slow = None if seen.shares_card else _slow(guards, figures)
    if slow is None and seen.others.streams >= STREAMS_MIN:
        slow = _slower(guards, figures, seen.others)
    return slow


def _slow(guards: Guards, figures: Figures) -> str | None:
    """Which bound its speed does not keep."""
    bounds = (("TTFT p95", figures.ttft_p95_s, guards.ttft_p95_s), ("TPOT", figures.tpot_p50_s, guards.tpot_p50_s))
    for name, value, bound in bounds:
        if value is not None and bound is not None and value > bound:
            over = f"over {figures.streams} streams"
            return f"{name} is {value * 1000:.1f} ms {over}, the bound is {bound * 1000:.1f} ms"
    return None


def _slower(guards: Guards, figures: Figures, others: Figures) -> str | None:
    """By how much it is too slow beside the others."""
    value, other, bound = figures.tpot_p50_s, others.tpot_p50_s, guards.slowdown_max
    if value is None or not other or bound is None or value <= bound * other:
        return None
    return (
        f"TPOT is {value * 1000:.1f} ms over {figures.streams} streams, {value / other:.1f} times that of the replicas "
        f"beside it; the bound is {bound:g}"
    )


def _seen_enough(rollout: Rollout, seen: Observations, now: float) -> bool:
    ready = ready_since(seen.replicas)
    long_enough = ready is not None and now - ready >= rollout.policy.canary_s
    return long_enough and seen.figures.requests >= rollout.policy.requests_min


def ready_since(replicas: Iterable[Replica]) -> float | None:
    """Since when a replica has been ready without a break."""
    return min(
        (one.ready_at for one in replicas if one.state is ReplicaState.READY and one.ready_at is not None), default=None
    )
