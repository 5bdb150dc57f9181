"""Engines that were installed by the installer: where they lie, and what each is.

The agent names the directory in ``YUNHE_ENGINES`` before it loads drivers.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ENGINES_VARIABLE: Final = "YUNHE_ENGINES"
MANIFEST: Final = "engine.json"


@dataclass(frozen=True, slots=True)
class Installed:
    """An engine that the installer has put here whole."""

    version: str
    #: Absolute; the first word is a file.
    command: tuple[str, ...]
    #: sha256 of that file, hexadecimal.
    digest: str


def find(name: str) -> Installed | None:
    """None when it was not installed here, or not to the end."""
    root = os.environ.get(ENGINES_VARIABLE, "")
    return read(Path(root) / name) if root else None


def read(directory: Path) -> Installed | None:
    """What a directory's manifest says; None without one that can be read."""
    try:
        found = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
        made = Installed(str(found["version"]), tuple(map(str, found["command"])), str(found["digest"]))
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return made if made.command and Path(made.command[0]).is_file() else None
