"""Chips here are constructed: probes follow from known efficiencies, which the fit must find again."""

from __future__ import annotations

import math

import numpy as np
import pytest
from msgspec.structs import replace

from yunhe.adapt.measured_chip import (
    EngineProbe,
    MeasuredChip,
    MeasuredEngine,
    MeasuredModel,
    MeasuredPeak,
    MeasuredTier,
    bandwidth_bytes_per_s,
    peak_per_s,
    tier_of,
)
from yunhe.adapt.measured_fit import (
    EFFICIENCY_MIN,
    EngineFit,
    NotFitted,
    bounded_least_squares,
    fit,
    measured_cost,
    predict,
)

MIB = 1024**2
SHAPE = {"layers": 30, "hidden_size": 576, "heads": 9, "kv_heads": 3, "head_size": 64, "vocabulary": 49152}
MODEL = MeasuredModel("small", "0" * 64, "q4_1", 98_362_432, 134_515_008, SHAPE)
TIERS = tuple(MeasuredTier(size * MIB, rate, 1.0) for size, rate in ((1, 100e9), (8, 90e9), (32, 60e9), (512, 20e9)))
PEAKS = (
    MeasuredPeak("matmul_f32", "f32", 0.2e12, "flop_per_s", 1.0),
    MeasuredPeak("dot_int8", "int8", 1.2e12, "op_per_s", 1.0),
)
CHIP = MeasuredChip(1, "cpu-x", "cpu-1", "X", "x", "cpu", 2, 16 * 1024**3, (), None, TIERS, PEAKS, MODEL, (), 0.0, 60.0)
TRUTH = EngineFit("e", "1", "d", 0.7, 0.3, 0.2, 0.25, 0.02, 0.0, 0.0, measured_cost(MODEL), 8)
LOADS = ((256, 32, 1), (1024, 32, 1), (64, 64, 8))


def probe(truth: EngineFit, load: tuple[int, int, int], factor: float = 1.0) -> EngineProbe:
    said = predict(CHIP, truth, truth.measured, load[0], load[1], load[2])
    tpot = said.step_s.value * factor
    return EngineProbe("p", *load, said.prefill_s.value, tpot, load[2] / tpot, 0.0, 0.0, 2, True)


def engine(*probes: EngineProbe) -> MeasuredEngine:
    return MeasuredEngine("e", "1", "d", {}, probes)


def test_the_efficiencies_behind_the_probes_are_found_again() -> None:
    found = fit(CHIP, engine(*(probe(TRUTH, load) for load in LOADS)))
    for name in ("weights", "cache", "decode_compute", "prefill_compute", "request_s"):
        assert getattr(found, name) == pytest.approx(getattr(TRUTH, name), rel=1e-3), name
    assert found.misfit < 1e-6


def test_an_efficiency_never_leaves_its_bounds_and_what_that_misses_widens_the_interval() -> None:
    """Probes ten times faster than the chip can read, or fifty times slower than it should be."""
    for factor in (0.1, 50.0):
        found = fit(CHIP, engine(*(probe(TRUTH, load, factor) for load in LOADS)))
        for value in (found.weights, found.cache, found.decode_compute, found.prefill_compute):
            assert EFFICIENCY_MIN < value <= 1.0
        assert found.misfit > 0.5
        wide, narrow = (predict(CHIP, one, one.measured, 256, 32, 1).step_s for one in (found, TRUTH))
        assert wide.high / wide.low > narrow.high / narrow.low


def test_a_model_that_a_cache_holds_is_read_at_the_caches_rate() -> None:
    small = replace(TRUTH.measured, weights_bytes=4 * MIB, parameters=4e6, head_parameters=1e6)
    large = replace(TRUTH.measured, weights_bytes=2e9, parameters=4e9)
    in_cache, in_memory = (predict(CHIP, TRUTH, one, 64, 8, 1) for one in (small, large))
    assert (in_cache.tier, in_memory.tier) == ("cache", "memory")
    assert in_memory.binding == "memory bandwidth: weights"
    # 500 times the bytes, but read from memory: more than 500 times the seconds of reading.
    assert in_memory.step_s.value > 3 * 500 * 4 * MIB / 100e9 / TRUTH.weights


def test_bandwidth_lies_between_its_neighbours_and_stays_at_the_ends() -> None:
    assert bandwidth_bytes_per_s(CHIP, 1000) == 100e9
    assert bandwidth_bytes_per_s(CHIP, 1e12) == 20e9
    assert bandwidth_bytes_per_s(CHIP, math.sqrt(8 * 32) * MIB) == pytest.approx(75e9)
    assert [tier_of(CHIP, size * MIB) for size in (1, 32, 512, 5000)] == ["cache", "cache", "memory", "memory"]


def test_a_small_set_that_seemed_slower_than_a_larger_one_is_read_as_fast_as_that() -> None:
    slow = MeasuredTier(128 * MIB, 5e9, 0.2)
    assert bandwidth_bytes_per_s(replace(CHIP, tiers=(slow, *TIERS)), 128 * MIB) == 20e9


def test_a_format_without_a_peak_of_its_own_is_computed_as_wide_as_was_measured() -> None:
    assert peak_per_s(CHIP, "int8") == 1.2e12
    assert peak_per_s(CHIP, "bf16") == 0.2e12
    assert peak_per_s(replace(CHIP, peaks=()), "int8") == 0.0


def test_the_farther_from_what_was_measured_the_wider_the_interval() -> None:
    def width(weights_bytes: float, dtype: str = "int8", concurrency: float = 8) -> float:
        cost = replace(TRUTH.measured, weights_bytes=weights_bytes, dtype=dtype)
        said = predict(CHIP, TRUTH, cost, 256, 32, concurrency).step_s
        assert said.low < said.value < said.high
        return said.high / said.low

    alike = width(MODEL.weights_bytes)
    assert alike < width(10 * MODEL.weights_bytes) < width(10 * MODEL.weights_bytes, "bf16")
    assert alike < width(MODEL.weights_bytes, concurrency=32)


def test_too_few_probes_are_refused_by_name() -> None:
    probes = [probe(TRUTH, load) for load in LOADS]
    with pytest.raises(NotFitted, match="one request at two lengths"):
        fit(CHIP, engine(*probes[:2]))
    with pytest.raises(NotFitted, match="one request at two lengths"):
        fit(CHIP, engine(probes[0], probes[2]))
    with pytest.raises(NotFitted, match="lacks kv_heads"):
        fit(replace(CHIP, model=replace(MODEL, shape={**SHAPE, "kv_heads": 0})), engine(*probes))
    with pytest.raises(NotFitted, match="bandwidth"):
        fit(replace(CHIP, tiers=()), engine(*probes))


def test_bounds_bind_exactly_where_the_free_solution_lies_outside() -> None:
    rows, measured = np.array([[1.0, 0.0], [1.0, 1.0]]), np.array([2.0, 1.0])
    assert bounded_least_squares(rows, measured, np.array([-9.0, -9.0]), np.array([9.0, 9.0])) == pytest.approx([2, -1])
    # With the second held at 0, the first minimises ((x-2)/2)^2 + (x-1)^2.
    assert bounded_least_squares(rows, measured, np.zeros(2), np.full(2, 9.0)) == pytest.approx([1.2, 0.0])
