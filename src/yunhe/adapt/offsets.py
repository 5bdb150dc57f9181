"""What the formulas miss by situation: factors on a prediction, from residuals, shrunk to their parents.

A burst of a thousand prompts, an offline benchmark and a steady load differ in ways that a roofline does not know. Each
level takes the median of what the levels above left over, times n/(n + price).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import numpy as np

from yunhe.adapt.fitting import Array
from yunhe.adapt.points import Point

#: ``steady``: closed loop of what runs. ``burst``: more prompts at once than run. ``offline``: as much as fits.
Situation = Literal["steady", "burst", "offline"]
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
