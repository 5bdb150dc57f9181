"""Children of an agent that is killed must not live on."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

#: prctl(2), Linux.
_PR_SET_PDEATHSIG: Final = 1
_PARENT: Final = "YUNHE_PARENT_PID"


def child_environment() -> dict[str, str]:
    """The environment for a child that calls ``die_with_parent``."""
    return {**os.environ, _PARENT: str(os.getpid())}


def die_with_parent() -> None:
    """Have the kernel kill this process when its parent ends; end at once when it has ended already."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    expected = os.environ.get(_PARENT, "")
    if expected.isdecimal() and os.getppid() != int(expected):
        sys.exit(1)
