from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from yunhe.catalogue.model import Recipe
from yunhe.serve.model import ENDED_STATES, LIVE_STATES, Deployment, Replica, ReplicaState
from yunhe.serve.reconcile import (
    DRAIN_GRACE_S,
    DRAIN_LIMIT_S,
    START_LIMIT_S,
    UNHEALTHY_LIMIT_S,
    Create,
    Move,
    reconcile,
)
from yunhe.serve.transitions import move

S = ReplicaState
RECIPE = Recipe("recipe_1", "default", "m", "any", "any", {})
NOW = 1_000_000.0


def deployment(replicas: int = 2, generation: int = 1, deleted_at: float | None = None) -> Deployment:
    return Deployment("dep_1", "proj_1", "m", "m", replicas, RECIPE, generation, NOW, deleted_at=deleted_at)


def replica(name: str, state: ReplicaState, generation: int = 1, age_s: float = 100.0, placed: bool = True) -> Replica:
    return Replica(
        id=name,
        deployment_id="dep_1",
        model="m",
        generation=generation,
        state=state,
        reason="test",
        recipe=RECIPE,
        created_at=NOW - age_s,
        state_since=NOW - 1.0,
        centre_id="centre_1" if placed else None,
        ready_at=NOW - age_s if state in (S.READY, S.UNHEALTHY, S.DRAINING) else None,
    )


def moves(plan_decisions: tuple[Create | Move, ...]) -> dict[str, ReplicaState]:
    return {decision.replica_id: decision.to for decision in plan_decisions if isinstance(decision, Move)}


def creations(plan_decisions: tuple[Create | Move, ...]) -> int:
    return sum(isinstance(decision, Create) for decision in plan_decisions)


def test_a_new_deployment_gets_as_many_replicas_as_wanted() -> None:
    plan = reconcile(deployment(3), [], NOW)
    assert creations(plan.decisions) == 3
    assert plan.look_again_at is None


def test_nothing_is_done_when_all_are_ready() -> None:
    assert reconcile(deployment(2), [replica("a", S.READY), replica("b", S.READY)], NOW).decisions == ()


def test_scaling_down_takes_the_unready_first_then_the_youngest() -> None:
    replicas = [
        replica("old", S.READY, age_s=300),
        replica("young", S.READY, age_s=10),
        replica("starting", S.STARTING, age_s=200),
    ]
    assert moves(reconcile(deployment(1), replicas, NOW).decisions) == {"starting": S.STOPPING, "young": S.DRAINING}


def test_scaling_to_zero_drains_the_ready_and_crosses_out_the_unplaced() -> None:
    replicas = [replica("a", S.READY), replica("b", S.PENDING, placed=False), replica("c", S.PENDING)]
    plan = reconcile(deployment(0), replicas, NOW)
    assert moves(plan.decisions) == {"a": S.DRAINING, "b": S.STOPPED, "c": S.STOPPING}
    assert {decision.reason for decision in plan.decisions} == {"scaled to 0 replicas"}


def test_a_deleted_deployment_drains_everything_and_makes_nothing() -> None:
    plan = reconcile(deployment(2, deleted_at=NOW), [replica("a", S.READY)], NOW)
    assert moves(plan.decisions) == {"a": S.DRAINING}
    assert creations(plan.decisions) == 0


def test_a_drained_replica_is_stopped_after_its_grace() -> None:
    draining = replace(replica("a", S.DRAINING), state_since=NOW - DRAIN_GRACE_S + 5)
    early = reconcile(deployment(0), [draining], NOW)
    assert early.decisions == ()
    assert early.look_again_at == NOW + 5
    assert moves(reconcile(deployment(0), [draining], NOW + 5).decisions) == {"a": S.STOPPING}


def test_a_replaced_replica_drains_for_as_long_as_it_has_requests_within_a_limit() -> None:
    draining = replace(replica("a", S.DRAINING), state_since=NOW - DRAIN_GRACE_S)
    current = replica("b", S.READY)
    busy = frozenset({"a"})
    kept = reconcile(deployment(1), [draining, current], NOW, busy=busy)
    assert (kept.decisions, kept.look_again_at) == ((), NOW - DRAIN_GRACE_S + DRAIN_LIMIT_S)
    assert moves(reconcile(deployment(1), [draining, current], NOW).decisions) == {"a": S.STOPPING}
    late = NOW - DRAIN_GRACE_S + DRAIN_LIMIT_S
    assert moves(reconcile(deployment(1), [draining, current], late, busy=busy).decisions) == {"a": S.STOPPING}


