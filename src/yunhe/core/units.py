"""Units of the ledger and of measurements, and how people read them.

Money is an integer count of micro-credits: 1 credit = 1,000,000 micro-credits. Prices are micro-credits per million
tokens. Bytes are integers; durations are float seconds.
"""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Final, Literal

MICRO_PER_CREDIT: Final = 1_000_000
TOKENS_PER_PRICE_UNIT: Final = 1_000_000
KIB: Final = 1024
MIB: Final = 1024**2
GIB: Final = 1024**3

#: Where a number comes from; every number on show carries one.
Source = Literal["measured", "reported", "declared", "predicted", "simulated"]


def credits_text(micro: int) -> str:
    """Micro-credits as credits, exact, no trailing zeros: 1_500_000 -> '1.5'."""
    sign = "-" if micro < 0 else ""
    whole, rest = divmod(abs(micro), MICRO_PER_CREDIT)
    tail = f"{rest:06d}".rstrip("0")
    return f"{sign}{whole}.{tail}" if tail else f"{sign}{whole}"


def parse_credits(text: str) -> int:
    """Credits as typed by a person ('1.5') to micro-credits. Raises ValueError when not a number or finer than 1e-6."""
    try:
        value = Decimal(text.replace("_", "").replace(",", "")) * MICRO_PER_CREDIT
    except InvalidOperation:
        raise ValueError(f"not a number of credits: {text!r}") from None
    if not value.is_finite() or value != value.to_integral_value():
        raise ValueError(f"credits have at most six decimals: {text!r}")
    return int(value)


def bytes_text(count: int) -> str:
    """Bytes for people: 98_362_432 -> '93.8 MiB'."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < KIB or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= KIB
    raise AssertionError("unreachable: TiB ends the loop")
