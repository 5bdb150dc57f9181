"""The usage spool: records appended to segment files, on disk before their requests' last byte goes out.

Room is laid out ahead, and a request is admitted only when its record is sure to fit, so that a disk that fills up
stops new requests but never loses the records of running ones. Records are written through a memory map: its pages
outlive the process, and no write waits for a sync of the same file. A thread of its own does what may block: group
commit by ``fdatasync``, laying out the next segment, watching the free space.
"""

from __future__ import annotations

import logging
import mmap
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from yunhe.core.units import KIB
from yunhe.gateway.options import Options

log = logging.getLogger(__name__)

#: No record is longer; room is reserved in this unit.
RECORD_BYTES_MAX: Final = 1536
SUFFIX: Final = ".ndjson"
_ZEROS: Final = bytes(256 * KIB)
_WATCH_INTERVAL_S: Final = 0.25


class Segment:
    """A file of records; zeros in its full size, used from the front, cut to what was used at the end."""

    __slots__ = ("fd", "memory", "path", "size", "used")

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self.size = size
        #: Bytes written; what lies behind is zeros.
        self.used = 0
        self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Zeros written and synced, not only room set aside: a later sync has records to write and no metadata,
            # and no page can be found without its block.
            os.posix_fallocate(self.fd, 0, size)
            for at in range(0, size, len(_ZEROS)):
                os.pwrite(self.fd, _ZEROS[: size - at], at)
            os.fdatasync(self.fd)
            self.memory = mmap.mmap(self.fd, size)
        except OSError:
            os.close(self.fd)
            path.unlink()
            raise

    def close(self) -> None:
        """Unmap and close."""
        self.memory.close()
        os.close(self.fd)


