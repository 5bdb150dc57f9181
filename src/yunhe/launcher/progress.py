"""What becomes of the parts while an instance starts or stops, told to whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

PartState = Literal["waiting", "starting", "ready", "failing", "stopping", "stopped"]


@dataclass(frozen=True, slots=True)
class Progress:
    """One part's state, in words for people in ``detail``."""

    part: str
    state: PartState
    detail: str = ""


Watcher = Callable[[Progress], None]
