"""Numbers of a report from windows: values with their spread, and ratios."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

import numpy as np

from yunhe.adapt.comparison import Comparison
from yunhe.adapt.confirmation import LOWER_IS_BETTER
from yunhe.adapt.report_records import Ratio, Speeds, Spread
from yunhe.adapt.samples import (
    INTERVAL_WINDOWS_MIN,
    Measured,
    Metric,
    Sample,
    Slo,
    Summary,
    median_interval,
    summarise,
    window_value,
)

#: Reports are functions of the journal: the same windows give the same intervals.
_SEED: Final = 1
_RATES: Final[tuple[Metric, ...]] = ("output_tokens_per_s", "input_tokens_per_s", "goodput_per_s")


def spread(values: Sequence[float]) -> Spread | None:
    """The median of windows' values; None without one."""
    if not values:
        return None
    found = np.asarray(values, dtype=np.float64)
    ends = median_interval(found, np.random.default_rng(_SEED))
    return Spread(
        value=float(np.median(found)),
        low=ends.low if ends else float(found.min()),
        high=ends.high if ends else float(found.max()),
        basis="interval" if ends else "single" if len(values) == 1 else "range",
        windows=len(values),
    )


@lru_cache(maxsize=512)
def speeds(samples: tuple[Sample, ...], slo: Slo) -> Speeds | None:
    """What accepted windows of one candidate say; None without one.

    Kept, because who follows an adaptation asks every second, and only the candidate under way has changed.
    """
    if not samples:
        return None
    whole = summarise(samples, slo, np.random.default_rng(_SEED))
    each = [summarise([sample], slo, np.random.default_rng(_SEED)) for sample in samples]
    rates = {metric: [window_value(sample, metric, slo) or 0.0 for sample in samples] for metric in _RATES}
    energy = [one.joules_per_output_token.value for one in each if one.joules_per_output_token]
    with_tpot = [one for one in each if one.tpot_s]
    return Speeds(
        output_tokens_per_s=_some(spread(rates["output_tokens_per_s"])),
        input_tokens_per_s=_some(spread(rates["input_tokens_per_s"])),
        goodput_per_s=_some(spread(rates["goodput_per_s"])),
        ttft_p50_s=_percentile(whole.ttft_s.p50, [one.ttft_s.p50.value for one in each]),
        ttft_p95_s=_percentile(whole.ttft_s.p95, [one.ttft_s.p95.value for one in each]),
        tpot_p50_s=_tpot(whole, with_tpot, "p50"),
        tpot_p95_s=_tpot(whole, with_tpot, "p95"),
        memory_peak_bytes=whole.memory_peak_bytes,
        joules_per_output_token=spread(energy),
    )


def _tpot(whole: Summary, each: Sequence[Summary], which: str) -> Spread | None:
    if whole.tpot_s is None:
        return None
    measured: Measured = getattr(whole.tpot_s, which)
    return _percentile(measured, [getattr(one.tpot_s, which).value for one in each])


def _percentile(measured: Measured, windows: Sequence[float]) -> Spread:
    """Over the requests of all windows; with few windows the ends are the windows' own."""
    ends, count = measured.interval, len(windows)
    return Spread(
        value=measured.value,
        low=ends.low if ends else min(windows),
        high=ends.high if ends else max(windows),
        basis="interval" if count >= INTERVAL_WINDOWS_MIN else "single" if count == 1 else "range",
        windows=count,
    )


def _some(found: Spread | None) -> Spread:
    assert found is not None
    return found


def ratio(metric: Metric, compared: Comparison) -> Ratio:
    """As a record."""
    ends = compared.interval
    return Ratio(
        metric=metric,
        lower_is_better=metric in LOWER_IS_BETTER,
        ratio=compared.ratio,
        low=ends.low if ends else None,
        high=ends.high if ends else None,
        rounds=compared.rounds,
        outcome=compared.outcome,
    )
