"""Confirming a choice: the chosen candidate against the baseline under every load of the workload, by turns.

The search compares by one load. What is claimed, and what goes into the recipe, comes from here alone: rounds that no
choice depended on.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, get_args

import numpy as np

from yunhe.adapt.adaptation import Confirmed, Workload
from yunhe.adapt.comparison import ROUNDS_MIN, Comparison, Patience, compare
from yunhe.adapt.recipe_evidence import Load
from yunhe.adapt.samples import Metric, Slo, window_value
from yunhe.adapt.search import ATTEMPTS

LOWER_IS_BETTER: Final = ("ttft_s", "tpot_s")


@dataclass(frozen=True, slots=True)
class Window:
    """A window to measure next."""

    candidate: str
    round: int
    load: Load


def loads_of(workload: Workload, rate_per_s: float | None) -> tuple[Load, ...]:
    """Every load to confirm under: each concurrency, then the open loop at this rate (None: none)."""
    closed = [Load(concurrency=width, requests_per_s=None) for width in workload.concurrencies]
    return (*closed, *([Load(concurrency=None, requests_per_s=rate_per_s)] if rate_per_s else []))


def next_window(
    done: Sequence[Confirmed], pair: tuple[str, str], loads: Sequence[Load], patience: Patience | None = None
) -> Window | None:
    """What to measure next of (baseline, chosen); None when every load is decided or more rounds are not worth it.

    Loads take turns, so that an end by lack of time leaves each with as many rounds as the others. Who comes first in a
    round alternates, so that drift cancels.
    """
    patience = patience or Patience()
    for number in range(patience.rounds_max):
        for load in loads:
            own = [entry for entry in done if load_of(entry) == load]
            if number >= ROUNDS_MIN and not gain(own, pair, load, "output_tokens_per_s", patience).rounds_worth:
                continue
            for candidate in pair if number % 2 == 0 else pair[::-1]:
                tries = [entry for entry in own if entry.round == number and entry.candidate == candidate]
                if not any(not entry.reasons for entry in tries) and len(tries) < ATTEMPTS:
                    return Window(candidate, number, load)
    return None


def load_of(entry: Confirmed) -> Load:
    """The load that a window was under."""
    return Load(concurrency=entry.concurrency, requests_per_s=entry.requests_per_s)


def values(
    done: Sequence[Confirmed], candidate: str, load: Load, metric: Metric, slo: Slo | None = None
) -> dict[int, float]:
    """By round, of windows that count and can say."""
    found: dict[int, float] = {}
    for entry in done:
        if entry.candidate == candidate and not entry.reasons and load_of(entry) == load:
            value = window_value(entry.sample, metric, slo or Slo())
            if value is not None and value > 0:
                found[entry.round] = value
    return found


def gain(
    done: Sequence[Confirmed], pair: tuple[str, str], load: Load, metric: Metric, patience: Patience | None = None
) -> Comparison:
    """The chosen over the baseline in one metric under one load."""
    assert metric in get_args(Metric)
    baseline, chosen = pair
    return compare(
        values(done, chosen, load, metric),
        values(done, baseline, load, metric),
        np.random.default_rng(1),
        higher_is_better=metric not in LOWER_IS_BETTER,
        patience=patience,
    )


def vetoes(
    done: Sequence[Confirmed], pair: tuple[str, str], loads: Sequence[Load], guards: Sequence[Metric], slack: float
) -> list[str]:
    """Why the choice does not hold: a guarded metric that is shown to be worse by more than the slack."""
    found = []
    for load in loads:
        for metric in guards:
            one = gain(done, pair, load, metric)
            worse = one.interval is not None and (
                one.interval.low > 1.0 + slack if metric in LOWER_IS_BETTER else one.interval.high < 1.0 / (1.0 + slack)
            )
            if worse and one.ratio is not None:
                found.append(
                    f"{metric.removesuffix('_s').upper()} with {load.label} is {one.ratio:.2f} times the baseline's"
                )
    return found
