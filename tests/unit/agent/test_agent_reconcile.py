from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given
from hypothesis import strategies as st

from yunhe.agent.reconcile import (
    ENDED_KEPT,
    UNNAMED_GRACE_S,
    Action,
    Drop,
    Forget,
    Keep,
    Settle,
    Stop,
    decide,
    newer,
    restartable,
)
from yunhe.catalogue.model import ExternalServer
from yunhe.pool.workload import WorkloadStatus
from yunhe.serve.sync import DesiredReplica
from yunhe.testing import samples

IDS = [f"rep_{number}" for number in range(5)]


def desired(replica_id: str, run: bool = True, grace_s: float = 10.0) -> DesiredReplica:
    return DesiredReplica(replica_id, "sample", samples.model(), samples.recipe(), (), None, run, grace_s)


def workload(replica_id: str, phase: str = "running", started_at: float = 1.0) -> WorkloadStatus:
    return WorkloadStatus(replica_id, phase, 1, "host", None, "", started_at)  # type: ignore[arg-type]


def test_what_is_new_is_kept() -> None:
    assert decide([desired("a")], {}, []) == [Keep(desired("a"))]


def test_what_runs_as_desired_is_left_alone() -> None:
    assert decide([desired("a")], {"a": "ready"}, [workload("a")]) == []


def test_what_runs_from_before_is_adopted() -> None:
    assert decide([desired("a")], {}, [workload("a")]) == [Keep(desired("a"))]


def test_what_shall_stop_is_stopped_with_its_grace() -> None:
    assert decide([desired("a", run=False, grace_s=7.0)], {"a": "ready"}, [workload("a")]) == [Stop("a", 7.0)]


def test_what_shall_stop_but_never_started_is_settled() -> None:
    unwanted = desired("a", run=False)
    assert decide([unwanted], {"a": "starting"}, []) == [Settle(unwanted)]
    assert decide([unwanted], {}, []) == [Settle(unwanted)]
    assert decide([unwanted], {"a": "exited"}, []) == []


def test_what_runs_although_it_was_given_up_is_stopped() -> None:
    assert decide([desired("a")], {"a": "exited"}, [workload("a")]) == [Stop("a", UNNAMED_GRACE_S)]


def test_what_nobody_names_is_stopped_then_no_longer_reported() -> None:
    assert decide([], {"a": "ready"}, [workload("a")]) == [Stop("a", UNNAMED_GRACE_S)]
    assert decide([], {"a": "exited"}, [workload("a", "exited")]) == [Drop("a")]


def test_what_has_ended_stays_reported_while_control_names_it() -> None:
    assert decide([desired("a")], {"a": "exited"}, [workload("a", "exited")]) == []


def test_the_newest_ended_logs_are_kept_and_the_rest_forgotten() -> None:
    ended = [workload(f"old-{number:02}", "exited", number) for number in range(ENDED_KEPT + 2)]
    assert decide([], {}, ended) == [Forget("old-01"), Forget("old-00")]


def test_named_logs_are_never_forgotten() -> None:
    ended = [workload(f"old-{number:02}", "exited", number) for number in range(ENDED_KEPT + 2)]
    wanted = [desired(status.id) for status in ended]
    assert decide(wanted, {status.id: "exited" for status in ended}, ended) == []


def test_after_a_start_of_the_host_what_was_lost_starts_afresh() -> None:
    server = ExternalServer("http://127.0.0.1:9", None, "m", None)
    wanted = [
        desired("lost"),
        desired("gone"),
        desired("crashed"),
        desired("runs"),
        desired("unwanted", run=False),
        replace(desired("attached"), external=server),
    ]
    there = [workload("lost", "lost"), workload("crashed", "exited"), workload("runs"), workload("unwanted", "lost")]
    assert restartable(wanted, there) == ["gone", "lost"]


@given(st.integers(-1, 100), st.integers(-1, 100))
def test_an_answer_is_taken_unless_it_is_older(known: int, revision: int) -> None:
    assert newer(known, revision) is (revision >= known)


@dataclass
class World:
    """A centre and what the agent says of it, moved by decide's actions as the supervisor would."""

    revision: int = -1
    wanted: tuple[DesiredReplica, ...] = ()
    reported: dict[str, str] = field(default_factory=dict)
    workloads: dict[str, str] = field(default_factory=dict)
    starts: list[str] = field(default_factory=list)

    def take(self, revision: int, wanted: tuple[DesiredReplica, ...]) -> None:
        if newer(self.revision, revision):
            self.revision, self.wanted = revision, wanted

    def statuses(self) -> list[WorkloadStatus]:
        return [workload(name, phase) for name, phase in sorted(self.workloads.items())]

    def tick(self) -> list[Action]:
        for name, phase in self.workloads.items():
            if phase in ("exited", "lost") and name in self.reported:
                self.reported[name] = "exited"
        actions = decide(self.wanted, self.reported, self.statuses())
        for action in actions:
            self.act(action)
        return actions

    def act(self, action: Action) -> None:
        match action:
            case Keep(replica):
                self.reported[replica.replica_id] = "ready"
                if replica.replica_id not in self.workloads:
                    self.starts.append(replica.replica_id)
                    self.workloads[replica.replica_id] = "running"
            case Stop(name, _):
                self.workloads[name] = "exited"
                if name in self.reported:
                    self.reported[name] = "stopping"
            case Settle(replica):
                self.reported[replica.replica_id] = "exited"
            case Drop(name):
                del self.reported[name]
            case Forget(name):
                del self.workloads[name]


wishes = st.lists(
    st.lists(st.tuples(st.sampled_from(IDS), st.booleans()), unique_by=lambda wish: wish[0], max_size=4), max_size=6
)
happenings = st.lists(
    st.sampled_from(["tick", "crash", "lose", "restart agent", "repeat", "stale", "next"]), max_size=40
)


@given(wishes, happenings, st.randoms(use_true_random=False))
def test_whatever_answers_come_in_whatever_order_it_converges_to_the_newest(
    all_wishes: list[list[tuple[str, bool]]], events: list[str], random: object
) -> None:
    answers = [(n, tuple(desired(name, run) for name, run in wish)) for n, wish in enumerate(all_wishes)]
    world, sent = World(), 0
    choose = getattr(random, "choice")  # noqa: B009 - Hypothesis's Random is typed as object here
    for event in events:
        running = [name for name, phase in sorted(world.workloads.items()) if phase == "running"]
        match event:
            case "crash" | "lose" if running:
                world.workloads[choose(running)] = "exited" if event == "crash" else "lost"
            case "restart agent":
                world.reported.clear()
            case "repeat" | "stale" if sent:
                world.take(*choose(answers[:sent]))
            case "next" if sent < len(answers):
                world.take(*answers[sent])
                sent += 1
            case _:
                world.tick()
    for answer in reversed(answers):
        world.take(*answer)
    for _ in range(4):
        world.tick()

    assert world.tick() == []
    newest = {replica.replica_id: replica for replica in (answers[-1][1] if answers else ())}
    running_now = {name for name, phase in world.workloads.items() if phase == "running"}
    assert running_now <= {name for name, replica in newest.items() if replica.run}
    for name in newest:
        assert world.reported[name] == ("ready" if name in running_now else "exited")
    assert set(world.reported) == set(newest)
    assert len(world.starts) == len(set(world.starts))
