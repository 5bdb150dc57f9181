"""Ways to run a model on a chip that was measured here, beside those on chips of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from msgspec import Struct

from yunhe.adapt.features import features
from yunhe.adapt.file_formats import (
    FILE_FORMATS,
    FORMAT_OF_PRECISION,
    FileFormat,
    cache_bytes_per_token,
    file_weight_bytes,
)
from yunhe.adapt.measured_chip import MeasuredChip
from yunhe.adapt.measured_fit import EngineFit, MeasuredPrediction, ModelCost, NotFitted, fit, predict
from yunhe.adapt.plan import Goals, No, Way
from yunhe.adapt.predictor import Estimate
from yunhe.adapt.queueing import Outcome, Server, closed_loop
from yunhe.catalogue.architecture import Architecture

MEASURED: Final = "measured here"
DISTURBED: Final = "measured here, disturbed"
_CONCURRENCIES: Final = (1, 2, 4, 8)
_USABLE_SHARE: Final = 0.9
#: Prompt tokens of one step, as the engines here have it by default.
_CHUNK_TOKENS: Final = 2048
_QUANTILE: Final = 0.95
_HOUR_S: Final = 3600.0
_MILLION: Final = 1e6
_AGAIN: Final = "measure again: yunhe chip calibrate"


class _Tried(Struct, frozen=True):
    """One load of a way."""

    concurrency: int
    said: MeasuredPrediction
    outcome: Outcome
    tokens_per_s: float


def model_cost(architecture: Architecture, of: FileFormat, context: float) -> ModelCost:
    """What a model of the catalogue reads and computes in this format, with sequences of ``context`` tokens. A row of
    the embedding is all that a token reads of it, unless it is the output matrix too."""
    f = features(architecture)
    pairs = f.pair_full + f.indexer_pair + f.pair_window * min(1.0, f.window / context)
    pairs += f.pair_latent_decode * min(1.0, f.chosen / context) + f.state_operations / context
    return ModelCost(
        weights_bytes=(f.attention + f.dense + f.shared) * of.matrix_bytes + f.head * of.head_bytes,
        experts_bytes=f.expert_layers * f.experts * f.expert * of.matrix_bytes,
        experts=f.experts if f.expert_layers else 0.0,
        experts_used=f.experts_used,
        parameters=f.always + f.expert_layers * f.experts_used * f.expert,
        head_parameters=f.head,
        cache_bytes_per_token=cache_bytes_per_token(architecture),
        pair_operations=pairs,
        dtype=of.dtype,
    )


def measured_ways(
    architecture: Architecture,
    chip: MeasuredChip,
    engines: Sequence[str],
    precisions: Sequence[str],
    goals: Goals,
    credits_per_hour: float | None,
) -> tuple[list[Way], list[No]]:
    """Each measured engine x format at its best load that keeps the goals, and what is out. ``engines``: only these,
    empty for all that were measured."""
    ways: list[Way] = []
    refused: list[No] = []
    measured = {engine.name: engine for engine in chip.engines}
    for name in engines or measured:
        if name not in measured:
            refused.append(No(chip.chip, name, "", None, f"not measured here: yunhe chip calibrate --engine {name}"))
            continue
        try:
            fitted = fit(chip, measured[name])
        except NotFitted as error:
            refused.append(No(chip.chip, name, "", None, f"{error}; {_AGAIN}"))
            continue
        basis = MEASURED if all(probe.quiet for probe in measured[name].probes) else DISTURBED
        for precision in precisions:
            if precision not in FORMAT_OF_PRECISION:
                refused.append(No(chip.chip, name, precision, None, "no format of weights files for processors"))
                continue
            found = _way(architecture, chip, fitted, precision, goals, credits_per_hour, basis)
            if isinstance(found, No):
                refused.append(found)
            else:
                ways.append(found)
    return ways, refused


def _way(
    architecture: Architecture,
    chip: MeasuredChip,
    of: EngineFit,
    precision: str,
    goals: Goals,
    credits_per_hour: float | None,
    basis: str,
) -> Way | No:
    def no(reason: str) -> No:
        return No(chip.chip, of.engine, precision, 1, reason)

    tokens = goals.input_tokens + goals.output_tokens
    file_format = FILE_FORMATS[FORMAT_OF_PRECISION[precision]]
    cost = model_cost(architecture, file_format, tokens)
    weights, each = file_weight_bytes(architecture, file_format), cost.cache_bytes_per_token * tokens
    room = float("inf") if chip.memory_bytes is None else (chip.memory_bytes * _USABLE_SHARE - weights) / each
    if room < 1:
        return no(f"needs {(weights + each) / 1e9:.1f} GB; the chip has {(chip.memory_bytes or 0) / 1e9:.1f}")
    wanted = _CONCURRENCIES if goals.concurrency is None else (round(goals.concurrency),)
    loads = [load for load in wanted if load <= room]
    if not loads:
        return no(f"memory holds {int(room)} sequences of {tokens:.0f} tokens")
    tried = [_tried(chip, of, cost, goals, load) for load in loads]
    kept = [one for one in tried if not _broken(one, goals)]
    if not kept:
        return no(_broken(tried[0], goals))
    best = max(kept, key=lambda one: one.tokens_per_s)
    price = None if credits_per_hour is None else credits_per_hour / _HOUR_S / best.tokens_per_s * _MILLION
    if goals.price_max is not None and price is not None and price > goals.price_max:
        return no(f"{price:.2f} credits for a million tokens")
    return Way(
        chip=chip.chip,
        engine=of.engine,
        precision=precision,
        tensor_parallel=1,
        concurrency=best.concurrency,
        ttft_s=_like(best.said.prefill_s, float(np.mean(best.outcome.ttft_s))),
        ttft_p95_s=float(np.quantile(best.outcome.ttft_s, _QUANTILE)),
        tpot_s=_like(best.said.step_s, float(np.mean(best.outcome.tpot_s))),
        tpot_p95_s=float(np.quantile(best.outcome.tpot_s, _QUANTILE)),
        output_tokens_per_s=_like(best.said.step_s, best.tokens_per_s),
        output_tokens_per_s_per_card=best.tokens_per_s,
        sequences_max=None if np.isinf(room) else int(room),
        memory_bytes_per_card=weights + best.concurrency * each,
        credits_per_million_tokens=price,
        joules_per_million_tokens=None,
        binding=best.said.binding,
        basis=basis,
    )


def _tried(chip: MeasuredChip, of: EngineFit, cost: ModelCost, goals: Goals, concurrency: int) -> _Tried:
    """The steps of this load, put through the simulation of the queue."""
    said = predict(chip, of, cost, goals.input_tokens, goals.output_tokens, concurrency)
    alone = predict(chip, of, cost, goals.input_tokens, goals.output_tokens, 1)
    sequence_s = max(0.0, said.step_s.value - alone.step_s.value) / max(1, concurrency - 1)
    server = Server(
        step_s=said.step_s.value - concurrency * sequence_s,
        sequence_s=sequence_s,
        prefill_token_s=(said.prefill_s.value - of.request_s) / goals.input_tokens,
        request_s=of.request_s,
        chunk_tokens=_CHUNK_TOKENS,
        slots=concurrency,
    )
    rng = np.random.default_rng(1)
    outcome = closed_loop(server, concurrency, goals.input_tokens, goals.output_tokens, rng, "fixed")
    return _Tried(concurrency, said, outcome, float(outcome.output_tokens.sum() / outcome.end_s.max()))


def _broken(one: _Tried, goals: Goals) -> str:
    """Which bound this load breaks; empty when none."""
    ttft, tpot = (float(np.quantile(times, _QUANTILE)) for times in (one.outcome.ttft_s, one.outcome.tpot_s))
    at = f"with {one.concurrency} at once" if one.concurrency > 1 else "with one request at a time"
    if goals.ttft_p95_s is not None and ttft > goals.ttft_p95_s:
        return f"TTFT p95 {ttft * 1000:.0f} ms {at}"
    if goals.tpot_p95_s is not None and tpot > goals.tpot_p95_s:
        return f"TPOT p95 {tpot * 1000:.1f} ms {at}"
    return ""


def _like(of: Estimate, value: float) -> Estimate:
    """This value, as uncertain as the other."""
    return Estimate(value, value * of.low / of.value, value * of.high / of.value)
