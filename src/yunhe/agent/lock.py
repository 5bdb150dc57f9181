"""One agent to a directory: two would start everything twice."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from yunhe.core.errors import Conflict

POLL_S: Final = 0.05


class AgentRuns(Conflict):
    """Another agent runs over this directory."""

    code = "agent_runs"
    default_next_step = "Stop it first (`yunhe down`), or give this one a directory of its own (--home)."


@contextmanager
def held(path: Path, wait_s: float) -> Iterator[None]:
    """Hold the lock; the kernel lets go of it however this process ends. Raises AgentRuns after ``wait_s``."""
    deadline = time.monotonic() + wait_s
    with path.open("a+", encoding="ascii") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    file.seek(0)
                    raise AgentRuns(f"An agent runs over {path.parent} (pid {file.read(16).strip()}).") from None
                time.sleep(POLL_S)
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield
