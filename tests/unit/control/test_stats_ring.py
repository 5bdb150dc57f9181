from __future__ import annotations

from dataclasses import replace

from yunhe.control.rollout_pass import figures
from yunhe.control.stats import REPLICAS_MAX, REPORTS_MAX, WORKERS_MAX, StatsRing
from yunhe.serve.rollout import Figures
from yunhe.serve.snapshot import ReplicaStats, WorkerStats

STATS = WorkerStats("w0", 1, 0.0, 1.0, 5, 0, 10, 20, 1, None, None, None, None, 0, 3)


def test_the_window_holds_recent_reports_oldest_first() -> None:
    ring = StatsRing()
    for at in (3.0, 1.0, 2.0):
        ring.add(replace(STATS, worker=f"w{at:.0f}"), at)
    assert [at for at, _ in ring.window(3.0, 2.5)] == [1.0, 2.0, 3.0]
    assert [at for at, _ in ring.window(3.0, 1.5)] == [2.0, 3.0]


def test_a_silent_worker_does_not_count_as_running() -> None:
    ring = StatsRing()
    ring.add(STATS, 0.0)
    ring.add(replace(STATS, worker="w1"), 8.0)
    assert [stats.worker for stats in ring.running(9.0)] == ["w1"]


def test_memory_is_bounded_in_reports_and_workers() -> None:
    ring = StatsRing()
    for n in range(REPORTS_MAX + 50):
        ring.add(STATS, float(n))
    for n in range(WORKERS_MAX + 50):
        ring.add(replace(STATS, worker=f"x{n}"), 1e6 + n)
    kept = ring.window(2e6, 2e6)
    assert len(kept) <= REPORTS_MAX + WORKERS_MAX
    assert "w0" not in {stats.worker for _, stats in kept}


def told(*replicas: str, requests: int = 2) -> WorkerStats:
    return replace(
        STATS, by_replica={name: ReplicaStats(requests, 0, requests, 10.0, 20.0, 1.0, 2.0) for name in replicas}
    )


def test_what_is_known_of_a_replica_outlives_the_reports_of_idle_seconds() -> None:
    ring = StatsRing()
    ring.add(told("a", "b"), 0.0)
    for n in range(REPORTS_MAX + 50):
        ring.add(STATS, float(n))
    ring.add(told("a"), 5000.0)
    assert len(ring.of_replicas(["a"])) == 2
    assert len(ring.of_replicas(["a", "b", "none"])) == 3
    assert len(ring.of_replicas(["a", "b"], since=5000.0)) == 1


def test_memory_is_bounded_in_replicas_and_their_reports() -> None:
    ring = StatsRing()
    for n in range(REPLICAS_MAX + 20):
        ring.add(told("busy", f"r{n}"), float(n))
    assert [len(ring.of_replicas([name])) for name in ("busy", "r0", "r300")] == [REPLICAS_MAX + 20, 0, 0]
    for n in range(REPORTS_MAX + 20):
        ring.add(told("busy"), 1e6 + n)
    assert len(ring.of_replicas(["busy"])) == REPORTS_MAX


def test_figures_weigh_reports_by_their_streams() -> None:
    many, few = ReplicaStats(90, 1, 90, 100.0, 200.0, 10.0, 12.0), ReplicaStats(10, 0, 10, 900.0, 900.0, 90.0, 90.0)
    assert figures([many, few, ReplicaStats(5, 5, 0)]) == Figures(105, 6, 100, 0.9, 0.01)
    assert figures([]) == Figures()


def test_busy_are_those_with_requests_in_flight_at_a_worker_that_still_reports() -> None:
    ring = StatsRing()
    idle, busy = ReplicaStats(3), ReplicaStats(in_flight=1)
    ring.add(replace(STATS, by_replica={"a": busy, "b": busy}), 10.0)
    ring.add(replace(STATS, by_replica={"a": idle, "b": busy}), 11.0)
    ring.add(replace(STATS, worker="dead", by_replica={"c": busy}), 1.0)
    assert ring.busy(12.0) == {"b"}
    assert ring.busy(99.0) == frozenset()
    assert ring.of_replicas(["b"]) == []
