"""Samples: one measured window of a candidate under load, whether it counts, and what several say together.

A window is the unit of everything here: requests of one window share the machine's mood, so intervals draw whole
windows again, as those of fidelity draw whole texts.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, Literal

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from yunhe.adapt.fidelity_stats import RESAMPLES, Interval, expanded_tail

#: Below five windows (or rounds) the range of all of them holds the median less often than nine times in ten:
#: 1 - 2 * (1/2)**5 = 0.94, and 0.875 with four. So no interval is given.
INTERVAL_WINDOWS_MIN: Final = 5
PERCENTILES: Final = (0.50, 0.90, 0.95, 0.99)
#: Resamples handled at once, so that memory stays bounded with many requests.
_BLOCK: Final = 100

Metric = Literal["output_tokens_per_s", "input_tokens_per_s", "goodput_per_s", "ttft_s", "tpot_s"]
Floats = NDArray[np.float64]


class Slo(Struct, frozen=True):
    """What a request must keep to count as good. Seconds; None: no bound."""

    ttft_s: float | None = None
    tpot_s: float | None = None


class Sample(Struct, frozen=True, kw_only=True):
    """One measured window of one candidate. Raises ValueError when its numbers cannot be."""

    candidate: str
    #: Candidates measured close in time share a round; only those are paired.
    round: int
    #: From the first request's start to the last counted token.
    duration_s: float
    #: Requests that were answered in full; the token counts and times are theirs.
    completed: int
    input_tokens: int
    output_tokens: int
    #: Output tokens that those requests had to bring; None where the length was left to the model.
    output_tokens_due: int | None = None
    #: One of each completed request.
    ttft_s: tuple[float, ...]
    #: The same order; None for an answer of one token.
    tpot_s: tuple[float | None, ...]
    #: Share of the machine's CPU time that went to processes that are not part of the measurement, 0 to 1.
    foreign_cpu_share: float
    memory_peak_bytes: int | None = None
    #: None where the chip does not report it.
    energy_joules: float | None = None
    #: Whether the measured process was proven to own the port that answered.
    owns_port: bool
    #: Requests that failed.
    errors: int = 0

    def __post_init__(self) -> None:
        if not len(self.ttft_s) == len(self.tpot_s) == self.completed:
            raise ValueError("a sample needs TTFT and TPOT of each completed request")
        given = [*self.ttft_s, *self.tpot_s, self.duration_s, self.foreign_cpu_share, self.energy_joules]
        given += [self.input_tokens, self.output_tokens, self.memory_peak_bytes, self.errors, self.round]
        if not all(math.isfinite(number) and number >= 0 for number in given if number is not None):
            raise ValueError("a sample's numbers are finite and not negative")


class SampleRules(Struct, frozen=True):
    """When a window counts."""

    #: Measured: other load cut a host's bandwidth from 23 to 9 GB/s. Above this share a window says nothing.
    foreign_cpu_share_max: float = 0.05
    duration_s_min: float = 3.0
    completed_min: int = 4


class Judgement(Struct, frozen=True):
    """Whether a window counts, and every reason against it."""

    accepted: bool
    reasons: tuple[str, ...] = ()


class Measured(Struct, frozen=True):
    """A value with its spread over windows, in the value's unit."""

    value: float
    #: Median absolute deviation of the windows' own values, unscaled.
    mad: float
    #: None with fewer than ``INTERVAL_WINDOWS_MIN`` windows.
    interval: Interval | None


class Percentiles(Struct, frozen=True):
    """Over the requests of all windows. Seconds."""

    p50: Measured
    p90: Measured
    p95: Measured
    p99: Measured


class Summary(Struct, frozen=True):
    """What a candidate's accepted windows say together: medians over windows, percentiles over requests."""

    candidate: str
    windows: int
    requests: int
    output_tokens_per_s: Measured
    input_tokens_per_s: Measured
    #: Requests a second that keep the SLO.
    goodput_per_s: Measured
    ttft_s: Percentiles
    #: None when every answer had one token.
    tpot_s: Percentiles | None
    memory_peak_bytes: int | None
    joules_per_output_token: Measured | None


def judge_sample(sample: Sample, rules: SampleRules | None = None) -> Judgement:
    """Accept a window, or reject it with all reasons."""
    reasons = tuple(_faults(sample, rules or SampleRules()))
    return Judgement(not reasons, reasons)


def _faults(sample: Sample, rules: SampleRules) -> Iterator[str]:
    if not sample.owns_port:
        yield "the measured process does not own the port that answered"
    if sample.errors:
        yield f"{sample.errors} of {sample.errors + sample.completed} requests failed"
    if sample.output_tokens_due is not None and sample.output_tokens != sample.output_tokens_due:
        yield f"{sample.output_tokens} output tokens, {sample.output_tokens_due} were due"
    elif sample.output_tokens < sample.completed:
        yield f"{sample.output_tokens} output tokens of {sample.completed} requests"
    if sample.foreign_cpu_share > rules.foreign_cpu_share_max:
        yield f"foreign CPU {sample.foreign_cpu_share:.1%}, at most {rules.foreign_cpu_share_max:.0%} may be"
    if sample.duration_s < rules.duration_s_min:
        yield f"too short: {sample.duration_s:.1f} s, at least {rules.duration_s_min:g} s are due"
    if sample.completed < rules.completed_min:
        yield f"too short: {sample.completed} requests, at least {rules.completed_min} are due"


