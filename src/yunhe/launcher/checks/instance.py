"""What runs in this data directory, and how its parts fare."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from yunhe.core.home import Home
from yunhe.launcher.checks.finding import Finding, State
from yunhe.launcher.credentials import read_credentials
from yunhe.launcher.leftovers import find
from yunhe.launcher.local_http import get_json
from yunhe.launcher.run_files import UpRecord

_STATES: dict[str, State] = {"ok": "ok", "degraded": "warn", "down": "fail"}


def check_instance(home: Home, running: UpRecord | None) -> Iterator[Finding]:
    """The parts as the instance itself sees them."""
    if running is None:
        left = ", ".join(f"{process.name} (pid {process.id.pid})" for process in find(home))
        if left:
            remedy = "Take over with `yunhe up`, or stop them with `yunhe down`."
            yield Finding("instance", "warn", f"the launcher was killed; these still run: {left}", remedy)
        else:
            yield Finding("instance", "ok", "nothing runs in this data directory")
        return
    yield Finding("instance", "ok", f"{running.console_url} (pid {running.process.pid}, {running.state})")
    yield from _parts(home, running)


def _parts(home: Home, running: UpRecord) -> Iterator[Finding]:
    key = read_credentials(home).manage_key
    try:
        status, body = get_json("127.0.0.1", running.control_port, "/api/v1/status", key=key, timeout_s=5.0)
    except OSError as error:
        yield Finding("instance", "fail", f"control does not answer: {error}", "Look at `yunhe logs control`.")
        return
    if status != 200 or not isinstance(body, dict):
        remedy = "Look at `yunhe logs control`."
        if status in (401, 403):
            remedy = f"The key in {home.credentials} was revoked: make another with scope manage and put it there."
        yield Finding("instance", "warn", f"control answers its status with HTTP {status}", remedy)
        return
    parts: list[dict[str, Any]] = body.get("parts", [])
    for part in parts:
        state = _STATES.get(str(part.get("state")), "warn")
        found = f"{part.get('kind')} {part.get('name')}: {part.get('state')}, {part.get('detail')}"
        yield Finding("instance", state, found, "" if state == "ok" else str(part.get("next_step") or ""))
