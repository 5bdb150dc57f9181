"""How values read: for people on a terminal, for programs elsewhere."""

from __future__ import annotations

import sys
from datetime import UTC, datetime, timedelta

import click

from yunhe.core.units import bytes_text, credits_text, parse_credits

#: A century: what is longer was mistyped.
DURATION_S_MAX = 100 * 365 * 86_400.0


def when(moment: datetime | None) -> str | None:
    """How long ago on a terminal; ISO 8601 elsewhere."""
    if moment is None:
        return None
    if not sys.stdout.isatty():
        return moment.astimezone(UTC).isoformat()
    return ago((datetime.now(UTC) - moment).total_seconds())


def ago(seconds: float) -> str:
    """A time in the past or the future, in one unit."""
    units = (("d", 86_400), ("h", 3_600), ("min", 60), ("s", 1))
    unit, length = next((pair for pair in units if abs(seconds) >= pair[1]), units[-1])
    text = f"{int(abs(seconds) // length)} {unit}"
    return f"{text} ago" if seconds >= 0 else f"in {text}"


def amount(micro: int | None) -> str | None:
    """Micro-credits as credits."""
    return None if micro is None else credits_text(micro)


def size(count: int | None) -> str | None:
    """Bytes for people."""
    return None if count is None else bytes_text(count)


def number(value: float | None, digits: int = 0) -> str | None:
    """A number with grouped thousands on a terminal."""
    if value is None:
        return None
    return f"{value:,.{digits}f}" if sys.stdout.isatty() else f"{value:.{digits}f}"


class Credits(click.ParamType[int]):
    """An amount in credits on the command line ('1.5'), micro-credits inside."""

    name = "credits"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """Parse it. Raises click.BadParameter."""
        if isinstance(value, int):
            return value
        try:
            return parse_credits(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class Moment(click.ParamType[datetime]):
    """A time on the command line: a date, a date and time (UTC unless it says), or so long ago ('7d', '12h')."""

    name = "time"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        """Parse it. Raises click.BadParameter."""
        if isinstance(value, datetime):
            return value
        text = str(value)
        try:
            return datetime.now(UTC) - timedelta(seconds=duration_s(text))
        except ValueError:
            pass
        try:
            moment = datetime.fromisoformat(text)
        except ValueError:
            self.fail(f"{text!r} is no time; write 2026-11-23, 2026-11-23T12:00:00Z, or 7d for seven days ago")
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class Duration(click.ParamType[float]):
    """A length of time on the command line: '30d', '12h', '90min', '45s'; seconds inside."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Parse it. Raises click.BadParameter."""
        if isinstance(value, float):
            return value
        try:
            return duration_s(str(value))
        except ValueError:
            self.fail(f"{value!r} is no length of time; write 30d, 12h, 90min or 45s", param, ctx)


def duration_s(text: str) -> float:
    """Seconds of '30d', '12h', '90min', '45s'. Raises ValueError."""
    for unit, length in (("min", 60), ("d", 86_400), ("h", 3_600), ("s", 1)):
        if text.endswith(unit):
            seconds = float(text.removesuffix(unit)) * length
            if not 0 < seconds < DURATION_S_MAX:
                break
            return seconds
    raise ValueError(text)