def test_nothing_waits_for_requests_where_nobody_stands_in_for_them() -> None:
    draining = replace(replica("a", S.DRAINING), state_since=NOW - DRAIN_GRACE_S)
    waiting = replica("n", S.PENDING, generation=2, placed=False)
    busy = frozenset({"a"})
    assert "a" in moves(reconcile(deployment(0), [draining], NOW, busy=busy).decisions)
    target = deployment(1, generation=2)
    assert "a" in moves(reconcile(target, [draining, waiting], NOW, frozenset({"n"}), busy=busy).decisions)


def test_the_first_failure_is_replaced_at_once() -> None:
    failed = replace(replica("a", S.FAILED), ready_at=NOW - 10, reason="killed by signal 9")
    plan = reconcile(deployment(1), [failed], NOW)
    assert [decision for decision in plan.decisions if isinstance(decision, Create)] == [
        Create("replaces one that failed (1 in a row): killed by signal 9")
    ]


def test_a_crash_loop_waits_and_says_until_when() -> None:
    failed = [replica(name, S.FAILED) for name in "abcd"]
    plan = reconcile(deployment(1), failed, NOW)
    assert plan.decisions == ()
    assert plan.look_again_at is not None
    assert plan.look_again_at > NOW
    assert creations(reconcile(deployment(1), failed, plan.look_again_at).decisions) == 1


def test_new_settings_are_tried_at_once_after_a_crash_loop() -> None:
    failed = [replica(name, S.FAILED, generation=1) for name in "abcd"]
    assert creations(reconcile(deployment(1, generation=2), failed, NOW).decisions) == 1


def test_a_rolling_restart_surges_by_one() -> None:
    old = [replica("a", S.READY), replica("b", S.READY)]
    plan = reconcile(deployment(2, generation=2), old, NOW)
    assert creations(plan.decisions) == 1
    assert moves(plan.decisions) == {}


def test_a_rolling_restart_waits_until_the_new_one_is_ready_then_drains_an_old_one() -> None:
    old = [replica("a", S.READY, age_s=200), replica("b", S.READY, age_s=100)]
    waiting = reconcile(deployment(2, generation=2), [*old, replica("n", S.STARTING, generation=2)], NOW)
    assert waiting.decisions == ()
    ready = reconcile(deployment(2, generation=2), [*old, replica("n", S.READY, generation=2)], NOW)
    assert moves(ready.decisions) == {"b": S.DRAINING}


def test_a_rolling_restart_makes_room_where_no_card_has_any() -> None:
    replicas = [replica("a", S.READY), replica("n", S.PENDING, generation=2, placed=False)]
    target = deployment(1, generation=2)
    assert reconcile(target, replicas, NOW).decisions == ()
    assert moves(reconcile(target, replicas, NOW, frozenset({"n"})).decisions) == {"a": S.DRAINING}


def test_room_is_made_one_by_one() -> None:
    replicas = [
        replica("a", S.READY),
        replica("b", S.DRAINING),
        replica("n", S.PENDING, generation=2, placed=False),
    ]
    assert moves(reconcile(deployment(2, generation=2), replicas, NOW, frozenset({"n"})).decisions) == {}


def test_old_replicas_that_serve_nobody_leave_a_rolling_restart_at_once() -> None:
    plan = reconcile(deployment(1, generation=2), [replica("a", S.STARTING)], NOW)
    assert moves(plan.decisions) == {"a": S.STOPPING}


def test_a_replica_that_never_gets_ready_fails() -> None:
    slow = replace(replica("a", S.STARTING), state_since=NOW - START_LIMIT_S)
    plan = reconcile(deployment(1), [slow], NOW)
    assert moves(plan.decisions) == {"a": S.FAILED}
    assert creations(plan.decisions) == 0
    assert plan.look_again_at == NOW


def test_a_replica_unhealthy_for_long_fails_so_that_it_is_replaced() -> None:
    sick = replace(replica("a", S.UNHEALTHY), state_since=NOW - UNHEALTHY_LIMIT_S)
    assert moves(reconcile(deployment(1), [sick], NOW).decisions) == {"a": S.FAILED}


