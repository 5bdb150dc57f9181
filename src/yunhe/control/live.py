"""Live metrics: what the gateway's workers reported over the last minutes, summed over workers.

Rates are of the last ``RECENT_S`` seconds, latencies of the whole window; the series has at most ``POINTS_MAX`` points.
Percentiles of a union cannot be had exactly from percentiles of its parts. Each report counts as nine tenths of its
requests at its median and one tenth at its 95th percentile: exact for a single report, and exact for many reports of
one request each.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from yunhe.control.state import ControlState
from yunhe.serve.snapshot import WorkerStats

RECENT_S: Final = 10.0
POINTS_MAX: Final = 60

Reports = Sequence[tuple[float, WorkerStats]]


@dataclass(frozen=True, slots=True)
class LivePoint:
    """One step of the series, ending at ``at`` (unix seconds); None where nothing was reported."""

    at: float
    requests_per_s: float | None
    completion_tokens_per_s: float | None
    ttft_ms_p50: float | None
    ttft_ms_p95: float | None
    in_flight: int | None


@dataclass(frozen=True, slots=True)
class LiveModel:
    """A model's rate of requests."""

    model: str
    requests_per_s: float


@dataclass(frozen=True, slots=True)
class LiveView:
    """All of it; None where nothing was reported."""

    at: float
    workers: int
    in_flight: int
    requests_per_s: float | None
    errors_per_s: float | None
    prompt_tokens_per_s: float | None
    completion_tokens_per_s: float | None
    ttft_ms_p50: float | None
    ttft_ms_p95: float | None
    duration_ms_p50: float | None
    duration_ms_p95: float | None
    series: tuple[LivePoint, ...]
    models: tuple[LiveModel, ...]


class LiveBoard:
    """Reads the ring of one control process."""

    def __init__(self, state: ControlState) -> None:
        self._state = state

    def read(self, window_s: float) -> LiveView:
        """The metrics of the last ``window_s`` seconds."""
        now = self._state.clock.unix_s()
        ring = self._state.stats
        return live_view(ring.window(now, window_s), ring.running(now), now, window_s)


def live_view(reports: Reports, running: Sequence[WorkerStats], now: float, window_s: float) -> LiveView:
    """The metrics of these reports, received within ``window_s`` before ``now``, oldest first. Pure."""
    stats = [report for _, report in reports]
    recent = [report for at, report in reports if at > now - RECENT_S]
    # A control that started two seconds ago has seen two seconds, not ten.
    seen_s = min(RECENT_S, max(1.0, now - min((at - s.window_s for at, s in reports), default=now)))

    def rate(counts: Iterable[int]) -> float | None:
        return sum(counts) / seen_s if recent else None

    return LiveView(
        at=now,
        workers=len(running),
        in_flight=sum(report.in_flight for report in running),
        requests_per_s=rate(report.requests for report in recent),
        errors_per_s=rate(report.errors for report in recent),
        prompt_tokens_per_s=rate(report.prompt_tokens for report in recent),
        completion_tokens_per_s=rate(report.completion_tokens for report in recent),
        ttft_ms_p50=percentile(0.5, ((s.requests, s.ttft_ms_p50, s.ttft_ms_p95) for s in stats)),
        ttft_ms_p95=percentile(0.95, ((s.requests, s.ttft_ms_p50, s.ttft_ms_p95) for s in stats)),
        duration_ms_p50=percentile(0.5, ((s.requests, s.duration_ms_p50, s.duration_ms_p95) for s in stats)),
        duration_ms_p95=percentile(0.95, ((s.requests, s.duration_ms_p50, s.duration_ms_p95) for s in stats)),
        series=_series(reports, now, window_s),
        models=_models(stats, recent, seen_s),
    )


def percentile(share: float, parts: Iterable[tuple[int, float | None, float | None]]) -> float | None:
    """The value below which ``share`` of all requests lie, from (requests, median, 95th percentile) of each part."""
    weighted: list[tuple[float, float]] = []
    for count, median, high in parts:
        if median is None or high is None:
            continue
        # A stream's first token may fall into a report that counts no finished request.
        requests = max(count, 1)
        weighted += [(median, 0.9 * requests), (high, 0.1 * requests)]
    weighted.sort()
    wanted = share * sum(weight for _, weight in weighted)
    reached = 0.0
    for value, weight in weighted:
        reached += weight
        if reached >= wanted - 1e-9:
            return value
    return None


def _series(reports: Reports, now: float, window_s: float) -> tuple[LivePoint, ...]:
    step_s = max(1.0, float(math.ceil(window_s / POINTS_MAX)))
    # Whole steps only: a step still filling would look like a drop.
    last = math.floor(now / step_s)
    first = last - math.floor(window_s / step_s)
    steps: dict[int, list[WorkerStats]] = {number: [] for number in range(first, last)}
    for at, report in reports:
        number = math.floor(at / step_s)
        if number in steps:
            steps[number].append(report)
    return tuple(_point((number + 1) * step_s, found, step_s) for number, found in steps.items())


def _point(at: float, found: Sequence[WorkerStats], step_s: float) -> LivePoint:
    if not found:
        return LivePoint(at, None, None, None, None, None)
    by_worker = {report.worker: report.in_flight for report in found}
    latencies = [(report.requests, report.ttft_ms_p50, report.ttft_ms_p95) for report in found]
    return LivePoint(
        at=at,
        requests_per_s=sum(report.requests for report in found) / step_s,
        completion_tokens_per_s=sum(report.completion_tokens for report in found) / step_s,
        ttft_ms_p50=percentile(0.5, latencies),
        ttft_ms_p95=percentile(0.95, latencies),
        in_flight=sum(by_worker.values()),
    )


def _models(stats: Sequence[WorkerStats], recent: Sequence[WorkerStats], seen_s: float) -> tuple[LiveModel, ...]:
    counts = {model: 0 for report in stats for model in report.by_model}
    for report in recent:
        for model, count in report.by_model.items():
            counts[model] += count
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(LiveModel(model, count / seen_s) for model, count in ordered)
