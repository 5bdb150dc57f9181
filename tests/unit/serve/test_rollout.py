from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from yunhe.catalogue.model import Recipe
from yunhe.serve.model import Deployment, Replica, ReplicaState
from yunhe.serve.rollout import (
    PLACE_LIMIT_S,
    Figures,
    Guards,
    Observations,
    Policy,
    Rollout,
    RolloutStage,
    apply,
    decide,
    next_generation,
    progress,
)

S = ReplicaState
STAGE = RolloutStage
NOW = 1_000_000.0
OLD = Recipe("recipe_1", "default", "m", "any", "any", {})
NEW = Recipe("recipe_2", "faster", "m", "any", "any", {"slots": 8})
DEPLOYMENT = Deployment("dep_1", "proj_1", "m", "m", 2, OLD, 1, NOW - 999)
GOOD = Figures(20, 0, 20, 0.2, 0.01)


def rollout(**changes: Any) -> Rollout:
    made = Rollout(
        "roll_1", "dep_1", NEW, None, OLD, 0.25, 2, STAGE.CANARY, NOW - 100, "asked for", NOW - 100,
        Guards(ttft_p95_s=0.5, tpot_p50_s=0.02), Policy(canary_s=60.0, requests_min=20),
    )  # fmt: skip
    return replace(made, **changes)


def canary(state: ReplicaState = S.READY, ready_s: float = 60.0, **changes: Any) -> Replica:
    made = Replica(
        "rep_c", "dep_1", "m", 2, state, "scripted", NEW, NOW - 90, NOW - ready_s, "centre_1",
        ready_at=NOW - ready_s if state is S.READY else None, share=0.25,
    )  # fmt: skip
    return replace(made, **changes)


def seen(*replicas: Replica, figures: Figures = GOOD, **changes: Any) -> Observations:
    return replace(Observations(DEPLOYMENT, replicas, figures), **changes)


def test_a_canary_that_kept_its_bounds_long_enough_becomes_the_default() -> None:
    after = decide(rollout(), seen(canary()), NOW)
    assert (after.stage, after.stage_since) == (STAGE.DEFAULT, NOW)
    assert after.reason == "kept its bounds: 20 requests, 0 errors, TTFT p95 200 ms, TPOT 10.00 ms"


@pytest.mark.parametrize(
    ("replica", "figures"),
    [
        (canary(ready_s=59.9), GOOD),
        (canary(), replace(GOOD, requests=19)),
        (canary(S.STARTING), GOOD),
        (canary(), Figures()),
    ],
    ids=["too early", "too few requests", "not ready", "no request"],
)
def test_it_waits_until_enough_was_seen(replica: Replica, figures: Figures) -> None:
    before = rollout()
    assert decide(before, seen(replica, figures=figures), NOW) is before


@pytest.mark.parametrize(
    ("figures", "words"),
    [
        (Figures(3, 1, 2, 0.1, 0.01), "1 of 3 requests failed, the bound is 0.0%"),
        (Figures(20, 0, 10, 0.51, 0.01), "TTFT p95 is 510.0 ms over 10 streams, the bound is 500.0 ms"),
        (Figures(500, 0, 400, 0.1, 0.021), "TPOT is 21.0 ms over 400 streams, the bound is 20.0 ms"),
    ],
)
def test_it_is_rolled_back_at_once_when_a_guard_is_broken(figures: Figures, words: str) -> None:
    after = decide(rollout(), seen(canary(ready_s=1.0), figures=figures), NOW)
    assert (after.stage, after.reason) == (STAGE.ROLLED_BACK, words)


@pytest.mark.parametrize("shares_card", [True, False])
def test_it_is_rolled_back_when_it_is_much_slower_than_the_others(shares_card: bool) -> None:
    others = Figures(20, 0, 20, 0.01, 0.004)
    after = decide(rollout(), seen(canary(ready_s=1.0), others=others, shares_card=shares_card), NOW)
    assert after.stage is STAGE.ROLLED_BACK
    assert after.reason.startswith("TPOT is 10.0 ms over 20 streams, 2.5 times that of the replicas beside it")
    few = replace(others, streams=9)
    assert decide(rollout(), seen(canary(ready_s=1.0), others=few), NOW).stage is STAGE.CANARY
    unbounded = rollout(guards=Guards(slowdown_max=None))
    assert decide(unbounded, seen(canary(ready_s=1.0), others=others), NOW) is unbounded


def test_on_a_shared_card_it_is_compared_with_the_others_only() -> None:
    slow = Figures(20, 0, 20, 0.9, 0.09)
    assert decide(rollout(), seen(canary(), figures=slow), NOW).stage is STAGE.ROLLED_BACK
    after = decide(rollout(), seen(canary(), figures=slow, others=slow, shares_card=True), NOW)
    assert after.stage is STAGE.DEFAULT
    assert after.reason.startswith("compared with those on the same card: 20 requests")


def test_slow_first_requests_are_not_judged() -> None:
    before = rollout()
    assert decide(before, seen(canary(ready_s=1.0), figures=Figures(9, 0, 9, 9.0, 9.0)), NOW) is before


