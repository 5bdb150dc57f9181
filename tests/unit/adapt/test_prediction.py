"""The roofline and its fit: formulas by hand, limits, and coefficients found again from made data."""

import numpy as np
import pytest

from yunhe.adapt import offsets
from yunhe.adapt.coefficients import NAMES, START, Factors, prefill_s, real, step_s, tpot_s
from yunhe.adapt.features import features
from yunhe.adapt.fitting import Level, fit
from yunhe.adapt.memory import sequence_bytes, sequences_max, weight_bytes
from yunhe.adapt.points import Point, UnknownChipNumbers, columns
from yunhe.adapt.precision import PRECISIONS
from yunhe.adapt.roofline import terms
from yunhe.catalogue import architecture_catalogue, chip_catalogue
from yunhe.catalogue.parameters import parameters_of

H100 = chip_catalogue.find("h100-sxm")
LLAMA = architecture_catalogue.find("llama-3.1-8b")
DEEPSEEK = architecture_catalogue.find("deepseek-v3")
BF16, FP8 = PRECISIONS["bf16"], PRECISIONS["fp8"]


def point(architecture=LLAMA, precision=BF16, concurrency=1.0, tp=1, inputs=1024.0, outputs=256.0, **more):  # type: ignore[no-untyped-def]
    return Point(architecture, H100, precision, "e", inputs, outputs, concurrency, tp, **more)


@pytest.mark.parametrize("name", ["llama-3.1-8b", "deepseek-v3", "qwen3-235b-a22b", "gpt-oss-120b"])
def test_features_hold_all_parameters(name: str) -> None:
    architecture = architecture_catalogue.find(name)
    assert features(architecture).parameters == pytest.approx(parameters_of(architecture)[0], rel=0.01)


def test_weights_of_a_decode_step_are_read_once_at_the_memorys_bandwidth() -> None:
    ideal = terms(columns([point()]))
    f = features(LLAMA)
    assert ideal.weights_s[0] == pytest.approx((f.always + f.head) * 2 / 3.35e12)
    assert ideal.experts_s[0] == ideal.messages_s[0] == ideal.collectives[0] == 0


def test_the_cache_of_grouped_heads_is_two_vectors_a_head_and_layer() -> None:
    assert sequence_bytes(LLAMA, BF16, 1000) == 1000 * 2 * 32 * 8 * 128 * 2
    # One compressed vector for all heads: 512 and 64 elements.
    assert sequence_bytes(DEEPSEEK, BF16, 1000) == pytest.approx(1000 * 61 * 576 * 2, rel=0.05)
    assert weight_bytes(LLAMA, BF16) == pytest.approx(16.06e9, rel=0.01)
    assert sequences_max(LLAMA, BF16, H100, 1, 8192) == pytest.approx(57, abs=2)
    assert sequences_max(DEEPSEEK, FP8, H100, 4, 8192) < 1


def test_a_batch_of_one_reads_few_experts_and_a_large_one_all() -> None:
    few, many = terms(columns([point(DEEPSEEK, FP8, load, 8) for load in (1.0, 4096.0)])).experts_s
    assert many / few == pytest.approx(256 / 8, rel=0.01)


def test_cache_that_cards_cannot_divide_is_on_each_of_them() -> None:
    # Eight heads on sixteen cards: two copies. One compressed vector: on every card.
    assert sequence_bytes(LLAMA, BF16, 1000, 16) == 2 * sequence_bytes(LLAMA, BF16, 1000, 8)
    assert sequence_bytes(LLAMA, BF16, 1000, 8) == sequence_bytes(LLAMA, BF16, 1000)
    assert sequence_bytes(DEEPSEEK, FP8, 1000, 8) == pytest.approx(8 * sequence_bytes(DEEPSEEK, FP8, 1000))
    whole, copied = (
        sequences_max(DEEPSEEK, FP8, chip_catalogue.find("h200-sxm"), 8, 4096, tensor_parallel=tp, data_parallel=dp)
        for tp, dp in ((8, 1), (1, 8))
    )
    assert copied > 4 * whole


def test_a_cached_prefix_is_looked_at_but_not_computed() -> None:
    cached, short, long = (
        terms(columns([point(inputs=inputs, cached_tokens=known)]))
        for inputs, known in ((8192.0, 7168.0), (1024.0, 0.0), (8192.0, 0.0))
    )
    assert cached.cache_s[0] == long.cache_s[0] > short.cache_s[0]
    assert short.prefill_compute_s[0] < cached.prefill_compute_s[0] < long.prefill_compute_s[0] / 4


