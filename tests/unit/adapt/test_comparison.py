import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.adapt.comparison import ROUNDS_MIN, Comparison, Patience, Point, compare, with_frontier

values = st.lists(st.tuples(st.floats(0.1, 100.0), st.floats(0.1, 100.0)), min_size=1, max_size=12)


def rng() -> np.random.Generator:
    return np.random.default_rng(5)


def by_round(numbers: list[float]) -> dict[int, float]:
    return dict(enumerate(numbers))


def measured(seed: int, ratio: float, rounds: int, noise: float) -> Comparison:
    """A machine whose speed drifts by a fifth between rounds, and jitters with heavy tails within one."""
    draw = np.random.default_rng(seed)
    speed = draw.lognormal(0, 0.2, rounds)
    jitter = noise * draw.standard_t(3, size=(2, rounds))
    candidate, baseline = ratio * speed * np.exp(jitter[0]), speed * np.exp(jitter[1])
    return compare(by_round(list(candidate)), by_round(list(baseline)), draw)


@pytest.mark.parametrize("ratio", [0.8, 1.0, 2.3])
@pytest.mark.parametrize("rounds", [5, 6, 9, 15])
def test_intervals_cover_the_true_ratio_in_nine_of_ten_seeded_runs(ratio: float, rounds: int) -> None:
    found = [measured(seed, ratio, rounds, noise=0.03).interval for seed in range(200)]
    assert sum(i is not None and i.low <= ratio <= i.high for i in found) >= 180


def test_equal_candidates_are_ranked_in_fewer_than_one_of_twenty_seeded_runs() -> None:
    outcomes = [measured(seed, 1.0, 7, noise=0.03).outcome for seed in range(200)]
    assert sum(outcome in ("better", "worse") for outcome in outcomes) < 10


def test_a_clear_gain_is_better_though_the_machine_drifts_more_than_the_gain() -> None:
    outcomes = [measured(seed, 1.15, 7, noise=0.01).outcome for seed in range(100)]
    assert outcomes.count("better") >= 95


def test_a_lower_time_is_better_where_lower_is_better() -> None:
    fast, slow = by_round([1.0, 1.01, 0.99, 1.0, 1.02]), by_round([2.0, 2.02, 1.97, 2.0, 2.05])
    assert compare(fast, slow, rng(), higher_is_better=False).outcome == "better"
    assert compare(slow, fast, rng(), higher_is_better=False).outcome == "worse"
    assert compare(fast, slow, rng()).outcome == "worse"


def test_four_rounds_decide_nothing() -> None:
    found = compare(by_round([2.0] * 4), by_round([1.0] * 4), rng())
    assert (found.outcome, found.interval, found.rounds_worth) == ("undecided", None, 1)
    assert found.ratio == pytest.approx(2.0)


def test_rounds_that_lack_one_of_both_are_left_out() -> None:
    found = compare({1: 2.0, 2: 2.0, 3: 9.0}, {1: 1.0, 2: 1.0, 4: 9.0}, rng())
    assert found.rounds == 2
    assert found.ratio == pytest.approx(2.0)
    assert compare({1: 2.0}, {2: 1.0}, rng()).rounds_worth == ROUNDS_MIN


def test_a_difference_within_two_deviations_is_not_ranked_and_not_worth_more_rounds() -> None:
    found = compare(by_round([1.02, 1.06, 1.1, 1.04, 1.12, 1.01, 1.08]), by_round([1.0] * 7), rng())
    assert found.interval is not None
    assert found.interval.low > 1.0
    assert found.mad is not None
    assert found.ratio is not None
    assert np.log(found.ratio) <= 2 * found.mad
    assert (found.outcome, found.rounds_worth) == ("refused_to_rank", 0)


def test_an_interval_that_holds_one_is_not_ranked_but_worth_more_rounds() -> None:
    found = compare(by_round([1.10, 1.11, 1.09, 1.10, 0.97]), by_round([1.0] * 5), rng())
    assert found.outcome == "refused_to_rank"
    assert 0 < found.rounds_worth <= 10


