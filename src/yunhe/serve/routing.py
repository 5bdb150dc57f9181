"""Which replica takes a request: the least time until its outstanding tokens are done, ties by chance.

Pure: loads and the random draw are passed in. Load is counted by those who send requests, never reset by health
checks, and only replicas that may take requests are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

#: Prompt tokens are read several times faster than answer tokens are written (measured: 3-9x on CPU, more on
#: accelerators), so they weigh less in a replica's load.
PREFILL_DISCOUNT: Final = 4
#: What a request without a token limit is expected to write, at most, for the purpose of balancing.
EXPECTED_COMPLETION_TOKENS: Final = 256
#: Beyond this many candidates a random sample is compared: exact enough, and the cost stays bounded.
COMPARED_MAX: Final = 16
#: Assumed speed of a replica that never told its own.
DEFAULT_TOKENS_PER_S: Final = 50.0
#: Failures in a row after which a replica is left alone, and for how long: doubling between these bounds.
BREAKER_FAILURES: Final = 3
BREAKER_OPEN_S_MIN: Final = 1.0
BREAKER_OPEN_S_MAX: Final = 15.0


class Load(Protocol):
    """A replica as routing sees it."""

    #: Sum of ``request_tokens`` over the requests in flight there.
    outstanding_tokens: int
    #: Measured or declared decode speed over all slots; > 0.
    tokens_per_s: float


def request_tokens(prompt_tokens: int, completion_tokens_max: int | None) -> int:
    """Weight of one request in a replica's load, in answer tokens."""
    expected = EXPECTED_COMPLETION_TOKENS
    if completion_tokens_max is not None and completion_tokens_max < expected:
        expected = completion_tokens_max
    return prompt_tokens // PREFILL_DISCOUNT + expected


def choose(loads: Sequence[Load], weight: int, draw: Callable[[], float]) -> int | None:
    """Index of the replica for a request of ``weight`` tokens, None when there is none.

    ``draw`` answers floats in [0, 1). Among more than ``COMPARED_MAX`` replicas a random sample of that size is
    compared.
    """
    count = len(loads)
    if count < 2:
        return 0 if count else None
    indices = range(count) if count <= COMPARED_MAX else [int(draw() * count) for _ in range(COMPARED_MAX)]
    best, best_score, ties = -1, 0.0, 1
    for index in indices:
        load = loads[index]
        score = (load.outstanding_tokens + weight) / load.tokens_per_s
        if best < 0 or score < best_score:
            best, best_score, ties = index, score, 1
        elif score == best_score:
            # Reservoir sampling: the k-th equal one replaces the choice with chance 1/k, so all are equally likely.
            ties += 1
            if draw() * ties < 1.0:
                best = index
    return best


def choose_group(shares: Sequence[float], draw: Callable[[], float]) -> int | None:
    """Which canary group takes a request, each with the chance of its share; None: the replicas that are no canaries.

    Shares that sum up to more than one are scaled down to one. ``draw`` answers floats in [0, 1).
    """
    point = draw() * max(1.0, sum(shares))
    for index, share in enumerate(shares):
        point -= share
        if point < 0.0:
            return index
    return None


@dataclass(frozen=True, slots=True)
class Breaker:
    """Whether a replica has earned a rest. Closed while ``open_until_s`` is 0."""

    failures: int = 0
    #: Monotonic seconds; 0 when closed. After that moment one request may try (half open).
    open_until_s: float = 0.0
    #: How often it opened in a row, for the doubling.
    opened: int = 0


CLOSED: Final = Breaker()


def allows(breaker: Breaker, now_s: float) -> bool:
    """Whether a request may be sent."""
    return breaker.open_until_s <= now_s


def on_try(breaker: Breaker, now_s: float) -> Breaker:
    """A request is being sent to a half-open replica: others wait for its result, at most the shortest rest."""
    if breaker.open_until_s == 0.0:
        return breaker
    return replace(breaker, open_until_s=now_s + BREAKER_OPEN_S_MIN)


def on_failure(breaker: Breaker, now_s: float, *, decisive: bool = False) -> Breaker:
    """A request failed there. ``decisive``: nobody listens, so one failure is enough."""
    failures = breaker.failures + 1
    if failures < BREAKER_FAILURES and not decisive and breaker.opened == 0:
        return replace(breaker, failures=failures)
    rest_s = min(BREAKER_OPEN_S_MAX, BREAKER_OPEN_S_MIN * 2**breaker.opened)
    return Breaker(failures=failures, open_until_s=now_s + rest_s, opened=min(breaker.opened + 1, 10))
