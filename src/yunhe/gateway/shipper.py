"""Brings spooled records to control in batches until it confirms them; then their segments are deleted."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from yunhe.gateway.control_link import ControlAway, ControlLink
from yunhe.gateway.spool import Spool, whole_lines

log = logging.getLogger(__name__)

_BATCH_RECORDS: Final = 1000
_BATCH_BYTES: Final = 512 * 1024
_INTERVAL_S: Final = 0.1
_BACKOFF_S_MAX: Final = 5.0
_TIMEOUT_S: Final = 20.0
#: A record that control calls invalid is set aside here, never dropped.
REJECTED_NAME: Final = "rejected.ndjson"


class Orphan:
    """Segments of a worker that is gone, in order."""

    def __init__(self, paths: list[Path], done: Callable[[], None]) -> None:
        self.paths = paths
        #: Called when every record is confirmed.
        self.done = done


class Shipper:
    """One task; own records first in, first out, then those of dead workers."""

    def __init__(self, link: ControlLink, spool: Spool, worker: str, rejected: Path) -> None:
        self._link = link
        self._spool = spool
        self._worker = worker
        self._rejected = rejected
        self._orphans: list[Orphan] = []
        self._offsets: dict[Path, int] = {}
        #: Own records that control has confirmed, in the order in which they were appended.
        self.confirmed = 0
        self._batch_records = _BATCH_RECORDS

    @property
    def pending(self) -> int:
        """Own records that control has not confirmed."""
        return self._spool.appended - self.confirmed

    def adopt(self, orphan: Orphan) -> None:
        """Ship a dead worker's segments too."""
        self._orphans.append(orphan)

    async def run(self) -> None:
        """Ship for ever."""
        backoff_s = _INTERVAL_S
        while True:
            await asyncio.sleep(backoff_s)
            try:
                while await self.ship_once():
                    pass
                backoff_s = _INTERVAL_S
            except ControlAway as error:
                log.debug("usage cannot be shipped now: %s", error)
                backoff_s = min(_BACKOFF_S_MAX, backoff_s * 2)
            except OSError as error:
                log.error("the spool cannot be read: %s", error)
                backoff_s = _BACKOFF_S_MAX

    async def ship_once(self) -> bool:
        """One batch; False when nothing is left. Raises ControlAway, OSError."""
        for path, used, active in self._spool.segments():
            offset = self._offsets.get(path, 0)
            if offset < used:
                self.confirmed += await self._ship(path, offset, used)
                if active and self._offsets[path] >= used:
                    # What came meanwhile goes with the next batch: many small ones cost both sides more.
                    break
                return True
            if not active:
                self._offsets.pop(path, None)
                self._spool.forget(path)
                return True
        if not self._orphans:
            return False
        orphan = self._orphans[0]
        if not orphan.paths:
            self._orphans.pop(0)
            orphan.done()
            return True
        path = orphan.paths[0]
        if not await self._ship(path, self._offsets.get(path, 0), path.stat().st_size):
            self._offsets.pop(path, None)
            orphan.paths.pop(0)
            path.unlink()
        return True

    async def _ship(self, path: Path, offset: int, end: int) -> int:
        """Ship whole records from ``offset`` on; how many. 0 means that the segment holds no more."""
        lines = _batch(path, offset, end, self._batch_records)
        count = lines.count(b"\n")
        if not count:
            self._offsets[path] = end
            return 0
        body = b'{"worker":"%b","records":[%b]}' % (self._worker.encode(), lines[:-1].replace(b"\n", b","))
        status, answer = await self._link.call("POST", "/internal/v1/usage", body, timeout_s=_TIMEOUT_S)
        if status == 400 and count > 1:
            # One record spoils the batch: go on one by one until it is found.
            self._batch_records = 1
            return await self._ship(path, offset, end)
        if status == 400:
            log.error("control rejects a usage record, set aside in %s: %s", self._rejected, answer[:500])
            await asyncio.to_thread(_set_aside, self._rejected, lines)
            self._batch_records = _BATCH_RECORDS
        elif not 200 <= status < 300:
            raise ControlAway(f"it answered {status} to the usage batch")
        self._offsets[path] = offset + len(lines)
        return count


def _batch(path: Path, offset: int, end: int, records_max: int) -> bytes:
    """Whole records of a segment from ``offset`` on, each with its line end."""
    with path.open("rb") as file:
        file.seek(offset)
        lines = whole_lines(file.read(min(_BATCH_BYTES, end - offset)))
    if lines.count(b"\n") > records_max:
        lines = b"\n".join(lines.split(b"\n", records_max)[:records_max]) + b"\n"
    return lines


def _set_aside(path: Path, line: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, line)
        os.fsync(fd)
    finally:
        os.close(fd)