def test_a_decided_comparison_is_worth_more_rounds_until_it_is_tight() -> None:
    numbers = by_round([2.0, 2.3, 1.7, 2.1, 1.8])
    wide = compare(numbers, by_round([1.0] * 5), rng())
    assert wide.outcome == "better"
    assert wide.rounds_worth > 0
    assert compare(numbers, by_round([1.0] * 5), rng(), patience=Patience(half_width_max=0.5)).rounds_worth == 0
    assert compare(numbers, by_round([1.0] * 5), rng(), patience=Patience(rounds_max=6)).rounds_worth == 1


@given(values, st.floats(0.1, 10.0))
def test_units_do_not_matter(pairs: list[tuple[float, float]], unit: float) -> None:
    candidate, baseline = by_round([a for a, _ in pairs]), by_round([b for _, b in pairs])
    plain = compare(candidate, baseline, rng())
    scaled = compare({n: v * unit for n, v in candidate.items()}, {n: v * unit for n, v in baseline.items()}, rng())
    assert scaled.ratio == pytest.approx(plain.ratio)
    assert scaled.mad == pytest.approx(plain.mad, abs=1e-9)


@given(values)
def test_swapping_both_inverts_the_ratio(pairs: list[tuple[float, float]]) -> None:
    candidate, baseline = by_round([a for a, _ in pairs]), by_round([b for _, b in pairs])
    one, other = compare(candidate, baseline, rng()), compare(baseline, candidate, rng())
    assert one.ratio is not None
    assert other.ratio == pytest.approx(1 / one.ratio)
    assert (one.interval is None) == (len(pairs) < ROUNDS_MIN)
    if one.interval is not None:
        assert one.interval.low <= one.ratio * (1 + 1e-9)
        assert one.ratio <= one.interval.high * (1 + 1e-9)


@given(values, st.integers(1, 20))
def test_no_more_rounds_are_asked_for_than_patience_allows(pairs: list[tuple[float, float]], most: int) -> None:
    found = compare(
        by_round([a for a, _ in pairs]), by_round([b for _, b in pairs]), rng(), patience=Patience(rounds_max=most)
    )
    assert 0 <= found.rounds_worth <= max(0, most - len(pairs))


@pytest.mark.parametrize("bad", [0.0, -1.0, float("inf"), float("nan")])
def test_a_value_without_a_ratio_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        compare({1: bad}, {1: 1.0}, rng())


points = st.lists(
    st.builds(
        Point,
        candidate=st.uuids().map(str),
        output_tokens_per_s=st.integers(1, 9).map(float),
        tpot_s=st.integers(1, 9).map(float),
        gate=st.sampled_from(["passed", "failed", "insufficient", "unmeasured"]),
    ),
    max_size=12,
)


@given(points)
def test_what_is_off_the_frontier_is_hidden_by_something_on_it(given_points: list[Point]) -> None:
    marked = with_frontier(given_points)
    assert [point.candidate for point in marked] == [point.candidate for point in given_points]
    front = [point for point in marked if point.on_frontier]
    assert bool(front) == bool(given_points)
    for point in marked:
        better = [
            other
            for other in front
            if other.output_tokens_per_s >= point.output_tokens_per_s
            and other.tpot_s <= point.tpot_s
            and (other.output_tokens_per_s, other.tpot_s) != (point.output_tokens_per_s, point.tpot_s)
        ]
        if not point.on_frontier:
            assert better


def test_an_unfaithful_point_is_on_the_picture_but_hides_no_faithful_one() -> None:
    fast, sound, slow = Point("fast", 9.0, 1.0, "failed"), Point("sound", 5.0, 2.0, "passed"), Point("slow", 4.0, 3.0)
    assert [point.on_frontier for point in with_frontier([fast, sound, slow])] == [True, True, False]
    assert [point.on_frontier for point in with_frontier([sound, Point("bad", 4.0, 3.0, "failed")])] == [True, False]
