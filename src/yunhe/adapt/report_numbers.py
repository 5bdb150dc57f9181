"""How numbers read in a report: three digits or so, always with their unit, never more exact than they are."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from yunhe.adapt.report_records import Ratio, Spread

_PREFIXES: Final = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
NONE: Final = "–"


def number(value: float) -> str:
    """Three significant digits, whole numbers in full, thousands grouped."""
    size = abs(value)
    if size == 0:
        return "0"
    if size >= 100:
        return f"{value:,.0f}"
    decimals = 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.1 else 4
    return f"{value:.{decimals}f}"


def spread_text(found: Spread | None, scale: float = 1.0) -> str:
    """The value with its ends; an interval is written with a dash, a mere range of windows with dots."""
    if found is None:
        return NONE
    value = number(found.value * scale)
    if found.basis == "single":
        return value
    joint = "–" if found.basis == "interval" else "…"
    return f"{value} ({number(found.low * scale)}{joint}{number(found.high * scale)})"


def ratio_text(found: Ratio | None) -> str:
    """As 2.31× (2.25–2.36)."""
    if found is None or found.ratio is None:
        return NONE
    decimals = 2 if found.ratio >= 0.1 else 3
    ends = "" if found.low is None or found.high is None else f" ({found.low:.{decimals}f}–{found.high:.{decimals}f})"
    return f"{found.ratio:.{decimals}f}×{ends}"


def ends_text(value: float, low: float | None, high: float | None, decimals: int) -> str:
    """A value with its interval, all with so many decimals."""
    ends = "" if low is None or high is None else f" ({low:.{decimals}f}–{high:.{decimals}f})"
    return f"{value:.{decimals}f}{ends}"


def prefixed(value: float, unit: str) -> str:
    """As 1.2 TFLOP/s."""
    for size, letter in _PREFIXES:
        if abs(value) >= size:
            return f"{number(value / size)} {letter}{unit}"
    return f"{number(value)} {unit}"


def tick_text(value: float) -> str:
    """A round value at an axis."""
    return f"{value:,.6g}" if abs(value) < 1e6 else prefixed_tick(value)


def prefixed_tick(value: float) -> str:
    """A round value with its prefix, as 200 G."""
    size, letter = next(((size, letter) for size, letter in _PREFIXES if abs(value) >= size), (1.0, ""))
    return f"{value / size:g} {letter}".rstrip()


def duration_text(seconds: float) -> str:
    """As 24:58 or 1:02:03."""
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"


def moment_text(unix_s: float) -> str:
    """To the minute, in UTC."""
    return datetime.fromtimestamp(unix_s, UTC).strftime("%Y-%m-%d %H:%M UTC")
