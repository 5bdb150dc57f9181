"""The console is typed against the API that this version serves."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONSOLE = Path(__file__).resolve().parents[3] / "console"


def test_the_console_was_typed_against_the_present_api() -> None:
    present = subprocess.run(
        [sys.executable, "-m", "yunhe.api.openapi"], capture_output=True, text=True, timeout=120, check=True
    ).stdout
    kept = (CONSOLE / "openapi.json").read_text(encoding="utf-8")
    assert kept == present, (
        "console/openapi.json is stale: write `python -m yunhe.api.openapi` into it, "
        "then run `npm run schema` in console/ (docs/console.md)"
    )
