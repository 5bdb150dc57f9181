"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. ``warn``: works, but not as it could; ``fail``: something will not work."""

    #: Name of the check, also the section in docs/troubleshooting.md.
    check: str
    state: State
    found: str
    #: What to do; empty when ok.
    next_step: str = ""