def test_drafts_compute_and_touch_experts() -> None:
    plain, drafted = (terms(columns([point(DEEPSEEK, FP8, 4.0, 8, drafted_tokens=k)])) for k in (0.0, 3.0))
    assert drafted.compute_s[0] == pytest.approx(4 * plain.compute_s[0])
    assert drafted.experts_s[0] > 2 * plain.experts_s[0]
    assert drafted.weights_s[0] == plain.weights_s[0]


def test_more_cards_divide_work_and_add_messages() -> None:
    one, eight = (terms(columns([point(concurrency=64.0, tp=tp)])) for tp in (1, 8))
    assert one.weights_s[0] / eight.weights_s[0] == pytest.approx(8)
    assert one.compute_s[0] / eight.compute_s[0] == pytest.approx(8)
    assert eight.messages_s[0] > 0
    copies = terms(columns([point(DEEPSEEK, FP8, 64.0, 1, data_parallel=8)]))
    assert copies.sequences[0] == 8


def test_no_coefficient_can_leave_its_bounds() -> None:
    wild = real(np.full(len(NAMES), 50.0)), real(np.full(len(NAMES), -50.0))
    for found in wild:
        for name in ("weights", "experts", "cache", "compute", "link", "prefill", "overlap"):
            assert 0.05 <= found[name] <= 1
        assert all(value >= 0 for value in found.values())


def test_a_loaded_step_is_never_faster_and_speculation_never_slower() -> None:
    loads = [point(concurrency=float(2**n)) for n in range(9)]
    of = columns(loads)
    free = np.repeat(START[:, None], len(loads), axis=1)
    assert np.all(np.diff(step_s(terms(of), free)) >= 0)
    assert np.all(prefill_s(terms(of), free) > 0)
    twice = columns([point(concurrency=8.0, tokens_per_step=2.0)])
    once = columns([point(concurrency=8.0)])
    free = START[:, None]
    assert tpot_s(twice, terms(twice), free)[0] < tpot_s(once, terms(once), free)[0]


def test_a_chip_of_which_nobody_says_enough_is_refused_by_name() -> None:
    silent = chip_catalogue.find("kunlun-p800")
    with pytest.raises(UnknownChipNumbers, match="P800"):
        columns([Point(LLAMA, silent, BF16, "e", 1, 1, 1)])


def test_the_fit_finds_what_made_the_data_and_shrinks_what_few_rows_say() -> None:
    rng = np.random.default_rng(1)
    points = [
        point(concurrency=float(load), tp=tp, inputs=float(inputs), outputs=float(outputs))
        for load in (1, 4, 16, 64, 256)
        for tp in (1, 2, 4, 8)
        for inputs, outputs in ((128, 1024), (1024, 1024), (8192, 256))
    ]
    of = columns(points)
    ideal = terms(of)
    truth = START + rng.normal(0, 0.5, len(START))
    keys = tuple("a" if number % 2 else "b" for number in range(len(points)))
    free = np.repeat(truth[:, None], len(points), axis=1)
    free[NAMES.index("layer_s")] += np.where(np.array(keys) == "a", 0.4, -0.4)
    made = tpot_s(of, ideal, free) * np.exp(rng.normal(0, 0.01, len(points)))
    # One mad row must not bend the rest.
    made[0] *= 30
    found = fit(lambda tried: np.log(tpot_s(of, ideal, tried)), made, START, [Level("k", keys, 0.1)])
    said = tpot_s(of, ideal, found.free({"k": keys}, len(points)))
    error = np.abs(said / made - 1)
    assert np.median(error) < 0.03
    assert error[0] > 0.5
    unknown = found.free({"k": ["c"]}, 1)[:, 0]
    assert np.allclose(unknown, found.base)


def test_factors_go_by_cause() -> None:
    of = columns([point(concurrency=8.0)])
    ideal, free = terms(of), START[:, None]
    parts = [step_s(ideal, free, Factors(roofline=a, overhead=b))[0] for a, b in ((1, 0), (0, 1), (2, 3))]
    assert parts[2] == pytest.approx(2 * parts[0] + 3 * parts[1])
    assert prefill_s(ideal, free, Factors(prefill=0.5))[0] == pytest.approx(prefill_s(ideal, free)[0] / 2)


def test_one_scale_is_where_most_rows_lie() -> None:
    rng = np.random.default_rng(3)
    most, slow = rng.normal(0.7, 0.1, 60), rng.normal(2.5, 0.4, 40)
    assert offsets.scale(np.array([*most, *slow])) == pytest.approx(0.7, abs=0.1)
    # Few rows say less.
    assert 0 < offsets.scale(np.array([0.9])) < 0.5