@dataclass
class World:
    """Carries plans out, like the controller does, with a centre that the test scripts."""

    target: Deployment
    replicas: dict[str, Replica] = field(default_factory=dict)
    now: float = NOW
    made: int = 0

    def settle(self) -> float | None:
        """Reconcile until nothing is left to do; the moment when time alone makes something due."""
        for _ in range(50):
            plan = reconcile(self.target, list(self.replicas.values()), self.now)
            if not plan.decisions:
                return plan.look_again_at
            for decision in plan.decisions:
                if isinstance(decision, Create):
                    self.made += 1
                    fresh = replica(f"r{self.made}", S.PENDING, self.target.generation)
                    self.replicas[fresh.id] = replace(fresh, created_at=self.now, state_since=self.now)
                else:
                    self.change(decision.replica_id, decision.to, decision.reason)
        raise AssertionError("reconcile does not come to rest")

    def change(self, name: str, to: ReplicaState, reason: str = "test") -> None:
        self.replicas[name] = move(self.replicas[name], to, reason, self.now).replica

    def live(self) -> list[Replica]:
        return [one for one in self.replicas.values() if one.state in LIVE_STATES]

    def step_centre(self, pick: int, outcome: int) -> None:
        """One thing happens to one replica: it advances, fails, or stops when asked to."""
        candidates = [one for one in self.replicas.values() if one.state not in ENDED_STATES]
        if not candidates:
            return
        one = candidates[pick % len(candidates)]
        if one.state is S.STOPPING:
            self.change(one.id, S.STOPPED)
        elif one.state is not S.DRAINING:
            fails = outcome % 4 == 0
            onward = {S.PENDING: S.STARTING, S.STARTING: S.PROBING, S.PROBING: S.READY, S.UNHEALTHY: S.READY}
            to = S.FAILED if fails else onward.get(one.state, S.UNHEALTHY if outcome % 4 == 1 else one.state)
            if to is not one.state:
                self.change(one.id, to)

    def finish(self) -> None:
        """Nothing fails any more: let everything go its way until it rests."""
        for _ in range(300):
            again = self.settle()
            busy = [one for one in self.replicas.values() if one.state not in (*ENDED_STATES, S.READY)]
            moving = [one for one in busy if one.state is not S.DRAINING]
            if not busy and again is None:
                return
            for one in moving:
                self.step_centre(self.present().index(one.id), 3)
            if not moving and again is not None:
                self.now = max(self.now, again)
        raise AssertionError("it does not converge")

    def present(self) -> list[str]:
        return [one.id for one in self.replicas.values() if one.state not in ENDED_STATES]


happenings = st.lists(
    st.one_of(
        st.tuples(st.just("centre"), st.integers(0, 9), st.integers(0, 9)),
        st.tuples(st.just("scale"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("roll"), st.just(0), st.just(0)),
        st.tuples(st.just("wait"), st.integers(1, 400), st.just(0)),
    ),
    max_size=40,
)


@settings(deadline=None, max_examples=150)
@given(happenings)
def test_whatever_happens_it_never_exceeds_its_bounds_and_converges(script: list[tuple[str, int, int]]) -> None:
    world = World(deployment(2))
    world.settle()
    for what, first, second in script:
        before = {one.id for one in world.live()}
        if what == "centre":
            world.step_centre(first, second)
        elif what == "scale":
            world.target = replace(world.target, replicas=first)
        elif what == "roll":
            world.target = replace(world.target, generation=world.target.generation + 1)
        else:
            world.now += first
        world.settle()
        after = world.live()
        fresh = [one for one in after if one.id not in before]
        assert len(after) <= world.target.replicas + 1 or not fresh
    world.finish()
    ready = [one for one in world.live() if one.state is S.READY]
    assert len(ready) == world.target.replicas
    assert {one.generation for one in ready} <= {world.target.generation}


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 4), st.lists(st.integers(0, 9), max_size=60))
def test_a_rolling_restart_never_takes_ready_replicas_below_the_wanted_number(wanted: int, picks: list[int]) -> None:
    world = World(deployment(wanted))
    world.settle()
    world.finish()
    world.target = replace(world.target, generation=2)
    for pick in picks:
        world.settle()
        assert sum(one.state is S.READY for one in world.live()) >= wanted
        world.step_centre(pick, 3)
    world.finish()
    assert [one.generation for one in world.live()] == [2] * wanted


def test_what_a_silent_centre_has_not_taken_is_given_up_there() -> None:
    replicas = [replica("waiting", S.PENDING), replica("running", S.READY)]
    plan = reconcile(deployment(2), replicas, NOW, away=frozenset({"centre_1"}))
    assert moves(plan.decisions) == {"waiting": S.STOPPED}
    assert creations(plan.decisions) == 1
