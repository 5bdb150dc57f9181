"""The worker's figures: counters for ever (metrics) and of the last second (for control)."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from yunhe.serve.snapshot import ReplicaStats, WorkerStats

if TYPE_CHECKING:
    from yunhe.gateway.settlement import Settled

BUCKETS_S: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
_SAMPLES_MAX: Final = 4096
_MODELS_MAX: Final = 500
_REPLICAS_MAX: Final = 500
_NOTHING: Final = ReplicaStats()
#: Outcomes that are not the replica's fault.
_FAULTLESS: Final = frozenset({"ok", "client_disconnected", "refused"})
_UNCOUNTED_MAX: Final = 2000


class Histogram:
    """Cumulative counts under bounds, Prometheus' way."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BUCKETS_S) + 1)
        self.sum_s = 0.0

    def add(self, seconds: float) -> None:
        """One observation."""
        self.counts[bisect_left(BUCKETS_S, seconds)] += 1
        self.sum_s += seconds


class ReplicaWindow:
    """A replica's part of the window."""

    __slots__ = ("errors", "requests", "tpot", "ttft")

    def __init__(self) -> None:
        self.requests = 0
        self.errors = 0
        #: Seconds, of streams.
        self.ttft: list[float] = []
        self.tpot: list[float] = []

    def told(self) -> ReplicaStats:
        """What control is told of it."""
        ttft, tpot = sorted(self.ttft), sorted(self.tpot)
        return ReplicaStats(
            requests=self.requests,
            errors=self.errors,
            streams=len(ttft),
            ttft_ms_p50=_percentile_ms(ttft, 0.5),
            ttft_ms_p95=_percentile_ms(ttft, 0.95),
            tpot_ms_p50=_percentile_ms(tpot, 0.5),
            tpot_ms_p95=_percentile_ms(tpot, 0.95),
        )


class Stats:
    """Counters. Cheap to add to; read once a second."""

    def __init__(self) -> None:
        self.in_flight = 0
        self.connections = 0
        self.connections_total = 0
        self.connections_refused = 0
        self.relayed = 0
        self.stalled = 0
        self.attempts_failed = 0
        self.adopted_streams = 0
        #: (status, code) -> refusals before admission and failures after it
        self.refusals: Counter[tuple[int, str]] = Counter()
        #: (model, endpoint, outcome) -> settled requests
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.prompt_tokens: Counter[str] = Counter()
        self.completion_tokens: Counter[str] = Counter()
        self._uncounted: list[Settled] = []
        self.ttft = Histogram()
        self.duration = Histogram()
        self._clear_window()

    def _clear_window(self) -> None:
        self._window_requests = 0
        self._window_errors = 0
        self._window_prompt = 0
        self._window_completion = 0
        self._window_ttft: list[float] = []
        self._window_duration: list[float] = []
        self._window_models: dict[str, int] = {}
        self._window_replicas: dict[str, ReplicaWindow] = {}

    def refused(self, status: int, code: str | None, *, admitted: bool) -> None:
        """A request was answered with an error; an ``admitted`` one is also settled."""
        self.refusals[status, code or ""] += 1
        if not admitted:
            self._window_requests += 1
            if status >= 500:
                self._window_errors += 1

    def failed_over(self, replica_id: str) -> None:
        """A request that failed at this replica is tried at another; where it fails last it is settled."""
        window = self._replica(replica_id)
        if window is not None:
            window.requests += 1
            window.errors += 1

    def settled(self, record: Settled) -> None:
        """A request was settled. Counted later, many at once: cheaper for all than one by one between other work."""
        self._uncounted.append(record)
        if len(self._uncounted) >= _UNCOUNTED_MAX:
            self.count()

    def count(self) -> None:
        """Take all settled requests into the figures."""
        uncounted, self._uncounted = self._uncounted, []
        for record in uncounted:
            self._count(record)

    def _count(self, record: Settled) -> None:
        model = record.model
        self.requests[model, record.endpoint, record.outcome] += 1
        self._window_requests += 1
        models = self._window_models
        if model in models or len(models) < _MODELS_MAX:
            models[model] = models.get(model, 0) + 1
        failed = record.outcome not in _FAULTLESS
        if failed:
            self._window_errors += 1
        self.prompt_tokens[model] += record.prompt_tokens
        self.completion_tokens[model] += record.completion_tokens
        self._window_prompt += record.prompt_tokens
        self._window_completion += record.completion_tokens
        self.duration.add(record.duration_s)
        if len(self._window_duration) < _SAMPLES_MAX:
            self._window_duration.append(record.duration_s)
        ttft_s = record.ttft_s
        if ttft_s is not None:
            self.ttft.add(ttft_s)
            if len(self._window_ttft) < _SAMPLES_MAX:
                self._window_ttft.append(ttft_s)
        if record.replica_id is not None:
            self._count_replica(record, record.replica_id, failed)

    def _count_replica(self, record: Settled, replica_id: str, failed: bool) -> None:
        window = self._replica(replica_id)
        if window is None:
            return
        window.requests += 1
        if failed:
            window.errors += 1
        # Neither a client that left, nor the time lost at another replica, says anything of this one.
        counts = record.stream and record.outcome == "ok" and record.attempts == 1
        if counts and record.ttft_s is not None and len(window.ttft) < _SAMPLES_MAX:
            window.ttft.append(record.ttft_s)
            if record.completion_tokens > 1:
                window.tpot.append((record.duration_s - record.ttft_s) / (record.completion_tokens - 1))

    def _replica(self, replica_id: str) -> ReplicaWindow | None:
        """Its part of the window; None beyond the number that is kept."""
        window = self._window_replicas.get(replica_id)
        if window is None and len(self._window_replicas) < _REPLICAS_MAX:
            window = self._window_replicas[replica_id] = ReplicaWindow()
        return window

    def window(
        self, *, worker: str, pid: int, at: float, window_s: float, pending: int, revision: int,
        in_flight: Mapping[str, int] = MappingProxyType({}),
    ) -> WorkerStats:  # fmt: skip
        """What control is told; begins the next window. ``in_flight``: requests now, of replicas that have any."""
        self.count()
        parts = {replica_id: part.told() for replica_id, part in self._window_replicas.items()}
        for replica_id, count in in_flight.items():
            if replica_id in parts or len(parts) < _REPLICAS_MAX:
                parts[replica_id] = replace(parts.get(replica_id, _NOTHING), in_flight=count)
        ttft, duration = sorted(self._window_ttft), sorted(self._window_duration)
        told = WorkerStats(
            worker=worker,
            pid=pid,
            at=at,
            window_s=window_s,
            requests=self._window_requests,
            errors=self._window_errors,
            prompt_tokens=self._window_prompt,
            completion_tokens=self._window_completion,
            in_flight=self.in_flight,
            ttft_ms_p50=_percentile_ms(ttft, 0.5),
            ttft_ms_p95=_percentile_ms(ttft, 0.95),
            duration_ms_p50=_percentile_ms(duration, 0.5),
            duration_ms_p95=_percentile_ms(duration, 0.95),
            spool_pending=pending,
            snapshot_revision=revision,
            by_model=self._window_models,
            by_replica=parts,
        )
        self._clear_window()
        return told


def _percentile_ms(ordered: list[float], share: float) -> float | None:
    """Nearest rank, in milliseconds."""
    if not ordered:
        return None
    return round(ordered[min(len(ordered) - 1, int(share * len(ordered)))] * 1000, 3)
