"""Streams in flight, in a memory-mapped file whose pages outlive the process.

When a worker is killed, whoever adopts its directory reads here what every open stream had delivered and settles it.
A slot is: length of the head (0: free), number of updates, the head (JSON), and two places for the engine's newest
cumulative counts, written in turn so that a half-written one is never the one that the number points to.
"""

from __future__ import annotations

import mmap
import os
import struct
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from yunhe.catalogue.ports import UsageProbe

SLOT_BYTES: Final = 2560
_HEAD_AT: Final = 16
_HEAD_BYTES_MAX: Final = 1536
_COUNTS_AT: Final = _HEAD_AT + _HEAD_BYTES_MAX
COUNTS_BYTES_MAX: Final = 496
_NUMBERS: Final = struct.Struct("<II")
_NUMBER: Final = struct.Struct("<I")
_put_number: Final = _NUMBER.pack_into
FILE_NAME: Final = "journal"


class OpenStream(Struct):
    """The head of a slot: what would be settled if nothing had been delivered."""

    #: A whole UsageRecord as JSON.
    record: msgspec.Raw
    probe: UsageProbe
    prompt_estimate: int


class Found(Struct):
    """A stream that a dead worker left open."""

    stream: OpenStream
    #: Updates noted: delivered events that held text.
    delivered: int
    #: The engine's newest cumulative counts (JSON object), empty without a probe.
    counts: bytes


class Journal:
    """A worker's slots. Written by one thread only."""

    def __init__(self, directory: Path, slots: int) -> None:
        self._path = directory / FILE_NAME
        self._slots = slots
        self._map: mmap.mmap | None = None
        self._free: list[int] = []

    def prepare(self) -> None:
        """Lay the file out. Raises OSError when the disk has no room; may be called again."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            size = self._slots * SLOT_BYTES
            # Not sparse: a page that cannot be allocated at the time of writing would kill the process.
            os.posix_fallocate(fd, 0, size)
            self._map = mmap.mmap(fd, size)
        finally:
            os.close(fd)
        # Taken from the end, so that few pages are ever touched.
        self._free = list(range((self._slots - 1) * SLOT_BYTES, -1, -SLOT_BYTES))

    def open(self, stream: OpenStream) -> int:
        """Take a slot; its handle. -1 when there is none (the stream is then not protected)."""
        if not self._free or self._map is None:
            return -1
        head = msgspec.json.encode(stream)
        if len(head) > _HEAD_BYTES_MAX:
            return -1
        slot = self._free.pop()
        at = slot + _HEAD_AT
        self._map[at : at + len(head)] = head
        _NUMBERS.pack_into(self._map, slot, len(head), 0)
        return slot

    def note(self, slot: int, number: int, counts: bytes) -> None:
        """Event ``number`` (1, 2 ...) goes out; ``counts`` is the engine's newest object, empty without a probe."""
        memory = self._map
        if memory is None:
            return
        if counts:
            size = len(counts)
            if size > COUNTS_BYTES_MAX:
                return
            at = slot + _COUNTS_AT + (COUNTS_BYTES_MAX if number & 1 else 0)
            memory[at : at + size] = counts
        _put_number(memory, slot + 4, number)

    def close_slot(self, slot: int) -> None:
        """The stream was settled."""
        if self._map is not None:
            _put_number(self._map, slot, 0)
            self._free.append(slot)

    def close(self) -> None:
        """Unmap; the file is deleted, for nothing is in flight any more."""
        if self._map is not None:
            self._map.close()
            self._map = None
        self._path.unlink(missing_ok=True)


def read(directory: Path) -> list[Found]:
    """What a dead worker's journal holds; an absent or garbled file holds nothing."""
    path = directory / FILE_NAME
    if not path.exists():
        return []
    data = path.read_bytes()
    found = []
    for slot in range(0, len(data) - SLOT_BYTES + 1, SLOT_BYTES):
        length, number = _NUMBERS.unpack_from(data, slot)
        if not 0 < length <= _HEAD_BYTES_MAX:
            continue
        at = slot + _HEAD_AT
        try:
            stream = msgspec.json.decode(data[at : at + length], type=OpenStream)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
        counts = b""
        if stream.probe.chunk_key and number:
            at = slot + _COUNTS_AT + (COUNTS_BYTES_MAX if number & 1 else 0)
            counts = data[at : at + COUNTS_BYTES_MAX]
            counts = counts[: counts.find(b"}") + 1]
        found.append(Found(stream, number, counts))
    return found
