"""The generic cell rate algorithm (ITU-T I.371, annex A): a limit per minute in one number of state.

The state is the *theoretical arrival time*: the moment at which the bucket is full again. A bucket holds one minute's
allowance, so an idle caller may spend it at once and then goes on at the limit's rate.
"""

from __future__ import annotations

from typing import Final, NamedTuple

WINDOW_S: Final = 60.0
#: Float sums of many small intervals must not refuse the last request that fits.
_SLACK_S: Final = 1e-6


class Decision(NamedTuple):
    """Whether ``weight`` fits now, and what a caller is told."""

    allowed: bool
    #: The state to store when the request goes through.
    arrival_s: float
    #: Whole units left; after this request when allowed, before it when not.
    remaining: int
    #: Until the bucket is full again.
    reset_s: float
    #: Until the same request would fit; 0 when it does.
    retry_after_s: float


def decide(arrival_s: float, now_s: float, limit_per_minute: int, weight: int) -> Decision:
    """Decide about ``weight`` units (clipped to the limit: what is larger waits for a full bucket).

    A limit below 1 allows nothing. A state further ahead than one window (a clock that was reset) counts as just
    spent.
    """
    if limit_per_minute < 1:
        return Decision(False, arrival_s, 0, WINDOW_S, WINDOW_S)
    interval_s = WINDOW_S / limit_per_minute
    start_s = arrival_s if arrival_s > now_s else now_s
    if start_s > now_s + WINDOW_S:
        start_s = now_s + WINDOW_S
    after_s = start_s + interval_s * (weight if weight < limit_per_minute else limit_per_minute)
    free_s = now_s + WINDOW_S - after_s + _SLACK_S
    if free_s >= 0.0:
        return Decision(True, after_s, int(free_s / interval_s), after_s - now_s, 0.0)
    ahead_s = start_s - now_s
    return Decision(False, start_s, int((WINDOW_S - ahead_s + _SLACK_S) / interval_s), ahead_s, _SLACK_S - free_s)


def corrected(arrival_s: float, now_s: float, limit_per_minute: int, difference: int) -> float:
    """The state after a request took ``difference`` units more (or less, negative) than it was admitted with."""
    start_s = arrival_s if arrival_s > now_s else now_s
    moved = start_s + WINDOW_S / limit_per_minute * difference
    return min(max(moved, now_s), now_s + WINDOW_S)
