"""Comparison: is a candidate faster than its baseline, shown by rounds in which both were measured side by side?

A machine drifts, so values of different minutes are never compared: each round gives one ratio, and the rounds' ratios
give the answer. Where the noise is as large as the difference the answer is a refusal, not a rank.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from yunhe.adapt.fidelity_stats import Interval
from yunhe.adapt.samples import INTERVAL_WINDOWS_MIN, median_absolute_deviation, median_interval

#: Fewer rounds decide nothing.
ROUNDS_MIN: Final = INTERVAL_WINDOWS_MIN
#: A difference within this many median absolute deviations of the rounds' ratios is noise.
NOISE_MADS: Final = 2.0

#: ``undecided``: too few rounds. ``refused_to_rank``: enough rounds, and the difference is within the noise.
Outcome = Literal["better", "worse", "undecided", "refused_to_rank"]
Gate = Literal["passed", "failed", "insufficient", "unmeasured"]


class Patience(Struct, frozen=True):
    """How long it is worth to measure on."""

    #: Half of the interval's width over the ratio; a decided comparison is tight enough below it.
    half_width_max: float = 0.05
    #: Rounds in all beyond which no more are worth it.
    rounds_max: int = 15


class Comparison(Struct, frozen=True):
    """A candidate over its baseline in one metric."""

    #: Rounds in which both were measured.
    rounds: int
    #: Median of the rounds' ratios (of their logarithms); None without a round.
    ratio: float | None
    #: Median absolute deviation of the logarithms of the ratios: roughly a relative error.
    mad: float | None
    #: 95 %; None below ``ROUNDS_MIN`` rounds.
    interval: Interval | None
    outcome: Outcome
    #: How many more rounds are worth measuring; 0 when decided and tight, or when more would not help.
    rounds_worth: int


def compare(
    candidate: Mapping[int, float],
    baseline: Mapping[int, float],
    rng: np.random.Generator,
    *,
    higher_is_better: bool = True,
    patience: Patience | None = None,
) -> Comparison:
    """Compare values by round; rounds that lack one of both are left out.

    The interval is a paired bootstrap: rounds are drawn again, each with both of its values. ``better`` and ``worse``
    need an interval that does not hold 1 and a ratio farther from 1 than ``NOISE_MADS`` deviations. Raises ValueError
    for a value that is not above 0.
    """
    patience = patience or Patience()
    rounds = sorted(candidate.keys() & baseline.keys())
    if not all(0.0 < values[number] < math.inf for number in rounds for values in (candidate, baseline)):
        raise ValueError("a ratio needs values above 0")
    if not rounds:
        return Comparison(0, None, None, None, "undecided", ROUNDS_MIN)
    logs = np.array([math.log(candidate[number] / baseline[number]) for number in rounds])
    centre, mad = float(np.median(logs)), median_absolute_deviation(logs)
    ends = median_interval(logs, rng)
    interval = None if ends is None else Interval(math.exp(ends.low), math.exp(ends.high))
    return Comparison(
        rounds=len(rounds),
        ratio=math.exp(centre),
        mad=mad,
        interval=interval,
        outcome=_outcome(centre, mad, ends, higher_is_better),
        rounds_worth=_rounds_worth(len(rounds), centre, mad, ends, patience),
    )


def _outcome(centre: float, mad: float, ends: Interval | None, higher_is_better: bool) -> Outcome:
    if ends is None:
        return "undecided"
    if ends.low <= 0.0 <= ends.high or abs(centre) <= NOISE_MADS * mad:
        return "refused_to_rank"
    return "better" if (centre > 0.0) == higher_is_better else "worse"


def _rounds_worth(rounds: int, centre: float, mad: float, ends: Interval | None, patience: Patience) -> int:
    """Rounds until the interval is tight, or until it leaves 1, whichever is due; widths shrink with the root."""
    if ends is None:
        return max(0, min(ROUNDS_MIN, patience.rounds_max) - rounds)
    if abs(centre) <= NOISE_MADS * mad:
        # The rounds' own spread stays, however many there are: no number of them would rank the two.
        return 0
    half_width = (ends.high - ends.low) / 2.0
    target = math.log1p(patience.half_width_max)
    if ends.low <= 0.0 <= ends.high:
        target = min(target, abs(centre))
    if half_width <= target:
        # Skewed about 1: one round more is the smallest step that may still move the near end.
        needed = rounds + (1 if ends.low <= 0.0 <= ends.high else 0)
    else:
        needed = math.ceil(rounds * (half_width / target) ** 2)
    return max(0, min(needed, patience.rounds_max) - rounds)


class Point(Struct, frozen=True):
    """A candidate in the picture of throughput against TPOT."""

    candidate: str
    output_tokens_per_s: float
    tpot_s: float
    gate: Gate = "unmeasured"
    on_frontier: bool = False


def with_frontier(points: Sequence[Point]) -> tuple[Point, ...]:
    """The points, marked where no other is at least as good in both and better in one.

    A point that failed the fidelity gate may be on the frontier, but hides none that did not fail.
    """
    return tuple(
        Point(
            point.candidate,
            point.output_tokens_per_s,
            point.tpot_s,
            point.gate,
            not any(_hides(other, point) for other in points),
        )
        for point in points
    )


def _hides(other: Point, point: Point) -> bool:
    if other.gate in ("failed", "insufficient") and point.gate not in ("failed", "insufficient"):
        return False
    as_good = other.output_tokens_per_s >= point.output_tokens_per_s and other.tpot_s <= point.tpot_s
    same = other.output_tokens_per_s == point.output_tokens_per_s and other.tpot_s == point.tpot_s
    return as_good and not same
