"""The instance's two secrets, made before anything starts."""

from __future__ import annotations

import os
import re
import secrets
from typing import Final

from yunhe.core.home import Home
from yunhe.launcher.errors import BadHome

NAMES: Final = ("pepper", "internal_token")
_SHAPE: Final = re.compile(r"[0-9a-f]{64}")


def make_secrets(home: Home) -> None:
    """Make what is missing: 64 hexadecimal characters, 0600. Raises BadHome when one is there and broken."""
    for name in NAMES:
        path = home.secrets / name
        if not path.exists():
            # Written aside and linked: whoever sees the name sees the whole secret, and the first maker wins.
            draft = home.secrets / f".{name}.{os.getpid()}"
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            try:
                with os.fdopen(descriptor, "w") as file:
                    file.write(secrets.token_hex(32))
                    file.flush()
                    os.fsync(file.fileno())
                path.hardlink_to(draft)
            except FileExistsError:
                continue
            finally:
                draft.unlink()
        if not _SHAPE.fullmatch(path.read_text(encoding="ascii", errors="replace").strip()):
            raise BadHome(
                f"{path} is damaged: it must hold 64 hexadecimal characters",
                next_step="Restore it from a backup; without the old pepper no existing API key works.",
            )
