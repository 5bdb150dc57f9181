"""The world as snapshots tell it."""

from collections import Counter

import pytest

from yunhe.catalogue.ports import UsageProbe
from yunhe.gateway.options import Options
from yunhe.gateway.refusal import Refusal
from yunhe.gateway.routes import World
from yunhe.serve.snapshot import KeyEntry, ModelEntry, ProjectEntry, ReplicaEntry, SnapshotDelta


def replica(
    name: str, *, state: str = "ready", url: str = "http://h:1", speed: float = 10.0, share: float | None = None,
    deployment: str = "dep",
) -> ReplicaEntry:  # fmt: skip
    return ReplicaEntry(name, deployment, "m", url, "m", None, state, 4, speed, "here", UsageProbe(), share)


def counted(made: World, times: int = 2000) -> Counter[str]:
    return Counter(made.choose("m", 1, 0.0, []).entry.replica_id for _ in range(times))


def world(*replicas: ReplicaEntry) -> World:
    made = World(Options())
    key = KeyEntry("abc", "key_1", "00" * 32, "p", ("inference",), None, None, None, None)
    project = ProjectEntry("p", "default", None, None, None, 0)
    model = ModelEntry("m", 1, "yunhe", 100, ("chat",), None)
    made.apply(SnapshotDelta(1, True, 0.0, (key,), (project,), (model,), replicas))
    return made


def test_only_ready_replicas_get_requests() -> None:
    made = world(replica("a", state="draining"), replica("b"))
    assert {made.choose("m", 1, 0.0, []).entry.replica_id for _ in range(20)} == {"b"}


def test_a_delta_keeps_what_it_does_not_name_and_removes_what_it_does() -> None:
    made = world(replica("a"), replica("b"))
    a = made.replicas["a"]
    a.begin(50)
    made.apply(SnapshotDelta(2, False, 0.0, replicas=(replica("a", speed=99.0),), removed=("replica:b", "key:abc")))
    assert made.replicas == {"a": a}
    assert (a.outstanding_tokens, a.tokens_per_s) == (50, 99.0)
    assert made.keys == {}
    assert list(made.models) == ["m"]
    assert made.revision == 2


def test_a_full_snapshot_replaces_everything() -> None:
    made = world(replica("a"))
    made.apply(SnapshotDelta(1, True, 0.0))
    assert not (made.keys or made.projects or made.models or made.replicas or made.routes)


def test_a_moved_replica_gets_new_connections() -> None:
    made = world(replica("a"))
    before = made.replicas["a"]
    made.apply(SnapshotDelta(2, False, 0.0, replicas=(replica("a", url="http://h:2"),)))
    assert made.replicas["a"] is not before
    assert made.routes["m"] == [made.replicas["a"]]


def test_tried_and_resting_replicas_are_left_out() -> None:
    made = world(replica("a"), replica("b"))
    a, b = made.replicas["a"], made.replicas["b"]
    assert made.choose("m", 1, 0.0, [a]) is b
    a.failed(0.0, "refused", decisive=True)
    assert {made.choose("m", 1, 0.1, []) for _ in range(10)} == {b}
    b.failed(0.0, "refused", decisive=True)
    with pytest.raises(Refusal) as caught:
        made.choose("m", 1, 0.1, [])
    assert caught.value.status == 503
    assert caught.value.retry_after_s is not None
    half_open = made.choose("m", 1, 1.1, [])
    half_open.succeeded()
    assert made.choose("m", 1, 1.1, []) in (a, b)


def test_a_full_replica_is_left_out_and_all_full_is_503() -> None:
    made = world(replica("a"))
    made.replicas["a"].in_flight = 10**6
    with pytest.raises(Refusal) as caught:
        made.choose("m", 1, 0.0, [])
    assert caught.value.openai_code == "overloaded"


def test_a_replica_whose_url_cannot_be_read_is_left_out() -> None:
    made = world(replica("bad", url="ftp://x"), replica("good"))
    assert [r.entry.replica_id for r in made.routes["m"]] == ["good"]


def test_everything_known_can_be_kept_and_read_again() -> None:
    made = world(replica("a"), replica("b"))
    again = World(Options())
    again.apply(made.full())
    assert again.full() == made.full()


def test_a_canary_gets_its_share_however_fast_and_idle_it_is() -> None:
    made = world(replica("a"), replica("b"), replica("c", share=0.25, speed=1e6))
    taken = counted(made, 8000)
    assert abs(taken["c"] - 2000) < 200
    assert abs(taken["a"] - taken["b"]) < 400


def test_canaries_of_two_deployments_have_each_its_share() -> None:
    taken = counted(world(replica("a"), replica("c", share=0.1), replica("d", share=0.3, deployment="dep2")), 8000)
    assert abs(taken["c"] - 800) < 130
    assert abs(taken["d"] - 2400) < 220


def test_where_one_group_has_no_ready_replica_the_other_takes_all() -> None:
    assert set(counted(world(replica("c", share=0.1), replica("a", state="draining")), 50)) == {"c"}
    assert set(counted(world(replica("c", share=0.9, state="draining"), replica("a")), 50)) == {"a"}


def test_failover_crosses_groups() -> None:
    made = world(replica("a"), replica("c", share=0.5))
    a, c = made.replicas["a"], made.replicas["c"]
    assert {made.choose("m", 1, 0.0, [a]) for _ in range(30)} == {c}
    assert {made.choose("m", 1, 0.0, [c]) for _ in range(30)} == {a}
    c.failed(0.0, "refused", decisive=True)
    assert {made.choose("m", 1, 0.1, []) for _ in range(30)} == {a}
    a.in_flight = 10**6
    assert made.choose("m", 1, 1.1, []) is c


def test_a_promoted_canary_is_a_replica_like_any_other() -> None:
    made = world(replica("a"), replica("c", share=0.01))
    made.apply(SnapshotDelta(2, False, 0.0, replicas=(replica("c"),)))
    assert made.splits == {}
    assert abs(counted(made)["c"] - 1000) < 150
