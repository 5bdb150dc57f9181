"""What the installer says on standard output: one JSON document a line."""

from __future__ import annotations

from msgspec import Struct


class Described(Struct, frozen=True, tag="described", tag_field="event"):
    """An engine that can be installed here, or the reason why not."""

    name: str
    summary: str
    version: str
    #: Version that is installed; "" when none is.
    installed: str
    disk_bytes: int
    expected_s: float
    #: Why it cannot be installed here; "" when it can.
    refusal: str = ""


class Begun(Struct, frozen=True, tag="begun", tag_field="event"):
    """A step begins. ``share`` is that of the whole installation, 0 to 1."""

    step: int
    steps: int
    title: str
    share: float


class Progress(Struct, frozen=True, tag="progress", tag_field="event"):
    """How far it is."""

    share: float
    line: str = ""


class Done(Struct, frozen=True, tag="done", tag_field="event"):
    """Installed, smoke-tested, written down."""

    name: str
    version: str
    directory: str
    digest: str
    took_s: float
    size_bytes: int


class Failed(Struct, frozen=True, tag="failed", tag_field="event"):
    """Not installed; what was there before is as it was."""

    code: str
    message: str
    next_step: str
    log: str = ""


Document = Described | Begun | Progress | Done | Failed
