"""Waiting for a fact about other processes: asked again and again until it holds, within a bound."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")
PAUSE_S: Final = 0.01


def eventually(what: str, fact: Callable[[], T], *, limit_s: float = 60.0) -> T:
    """The fact's first true value. Raises AssertionError that says what was waited for. Blocks."""
    deadline = time.monotonic() + limit_s
    pause = threading.Event()
    while not (value := fact()):
        assert time.monotonic() < deadline, f"not within {limit_s:.0f} s: {what}"
        pause.wait(PAUSE_S)
    return value
