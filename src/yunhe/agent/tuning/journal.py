"""The journal of one adaptation on the agent's disk: one JSON text a line, each line durable before it counts."""

from __future__ import annotations

import os
from pathlib import Path

from yunhe.adapt.adaptation import Entry, entry_text, read_entry


class Journal:
    """Append-only. A line that was torn by a crash had not been acknowledged and is cut off."""

    def __init__(self, path: Path) -> None:
        self._path = path
        #: As they are on disk.
        self.texts: list[str] = []
        self.entries: list[Entry] = []
        self._read()

    def _read(self) -> None:
        """Raises InvalidRequest for a whole line that is no entry."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return
        whole, _, torn = content.rpartition(b"\n")
        for line in whole.decode().splitlines() if whole else ():
            self.entries.append(read_entry(line))
            self.texts.append(line)
        if torn:
            with self._path.open("r+b") as file:
                file.truncate(len(content) - len(torn))

    def append(self, entry: Entry) -> None:
        """Durable when it returns. Raises OSError, and then the entry does not count."""
        text = entry_text(entry)
        fresh = not self._path.exists()
        with os.fdopen(os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab", buffering=0) as file:
            start = file.tell()
            try:
                line = memoryview(text.encode() + b"\n")
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except OSError:
                file.truncate(start)
                raise
        if fresh:
            _sync_folder(self._path.parent)
        self.texts.append(text)
        self.entries.append(entry)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
