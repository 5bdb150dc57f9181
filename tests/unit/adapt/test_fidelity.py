import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.adapt.fidelity import (
    InvalidEvidence,
    Position,
    divergence,
    fidelity,
    fidelity_by_class,
    likeliest,
    score,
    token_logprob,
)

log = math.log
#: The tail's floor may move a divergence by this much.
ROUNDING = 3e-5


def logprobs(**masses: float) -> dict[int, float]:
    """Log-probabilities by token from masses by letter: a=0, b=1, ..."""
    return {ord(letter) - ord("a"): log(mass) for letter, mass in masses.items()}


def top(masses: np.ndarray, count: int) -> dict[int, float]:
    order = np.argsort(-masses, kind="stable")[:count]
    return {int(token): log(masses[token]) for token in order}


def dirichlet(seed: int, size: int) -> np.ndarray:
    masses = np.random.default_rng(seed).dirichlet(np.full(size, 0.3)) + 1e-7
    return masses / masses.sum()


def test_kl_of_whole_distributions_by_hand() -> None:
    found = divergence(logprobs(a=0.5, b=0.5), logprobs(a=0.75, b=0.25))
    # 0.5 ln(0.5 / 0.75) + 0.5 ln(0.5 / 0.25) = 0.5 ln(4 / 3)
    assert found.kl == pytest.approx(0.5 * log(4 / 3), abs=ROUNDING)
    assert found.tail_mass == pytest.approx(0, abs=2e-6)


def test_the_unlisted_rest_is_one_bucket() -> None:
    found = divergence(logprobs(a=0.6, b=0.2), logprobs(a=0.5, b=0.2))
    # The rest is 0.2 against 0.3.
    assert found.kl == pytest.approx(0.6 * log(0.6 / 0.5) + 0.2 * log(0.2 / 0.3))
    assert found.tail_mass == pytest.approx(0.2)


def test_a_dropped_favourite_is_seen_although_no_token_is_shared() -> None:
    found = divergence(logprobs(a=0.9), logprobs(b=0.9))
    # The candidate leaves at most 0.1 for token a; then 0.9 is left for all else, to which the reference gives 0.1.
    assert found.kl == pytest.approx(0.9 * log(0.9 / 0.1) + 0.1 * log(0.1 / 0.9))


def test_an_unlisted_token_is_no_likelier_than_the_last_listed_one() -> None:
    found = divergence(logprobs(a=0.5, b=0.3), logprobs(a=0.5, c=0.05))
    # Token b: 0.3 against at most 0.05; the rest: 0.2 against 1 - 0.5 - 0.05.
    assert found.kl == pytest.approx(0.3 * log(0.3 / 0.05) + 0.2 * log(0.2 / 0.45))


def test_lists_cut_at_different_tokens_of_the_same_distribution_do_not_diverge() -> None:
    found = divergence(logprobs(a=0.5, b=0.2), logprobs(a=0.5, c=0.2))
    assert found.kl == pytest.approx(0, abs=ROUNDING)


@pytest.mark.parametrize("zero", [-math.inf, -1e30, -250.0])
def test_a_probability_that_underflowed_counts_as_very_small(zero: float) -> None:
    found = divergence(logprobs(a=0.5, b=0.5), {0: 0.0, 1: zero})
    assert found.kl == pytest.approx(0.5 * log(0.5) + 0.5 * (log(0.5) + 100), rel=1e-4)


@pytest.mark.parametrize(
    "values",
    [{}, {0: 0.5}, {0: math.nan}, {0: log(0.7), 1: log(0.7)}],
    ids=["empty", "positive", "not a number", "sum beyond one"],
)
def test_what_is_no_list_of_log_probabilities_is_refused(values: dict[int, float]) -> None:
    good = logprobs(a=0.5)
    with pytest.raises(InvalidEvidence):
        divergence(values, good)
    with pytest.raises(InvalidEvidence):
        divergence(good, values)


seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(2, 60)


@given(seeds, seeds, sizes, st.integers(1, 60), st.integers(1, 60))
def test_kl_is_never_negative_and_never_more_than_that_of_the_whole_distributions(
    left: int, right: int, size: int, left_count: int, right_count: int
) -> None:
    p, q = dirichlet(left, size), dirichlet(right, size)
    whole = float((p * np.log(p / q)).sum())
    found = divergence(top(p, left_count), top(q, right_count))
    assert 0.0 <= found.kl <= whole + ROUNDING


@given(seeds, seeds, sizes)
def test_kl_is_exact_when_the_whole_vocabulary_is_listed(left: int, right: int, size: int) -> None:
    p, q = dirichlet(left, size), dirichlet(right, size)
    assert divergence(top(p, size), top(q, size)).kl == pytest.approx(float((p * np.log(p / q)).sum()), abs=ROUNDING)


@given(seeds, sizes, st.integers(1, 60))
def test_identical_lists_have_no_divergence_and_agree(seed: int, size: int, count: int) -> None:
    listed = top(dirichlet(seed, size), count)
    shuffled = dict(reversed(listed.items()))
    assert divergence(listed, shuffled).kl == 0.0
    assert likeliest(listed) == likeliest(shuffled)


def test_equally_likely_tokens_are_told_apart_by_their_id() -> None:
    assert likeliest({7: -0.5, 3: -0.5, 9: -1.0}) == likeliest({3: -0.5, 9: -1.0, 7: -0.5}) == 3