class Spool:
    """One worker's records. All methods are for the event loop's thread except where said."""

    def __init__(self, directory: Path, options: Options, prepare: Callable[[], None]) -> None:
        """``prepare`` is called by the keeper thread until it passes; OSError means not yet (the journal's file)."""
        self._directory = directory
        self._options = options
        self._prepare: Callable[[], None] | None = prepare
        self._number = 0
        self._current: Segment | None = None
        self._spare: Segment | None = None
        self._sealed: list[Segment] = []
        self._reserved = 0
        self._backlog: list[bytes] = []
        self._dirty = False
        self._stopping = False
        self._wake = threading.Event()
        #: Why nothing is admitted; None while all is well.
        self.trouble: str | None = "the spool is being opened"
        self.appended = 0
        self._look()
        self._thread = threading.Thread(target=self._keep, name="spool-keeper", daemon=True)
        self._thread.start()

    @property
    def directory(self) -> Path:
        """Where the segments lie."""
        return self._directory

    def reserve(self) -> bool:
        """Set room for one record aside; False when new requests must be refused."""
        if self.trouble is not None or self._backlog:
            return False
        if self._current is None:
            self._next_segment()
        current, spare = self._current, self._spare
        room = 0 if current is None else current.size - current.used
        if spare is not None:
            room += spare.size
        if self._reserved + 2 * RECORD_BYTES_MAX > room:
            return False
        self._reserved += RECORD_BYTES_MAX
        return True

    def unreserve(self) -> None:
        """The request left no record."""
        self._reserved -= RECORD_BYTES_MAX

    def append(self, record: bytes, *, reserved: bool = True) -> None:
        """Write one record (without line end). Never raises and never loses it: what cannot be written yet waits."""
        if reserved:
            self._reserved -= RECORD_BYTES_MAX
        self.appended += 1
        line = record + b"\n"
        if self._backlog or not self._write(line):
            self._backlog.append(line)

    def _write(self, line: bytes) -> bool:
        segment = self._current
        if segment is None or segment.size - segment.used < len(line):
            segment = self._next_segment()
            if segment is None:
                return False
        end = segment.used + len(line)
        segment.memory[segment.used : end] = line
        segment.used = end
        if not self._dirty:
            self._dirty = True
            self._wake.set()
        return True

    def _next_segment(self) -> Segment | None:
        """Seal the current segment and take the spare one; None while there is none."""
        if self._spare is None:
            self._wake.set()
            return None
        if self._current is not None:
            self._sealed.append(self._current)
        self._current, self._spare = self._spare, None
        self._wake.set()
        return self._current

    def _fail(self, why: str) -> None:
        if self.trouble is None:
            log.error("%s; new requests are refused until it works again", why)
        self.trouble = why
        self._wake.set()

    def retry_backlog(self) -> None:
        """Try again to write what could not be written; called now and then."""
        while self._backlog and self._write(self._backlog[0]):
            del self._backlog[0]

    @property
    def waiting(self) -> int:
        """Records that are not on disk yet."""
        return len(self._backlog)

    def seal(self) -> None:
        """Close the segment in use, so that it can be shipped whole and deleted."""
        if self._current is not None and self._current.used:
            self._sealed.append(self._current)
            self._current = None

    def segments(self) -> list[tuple[Path, int, bool]]:
        """``(path, bytes used, still written to)``, oldest first."""
        found = [(s.path, s.used, False) for s in self._sealed]
        if self._current is not None:
            found.append((self._current.path, self._current.used, True))
        return found

    def forget(self, path: Path) -> None:
        """Delete a sealed segment whose records are all confirmed."""
        for segment in list(self._sealed):
            if segment.path == path:
                self._sealed.remove(segment)
                segment.close()
                path.unlink(missing_ok=True)

    def close(self) -> None:
        """Write back everything and stop the thread. Segments stay on disk unless they are empty."""
        self.retry_backlog()
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout=10)
        for segment in (*self._sealed, self._current, self._spare):
            if segment is None:
                continue
            if segment.used:
                os.ftruncate(segment.fd, segment.used)
                os.fsync(segment.fd)
            else:
                segment.path.unlink(missing_ok=True)
            segment.close()
        self._sealed, self._current, self._spare = [], None, None

    # What follows runs in the keeper thread.

    def _keep(self) -> None:
        look_s = 0.0
        while not self._stopping:
            if self._wake.wait(_WATCH_INTERVAL_S) and self._dirty:
                time.sleep(self._options.fsync_interval_s)
            self._wake.clear()
            self._sync()
            if self._spare is None or self.trouble is not None or time.monotonic() > look_s:
                look_s = time.monotonic() + _WATCH_INTERVAL_S
                self._look()
        self._sync()

    def _sync(self) -> None:
        if not self._dirty:
            return
        self._dirty = False
        for segment in (*self._sealed[-1:], self._current):
            if segment is None:
                continue
            try:
                os.fdatasync(segment.fd)
            except OSError as error:
                # A segment that was confirmed and closed meanwhile has nothing left to lose.
                if segment is self._current:
                    self._dirty = True
                    self._fail(f"the usage spool cannot be synced: {error.strerror}")
                    return

    def _look(self) -> None:
        """Lay out what is missing and see whether the disk has room."""
        try:
            if self._prepare is not None:
                self._prepare()
                self._prepare = None
            if self._spare is None:
                self._number += 1
                self._spare = Segment(self._directory / f"{self._number:08d}{SUFFIX}", self._options.segment_bytes)
            room = os.statvfs(self._directory)
        except OSError as error:
            self._fail(f"the usage spool cannot be laid out: {error.strerror}")
            return
        if room.f_bavail * room.f_frsize < self._options.disk_free_bytes_min:
            self._fail("the disk of the usage spool is almost full")
            return
        if self.trouble is not None and not self._dirty:
            if self.trouble != "the spool is being opened":
                log.warning("the usage spool works again")
            self.trouble = None


def whole_lines(data: bytes) -> bytes:
    """The whole records in a segment's bytes, with their line ends; a torn last line and zeros behind it are cut."""
    end = data.find(b"\0")
    if end >= 0:
        data = data[:end]
    return data[: data.rfind(b"\n") + 1]
