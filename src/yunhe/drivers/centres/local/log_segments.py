"""Reading a workload's log, which its keeper writes in segments named by the offset at which they begin."""

from __future__ import annotations

from pathlib import Path

from yunhe.pool.workload import LogChunk

#: The longest encoding of one character in UTF-8.
_CHARACTER_BYTES_MAX = 4


def read(directory: Path, offset: int, limit_bytes: int) -> LogChunk:
    """A piece from ``offset`` on, or so many bytes before the end when it is negative.

    What was rotated away is skipped. A piece does not end within a character, unless the log does.
    """
    segments = [(int(path.name), path) for path in sorted(directory.glob("[0-9]*"))]
    sizes = [(start, _size(path), path) for start, path in segments]
    end = max((start + size for start, size, _ in sizes), default=0)
    begin = max(offset if offset >= 0 else end + offset, sizes[0][0] if sizes else 0)
    data = b""
    for start, size, path in sizes:
        at = begin + len(data)
        if start <= at < start + size and len(data) < limit_bytes:
            data += _bytes(path, at - start, limit_bytes - len(data))
    if begin + len(data) < end:
        data = data[: _whole_characters(data)]
    return LogChunk(data.decode("utf-8", errors="replace"), begin, begin + len(data), begin + len(data) >= end)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        # Rotated away meanwhile.
        return 0


def _bytes(path: Path, at: int, count: int) -> bytes:
    try:
        with path.open("rb") as file:
            file.seek(at)
            return file.read(count)
    except FileNotFoundError:
        return b""


def _whole_characters(data: bytes) -> int:
    """How many of the bytes are whole characters; all when the cut is not the reason that the last is broken."""
    for back in range(1, min(_CHARACTER_BYTES_MAX, len(data)) + 1):
        byte = data[-back]
        if byte < 0x80:
            break
        if byte >= 0xC0:
            length = 2 if byte < 0xE0 else 3 if byte < 0xF0 else 4
            return len(data) - back if length > back and len(data) > back else len(data)
    return len(data)
