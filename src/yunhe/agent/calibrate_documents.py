"""What a calibration says on standard output: one JSON document a line."""

from __future__ import annotations

from msgspec import Struct

from yunhe.adapt.measured_chip import MeasuredChip


class Begun(Struct, frozen=True, tag="begun", tag_field="event"):
    """A part begins. ``share`` is that of the time which the whole may take, 0 to 1."""

    step: int
    steps: int
    title: str
    share: float


class Progress(Struct, frozen=True, tag="progress", tag_field="event"):
    """How far it is, and what was just seen."""

    share: float
    line: str = ""


class Done(Struct, frozen=True, tag="done", tag_field="event"):
    """Measured and written down."""

    path: str
    calibration: MeasuredChip


class Failed(Struct, frozen=True, tag="failed", tag_field="event"):
    """Nothing was written; what was there before is as it was."""

    code: str
    message: str
    next_step: str
    log: str = ""


Document = Begun | Progress | Done | Failed
