"""The chip alone: its tiers and peaks, each measured again while others use the cores, the best kept."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final, Protocol

from yunhe.adapt.measured_chip import MeasuredPeak, MeasuredTier
from yunhe.pool.model import Card

_LOG = logging.getLogger(__name__)
#: With so much of the cores' time a figure is taken as it is.
OWN_SHARE_MIN: Final = 0.95
TRIES: Final = 3
#: Tries beyond the first of each kind end here, so that engines get their time.
RETRIES_LIMIT_S: Final = 30.0


class Kind(Protocol):
    """One thing that a chip driver can measure."""

    @property
    def name(self) -> str:
        """Unique within the driver."""
        ...

    @property
    def unit(self) -> str:
        """Of its value."""
        ...

    @property
    def working_set_bytes(self) -> int | None:
        """Of readings; None for peaks of computing."""
        ...

    @property
    def dtype(self) -> str:
        """Of peaks: the operands' format."""
        ...


class Reading(Protocol):
    """The best of a few runs."""

    @property
    def value(self) -> float:
        """In the kind's unit."""
        ...

    @property
    def share(self) -> float:
        """How much of the cores' time that run got, 0 to 1."""
        ...


class Calibrates(Protocol):
    """Optional capability of a chip driver: measure a present card, kind by kind."""

    def calibration_kinds(self, card: Card) -> tuple[Kind, ...]:
        """What can be measured of this card."""
        ...

    def calibrate(self, card: Card, kind: Kind) -> Reading:
        """Takes about a second. Raises an exception with the reason when there is no figure."""
        ...


def measure_chip(
    chip: Calibrates, card: Card, tell: Callable[[float, str], None], going: Callable[[], bool] = lambda: True
) -> tuple[tuple[MeasuredTier, ...], tuple[MeasuredPeak, ...], tuple[str, ...]]:
    """Tiers, peaks, and notes about what is missing or was disturbed. Blocks while ``going()``. ``tell``: share done,
    a line."""
    tiers: list[MeasuredTier] = []
    peaks: list[MeasuredPeak] = []
    notes: list[str] = []
    kinds = chip.calibration_kinds(card)
    deadline = time.monotonic() + RETRIES_LIMIT_S
    for number, kind in enumerate(kinds):
        if not going():
            break
        best = _best(chip, card, kind, deadline, going)
        if best is None:
            notes.append(f"{kind.name} could not be measured")
            continue
        if best.share < OWN_SHARE_MIN:
            notes.append(f"{kind.name} was disturbed: it had {best.share:.0%} of the cores")
        if kind.working_set_bytes is not None:
            tiers.append(MeasuredTier(kind.working_set_bytes, best.value, best.share))
        else:
            peaks.append(MeasuredPeak(kind.name, kind.dtype, best.value, kind.unit, best.share))
        tell((number + 1) / len(kinds), f"{kind.name} {best.value / 1e9:.1f} G{kind.unit.removesuffix('_per_s')}/s")
    return tuple(tiers), tuple(peaks), tuple(notes)


def _best(chip: Calibrates, card: Card, kind: Kind, deadline: float, going: Callable[[], bool]) -> Reading | None:
    best: Reading | None = None
    for turn in range(TRIES):
        if turn and (time.monotonic() > deadline or not going()):
            break
        try:
            found = chip.calibrate(card, kind)
        except Exception:  # noqa: BLE001 - a stranger's driver may raise anything; without a figure it is a note
            _LOG.exception("%s", kind.name)
            break
        if best is None or found.value > best.value:
            best = found
        if best.share >= OWN_SHARE_MIN:
            break
    return best