def window_value(sample: Sample, metric: Metric, slo: Slo) -> float | None:
    """One number of a window: a rate, or the median over its requests. None when the window cannot say."""
    if metric in ("ttft_s", "tpot_s"):
        times = _times(sample, metric)
        return float(np.median(times)) if len(times) else None
    if sample.duration_s <= 0:
        return None
    if metric == "goodput_per_s":
        return good_requests(sample, slo) / sample.duration_s
    tokens = sample.output_tokens if metric == "output_tokens_per_s" else sample.input_tokens
    return tokens / sample.duration_s


def good_requests(sample: Sample, slo: Slo) -> int:
    """Completed requests that keep every bound; an answer of one token has no TPOT to break."""
    return sum(
        (slo.ttft_s is None or ttft <= slo.ttft_s) and (slo.tpot_s is None or tpot is None or tpot <= slo.tpot_s)
        for ttft, tpot in zip(sample.ttft_s, sample.tpot_s, strict=True)
    )


def summarise(samples: Sequence[Sample], slo: Slo, rng: np.random.Generator) -> Summary:
    """What accepted windows of one candidate say. Raises ValueError for none, for windows of several candidates, or
    without a completed request."""
    names = {sample.candidate for sample in samples}
    if len(names) != 1 or not all(sample.completed and sample.duration_s > 0 for sample in samples):
        raise ValueError("a summary needs windows of one candidate, each with completed requests")
    memory = [sample.memory_peak_bytes for sample in samples if sample.memory_peak_bytes is not None]
    energy = [s.energy_joules / s.output_tokens for s in samples if s.energy_joules is not None and s.output_tokens]

    def rate(metric: Metric) -> Measured:
        return _median([window_value(sample, metric, slo) or 0.0 for sample in samples], rng)

    ttft = _percentiles([_times(sample, "ttft_s") for sample in samples], rng)
    assert ttft is not None  # each window has a completed request
    return Summary(
        candidate=names.pop(),
        windows=len(samples),
        requests=sum(sample.completed for sample in samples),
        output_tokens_per_s=rate("output_tokens_per_s"),
        input_tokens_per_s=rate("input_tokens_per_s"),
        goodput_per_s=rate("goodput_per_s"),
        ttft_s=ttft,
        tpot_s=_percentiles([_times(sample, "tpot_s") for sample in samples], rng),
        memory_peak_bytes=max(memory, default=None),
        joules_per_output_token=_median(energy, rng) if energy else None,
    )


def median_absolute_deviation(values: Floats) -> float:
    """Of one value or more, unscaled (for a normal distribution 0.67 standard deviations)."""
    return float(np.median(np.abs(values - np.median(values))))


def median_interval(values: Floats, rng: np.random.Generator) -> Interval | None:
    """Of the median, by a bootstrap with widened levels for few values; None below ``INTERVAL_WINDOWS_MIN``."""
    if len(values) < INTERVAL_WINDOWS_MIN:
        return None
    medians = np.median(rng.choice(values, size=(RESAMPLES, len(values))), axis=1)
    return _ends(medians, len(values))


def _ends(resampled: Floats, windows: int) -> Interval:
    tail = expanded_tail(windows, 0.95)
    low, high = np.quantile(resampled, [tail, 1.0 - tail])
    return Interval(float(low), float(high))


def _median(values: Sequence[float], rng: np.random.Generator) -> Measured:
    found = np.asarray(values, dtype=np.float64)
    return Measured(float(np.median(found)), median_absolute_deviation(found), median_interval(found, rng))


def _times(sample: Sample, metric: Metric) -> Floats:
    times = sample.ttft_s if metric == "ttft_s" else sample.tpot_s
    return np.array([time for time in times if time is not None], dtype=np.float64)


def _percentiles(windows: Sequence[Floats], rng: np.random.Generator) -> Percentiles | None:
    """Of the requests of all windows (nearest rank), with intervals from drawing whole windows."""
    windows = [times for times in windows if len(times)]
    if not windows:
        return None
    count = len(windows)
    times = np.concatenate(windows)
    order = np.argsort(times, kind="stable")
    times, owner = times[order], np.repeat(np.arange(count), [len(one) for one in windows])[order]
    values = _ranked(times, np.ones((1, len(times))))[0]
    own = np.array([_ranked(np.sort(one), np.ones((1, len(one))))[0] for one in windows])
    intervals: list[Interval | None] = [None] * len(PERCENTILES)
    if count >= INTERVAL_WINDOWS_MIN:
        draws = rng.multinomial(count, np.full(count, 1.0 / count), size=RESAMPLES).astype(np.float64)
        blocks = [_ranked(times, draws[start : start + _BLOCK, owner]) for start in range(0, RESAMPLES, _BLOCK)]
        resampled = np.concatenate(blocks)
        intervals = [_ends(resampled[:, column], count) for column in range(len(PERCENTILES))]
    found = [
        Measured(float(values[column]), median_absolute_deviation(own[:, column]), intervals[column])
        for column in range(len(PERCENTILES))
    ]
    return Percentiles(*found)


def _ranked(times: Floats, weights: Floats) -> Floats:
    """Percentiles of sorted times under each row of weights; shape (rows, percentiles)."""
    below = np.cumsum(weights, axis=1)
    # Sums of whole numbers are exact; the slack is for the product alone.
    wanted = below[:, -1:] * np.array(PERCENTILES) - 1e-9
    first = np.array([np.searchsorted(row, levels) for row, levels in zip(below, wanted, strict=True)])
    found: Floats = times[first]
    return found
