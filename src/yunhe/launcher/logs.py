"""Log files: children append to them directly, the launcher rotates them.

A pipe through the launcher would break when the launcher is killed; a file does not. Rotation copies and truncates,
which appending writers (O_APPEND) survive.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Final

TAIL_BYTES: Final = 65_536


def open_for_append(path: Path) -> int:
    """A descriptor that appends, 0600. Raises OSError."""
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)


def rotate(path: Path, bytes_max: int, files_max: int) -> bool:
    """Rotate when larger than ``bytes_max``: path -> path.1 -> path.2 ...; whether it did. Raises OSError.

    Lines written between copy and truncation, some microseconds, are lost.
    """
    try:
        if path.stat().st_size <= bytes_max:
            return False
    except FileNotFoundError:
        return False
    for number in range(files_max - 1, 0, -1):
        older = Path(f"{path}.{number}")
        if older.exists():
            older.replace(f"{path}.{number + 1}")
    shutil.copyfile(path, f"{path}.1")
    os.truncate(path, 0)
    return True


def tail(path: Path, lines: int) -> tuple[str, ...]:
    """The last lines; empty when there is no such file."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - TAIL_BYTES))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ()
    return tuple(text.splitlines()[-lines:])


def last_words(output: Path, lines: int) -> tuple[str, ...]:
    """What a process said last: on its standard error, and in the log that it keeps itself."""
    return (*tail(output.with_suffix(".log"), lines), *tail(output, lines))
