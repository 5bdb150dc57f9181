from __future__ import annotations

from dataclasses import replace

from yunhe.control.stats import REPORTS_MAX, WORKERS_MAX, StatsRing
from yunhe.serve.snapshot import WorkerStats

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
