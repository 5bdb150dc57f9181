"""How much of a project's credit a gateway worker may hold.

available = balance - what live leases still hold. A grant never exceeds it, so parallel workers cannot overdraw.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from yunhe.core.units import MICRO_PER_CREDIT, credits_text

#: A worker renews well before; a killed worker's credit is tied up for at most this long.
LEASE_S: Final = 300.0
#: One worker takes at most this part of what is available, so that the others find some...
SHARE_DIVISOR: Final = 4
#: ...but an ask this small is met whole when it fits.
SMALL_MICRO: Final = 1_000
#: Gateways are not told of changes of available credit smaller than this part of what they know...
TOLD_DIVISOR: Final = 10
#: ...nor of changes below one credit, unless credit begins or ends.
TOLD_MICRO: Final = MICRO_PER_CREDIT


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is granted, 0 with the reason when nothing is."""

    granted_micro: int
    refused_reason: str | None = None


def decide(want_micro: int, need_micro: int, available_micro: int) -> Verdict:
    """How much to grant of ``want_micro`` when ``need_micro`` of it is needed at once.

    At least the need when it fits, at most the want, and between the two no more than a fair share of what is left.
    """
    if available_micro <= 0:
        return Verdict(0, "the project has no credit left")
    if need_micro > available_micro:
        return Verdict(0, _too_little(need_micro, available_micro))
    share = max(available_micro // SHARE_DIVISOR, min(SMALL_MICRO, available_micro), need_micro, 1)
    return Verdict(min(max(want_micro, need_micro), share, available_micro))


def _too_little(need_micro: int, available_micro: int) -> str:
    return (
        f"the request may cost up to {credits_text(need_micro)} credits, "
        f"the project has {credits_text(available_micro)} that are not set aside for running requests"
    )


def is_worth_telling(told_micro: int, available_micro: int) -> bool:
    """Whether gateways must learn of a project's available credit: it began, it ended, or it moved by a tenth."""
    if (told_micro > 0) != (available_micro > 0):
        return True
    return abs(available_micro - told_micro) >= max(TOLD_MICRO, abs(told_micro) // TOLD_DIVISOR)
