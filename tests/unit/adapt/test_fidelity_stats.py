import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.adapt.fidelity_stats import cluster_intervals, expanded_tail, mcnemar, student_t


@pytest.mark.parametrize(
    ("degrees", "t"),
    # Tables of Student's t, two-sided 95 %.
    [(1, 12.7062), (2, 4.3027), (3, 3.1824), (4, 2.7764), (11, 2.2010), (30, 2.0423), (400, 1.9659)],
)
def test_students_t_is_that_of_the_tables(degrees: int, t: float) -> None:
    assert student_t(degrees, 0.95) == pytest.approx(t, abs=1e-4)


def test_many_degrees_of_freedom_give_the_normal_quantile() -> None:
    assert student_t(10_000, 0.95) == pytest.approx(1.95996, abs=1e-4)


def test_few_texts_widen_the_interval_and_many_do_not() -> None:
    assert expanded_tail(12, 0.95) < expanded_tail(100, 0.95) < 0.025
    assert expanded_tail(100_000, 0.95) == pytest.approx(0.025, abs=1e-5)


def simulated(rng: np.random.Generator, texts: int) -> tuple[np.ndarray, np.ndarray]:
    """Sums and counts of a skewed metric whose level differs by text: mean 1 over the population."""
    counts = rng.integers(80, 300, size=texts)
    levels = rng.lognormal(-0.08, 0.4, size=texts)
    sums = np.array([rng.exponential(level, size=n).sum() for level, n in zip(levels, counts, strict=True)])
    return sums[:, None], counts


@pytest.mark.parametrize("texts", [8, 18])
def test_intervals_cover_the_truth_in_nine_of_ten_seeded_simulations(texts: int) -> None:
    rng = np.random.default_rng(20261123)
    covered = 0
    for _ in range(400):
        sums, counts = simulated(rng, texts)
        interval = cluster_intervals(sums, counts, rng, resamples=600)[0]
        covered += interval.low <= 1.0 <= interval.high
    assert covered / 400 >= 0.90


def test_an_interval_clustered_by_text_is_wider_than_one_over_positions() -> None:
    sums, counts = simulated(np.random.default_rng(1), 12)
    clustered = cluster_intervals(sums, counts, np.random.default_rng(2))[0]
    mean = sums.sum() / counts.sum()
    alone = np.full((counts.sum(), 1), mean)
    alone[::2] *= 2  # the spread of an exponential metric, but spread evenly over all positions
    alone[1::2] = 0
    single = cluster_intervals(alone, np.ones(counts.sum(), dtype=np.int64), np.random.default_rng(2), resamples=200)[0]
    assert clustered.high - clustered.low > 1.5 * (single.high - single.low)


def test_the_same_generator_gives_the_same_interval() -> None:
    sums, counts = simulated(np.random.default_rng(1), 12)
    first = cluster_intervals(sums, counts, np.random.default_rng(7))
    assert first == cluster_intervals(sums, counts, np.random.default_rng(7))
    assert first != cluster_intervals(sums, counts, np.random.default_rng(8))


def test_one_text_gives_no_interval() -> None:
    with pytest.raises(ValueError, match="two texts"):
        cluster_intervals(np.ones((1, 1)), np.array([5]), np.random.default_rng(0))


def test_a_text_without_positions_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one position"):
        cluster_intervals(np.ones((2, 1)), np.array([5, 0]), np.random.default_rng(0))


def test_mcnemar_by_hand() -> None:
    # 6 lost, 0 gained: 2 * (1/2)^6 = 1/32.
    test = mcnemar([True] * 20, [False] * 6 + [True] * 14)
    assert (test.items, test.reference_correct, test.candidate_correct) == (20, 20, 14)
    assert (test.lost, test.gained) == (6, 0)
    assert test.p_value == pytest.approx(1 / 32)
    # 5 lost, 2 gained: 2 * (C(7,0) + C(7,1) + C(7,2)) / 2^7 = 2 * 29 / 128.
    test = mcnemar([True] * 5 + [False] * 2 + [True] * 3, [False] * 5 + [True] * 2 + [True] * 3)
    assert test.p_value == pytest.approx(58 / 128)


def test_an_even_split_and_no_change_have_p_one() -> None:
    assert mcnemar([True, False], [False, True]).p_value == 1.0
    assert mcnemar([True, False], [True, False]).p_value == 1.0
    assert mcnemar([], []).p_value == 1.0


def test_runs_over_different_items_are_refused() -> None:
    with pytest.raises(ValueError, match="same items"):
        mcnemar([True], [True, False])


@given(st.lists(st.tuples(st.booleans(), st.booleans()), max_size=80))
def test_mcnemar_is_a_probability_and_does_not_care_for_the_side(pairs: list[tuple[bool, bool]]) -> None:
    forth = mcnemar([a for a, _ in pairs], [b for _, b in pairs])
    back = mcnemar([b for _, b in pairs], [a for a, _ in pairs])
    assert 0.0 < forth.p_value <= 1.0
    assert forth.p_value == back.p_value
    assert forth.candidate_correct - forth.reference_correct == forth.gained - forth.lost
