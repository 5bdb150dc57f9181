import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.adapt.fidelity_sequences import common_start, compare_sequences, greedy_agreement

tokens = st.lists(st.integers(0, 3), max_size=12)


@pytest.mark.parametrize(
    ("expected", "seen", "length"),
    [([1, 2, 3], [1, 2, 4], 2), ([1, 2], [1, 2, 3], 2), ([], [1], 0), ([5], [6], 0), ([7, 8], [7, 8], 2)],
)
def test_the_common_start_ends_at_the_first_difference(expected: list[int], seen: list[int], length: int) -> None:
    assert common_start(expected, seen) == length


@given(tokens, tokens)
def test_the_common_start_is_common_and_cannot_be_longer(left: list[int], right: list[int]) -> None:
    length = common_start(left, right)
    assert left[:length] == right[:length]
    assert common_start(right, left) == length
    assert left[: length + 1] != right[: length + 1] or length in (len(left), len(right))


def test_greedy_agreement_by_hand() -> None:
    found = greedy_agreement([([1, 2, 3, 4], [1, 2, 3, 4]), ([1, 2, 3, 4], [1, 9, 3, 4]), ([1, 2, 3], [1, 2, 3, 5])])
    assert (found.answers, found.identical) == (3, 1)
    assert found.mean_tokens == pytest.approx(8 / 3)
    assert found.median_tokens == 3
    # Sorted 1, 3, 4; the tenth percentile lies 0.2 of the way from the first to the second.
    assert found.p10_tokens == pytest.approx(1.4)
    # Eight tokens agreed on, two answers that differ.
    assert found.tokens_per_difference == pytest.approx(4.0)


def test_answers_that_never_differ_have_no_agreement_length() -> None:
    assert greedy_agreement([([1, 2], [1, 2])]).tokens_per_difference is None


def test_a_batch_that_changes_one_answer_of_four_is_seen() -> None:
    answer = list(range(16))
    broken = [*answer[:2], 99, *answer[3:]]
    found = compare_sequences("batch", [(answer, answer)] * 3 + [(answer, broken)])
    assert found.agreed_tokens == (16, 16, 16, 2)
    assert found.agreeing_share(None) == 0.75
    assert found.agreeing_share(2) == 1.0
    assert found.agreeing_share(3) == 0.75


def test_a_short_answer_must_agree_wholly_and_an_empty_one_never_does() -> None:
    found = compare_sequences("short_prompt", [([1, 2], [1, 2]), ([1, 2], []), ([], [])])
    assert found.agreeing_share(8) == pytest.approx(1 / 3)
    assert found.agreeing_share(0) == pytest.approx(2 / 3)


def test_nothing_to_compare_is_refused() -> None:
    with pytest.raises(ValueError, match="no answers"):
        greedy_agreement([])
    with pytest.raises(ValueError, match="no answers"):
        compare_sequences("batch", [])
