"""Roll-outs carried out step by step, as the controller does, with a centre that the test scripts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunhe.catalogue.model import Recipe
from yunhe.serve import rollout as policy
from yunhe.serve.condition import condition
from yunhe.serve.model import ENDED_STATES, LIVE_STATES, Deployment, Replica, ReplicaState
from yunhe.serve.reconcile import Create, reconcile
from yunhe.serve.rollout import Figures, Observations, Policy, Rollout, RolloutStage, next_generation
from yunhe.serve.transitions import move

S = ReplicaState
STAGE = RolloutStage
OLD = Recipe("recipe_1", "default", "m", "any", "any", {})
NEW = Recipe("recipe_2", "faster", "m", "any", "any", {"slots": 8})
ONWARD = {S.PENDING: S.STARTING, S.STARTING: S.PROBING, S.PROBING: S.READY, S.UNHEALTHY: S.READY, S.STOPPING: S.STOPPED}


@dataclass
class World:
    """One deployment and, perhaps, its roll-out. ``cards``: replicas that have room at once."""

    wanted: int = 2
    cards: int = 99
    now: float = 1_000_000.0
    replicas: dict[str, Replica] = field(default_factory=dict)
    rollout: Rollout | None = None
    figures: Figures = field(default_factory=Figures)
    made: int = 0

    def __post_init__(self) -> None:
        self.target = Deployment("dep_1", "proj_1", "m", "m", self.wanted, OLD, 1, self.now)
        self.settle()
        self.finish()

    def start(self) -> None:
        self.figures = Figures()
        generation = next_generation(self.target, self.replicas.values())
        self.rollout = Rollout(
            "roll_1", "dep_1", NEW, None, self.target.recipe, 0.5, generation, STAGE.CANARY, self.now, "asked for",
            self.now, policy=Policy(10.0, 5),
        )  # fmt: skip
        self.settle()

    def settle(self) -> float | None:
        for _ in range(50):
            no_room = self.place()
            stepped = self.step_rollout(no_room)
            under_way = self.rollout if self.rollout is not None and self.rollout.open else None
            plan = reconcile(self.target, list(self.replicas.values()), self.now, no_room, rollout=under_way)
            for decision in plan.decisions:
                if isinstance(decision, Create):
                    self.create(decision)
                else:
                    self.change(decision.replica_id, decision.to, decision.reason)
            if not plan.decisions and not stepped:
                return plan.look_again_at
        raise AssertionError("it does not come to rest")

    def place(self) -> frozenset[str]:
        present = [one for one in self.replicas.values() if one.state not in ENDED_STATES]
        free = self.cards - sum(one.centre_id is not None for one in present)
        lost = set()
        for one in present:
            if one.centre_id is None and free > 0:
                free -= 1
                self.replicas[one.id] = replace(one, centre_id="centre_1")
            elif one.centre_id is None:
                lost.add(one.id)
        return frozenset(lost)

    def step_rollout(self, no_room: frozenset[str]) -> bool:
        before = self.rollout
        if before is None:
            return False
        own = policy.replicas_of(before, self.replicas.values())
        after = policy.decide(before, Observations(self.target, own, self.figures, no_room=no_room), self.now)
        if after is before:
            return False
        self.target, changed = policy.apply(before, after, self.target, self.replicas.values())
        self.replicas.update({one.id: one for one in changed})
        self.rollout = after
        return True

    def create(self, decision: Create) -> None:
        self.made += 1
        rollout = self.rollout
        canary = decision.canary
        assert not canary or rollout is not None
        made = Replica(
            f"rep_{self.made}", "dep_1", "m",
            rollout.generation if canary and rollout else self.target.generation,
            S.PENDING, decision.reason,
            rollout.recipe if canary and rollout else self.target.recipe,
            self.now, self.now, share=rollout.share if canary and rollout else None,
        )  # fmt: skip
        self.replicas[made.id] = made

    def change(self, name: str, to: ReplicaState, reason: str = "scripted") -> None:
        self.replicas[name] = move(self.replicas[name], to, reason, self.now).replica

    def of(self, *states: ReplicaState) -> list[Replica]:
        return [one for one in self.replicas.values() if one.state in states]

    def advance(self, one: Replica) -> None:
        if one.state in ONWARD and (one.centre_id is not None or one.state is S.STOPPING):
            self.change(one.id, ONWARD[one.state])

    def finish(self) -> None:
        """Nothing fails any more: let everything go its way until it rests."""
        for _ in range(300):
            again = self.settle()
            busy = [one for one in self.replicas.values() if one.state not in (*ENDED_STATES, S.READY)]
            if not busy and again is None:
                return
            states = [self.replicas[one.id].state for one in busy]
            for one in busy:
                self.advance(one)
            if again is not None and states == [self.replicas[one.id].state for one in busy]:
                self.now = max(self.now, again)
        raise AssertionError("it does not converge")

    def canary(self) -> Replica:
        (found,) = [one for one in self.of(*LIVE_STATES) if one.share is not None]
        return found

    def recipes(self) -> list[str]:
        return sorted(one.recipe.name for one in self.of(S.READY))


def test_a_canary_runs_beside_the_wanted_replicas_and_is_promoted_without_a_restart() -> None:
    world = World()
    world.start()
    world.finish()
    canary = world.canary()
    assert (canary.generation, canary.recipe, canary.share) == (2, NEW, 0.5)
    assert world.recipes() == ["default", "default", "faster"]
    stands = condition(world.target, list(world.replicas.values()), world.now)
    assert (stands.state, stands.ready_replicas) == ("ready", 2)
    assert stands.reason == "2 of 2 replicas ready; a canary of recipe faster is ready"
    world.figures, world.now = Figures(5), world.now + 10
    world.settle()
    assert len(world.of(S.DRAINING)) == 1
    assert world.replicas[canary.id] == replace(canary, share=None)
    world.finish()
    assert world.recipes() == ["faster", "faster"]
    assert world.replicas[canary.id].state is S.READY
    assert (world.target.generation, world.target.recipe) == (2, NEW)


def test_a_rollback_drains_the_canary_and_nothing_else() -> None:
    world = World()
    before = world.of(S.READY)
    world.start()
    world.finish()
    canary = world.canary()
    world.figures = Figures(1, 1)
    world.settle()
    assert [one.id for one in world.of(S.DRAINING)] == [canary.id]
    assert world.of(S.READY) == before
    world.finish()
    assert world.of(S.READY) == before
    assert (world.target.generation, world.target.recipe) == (1, OLD)


def test_a_failed_canary_is_not_made_again() -> None:
    world = World()
    world.start()
    world.change(world.canary().id, S.FAILED, "exit code 1")
    made = world.made
    world.finish()
    assert world.made == made
    assert world.rollout is not None
    assert world.rollout.stage is STAGE.ROLLED_BACK
    assert world.recipes() == ["default", "default"]


def test_a_canary_whose_start_takes_too_long_is_rolled_back() -> None:
    world = World()
    world.start()
    world.advance(world.canary())
    again = world.settle()
    assert again is not None
    world.now = again
    world.settle()
    assert world.rollout is not None
    assert (world.rollout.stage, world.recipes()) == (STAGE.ROLLED_BACK, ["default", "default"])


def test_the_next_roll_out_has_a_generation_of_its_own() -> None:
    world = World()
    world.start()
    world.change(world.canary().id, S.FAILED)
    world.finish()
    world.start()
    assert world.canary().generation == 3


@pytest.mark.parametrize("good", [True, False])
def test_without_room_the_replicas_are_replaced_one_by_one(good: bool) -> None:
    world = World(wanted=2, cards=2)
    world.start()
    assert world.rollout is not None
    assert world.rollout.stage is STAGE.SWITCHING
    assert len(world.of(S.READY)) == 1
    if good:
        world.finish()
        world.figures, world.now = Figures(5), world.now + 10
    else:
        world.now += 30
        world.settle()
        world.advance(world.of(S.STOPPING)[0])
        world.settle()
        (first,) = [one for one in world.of(S.PENDING) if one.centre_id]
        world.change(first.id, S.FAILED)
    world.finish()
    assert world.rollout.stage is (STAGE.DEFAULT if good else STAGE.ROLLED_BACK)
    assert world.recipes() == (["faster", "faster"] if good else ["default", "default"])


happenings = st.lists(
    st.one_of(
        st.tuples(st.just("centre"), st.integers(0, 9)),
        st.tuples(st.just("fail canary"), st.just(0)),
        st.tuples(st.just("start"), st.just(0)),
        st.tuples(st.just("errors"), st.just(0)),
        st.tuples(st.just("requests"), st.integers(1, 9)),
        st.tuples(st.just("wait"), st.integers(1, 40)),
    ),
    max_size=50,
)


@settings(deadline=None, max_examples=200)
@given(st.integers(1, 3), happenings)
def test_a_roll_out_never_takes_ready_replicas_below_the_wanted_number(
    wanted: int, script: list[tuple[str, int]]
) -> None:
    world = World(wanted)
    for what, number in script:
        happen(world, what, number)
        world.settle()
        assert len(world.of(S.READY)) >= wanted, what
        assert len(world.of(*LIVE_STATES)) <= wanted + 2
        assert sum(one.share is not None for one in world.of(*LIVE_STATES)) <= 1
    world.finish()
    plain = [one for one in world.of(S.READY) if one.share is None]
    assert [one.recipe for one in plain] == [world.target.recipe] * wanted
    assert {one.generation for one in plain} == {world.target.generation}
    under_way = world.rollout is not None and world.rollout.open
    assert len(world.of(S.READY)) == wanted + under_way


def happen(world: World, what: str, number: int) -> None:
    """Something of the script; what cannot happen now does not."""
    moving = [one for one in world.replicas.values() if one.state in ONWARD]
    canaries = [one for one in world.of(*LIVE_STATES) if one.share is not None]
    if what == "centre" and moving:
        world.advance(moving[number % len(moving)])
    elif what == "fail canary" and canaries:
        world.change(canaries[0].id, S.FAILED)
    elif what == "start" and (world.rollout is None or not world.rollout.open):
        world.start()
    elif what == "errors":
        world.figures = replace(world.figures, errors=world.figures.errors + 1)
    elif what == "requests":
        world.figures = replace(world.figures, requests=world.figures.requests + number)
    elif what == "wait":
        world.now += number
