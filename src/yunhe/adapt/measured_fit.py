"""What an engine build makes of a chip that was measured here: efficiencies from a handful of probes, and the time of
another model by them.

A decode step reads weights and caches and computes for each sequence; a prefill computes. Each cause takes its bytes
or operations over the measured rate, divided by an efficiency in (0.05, 1]; the rate of reading is that of the *cache
tier* which the step's working set fits into.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from yunhe.adapt.fitting import Array
from yunhe.adapt.measured_chip import (
    EngineProbe,
    MeasuredChip,
    MeasuredEngine,
    MeasuredModel,
    bandwidth_bytes_per_s,
    peak_per_s,
    tier_of,
)
from yunhe.adapt.predictor import Estimate

EFFICIENCY_MIN: Final = 0.05
#: Seconds of a cause are its ideal ones times 1/efficiency.
_FACTOR_MAX: Final = 1 / EFFICIENCY_MIN * (1 - 1e-9)
_CACHE_ELEMENT_BYTES: Final = 2
#: Half-widths of an interval, as logarithms. They are judgement, not a fit: one chip gives too few rows for one. What
#: stays even for the measured model itself; for each factor e in bytes; for another format of products; for each
#: doubling of requests beyond those measured.
_FLOOR: Final = 0.10
_PER_SIZE: Final = 0.06
_OTHER_FORMAT: Final = 0.20
_PER_DOUBLING: Final = 0.15


class NotFitted(ValueError):
    """Too little was measured; the text says what is missing."""


class ModelCost(Struct, frozen=True):
    """What a model reads and computes. Bytes, counts, operations."""

    #: Read in every decode step.
    weights_bytes: float
    #: Of all experts together; a step reads those that its tokens chose.
    experts_bytes: float
    experts: float
    experts_used: float
    #: Every token passes these; the output matrix once for a prompt.
    parameters: float
    head_parameters: float
    cache_bytes_per_token: float
    #: For each pair of a query and a position.
    pair_operations: float
    #: Of the products: int8, bf16, f32.
    dtype: str

    def read_bytes(self, sequences: float) -> float:
        """Weights that one decode step touches."""
        touched = 1 - (1 - self.experts_used / self.experts) ** sequences if self.experts else 0.0
        return self.weights_bytes + touched * self.experts_bytes

    def token_operations(self) -> float:
        """Of one token's products with weights."""
        return 2 * (self.parameters + self.head_parameters)


class EngineFit(Struct, frozen=True):
    """Efficiencies of one engine build on one chip, each in (0.05, 1]."""

    engine: str
    version: str
    digest: str
    weights: float
    cache: float
    decode_compute: float
    prefill_compute: float
    #: Of each prompt, whatever its length.
    request_s: float
    #: Largest |log(fitted/measured)| over the probes, and their largest spread; both widen the interval.
    misfit: float
    noise: float
    measured: ModelCost
    concurrency_max: int


class MeasuredPrediction(Struct, frozen=True):
    """Of one model under one load."""

    #: A decode step alone, and a prompt alone, seconds.
    step_s: Estimate
    prefill_s: Estimate
    #: Where the step's working set is read from.
    tier: str
    binding: str


def measured_cost(model: MeasuredModel) -> ModelCost:
    """Of the model that the probes ran. Raises NotFitted when its shape is unknown."""
    shape = model.shape
    missing = [name for name in ("layers", "heads", "kv_heads", "head_size") if not shape.get(name)]
    if missing:
        raise NotFitted(f"the shape of {model.name} lacks {', '.join(missing)}")
    head = shape.get("vocabulary", 0) * shape.get("hidden_size", 0)
    keys = shape["layers"] * shape["kv_heads"] * shape["head_size"]
    return ModelCost(
        weights_bytes=model.weights_bytes,
        experts_bytes=0.0,
        experts=0.0,
        experts_used=0.0,
        parameters=max(0, model.parameters - head),
        head_parameters=head,
        cache_bytes_per_token=2 * keys * _CACHE_ELEMENT_BYTES,
        pair_operations=4 * shape["layers"] * shape["heads"] * shape["head_size"],
        dtype=compute_dtype(model.weights_bytes / model.parameters),
    )


def compute_dtype(bytes_per_parameter: float) -> str:
    """Engines multiply quantised weights as int8, others in their own width."""
    if bytes_per_parameter < 1.5:
        return "int8"
    return "bf16" if bytes_per_parameter < 3 else "f32"


