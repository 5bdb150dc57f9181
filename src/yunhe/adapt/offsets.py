"""What the formulas miss by situation: factors on causes and on predictions, from residuals, shrunk to their parents.

A burst of a thousand prompts, an offline benchmark and a steady load differ in ways that a roofline does not know. Each
level takes the median of what the levels above left over, times n/(n + price).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np

from yunhe.adapt.coefficients import Factors
from yunhe.adapt.fitting import Array
from yunhe.adapt.points import Point

#: ``steady``: closed loop of what runs. ``open``: arrivals of their own, of which only the most in flight is known.
#: ``burst``: more prompts at once than run. ``offline``: as much as fits.
Situation = Literal["steady", "open", "burst", "offline"]
#: By level: how many rows weigh as much as the parent.
PRICES: Final = (2.0, 3.0, 3.0, 3.0)


def keys(point: Point, situation: Situation) -> tuple[str, ...]:
    """From the general to the particular, one for each price. What one engine does under a steady load says nothing of
    another, so that there the most general is the engine's own."""
    engine = f"{situation}|{point.engine}"
    return (
        f"{engine}|any" if situation == "steady" else situation,
        engine,
        f"{engine}|{point.chip.family}",
        f"{engine}|{point.chip.family}|{point.architecture.family}",
    )


def learn(log_residuals: Array, of: Sequence[tuple[str, ...]]) -> dict[str, float]:
    """Logarithms of factors by key; ``log_residuals`` are log(measured/predicted) of each row."""
    left = log_residuals.copy()
    found: dict[str, float] = {}
    for level, price in enumerate(PRICES):
        names = np.array([row[level] for row in of])
        for name in sorted(set(names)):
            mine = names == name
            count = int(mine.sum())
            found[str(name)] = float(np.median(left[mine])) * count / (count + price)
            left[mine] -= found[str(name)]
    return found


def factor(offsets: Mapping[str, float], point: Point, situation: Situation) -> float:
    """What to multiply a prediction with; 1 where nothing is known."""
    return float(np.exp(sum(offsets.get(key, 0.0) for key in keys(point, situation))))


#: Names under which the factors of causes are kept, beside those of metrics.
CAUSES: Final = ("roofline", "overhead", "prefill")
#: By level of ``cause_keys`` after the first: price of a deviation (see ``fitting.fit``).
CAUSE_PRICES: Final = (0.1, 0.1, 0.3)
#: How many rows weigh as much as no scale at all.
_SCALE_PRICE: Final = 2.0
_KERNEL: Final = 0.3
_PLACES: Final = 401


def cause_keys(point: Point, situation: Situation) -> tuple[str, ...]:
    """By whom deviations of causes are shared: all, engine, on a family of chips, with a kind of attention. Under a
    steady load, one scale for an engine on a family of chips; weights that are widened before they are used go apart.
    """
    family = f"{situation}|{point.engine}|{point.chip.family}"
    if situation == "steady":
        return (f"{family}|{'wide' if _widened(point) else 'plain'}",)
    kinds = "+".join(sorted({group.kind for group in point.architecture.attention}))
    chosen = any(group.chosen_positions for group in point.architecture.attention)
    experts = "experts" if point.architecture.experts else "dense"
    return situation, f"{situation}|{point.engine}", family, f"{family}|{kinds}{' chosen' if chosen else ''} {experts}"


def _widened(point: Point) -> bool:
    held, computed = point.precision.expert_bytes, point.precision.expert_compute[0]
    return held < 1 and computed == "bf16"


def scale(log_residuals: Array) -> float:
    """Logarithm of one scale: where rows lie densest (the mode of a Gaussian kernel density: Parzen, Ann. Math. Stat.
    33, 1962), so that many may be off to one side for reasons of their own: floors, debugging flags, few slots. Shrunk
    by count/(count + price)."""
    places = np.linspace(log_residuals.min(), log_residuals.max(), _PLACES)
    density = np.exp(-0.5 * ((places[:, None] - log_residuals[None, :]) / _KERNEL) ** 2).sum(axis=1)
    count = len(log_residuals)
    return float(places[np.argmax(density)]) * count / (count + _SCALE_PRICE)


def factors(
    known: Mapping[str, Mapping[str, float]], points: Sequence[Point], situations: Sequence[Situation | None]
) -> Factors:
    """Of the seconds of each cause, an element for each point; None: a situation that the formulas know."""
    of = [
        () if situation is None else cause_keys(point, situation)
        for point, situation in zip(points, situations, strict=True)
    ]
    logs = [[sum(known.get(cause, {}).get(key, 0.0) for key in row) for row in of] for cause in CAUSES]
    return Factors(*(np.exp(np.array(row, dtype=np.float64)) for row in logs))
