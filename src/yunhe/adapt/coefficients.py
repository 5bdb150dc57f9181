"""From ideal to real seconds: efficiencies of each cause, and overheads by count.

A coefficient is kept as a free number ``x``: an efficiency is 0.05 + 0.95/(1+exp(-x)), so that no fit can leave
(0.05, 1); seconds are exp(x) times their unit, so that none is negative.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from yunhe.adapt.points import Column, Columns
from yunhe.adapt.roofline import Terms

Free = npt.NDArray[np.float64]
_EFFICIENCY_MIN: Final = 0.05
#: Name -> where the fit begins.
EFFICIENCIES: Final = {
    "weights": 1.5, "experts": 0.5, "cache": 1.5, "compute": 0.5, "link": 0.0, "prefill": 0.5, "overlap": 2.0,
}  # fmt: skip
#: Name -> (unit in seconds, where the fit begins).
SECONDS: Final = {
    "collective_s": (1e-6, 2.0),
    "layer_s": (1e-6, 2.5),
    "expert_layer_s": (1e-6, 2.5),
    "sequence_s": (1e-6, 1.0),
    "request_s": (1e-3, 1.5),
    "step_s": (1e-3, 0.0),
}
NAMES: Final = (*EFFICIENCIES, *SECONDS)
START: Final[Free] = np.array([*EFFICIENCIES.values(), *(begin for _, begin in SECONDS.values())])


def real(free: Free) -> dict[str, Column]:
    """Coefficients by name; ``free`` is of shape (coefficients, points) or (coefficients,)."""
    found = {
        name: _EFFICIENCY_MIN + (1 - _EFFICIENCY_MIN) / (1 + np.exp(-free[number]))
        for number, name in enumerate(EFFICIENCIES)
    }
    for number, (name, (unit, _)) in enumerate(SECONDS.items(), start=len(EFFICIENCIES)):
        found[name] = unit * np.exp(free[number])
    return found


class Factors(Struct, frozen=True):
    """What to multiply the seconds of each cause with: memory, products and messages of a step; its overheads;
    prefill."""

    roofline: Column | float = 1.0
    overhead: Column | float = 1.0
    prefill: Column | float = 1.0


PLAIN: Final = Factors()


def step_s(ideal: Terms, free: Free, factors: Factors = PLAIN) -> Column:
    """Seconds of one decode step of the whole batch, without prefill."""
    c = real(free)
    memory = ideal.weights_s / c["weights"] + ideal.experts_s / c["experts"] + ideal.cache_s / c["cache"]
    compute = ideal.compute_s / c["compute"]
    # Between adding up and hiding one behind the other.
    core = (memory**3 + compute**3) ** (1 / 3)
    overhead = (
        ideal.collectives * c["collective_s"]
        + ideal.layers * c["layer_s"]
        + ideal.expert_layers * c["expert_layer_s"]
        + ideal.sequences * c["sequence_s"]
        + c["step_s"]
    )
    seconds: Column = (core + ideal.messages_s / c["link"]) * factors.roofline + overhead * factors.overhead
    return seconds


def prefill_s(ideal: Terms, free: Free, factors: Factors = PLAIN) -> Column:
    """Seconds of one request's prefill alone on the instance."""
    c = real(free)
    plain = ideal.prefill_compute_s / c["prefill"] + ideal.prefill_messages_s / c["link"] + c["request_s"]
    seconds: Column = plain * factors.prefill
    return seconds


def tpot_s(of: Columns, ideal: Terms, free: Free, factors: Factors = PLAIN) -> Column:
    """Mean seconds for each output token after the first: in steady state concurrency/output_tokens requests are
    replaced in each step, and their prefill takes the share ``overlap`` of its time from those that decode."""
    share = of.concurrency / of.data_parallel / of.output_tokens * real(free)["overlap"]
    step = step_s(ideal, free, factors) / of.tokens_per_step
    seconds: Column = step + share * prefill_s(ideal, free, factors)
    return seconds
