"""What was fitted, as a document: coefficients by engine, chip and model, and how far off they were.

Calibration belongs to an engine on a chip, never to the chip alone: engines on the same silicon differ several times.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Final, Literal

import msgspec
import numpy as np
from msgspec import Struct

from yunhe.adapt.fitting import Array, Fit
from yunhe.adapt.points import Point
from yunhe.catalogue.architecture import Architecture

Metric = Literal["tpot", "ttft", "output_rate"]
METRICS: Final[tuple[Metric, ...]] = ("ttft", "tpot", "output_rate")
#: What a prediction rests on, best first.
Basis = Literal[
    "probed",
    "engine, chip and model seen",
    "engine and chip seen",
    "engine and model seen",
    "engine seen",
    "nothing seen",
]
LEVELS: Final = ("engine", "engine-family", "engine-chip", "engine-model")
#: Price of deviations at each level: the higher, the more rows must speak for one.
PRICES: Final = {"engine": 0.5, "engine-family": 10.0, "engine-chip": 2.0, "engine-model": 2.0}


class Ratio(Struct, frozen=True):
    """Of measured over predicted: between which 90 % of the rows lay that were kept out of the fit."""

    low: float
    high: float
    rows: int


class FitDocument(Struct, frozen=True):
    """Free coefficients; deviations by level and key."""

    base: tuple[float, ...]
    deviations: dict[str, dict[str, tuple[float, ...]]]


class Calibration(Struct, frozen=True):
    """One fit of the predictor."""

    version: str
    fitted_on: str
    tpot: FitDocument
    ttft: FitDocument
    #: Metric or cause (see ``offsets``) -> logarithms of factors by situation.
    offsets: dict[str, dict[str, float]]
    #: Metric -> ``spread_key`` -> spread.
    spread: dict[str, dict[str, Ratio]]


def spread_key(situation: str, basis: str) -> str:
    """A burst is harder to predict than a steady load, and what was not seen harder than what was."""
    return f"{situation}: {basis}"


def build_of(architecture: Architecture) -> str:
    """Models that cost alike: a family's dense and sparse ones, and its kinds of attention, are told apart."""
    kinds = "+".join(group.kind for group in architecture.attention)
    return f"{architecture.family} {'experts' if architecture.experts else 'dense'} {kinds}"


def keys(points: Sequence[Point]) -> dict[str, list[str]]:
    """Each point's key at each level."""
    return {
        "engine": [point.engine for point in points],
        "engine-family": [f"{point.engine}|{point.chip.family}" for point in points],
        "engine-chip": [f"{point.engine}|{point.chip.id}" for point in points],
        "engine-model": [f"{point.engine}|{build_of(point.architecture)}" for point in points],
    }


def free(of: FitDocument, points: Sequence[Point]) -> Array:
    """Coefficients of each point, shape (coefficients, points)."""
    deviations = {
        level: {key: np.array(values) for key, values in known.items()} for level, known in of.deviations.items()
    }
    return Fit(np.array(of.base), deviations).free(keys(points), len(points))


def document(of: Fit) -> FitDocument:
    """For keeping; six digits are more than the data hold."""
    deviations = {
        level: {key: tuple(round(float(value), 6) for value in values) for key, values in known.items()}
        for level, known in of.deviations.items()
    }
    return FitDocument(tuple(round(float(value), 6) for value in of.base), deviations)


def fitted(of: FitDocument, point: Point) -> bool:
    """Whether the fit of steady loads knows the engine, so that no factor is needed on its times."""
    return point.engine in of.deviations.get("engine", {})


def basis(of: FitDocument, point: Point) -> Basis:
    """What the fit had seen of a point."""
    seen = {level: found[0] in of.deviations.get(level, {}) for level, found in keys([point]).items()}
    if not seen["engine"]:
        return "nothing seen"
    if seen["engine-chip"]:
        return "engine, chip and model seen" if seen["engine-model"] else "engine and chip seen"
    return "engine and model seen" if seen["engine-model"] else "engine seen"


@lru_cache(maxsize=1)
def shipped() -> Calibration:
    """The fit that comes with the package."""
    data = files("yunhe.adapt").joinpath("data", "calibration.json").read_bytes()
    return msgspec.json.decode(data, type=Calibration)
