"""The generic cell rate algorithm (ITU-T I.371, annex A): a limit per minute in one number of state.

The state is the *theoretical arrival time*: the moment at which the bucket is full again. A bucket holds one minute's
allowance, so an idle caller may spend it at once and then goes on at the limit's rate. Plain numbers in and out: this
runs several times for every request.
"""

from __future__ import annotations

from typing import Final

WINDOW_S: Final = 60.0
#: Float sums of many small intervals must not refuse the last request that fits.
SLACK_S: Final = 1e-6


def advance(arrival_s: float, now_s: float, limit_per_minute: int, weight: int) -> float:
    """The state after ``weight`` units, which fit when ``excess_s`` of it is not positive.

    A weight above the limit is clipped to it: it waits for a full bucket. A state further ahead than one window (a
    clock that was reset) counts as just spent. ``limit_per_minute`` >= 1.
    """
    start_s = arrival_s if arrival_s > now_s else now_s
    if start_s > now_s + WINDOW_S:
        start_s = now_s + WINDOW_S
    return start_s + WINDOW_S / limit_per_minute * (weight if weight < limit_per_minute else limit_per_minute)


def excess_s(after_s: float, now_s: float) -> float:
    """By how much a state is over: seconds until the request that would lead to it fits; <= 0 when it fits now."""
    return after_s - now_s - WINDOW_S - SLACK_S


def remaining(arrival_s: float, now_s: float, limit_per_minute: int) -> int:
    """Whole units left in a state."""
    ahead_s = arrival_s - now_s
    if ahead_s <= 0.0:
        return limit_per_minute
    left = int((WINDOW_S + SLACK_S - ahead_s) * limit_per_minute / WINDOW_S)
    return left if left > 0 else 0


def corrected(arrival_s: float, now_s: float, limit_per_minute: int, difference: int) -> float:
    """The state after a request took ``difference`` units more (or less, negative) than it was admitted with."""
    start_s = arrival_s if arrival_s > now_s else now_s
    moved = start_s + WINDOW_S / limit_per_minute * difference
    return min(max(moved, now_s), now_s + WINDOW_S)