def test_an_unlisted_token_takes_the_lower_of_its_two_bounds() -> None:
    assert token_logprob(logprobs(a=0.6, b=0.3), 1) == (log(0.3), True)
    value, listed = token_logprob(logprobs(a=0.6, b=0.3), 5)
    assert (value, listed) == (pytest.approx(log(0.1)), False)
    value, listed = token_logprob(logprobs(a=0.6, b=0.05), 5)
    assert (value, listed) == (pytest.approx(log(0.05)), False)


def noisy_positions(texts: int, length: int, noise: float, seed: int = 5) -> list[Position]:
    """Positions of a candidate whose logits are the reference's plus noise."""
    rng = np.random.default_rng(seed)
    found = []
    for text in range(texts):
        for index in range(1, length + 1):
            logits = rng.normal(0, 3, size=40)
            sides = [logits, logits + rng.normal(0, noise, size=40)]
            masses = [np.exp(side) / np.exp(side).sum() for side in sides]
            token = int(rng.choice(40, p=masses[0]))
            found.append(Position(f"text-{text}", index, token, top(masses[0], 30), top(masses[1], 30)))
    return found


def test_a_candidate_equal_to_its_reference_has_kl_zero_agreement_one_and_ratio_one() -> None:
    found = fidelity(score(noisy_positions(4, 25, 0.0)), np.random.default_rng(0))
    assert (found.positions, found.texts) == (100, 4)
    assert found.kl.value == 0.0
    assert found.top1.value == 1.0
    assert found.perplexity_ratio.value == 1.0
    assert found.reference_perplexity == found.candidate_perplexity
    assert found.kl.interval is not None
    assert (found.kl.interval.low, found.kl.interval.high) == (0.0, 0.0)


def test_more_noise_is_more_divergence_and_less_agreement() -> None:
    little, much = (fidelity(score(noisy_positions(6, 40, n)), np.random.default_rng(0)) for n in (0.1, 0.8))
    assert 0 < little.kl.value < much.kl.value
    assert much.top1.value < little.top1.value <= 1
    for found in (little, much):
        for estimate in (found.kl, found.top1, found.perplexity_ratio):
            assert estimate.interval is not None
            assert estimate.interval.low <= estimate.value <= estimate.interval.high


def test_perplexity_and_its_ratio_by_hand() -> None:
    positions = [
        Position("x", 1, 0, logprobs(a=0.5, b=0.5), logprobs(a=0.25, b=0.75)),
        Position("y", 1, 1, logprobs(a=0.875, b=0.125), logprobs(a=0.75, b=0.25)),
    ]
    found = fidelity(score(positions), np.random.default_rng(0))
    # Reference (1/2 * 1/8) ** -1/2 = 4; candidate (1/4 * 1/4) ** -1/2 = 4.
    assert found.reference_perplexity == pytest.approx(4)
    assert found.candidate_perplexity == pytest.approx(4)
    assert found.perplexity_ratio.value == pytest.approx(1)
    assert found.top1.value == 0.5
    # Two texts, so the interval is the range of what two draws can give: the ratios of either text alone.
    interval = found.perplexity_ratio.interval
    assert interval is not None
    assert (interval.low, interval.high) == (pytest.approx(0.5), pytest.approx(2))


def test_a_single_text_has_no_interval() -> None:
    found = fidelity(score(noisy_positions(1, 20, 0.3)), np.random.default_rng(0))
    assert found.kl.interval is None
    assert found.top1.interval is None
    assert found.perplexity_ratio.interval is None


def test_positions_whose_token_is_not_listed_are_counted() -> None:
    listed = logprobs(a=0.6, b=0.3)
    scores = score([Position("x", 1, 0, listed, listed), Position("x", 2, 9, listed, listed)])
    found = fidelity(scores, np.random.default_rng(0))
    assert found.unlisted_share == 0.5
    assert found.tail_mass == pytest.approx(0.1)


def test_classes_are_summed_up_apart() -> None:
    near, far = noisy_positions(4, 20, 0.05), noisy_positions(4, 20, 1.5, seed=6)
    moved = [Position(f"far-{p.text_id}", p.index, p.token, p.reference_logprobs, p.candidate_logprobs) for p in far]
    scores = score([*near, *moved])
    classes = {name: "code" if name.startswith("far") else "prose" for name in scores.text_ids}
    found = fidelity_by_class(scores, classes, np.random.default_rng(0))
    assert list(found) == ["code", "prose"]
    assert found["code"].kl.value > 10 * found["prose"].kl.value
    pooled = fidelity(scores, np.random.default_rng(0))
    assert pooled.kl.value == pytest.approx((found["code"].kl.value + found["prose"].kl.value) / 2)
    assert pooled.positions == found["code"].positions + found["prose"].positions


def test_a_text_without_a_class_and_a_class_without_positions_are_refused() -> None:
    scores = score(noisy_positions(2, 3, 0.1))
    with pytest.raises(InvalidEvidence, match="no class"):
        fidelity_by_class(scores, {"text-0": "prose"}, np.random.default_rng(0))
    with pytest.raises(InvalidEvidence, match="no position"):
        fidelity(scores, np.random.default_rng(0), texts=["another"])


def test_positions_measured_twice_cannot_fill_up_the_evidence() -> None:
    positions = noisy_positions(2, 3, 0.1)
    with pytest.raises(InvalidEvidence, match="twice"):
        score([*positions, positions[0]])


def test_no_positions_are_refused() -> None:
    with pytest.raises(InvalidEvidence, match="no position"):
        score(iter([]))
