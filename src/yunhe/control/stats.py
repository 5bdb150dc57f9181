"""The last minutes of the gateway workers' own figures, in memory only: a restart of control forgets them.

What they say of single replicas is kept for longer: a report counts one request at least, so that many reports are
enough to judge a replica by, however seldom it is called.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Final

from yunhe.serve.snapshot import ReplicaStats, WorkerStats

#: Reports kept per worker: at about one a second, ten minutes.
REPORTS_MAX: Final = 600
#: Workers remembered; the one silent longest is dropped first.
WORKERS_MAX: Final = 256
#: Replicas remembered; the one without a request for longest is dropped first.
REPLICAS_MAX: Final = 256
#: A worker that reported nothing for so long is not counted as running.
SILENT_AFTER_S: Final = 5.0


class StatsRing:
    """Bounded memory of worker reports, stamped with control's own clock (workers' clocks may differ)."""

    def __init__(self) -> None:
        self._reports: dict[str, deque[tuple[float, WorkerStats]]] = {}
        self._replicas: dict[str, deque[tuple[float, ReplicaStats]]] = {}

    def add(self, stats: WorkerStats, now: float) -> None:
        """Remember one report, received at ``now`` (unix seconds)."""
        ring = self._reports.pop(stats.worker, None)
        if ring is None:
            ring = deque(maxlen=REPORTS_MAX)
        # Reinserted at the end, so that the first key is the worker silent longest.
        self._reports[stats.worker] = ring
        ring.append((now, stats))
        while len(self._reports) > WORKERS_MAX:
            del self._reports[next(iter(self._reports))]
        for replica_id, part in stats.by_replica.items():
            if not part.requests:
                continue
            parts = self._replicas.pop(replica_id, None) or deque(maxlen=REPORTS_MAX)
            self._replicas[replica_id] = parts
            parts.append((now, part))
        while len(self._replicas) > REPLICAS_MAX:
            del self._replicas[next(iter(self._replicas))]

    def of_replicas(self, replica_ids: Iterable[str], since: float = 0.0) -> list[ReplicaStats]:
        """Reports about these replicas received from then on (unix seconds), at most ``REPORTS_MAX`` of each."""
        found = (item for replica_id in replica_ids for item in self._replicas.get(replica_id, ()))
        return [part for at, part in found if at >= since]

    def busy(self, now: float) -> frozenset[str]:
        """Ids of the replicas that some worker has requests at."""
        running = self.running(now)
        return frozenset(name for stats in running for name, part in stats.by_replica.items() if part.in_flight)

    def window(self, now: float, window_s: float) -> Sequence[tuple[float, WorkerStats]]:
        """Reports received in the last ``window_s`` seconds as (received at, report), oldest first."""
        since = now - window_s
        found = [item for ring in self._reports.values() for item in ring if item[0] > since]
        return sorted(found, key=lambda item: item[0])

    def running(self, now: float) -> Sequence[WorkerStats]:
        """The last report of each worker that is not silent, by worker name."""
        last = (ring[-1] for ring in self._reports.values() if ring)
        return sorted((stats for at, stats in last if now - at <= SILENT_AFTER_S), key=lambda stats: stats.worker)
