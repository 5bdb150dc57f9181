from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from yunhe.catalogue.model import Recipe
from yunhe.serve.backoff import DELAY_MAX_S, STABLE_S, backoff, delay_s
from yunhe.serve.condition import condition
from yunhe.serve.model import Deployment, Replica, ReplicaState

RECIPE = Recipe("recipe_1", "default", "m", "any", "any", {})
NOW = 10_000.0


def deployment(replicas: int = 1) -> Deployment:
    return Deployment("dep_1", "proj_1", "m", "m", replicas, RECIPE, 1, 0.0)


def failed(at: float, ready_at: float | None = None) -> Replica:
    name = f"rep_{at}"
    return Replica(name, "dep_1", "m", 1, ReplicaState.FAILED, "exit code 1", RECIPE, at - 5, at, ready_at=ready_at)


def live(state: ReplicaState, placed: bool = True, created_at: float = NOW - 5) -> Replica:
    return Replica(
        f"rep_{state}", "dep_1", "m", 1, state, "loading", RECIPE, created_at, NOW, centre_id="c" if placed else None
    )


def test_delays_double_from_two_seconds_to_the_cap() -> None:
    assert [delay_s(rounds) for rounds in range(7)] == [0, 0, 2, 4, 8, 16, 32]
    assert delay_s(10_000) == DELAY_MAX_S


@given(st.integers(0, 100))
def test_delays_never_shrink_and_never_pass_the_cap(rounds: int) -> None:
    assert delay_s(rounds) <= delay_s(rounds + 1) <= DELAY_MAX_S


def test_a_replica_that_was_ready_long_enough_ends_the_row() -> None:
    early = [failed(100.0), failed(110.0), failed(120.0)]
    stable = failed(500.0, ready_at=500.0 - STABLE_S)
    assert backoff(deployment(), [*early, stable]).failures == 1
    assert backoff(deployment(), [*early, stable]).not_before == 500.0
    assert backoff(deployment(), [*early, stable, failed(501.0)]).failures == 2


def test_replicas_that_fail_together_are_one_round() -> None:
    together = [failed(100.0), failed(100.1), failed(100.2)]
    assert not backoff(deployment(3), together).waits(100.3)
    assert backoff(deployment(1), together).waits(100.3)


def test_a_crash_loop_is_down_and_says_when_it_tries_again() -> None:
    told = condition(deployment(), [failed(NOW - n) for n in range(4)], NOW)
    assert told.state == "down"
    assert told.reason == "failed 4 time(s) in a row (exit code 1), next try in 8 s"


def test_a_first_failure_is_still_starting() -> None:
    assert condition(deployment(), [failed(NOW), live(ReplicaState.STARTING)], NOW).state == "starting"


def test_some_ready_is_degraded_all_ready_is_ready() -> None:
    ready, starting = live(ReplicaState.READY), live(ReplicaState.STARTING)
    assert condition(deployment(2), [ready, starting], NOW).state == "degraded"
    assert "loading" in condition(deployment(2), [ready, starting], NOW).reason
    assert condition(deployment(1), [ready], NOW).state == "ready"


def test_a_replica_without_a_place_for_long_is_down() -> None:
    waiting = live(ReplicaState.PENDING, placed=False)
    assert condition(deployment(), [waiting], NOW).state == "starting"
    assert condition(deployment(), [replace(waiting, created_at=NOW - 100)], NOW).state == "down"


def test_scaled_to_zero_is_stopped_and_deleted_is_deleting() -> None:
    assert condition(deployment(0), [], NOW).state == "stopped"
    gone = replace(deployment(1), deleted_at=NOW)
    assert condition(gone, [live(ReplicaState.DRAINING)], NOW).state == "deleting"
