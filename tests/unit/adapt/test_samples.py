import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.adapt.samples import (
    Sample,
    SampleRules,
    Slo,
    good_requests,
    judge_sample,
    median_interval,
    summarise,
    window_value,
)

times = st.lists(st.floats(0.001, 10.0), min_size=1, max_size=30)


def sample(**changes: object) -> Sample:
    """Ten good requests of ten tokens in five seconds."""
    numbers: dict[str, object] = {
        "candidate": "a",
        "round": 0,
        "duration_s": 5.0,
        "completed": 10,
        "input_tokens": 500,
        "output_tokens": 100,
        "output_tokens_due": 100,
        "ttft_s": tuple(0.1 * n for n in range(1, 11)),
        "tpot_s": tuple(0.01 * n for n in range(1, 11)),
        "foreign_cpu_share": 0.01,
        "memory_peak_bytes": 10**9,
        "owns_port": True,
    }
    return Sample(**{**numbers, **changes})  # type: ignore[arg-type]


def windows(rng: np.random.Generator, count: int, requests: int = 40) -> list[Sample]:
    """Windows whose level differs; TTFT is exponential with mean 1 s within a level."""
    made = []
    for number in range(count):
        ttft = tuple(rng.lognormal(0, 0.2) * rng.exponential(1.0, requests))
        made.append(sample(round=number, completed=requests, ttft_s=ttft, tpot_s=(0.01,) * requests))
    return made


def test_a_quiet_complete_window_counts() -> None:
    assert judge_sample(sample()).accepted


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"foreign_cpu_share": 0.051}, "foreign CPU 5.1%"),
        ({"owns_port": False}, "does not own the port"),
        ({"output_tokens": 99}, "99 output tokens, 100 were due"),
        ({"output_tokens": 9, "output_tokens_due": None}, "9 output tokens of 10 requests"),
        ({"errors": 2}, "2 of 12 requests failed"),
        ({"duration_s": 2.9}, "too short: 2.9 s"),
        ({"completed": 3, "ttft_s": (0.1,) * 3, "tpot_s": (0.1,) * 3}, "too short: 3 requests"),
    ],
)
def test_a_window_is_rejected_with_the_reason(changes: dict[str, object], said: str) -> None:
    judgement = judge_sample(sample(**changes))
    assert not judgement.accepted
    assert len(judgement.reasons) == 1
    assert said in judgement.reasons[0]


def test_all_reasons_are_named_and_the_rules_can_be_set() -> None:
    bad = sample(foreign_cpu_share=0.2, owns_port=False, duration_s=1.0)
    assert len(judge_sample(bad).reasons) == 3
    assert judge_sample(bad, SampleRules(foreign_cpu_share_max=0.3, duration_s_min=0.5)).reasons == (
        "the measured process does not own the port that answered",
    )


def test_foreign_load_at_the_limit_is_still_accepted() -> None:
    assert judge_sample(sample(foreign_cpu_share=0.05)).accepted


@pytest.mark.parametrize(
    "changes",
    [{"completed": 11}, {"ttft_s": (float("nan"),) * 10}, {"duration_s": -1.0}, {"energy_joules": float("inf")}],
)
def test_numbers_that_cannot_be_make_no_sample(changes: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="sample"):
        sample(**changes)


def test_a_sample_survives_json() -> None:
    one = sample(tpot_s=(None, *[0.01] * 9), energy_joules=None)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Sample) == one


def test_values_of_a_window_are_rates_and_medians() -> None:
    one = sample()
    slo = Slo(ttft_s=0.55, tpot_s=0.035)
    assert window_value(one, "output_tokens_per_s", slo) == pytest.approx(20.0)
    assert window_value(one, "input_tokens_per_s", slo) == pytest.approx(100.0)
    assert window_value(one, "goodput_per_s", slo) == pytest.approx(3 / 5)
    assert window_value(one, "ttft_s", slo) == pytest.approx(0.55)
    assert window_value(one, "tpot_s", slo) == pytest.approx(0.055)


def test_an_answer_of_one_token_has_no_tpot_to_break() -> None:
    one = sample(tpot_s=(None,) * 10)
    assert good_requests(one, Slo(tpot_s=0.001)) == 10
    assert window_value(one, "tpot_s", Slo()) is None
    assert summarise([one], Slo(), np.random.default_rng(0)).tpot_s is None


