"""Files with secrets: made once, 0600, complete or absent whatever happens in between."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from yunhe.adapt.signing import SigningKey
from yunhe.control.state import Secrets
from yunhe.core.errors import YunheError
from yunhe.core.home import Home

_SECRET_BYTES: Final = 32


class SecretUnreadable(YunheError):
    """A secret file of the data directory cannot be used."""

    code = "secret_unreadable"
    default_next_step = "Restore the file named in details from a backup; making a new one would invalidate every key."


def ensure_secrets(home: Home) -> Secrets:
    """The instance's secrets, made at the first call. Raises SecretUnreadable when a file holds something else."""
    return Secrets(
        pepper=bytes.fromhex(_ensure_hex(home.secrets / "pepper")),
        internal_token=_ensure_hex(home.secrets / "internal_token"),
        signing_key=SigningKey(bytes.fromhex(_ensure_hex(home.secrets / "signing_key"))),
    )


def write_private(path: Path, text: str) -> None:
    """Write a 0600 file in one step: readers see the old text or the new one, also after a crash."""
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    _write_new(temporary, text)
    temporary.replace(path)
    _sync_directory(path.parent)


def _ensure_hex(path: Path) -> str:
    """The 64 hex characters in the file, made if absent; of several processes at once, one makes it and all read it."""
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
        _write_new(temporary, secrets.token_hex(_SECRET_BYTES))
        try:
            # A link fails when somebody was faster; unlike O_EXCL it never shows a half-written file.
            path.hardlink_to(temporary)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
        _sync_directory(path.parent)
    text = path.read_text(encoding="ascii", errors="replace").strip()
    try:
        if len(bytes.fromhex(text)) != _SECRET_BYTES:
            raise ValueError("wrong length")
    except ValueError:
        raise SecretUnreadable(f"{path.name} does not hold 64 hexadecimal characters", path=str(path)) from None
    return text


def _write_new(path: Path, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _sync_directory(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
