"""Routing policy."""

import random
from collections import Counter
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from yunhe.serve import routing


@dataclass
class Replica:
    outstanding_tokens: int = 0
    tokens_per_s: float = 100.0


def test_no_replica_means_no_choice() -> None:
    assert routing.choose([], 10, random.Random(1).random) is None


def test_the_replica_that_is_done_first_is_chosen() -> None:
    slow_idle, fast_busy = Replica(0, 10.0), Replica(500, 1000.0)
    assert routing.choose([slow_idle, fast_busy], 100, random.Random(1).random) == 1


def test_equal_replicas_are_chosen_equally_often() -> None:
    draw = random.Random(7).random
    seen = Counter(routing.choose([Replica(), Replica(), Replica()], 10, draw) for _ in range(3000))
    assert set(seen) == {0, 1, 2}
    assert all(800 < count < 1200 for count in seen.values())


def test_load_follows_measured_speed() -> None:
    draw = random.Random(3).random
    replicas = [Replica(0, 100.0), Replica(0, 300.0)]
    taken: Counter[int] = Counter()
    for _ in range(400):
        index = routing.choose(replicas, 10, draw)
        assert index is not None
        replicas[index].outstanding_tokens += 10
        taken[index] += 1
    assert 2.8 < taken[1] / taken[0] < 3.2


@given(st.lists(st.tuples(st.integers(0, 10_000), st.floats(1, 1000)), min_size=1, max_size=16), st.integers(1, 5000))
def test_nobody_would_be_done_earlier_than_the_chosen(loads: list[tuple[int, float]], weight: int) -> None:
    replicas = [Replica(tokens, speed) for tokens, speed in loads]
    index = routing.choose(replicas, weight, random.Random(0).random)
    assert index is not None
    scores = [(r.outstanding_tokens + weight) / r.tokens_per_s for r in replicas]
    assert scores[index] == min(scores)


def test_many_replicas_are_sampled_and_the_busy_ones_avoided() -> None:
    replicas = [Replica(10_000) for _ in range(500)] + [Replica(0) for _ in range(500)]
    draw = random.Random(5).random
    idle = sum((routing.choose(replicas, 10, draw) or 0) >= 500 for _ in range(500))
    assert idle >= 499


def test_canary_groups_take_their_shares_and_the_others_the_rest() -> None:
    draw = random.Random(11).random
    taken = Counter(routing.choose_group([0.1, 0.3], draw) for _ in range(10_000))
    assert abs(taken[0] - 1000) < 120
    assert abs(taken[1] - 3000) < 180
    assert taken[None] == 10_000 - taken[0] - taken[1]


@given(st.lists(st.floats(0, 1), max_size=4), st.floats(0, 1, exclude_max=True))
def test_a_share_of_nothing_is_never_taken_and_of_everything_always(shares: list[float], point: float) -> None:
    index = routing.choose_group(shares, lambda: point)
    assert index is None or shares[index] > 0
    assert routing.choose_group([1.0], lambda: point) == 0


def test_a_request_without_a_limit_weighs_the_expected_answer() -> None:
    assert routing.request_tokens(400, None) == 100 + routing.EXPECTED_COMPLETION_TOKENS
    assert routing.request_tokens(400, 16) == 116


def test_a_breaker_opens_after_failures_in_a_row_and_lets_one_try_afterwards() -> None:
    breaker = routing.CLOSED
    for _ in range(routing.BREAKER_FAILURES - 1):
        breaker = routing.on_failure(breaker, 10.0)
        assert routing.allows(breaker, 10.0)
    breaker = routing.on_failure(breaker, 10.0)
    assert not routing.allows(breaker, 10.0)
    later = 10.0 + routing.BREAKER_OPEN_S_MIN
    assert routing.allows(breaker, later)
    breaker = routing.on_try(breaker, later)
    assert not routing.allows(breaker, later)


def test_a_breaker_rests_longer_each_time_within_bounds() -> None:
    breaker, now, rests = routing.CLOSED, 0.0, []
    for _ in range(8):
        breaker = routing.on_failure(breaker, now, decisive=True)
        rests.append(breaker.open_until_s - now)
        now = breaker.open_until_s
    assert rests == sorted(rests)
    assert rests[0] == routing.BREAKER_OPEN_S_MIN
    assert rests[-1] == routing.BREAKER_OPEN_S_MAX


def test_a_closed_breaker_is_not_changed_by_trying() -> None:
    assert routing.on_try(routing.CLOSED, 5.0) is routing.CLOSED