@given(times, st.floats(0.001, 10.0), st.floats(0.001, 10.0))
def test_a_looser_slo_never_lowers_goodput(ttft: list[float], bound: float, more: float) -> None:
    one = sample(completed=len(ttft), ttft_s=tuple(ttft), tpot_s=(0.01,) * len(ttft))
    assert good_requests(one, Slo(ttft_s=bound)) <= good_requests(one, Slo(ttft_s=bound + more)) <= len(ttft)


@given(st.lists(times, min_size=5, max_size=8), st.integers(0, 2**32))
def test_percentiles_are_ordered_measured_times_within_their_intervals(groups: list[list[float]], seed: int) -> None:
    made = [sample(round=n, completed=len(g), ttft_s=tuple(g), tpot_s=(0.01,) * len(g)) for n, g in enumerate(groups)]
    found = summarise(made, Slo(), np.random.default_rng(seed)).ttft_s
    values = [one.value for one in (found.p50, found.p90, found.p95, found.p99)]
    pooled = sorted(time for group in groups for time in group)
    assert values == sorted(values)
    assert set(values) <= set(pooled)
    assert sum(time <= found.p90.value for time in pooled) >= 0.9 * len(pooled)
    assert sum(time < found.p90.value for time in pooled) < 0.9 * len(pooled)
    for one in (found.p50, found.p90, found.p95, found.p99):
        assert one.interval is not None
        assert pooled[0] <= one.interval.low <= one.interval.high <= pooled[-1]


def test_percentiles_are_those_of_the_table() -> None:
    one = sample(completed=100, ttft_s=tuple(n / 100 for n in range(1, 101)), tpot_s=(0.01,) * 100)
    found = summarise([one], Slo(), np.random.default_rng(0)).ttft_s
    assert [p.value for p in (found.p50, found.p90, found.p95, found.p99)] == [0.5, 0.9, 0.95, 0.99]


def test_a_summary_takes_medians_peaks_and_energy() -> None:
    made = [sample(round=n, duration_s=5.0 / (1 + n), memory_peak_bytes=n, energy_joules=100.0) for n in range(5)]
    found = summarise(made, Slo(ttft_s=0.55), np.random.default_rng(0))
    assert (found.windows, found.requests) == (5, 50)
    assert found.output_tokens_per_s.value == pytest.approx(60.0)
    assert found.output_tokens_per_s.mad == pytest.approx(20.0)
    assert found.goodput_per_s.value == pytest.approx(3.0)
    assert found.memory_peak_bytes == 4
    assert found.joules_per_output_token is not None
    assert found.joules_per_output_token.value == pytest.approx(1.0)


def test_few_windows_get_no_interval() -> None:
    rng = np.random.default_rng(0)
    assert summarise(windows(rng, 4), Slo(), rng).ttft_s.p50.interval is None
    assert summarise(windows(rng, 5), Slo(), rng).ttft_s.p50.interval is not None


def test_windows_that_agree_leave_no_doubt() -> None:
    made = [sample(round=n) for n in range(6)]
    found = summarise(made, Slo(), np.random.default_rng(0))
    for one in (found.ttft_s.p50, found.ttft_s.p99, found.output_tokens_per_s):
        assert one.interval is not None
        assert one.interval.low == one.value == one.interval.high
        assert one.mad == 0.0


def test_the_same_seed_gives_the_same_summary() -> None:
    made = windows(np.random.default_rng(1), 6)
    assert summarise(made, Slo(), np.random.default_rng(7)) == summarise(made, Slo(), np.random.default_rng(7))


def test_intervals_of_a_percentile_cover_the_truth_in_nine_of_ten_seeded_runs() -> None:
    rng = np.random.default_rng(20261123)
    # The truth by brute force: many windows of the same machine.
    pooled = np.concatenate([rng.lognormal(0, 0.2) * rng.exponential(1.0, 40) for _ in range(20_000)])
    truth = float(np.quantile(pooled, 0.9))
    covered = 0
    for _ in range(60):
        interval = summarise(windows(rng, 8), Slo(), rng).ttft_s.p90.interval
        assert interval is not None
        covered += interval.low <= truth <= interval.high
    assert covered >= 54


@pytest.mark.parametrize("count", [5, 9])
def test_intervals_of_a_median_cover_the_truth_in_nine_of_ten_seeded_runs(count: int) -> None:
    rng = np.random.default_rng(count)
    intervals = [median_interval(rng.standard_t(3, count), rng) for _ in range(300)]
    assert sum(i is not None and i.low <= 0.0 <= i.high for i in intervals) >= 270


def test_windows_of_two_candidates_make_no_summary() -> None:
    with pytest.raises(ValueError, match="one candidate"):
        summarise([sample(), sample(candidate="b")], Slo(), np.random.default_rng(0))
