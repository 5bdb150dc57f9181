"""Stopping every workload of this agent, without control."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any, Final

from yunhe.agent.reconcile import ENDED_PHASES
from yunhe.agent.replica import launch_path

GRACE_S: Final = 3.0
LIMIT_S: Final = 25.0
POLL_S: Final = 0.02


def stop_all(centre: Any, launches: Path, grace_s: float = GRACE_S, limit_s: float = LIMIT_S) -> bool:
    """Stop every workload and wait for it. Blocks; True when nothing is left.

    What was stopped so is forgotten: nothing went wrong with it, and the next agent shall start it afresh where it is
    still desired.
    """
    deadline = time.monotonic() + limit_s
    asked: set[str] = set()
    while True:
        running = {status.id for status in centre.observe() if status.phase not in ENDED_PHASES}
        if not running:
            break
        if time.monotonic() > deadline:
            return False
        for workload_id in sorted(running - asked):
            centre.stop(workload_id, grace_s)
        asked |= running
        time.sleep(POLL_S)
    for workload_id in sorted(asked):
        launch_path(launches, workload_id).unlink(missing_ok=True)
        if hasattr(centre, "forget"):
            centre.forget(workload_id)
    return True