def fit(chip: MeasuredChip, engine: MeasuredEngine) -> EngineFit:
    """Efficiencies from an engine's probes. Raises NotFitted."""
    cost = measured_cost(chip.model)
    if not chip.tiers or not peak_per_s(chip, cost.dtype):
        raise NotFitted("bandwidth or peak of the chip is missing")
    singles = [probe for probe in engine.probes if probe.concurrency == 1]
    if len({probe.input_tokens for probe in singles}) < 2 or len(singles) == len(engine.probes):
        raise NotFitted(f"{engine.name} lacks probes: one request at two lengths, and several at once, are needed")
    steps = np.array([_step_causes(chip, cost, probe.concurrency, _context(probe)) for probe in engine.probes])
    decode = bounded_least_squares(
        steps, np.array([probe.tpot_s for probe in engine.probes]), np.ones(3), np.full(3, _FACTOR_MAX)
    )
    prompts = np.array([(_prefill_ideal_s(chip, cost, probe.input_tokens), 1.0) for probe in singles])
    ttft = np.array([probe.ttft_s for probe in singles])
    prefill = bounded_least_squares(prompts, ttft, np.array([1.0, 0.0]), np.array([_FACTOR_MAX, np.inf]))
    fitted = np.concatenate([steps @ decode, prompts @ prefill])
    misfit = np.abs(np.log(fitted / np.concatenate([[probe.tpot_s for probe in engine.probes], ttft])))
    return EngineFit(
        engine=engine.name,
        version=engine.version,
        digest=engine.digest,
        weights=1 / float(decode[0]),
        cache=1 / float(decode[1]),
        decode_compute=1 / float(decode[2]),
        prefill_compute=1 / float(prefill[0]),
        request_s=float(prefill[1]),
        misfit=float(misfit.max()),
        noise=max(probe.spread + (0.0 if probe.quiet else probe.foreign_cpu_share) for probe in engine.probes),
        measured=cost,
        concurrency_max=max(probe.concurrency for probe in engine.probes),
    )


def predict(
    chip: MeasuredChip, of: EngineFit, cost: ModelCost, input_tokens: float, output_tokens: float, concurrency: float
) -> MeasuredPrediction:
    """A decode step with ``concurrency`` sequences in the middle of their answers, and the prefill of one prompt."""
    context = input_tokens + output_tokens / 2
    ideal = _step_causes(chip, cost, concurrency, context)
    tier = tier_of(chip, _working_set_bytes(cost, concurrency, context))
    parts = {
        f"{tier} bandwidth: weights": ideal[0] / of.weights,
        f"{tier} bandwidth: cache": ideal[1] / of.cache,
        "compute": ideal[2] / of.decode_compute,
    }
    step_s = sum(parts.values())
    # A prompt reads every weight at least once.
    prefill_s = max(_prefill_ideal_s(chip, cost, input_tokens) / of.prefill_compute, ideal[0] / of.weights)
    width = _width(of, cost, concurrency)
    return MeasuredPrediction(
        step_s=_estimate(step_s, width),
        prefill_s=_estimate(prefill_s + of.request_s, width),
        tier=tier,
        binding=max(parts, key=lambda cause: parts[cause]),
    )


def _context(probe: EngineProbe) -> float:
    return probe.input_tokens + probe.output_tokens / 2


def _working_set_bytes(cost: ModelCost, sequences: float, context: float) -> float:
    return cost.read_bytes(sequences) + sequences * context * cost.cache_bytes_per_token


def _step_causes(chip: MeasuredChip, cost: ModelCost, sequences: float, context: float) -> tuple[float, float, float]:
    """Ideal seconds of a decode step: reading weights, reading caches, computing."""
    rate = bandwidth_bytes_per_s(chip, _working_set_bytes(cost, sequences, context))
    operations = cost.token_operations() + cost.pair_operations * context
    return (
        cost.read_bytes(sequences) / rate,
        sequences * context * cost.cache_bytes_per_token / rate,
        sequences * operations / peak_per_s(chip, cost.dtype),
    )


def _prefill_ideal_s(chip: MeasuredChip, cost: ModelCost, tokens: float) -> float:
    """A prompt's products; each token looks at half of the prompt on average."""
    operations = 2 * cost.parameters * tokens + 2 * cost.head_parameters + cost.pair_operations * tokens**2 / 2
    return operations / peak_per_s(chip, cost.dtype)


def _width(of: EngineFit, cost: ModelCost, concurrency: float) -> float:
    size = abs(math.log((cost.weights_bytes + cost.experts_bytes) / of.measured.weights_bytes))
    far = max(0.0, math.log2(concurrency / of.concurrency_max))
    other = _OTHER_FORMAT if cost.dtype != of.measured.dtype else 0.0
    return math.hypot(_FLOOR + _PER_SIZE * size + _PER_DOUBLING * far, other, of.misfit, of.noise)


def _estimate(value: float, width: float) -> Estimate:
    return Estimate(value, value * math.exp(-width), value * math.exp(width))


def bounded_least_squares(rows: Array, measured: Array, low: Array, high: Array) -> Array:
    """The x within bounds whose ``rows @ x`` has the least squared relative error against ``measured``.

    Exact, for a handful of unknowns: every choice of which of them lie on a bound is tried.
    """
    scaled, ones = rows / measured[:, None], np.ones(len(measured))
    best, best_cost = low.copy(), np.inf
    for states in itertools.product((0, 1, 2), repeat=len(low)):
        x = _solved(scaled, ones, low, high, states)
        if x is None:
            continue
        cost = float(np.sum((scaled @ x - ones) ** 2))
        if cost < best_cost - 1e-15:
            best, best_cost = x, cost
    return best


def _solved(scaled: Array, ones: Array, low: Array, high: Array, states: Sequence[int]) -> Array | None:
    """With each unknown free (0), at its lower (1) or upper bound (2); None when a free one leaves its bounds."""
    x = np.array([low[n] if state < 2 else high[n] for n, state in enumerate(states)])
    if not np.all(np.isfinite(x)):
        return None
    free = [n for n, state in enumerate(states) if state == 0]
    if free:
        x[free] = 0.0
        x[free] = np.linalg.lstsq(scaled[:, free], ones - scaled @ x, rcond=None)[0]
        if np.any(x < low - 1e-12) or np.any(x > high + 1e-12):
            return None
    return x
