"""Ways on a measured chip; the chip is constructed from known efficiencies, as in test_measured_chip."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from yunhe.adapt.file_formats import FILE_FORMATS
from yunhe.adapt.measured_chip import (
    EngineProbe,
    MeasuredChip,
    MeasuredEngine,
    MeasuredModel,
    MeasuredPeak,
    MeasuredTier,
)
from yunhe.adapt.measured_fit import EngineFit, measured_cost, predict
from yunhe.adapt.measured_plan import DISTURBED, MEASURED, measured_ways, model_cost
from yunhe.adapt.plan import Goals, Way
from yunhe.catalogue import architecture_catalogue

MIB = 1024**2
SMALL = architecture_catalogue.find("smollm2-135m")
SHAPE = {"layers": 30, "hidden_size": 576, "heads": 9, "kv_heads": 3, "head_size": 64, "vocabulary": 49152}
MODEL = MeasuredModel("small", "0" * 64, "q4_1", 98_362_432, 134_515_008, SHAPE)
TIERS = tuple(MeasuredTier(size * MIB, rate, 1.0) for size, rate in ((1, 100e9), (8, 90e9), (32, 60e9), (512, 20e9)))
PEAKS = (
    MeasuredPeak("matmul_f32", "f32", 0.2e12, "flop_per_s", 1.0),
    MeasuredPeak("dot_int8", "int8", 1.2e12, "op_per_s", 1.0),
)
BARE = MeasuredChip(1, "cpu-x", "cpu-1", "X", "x", "cpu", 2, 16 * 1024**3, (), None, TIERS, PEAKS, MODEL, (), 0.0, 60.0)
TRUTH = EngineFit("e", "1", "d", 0.7, 0.3, 0.2, 0.25, 0.02, 0.0, 0.0, measured_cost(MODEL), 8)


def probe(load: tuple[int, int, int], quiet: bool = True) -> EngineProbe:
    said = predict(BARE, TRUTH, TRUTH.measured, *load)
    tpot = said.step_s.value
    return EngineProbe("p", *load, said.prefill_s.value, tpot, load[2] / tpot, 0.0, 0.0 if quiet else 0.3, 2, quiet)


def chip(quiet: bool = True, **changes: object) -> MeasuredChip:
    probes = tuple(probe(load, quiet) for load in ((256, 32, 1), (1024, 32, 1), (64, 64, 8)))
    return replace(BARE, engines=(MeasuredEngine("e", "1", "d", {}, probes),), **changes)


def ways(of: MeasuredChip, precisions: tuple[str, ...] = ("int4",), **goals: float) -> list[Way]:
    return measured_ways(SMALL, of, (), precisions, Goals(**{"input_tokens": 256, "output_tokens": 64, **goals}), None)[
        0
    ]


def reasons(of: MeasuredChip, engines: tuple[str, ...] = (), precision: str = "int4", **goals: float) -> list[str]:
    found, refused = measured_ways(SMALL, of, engines, (precision,), Goals(**goals), goals.get("price_max"))
    assert not found
    return [no.reason for no in refused]


def test_a_way_says_that_it_was_measured_here_and_what_binds() -> None:
    (way,) = ways(chip(), concurrency=1)
    assert (way.chip, way.engine, way.basis, way.concurrency) == ("cpu-x", "e", MEASURED, 1)
    # Between a cache and memory: part of these weights stays in a cache from step to step.
    assert way.binding == "cache bandwidth: weights"
    assert way.tpot_s.low < way.tpot_s.value < way.tpot_s.high
    # Alone, a token takes one step, and the first comes after the prompt's own time.
    cost = model_cost(SMALL, FILE_FORMATS["q4_0"], 320)
    said = predict(chip(), TRUTH, cost, 256, 64, 1)
    assert way.tpot_s.value == pytest.approx(said.step_s.value, rel=0.01)
    assert way.ttft_s.value == pytest.approx(said.prefill_s.value, rel=0.05)


def test_disturbed_probes_are_told_and_widen_the_interval() -> None:
    (quiet,), (disturbed,) = ways(chip()), ways(chip(quiet=False))
    assert disturbed.basis == DISTURBED
    assert disturbed.tpot_s.high / disturbed.tpot_s.value > quiet.tpot_s.high / quiet.tpot_s.value


def test_more_bytes_take_longer_and_many_requests_bring_more_tokens() -> None:
    four, eight = ways(chip(), ("int4", "int8"), concurrency=1)
    assert four.tpot_s.value < eight.tpot_s.value
    (alone,), (together,) = ways(chip(), concurrency=1), ways(chip(), concurrency=8)
    assert together.output_tokens_per_s.value > alone.output_tokens_per_s.value


def test_goals_bound_the_load_and_what_cannot_keep_them_is_out_with_the_number() -> None:
    (free,) = ways(chip())
    (bounded,) = ways(chip(), tpot_p95_s=free.tpot_p95_s * 0.7)
    assert bounded.concurrency < free.concurrency
    assert bounded.tpot_p95_s <= free.tpot_p95_s * 0.7
    (reason,) = reasons(chip(), tpot_p95_s=1e-6)
    assert reason.startswith("TPOT p95") and "one request" in reason
    (reason,) = reasons(chip(), ttft_p95_s=1e-6)
    assert reason.startswith("TTFT p95")
    (reason,) = reasons(chip(), price_max=1e-9)
    assert reason.endswith("credits for a million tokens")


def test_what_does_not_fit_or_was_not_measured_is_refused_with_the_next_step() -> None:
    (reason,) = reasons(chip(memory_bytes=64 * MIB))
    assert reason.startswith("needs 0.1 GB")
    (reason,) = reasons(chip(), engines=("other",))
    assert "yunhe chip calibrate --engine other" in reason
    (reason,) = reasons(replace(chip(), engines=(MeasuredEngine("e", "1", "d", {}, (), "it crashed"),)))
    assert "yunhe chip calibrate" in reason
    (reason,) = reasons(chip(), precision="fp8")
    assert "no format" in reason
    (reason,) = reasons(chip(memory_bytes=200 * MIB), concurrency=64)
    assert reason.startswith("memory holds")


def test_experts_that_a_step_does_not_touch_are_not_read() -> None:
    mixture = architecture_catalogue.find("qwen3-30b-a3b")
    cost = model_cost(mixture, FILE_FORMATS["q4_0"], 512)
    assert cost.read_bytes(1) < 0.2 * (cost.weights_bytes + cost.experts_bytes)
    assert cost.read_bytes(1) < cost.read_bytes(8) < cost.weights_bytes + cost.experts_bytes
