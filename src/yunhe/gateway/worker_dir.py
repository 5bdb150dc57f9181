"""Each worker process has a directory of its own under the spool, locked while it lives; dead ones are adopted."""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from yunhe.gateway import journal, meter
from yunhe.gateway.shipper import Orphan, Shipper
from yunhe.gateway.spool import SUFFIX, Spool

log = logging.getLogger(__name__)

_LOCK: Final = "lock"


class WorkerDir:
    """A locked directory. The lock ends with the process, however it ends."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self._fd = fd

    @classmethod
    def make(cls, root: Path, name: str) -> WorkerDir:
        """A new one. It is locked before it has its name, so nobody takes it for a dead one. Raises OSError."""
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = root / f".{name}"
        draft.mkdir(mode=0o700)
        fd = os.open(draft / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path = root / name
        draft.rename(path)
        return cls(path, fd)

    @classmethod
    def take_over(cls, path: Path) -> WorkerDir | None:
        """A dead worker's, or None when its worker lives (or it is gone)."""
        try:
            fd = os.open(path / _LOCK, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            return None
        if not (path / _LOCK).exists():
            os.close(fd)
            return None
        return cls(path, fd)

    def remove(self) -> None:
        """Delete it and everything in it."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self._fd)

    def leave(self) -> None:
        """Unlock it and let another worker adopt what it holds."""
        os.close(self._fd)


class Adopter:
    """Looks for dead workers' directories; settles their open streams and has their records shipped."""

    def __init__(self, root: Path, own: Path, spool: Spool, shipper: Shipper, settled: Callable[[int], None]) -> None:
        """``settled`` is told how many streams were settled for the dead."""
        self._root = root
        self._own = own
        self._spool = spool
        self._shipper = shipper
        self._settled = settled
        self._taken: set[Path] = set()

    def look(self) -> None:
        """Adopt every dead worker's directory. Raises OSError."""
        for path in sorted(self._root.iterdir()):
            if path == self._own or path in self._taken or path.name.startswith(".") or not path.is_dir():
                continue
            directory = WorkerDir.take_over(path)
            if directory is not None:
                self._adopt(directory)

    def _adopt(self, directory: WorkerDir) -> None:
        found = journal.read(directory.path)
        for stream in found:
            self._spool.append(msgspec.json.encode(meter.crashed(stream)), reserved=False)
        self._settled(len(found))
        if self._spool.waiting == 0:
            # Their records are in our spool now; with the journal gone nobody settles them again. Twice would do no
            # harm: the request id is the record's identity.
            (directory.path / journal.FILE_NAME).unlink(missing_ok=True)
        segments = sorted(directory.path.glob(f"*{SUFFIX}"))
        log.info("adopted %s: %d open streams, %d segments", directory.path.name, len(found), len(segments))
        self._taken.add(directory.path)

        def done() -> None:
            self._taken.discard(directory.path)
            if (directory.path / journal.FILE_NAME).exists():
                directory.leave()
            else:
                directory.remove()

        self._shipper.adopt(Orphan(segments, done))
