"""Hierarchical fit: one set of coefficients for all, and deviations by engine, chip and model that must pay for
themselves.

Gauss-Newton with Levenberg-Marquardt damping on log(predicted/measured), a soft L1 loss (as 2*s^2*(sqrt(1+(r/s)^2)-1))
against outliers, and a quadratic price on every deviation, which shrinks what few rows speak for to its parent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

Array = npt.NDArray[np.float64]
#: (coefficients, rows) -> log of the prediction of each row.
LogModel = Callable[[Array], Array]
_SOFT: Final = 0.1
_ITERATIONS: Final = 40
_DIFFERENCE: Final = 1e-4
_BASE_PRICE: Final = 0.02
_DAMPINGS: Final = 10


class Level(Struct, frozen=True):
    """Rows that share a deviation share a key; None has no deviation at this level."""

    name: str
    keys: tuple[str | None, ...]
    price: float


class Fit(Struct, frozen=True):
    """Free coefficients: the base, and deviations by level and key."""

    base: Array
    deviations: dict[str, dict[str, Array]]

    def free(self, keys: Mapping[str, Sequence[str | None]], rows: int) -> Array:
        """Coefficients of each row, shape (coefficients, rows); an unknown key falls back to its parent."""
        free = np.repeat(self.base[:, None], rows, axis=1)
        for name, of in keys.items():
            known = self.deviations.get(name, {})
            for row, key in enumerate(of):
                deviation = None if key is None else known.get(key)
                if deviation is not None:
                    free[:, row] += deviation
        return free


def fit(model: LogModel, measured: Array, start: Array, levels: Sequence[Level]) -> Fit:
    """Least cost; ``measured`` are positive values of each row."""
    rows, count = len(measured), len(start)
    known = [sorted({key for key in level.keys if key is not None}) for level in levels]
    blocks = [{key: number for number, key in enumerate(keys)} for keys in known]
    begins = np.cumsum([count, *(count * len(keys) for keys in known)])
    member = [
        np.array([-1 if key is None else block.get(key, -1) for key in level.keys])
        for block, level in zip(blocks, levels, strict=True)
    ]
    price = np.full(int(begins[-1]), _BASE_PRICE)
    for number, level in enumerate(levels):
        price[begins[number] : begins[number + 1]] = level.price
    target = np.log(measured)

    def spread(z: Array) -> Array:
        free = np.repeat((start + z[:count])[:, None], rows, axis=1)
        for number, of in enumerate(member):
            own = np.vstack([z[begins[number] : begins[number + 1]].reshape(-1, count), np.zeros(count)])
            free += own[of].T
        return free

    z = _minimise(model, target, spread, member, begins, price)
    deviations = {
        level.name: {
            key: z[begins[number] + place * count : begins[number] + (place + 1) * count]
            for key, place in blocks[number].items()
        }
        for number, level in enumerate(levels)
    }
    return Fit(start + z[:count], deviations)


def _minimise(
    model: LogModel, target: Array, spread: Callable[[Array], Array], member: list[Array], begins: Array, price: Array
) -> Array:
    z = np.zeros(len(price))
    residual = model(spread(z)) - target
    cost = _cost(residual, z, price)
    damping = 1e-2
    for _ in range(_ITERATIONS):
        jacobian = _jacobian(model, spread(z), member, begins)
        weight = 1 / np.sqrt(1 + (residual / _SOFT) ** 2)
        curvature = jacobian.T @ (jacobian * weight[:, None]) + np.diag(price)
        slope = jacobian.T @ (weight * residual) + price * z
        for _ in range(_DAMPINGS):
            step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), slope)
            tried = model(spread(z - step)) - target
            found = _cost(tried, z - step, price)
            if found < cost:
                break
            damping *= 5
        else:
            break
        gained, z, residual, cost = cost - found, z - step, tried, found
        damping = max(damping / 5, 1e-7)
        if gained < 1e-6 * cost:
            break
    return z


def _cost(residual: Array, z: Array, price: Array) -> float:
    soft = 2 * _SOFT**2 * (np.sqrt(1 + (residual / _SOFT) ** 2) - 1)
    return float(np.sum(soft) + np.sum(price * z * z))


def _jacobian(model: LogModel, free: Array, member: list[Array], begins: Array) -> Array:
    """By forward differences of the coefficients; a row depends on the base and on its own deviations alone."""
    count, rows = free.shape
    base = model(free)
    own = np.empty((rows, count))
    for number in range(count):
        moved = free.copy()
        moved[number] += _DIFFERENCE
        own[:, number] = (model(moved) - base) / _DIFFERENCE
    whole = np.zeros((rows, int(begins[-1])))
    whole[:, :count] = own
    for number, of in enumerate(member):
        (there,) = np.nonzero(of >= 0)
        for column in range(count):
            whole[there, begins[number] + of[there] * count + column] = own[there, column]
    return whole
