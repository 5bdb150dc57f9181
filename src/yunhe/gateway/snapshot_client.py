"""Follows control's snapshot by long poll and keeps the newest on disk, so that a worker can start while control is
away."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from yunhe.gateway.control_link import ControlAway, ControlLink
from yunhe.gateway.options import Options
from yunhe.gateway.routes import World
from yunhe.serve.snapshot import SnapshotDelta

log = logging.getLogger(__name__)

FILE_NAME: Final = "snapshot.json"
_BACKOFF_S_MIN: Final = 0.1
_BACKOFF_S_MAX: Final = 1.0
#: An answer that says nothing new must not come back at once for ever.
_UNCHANGED_PAUSE_S: Final = 0.25
_WRITE_INTERVAL_S: Final = 1.0
_decoder: Final = msgspec.json.Decoder(SnapshotDelta)


def load(path: Path, world: World) -> bool:
    """Apply the kept snapshot; False when there is none that can be read."""
    try:
        world.apply(_decoder.decode(path.read_bytes()))
    except FileNotFoundError:
        return False
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        log.warning("the kept snapshot %s cannot be used: %s", path, error)
        return False
    return True


def save(path: Path, snapshot: SnapshotDelta, name: str) -> None:
    """Replace the kept snapshot in one step, 0600. Raises OSError."""
    draft = path.with_name(f".{path.name}.{name}")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(msgspec.json.encode(snapshot))
    draft.replace(path)


class SnapshotClient:
    """Two loops: follow and keep."""

    def __init__(self, link: ControlLink, world: World, options: Options, path: Path, name: str) -> None:
        self._link = link
        self._world = world
        self._options = options
        self._path = path
        self._name = name
        self._dirty = asyncio.Event()
        #: Wall time of control less ours, in seconds, as of the newest answer.
        self.skew_s = 0.0
        self.on_change: Callable[[], None] = lambda: None
        self.fresh = False

    async def follow(self) -> None:
        """Ask for what changed, for ever."""
        backoff_s = _BACKOFF_S_MIN
        while True:
            started_s = time.monotonic()
            try:
                changed = await self._poll()
                backoff_s = _BACKOFF_S_MIN
            except ControlAway as error:
                log.debug("control is away: %s", error)
                await asyncio.sleep(backoff_s)
                backoff_s = min(_BACKOFF_S_MAX, backoff_s * 2)
                continue
            except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
                log.error("control's snapshot cannot be read: %s", error)
                await asyncio.sleep(_BACKOFF_S_MAX)
                continue
            if not changed and time.monotonic() < started_s + _UNCHANGED_PAUSE_S:
                await asyncio.sleep(_UNCHANGED_PAUSE_S)

    async def _poll(self) -> bool:
        """One question; whether the answer said anything new. Raises ControlAway, DecodeError."""
        wait_s = self._options.snapshot_wait_s
        # The first question of a process asks for everything: the kept snapshot may be of another instance.
        since = self._world.revision if self.fresh else -1
        path = f"/internal/v1/snapshot?since={since}&wait_s={wait_s:g}"
        status, body = await self._link.call("GET", path, timeout_s=wait_s + 5)
        if status != 200:
            raise ControlAway(f"it answered {status} to the snapshot poll")
        delta = _decoder.decode(body)
        self.skew_s = delta.server_time - time.time()
        if delta.revision == self._world.revision and self.fresh:
            return False
        self._world.apply(delta)
        if delta.full:
            self.fresh = True
        self._dirty.set()
        self.on_change()
        return True

    async def keep(self) -> None:
        """Write the newest snapshot at most once a second, in a thread."""
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            await self._write()
            await asyncio.sleep(_WRITE_INTERVAL_S)

    async def _write(self) -> None:
        try:
            await asyncio.to_thread(save, self._path, self._world.full(), self._name)
        except OSError as error:
            log.warning("the snapshot cannot be kept on disk: %s", error)