def test_a_bound_on_errors_allows_its_share_of_the_requests() -> None:
    before = rollout(guards=Guards(error_share=0.02), policy=Policy(60.0, 50))
    assert decide(before, seen(canary(), figures=Figures(10, 1)), NOW) is before
    assert decide(before, seen(canary(), figures=Figures(100, 2)), NOW).stage is STAGE.DEFAULT
    assert decide(before, seen(canary(), figures=Figures(100, 3)), NOW).stage is STAGE.ROLLED_BACK


def test_what_no_stream_told_is_not_judged_and_said() -> None:
    after = decide(rollout(), seen(canary(), figures=Figures(20)), NOW)
    assert after.stage is STAGE.DEFAULT
    assert "0 streams, too few to judge its speed" in after.reason


@pytest.mark.parametrize("state", [S.FAILED, S.UNHEALTHY])
@pytest.mark.parametrize("stage", [STAGE.CANARY, STAGE.SWITCHING])
def test_a_broken_replica_rolls_it_back_with_its_reason(state: ReplicaState, stage: RolloutStage) -> None:
    deployment = replace(DEPLOYMENT, generation=2 if stage is STAGE.SWITCHING else 1)
    broken = canary(state, reason="killed by signal 4")
    after = decide(rollout(stage=stage), seen(broken, deployment=deployment), NOW)
    assert after.stage is STAGE.ROLLED_BACK
    assert after.reason.endswith(": killed by signal 4")


def test_a_canary_that_no_centre_takes_is_given_up() -> None:
    lost = canary(S.PENDING, centre_id=None, created_at=NOW - PLACE_LIMIT_S + 1, reason="no centre has it")
    before = rollout()
    assert decide(before, seen(lost), NOW) is before
    after = decide(before, seen(lost), NOW + 1)
    assert after.stage is STAGE.ROLLED_BACK
    assert "no centre has it" in after.reason


def test_without_room_beside_the_replicas_are_switched_one_by_one() -> None:
    waiting = canary(S.PENDING, centre_id=None, reason="1 GiB is free")
    after = decide(rollout(), seen(waiting, no_room=frozenset({"rep_c"})), NOW)
    assert after.stage is STAGE.SWITCHING
    assert after.reason.startswith("no card has room for a canary")
    assert after.reason.endswith("1 GiB is free")
    deployment, freed = apply(rollout(), after, DEPLOYMENT, [waiting])
    assert (deployment.recipe, deployment.generation) == (NEW, 2)
    assert [one.share for one in freed] == [None]
    assert decide(after, seen(*freed, deployment=deployment, no_room=frozenset({"rep_c"})), NOW) is after


def test_a_switch_that_fails_gives_the_previous_recipe_back() -> None:
    before = rollout(stage=STAGE.SWITCHING)
    now_new = replace(DEPLOYMENT, recipe=NEW, generation=2)
    after = decide(before, seen(canary(S.FAILED, share=None), deployment=now_new), NOW)
    deployment, changed = apply(before, after, now_new, [])
    assert (deployment.recipe, deployment.generation, changed) == (OLD, 3, [])


def test_promotion_makes_the_canary_one_of_the_replicas() -> None:
    before = rollout()
    after = decide(before, seen(canary()), NOW)
    ended = canary(S.STOPPED, id="rep_x")
    deployment, freed = apply(before, after, DEPLOYMENT, [canary(), ended, canary(generation=1, share=None)])
    assert (deployment.recipe, deployment.generation) == (NEW, 2)
    assert freed == [replace(canary(), share=None)]


def test_a_rolled_back_canary_changes_nothing_of_the_deployment() -> None:
    before = rollout()
    after = decide(before, seen(canary(S.FAILED)), NOW)
    assert apply(before, after, DEPLOYMENT, [canary(S.FAILED)]) == (DEPLOYMENT, [])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"deleted_at": NOW}, "deleted"),
        ({"replicas": 0}, "scaled to 0"),
        ({"generation": 2}, "changed otherwise"),
        ({"generation": 3}, "changed otherwise"),
    ],
)
def test_what_else_happens_to_the_deployment_ends_it(changes: dict[str, Any], words: str) -> None:
    after = decide(rollout(), seen(canary(), deployment=replace(DEPLOYMENT, **changes)), NOW)
    assert after.stage is STAGE.ROLLED_BACK
    assert words in after.reason


def test_an_ended_roll_out_stays_as_it_is() -> None:
    for stage in (STAGE.DEFAULT, STAGE.ROLLED_BACK):
        ended = rollout(stage=stage)
        assert decide(ended, seen(canary(S.FAILED), figures=Figures(9, 9)), NOW) is ended


def test_a_new_generation_is_one_that_no_replica_ever_had() -> None:
    assert next_generation(DEPLOYMENT, []) == 2
    assert next_generation(DEPLOYMENT, [canary(S.FAILED)]) == 3


def test_progress_says_what_is_still_missing() -> None:
    assert progress(rollout(), seen(), NOW) == "its replica is about to be made"
    assert progress(rollout(), seen(canary(S.STARTING)), NOW) == "its replica is starting: scripted"
    told = progress(rollout(), seen(canary(ready_s=30), figures=Figures(7, 0, 7, 0.1, 0.01)), NOW)
    assert told.endswith("too few to judge its speed; ready for 30 of 60 s, 7 of 20 requests")
    assert progress(rollout(stage=STAGE.ROLLED_BACK, reason="why"), seen(), NOW) == "why"
