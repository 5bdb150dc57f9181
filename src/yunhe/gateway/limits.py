"""Requests and tokens per minute, exact over all workers of this host.

One memory-mapped table holds two GCRA states (requests, tokens) for each key and project that has a limit; a short
record lock makes read-decide-write one step for all workers. Monotonic time is the host's, so the states agree.
"""

from __future__ import annotations

import fcntl
import hashlib
import mmap
import os
import struct
from pathlib import Path
from typing import Final, NamedTuple

from yunhe.gateway.refusal import Refusal, rate_limited
from yunhe.ledger import gcra

_SLOTS: Final = 65536
_PROBES: Final = 8
_SLOT: Final = struct.Struct("<Qdd")
_LOCK_TRIES: Final = 2000
FILE_NAME: Final = "limits"


class Owner:
    """A key or a project with its limits; ``None`` is no limit."""

    __slots__ = ("hash", "home", "limited", "rpm", "tpm", "whose")

    def __init__(self, whose: str, identity: str, rpm: int | None, tpm: int | None) -> None:
        #: ``key`` or ``project``, for messages.
        self.whose = whose
        self.rpm = rpm
        self.tpm = tpm
        self.limited = rpm is not None or tpm is not None
        digest = hashlib.blake2b(f"{whose}:{identity}".encode(), digest_size=8).digest()
        self.hash = int.from_bytes(digest, "little") or 1
        self.home = self.hash % _SLOTS


class Room(NamedTuple):
    """What is left after a request, of the tightest limit of each kind; limits None where there is none."""

    rpm: int | None
    requests_left: int
    requests_reset_s: float
    tpm: int | None
    tokens_left: int
    tokens_reset_s: float


UNLIMITED: Final = Room(None, 0, 0.0, None, 0, 0.0)


class LimitTable:
    """The table. Corrections are queued and written with the next decision, under the same lock."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = _SLOTS * _SLOT.size
        os.posix_fallocate(self._fd, 0, size)
        self._map = mmap.mmap(self._fd, size)
        self._corrections: list[tuple[Owner, int]] = []
        #: Times that the lock could not be had in time and a decision was taken without it.
        self.unlocked = 0

    def close(self) -> None:
        """Unmap; the states stay for the others."""
        self._map.close()
        os.close(self._fd)

    def admit(self, now_s: float, key: Owner, project: Owner, tokens: int) -> Room:
        """Count one request of ``tokens`` against both owners, or neither. Raises Refusal 429."""
        owners = [owner for owner in (key, project) if owner.limited]
        locked = self._lock()
        try:
            if self._corrections:
                self._correct(now_s)
            room = UNLIMITED
            writes: list[tuple[int, float, float]] = []
            for owner in owners:
                at, requests_s, tokens_s = self._find(owner, now_s)
                requests_s, tokens_s, room = _decide(owner, requests_s, tokens_s, now_s, tokens, room)
                writes.append((at, requests_s, tokens_s))
            for (at, requests_s, tokens_s), owner in zip(writes, owners, strict=True):
                _SLOT.pack_into(self._map, at, owner.hash, requests_s, tokens_s)
            return room
        finally:
            if locked:
                fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def correct(self, key: Owner, project: Owner, difference: int) -> None:
        """A settled request took ``difference`` tokens more than it was admitted with (less: negative)."""
        if difference:
            for owner in (key, project):
                if owner.tpm is not None:
                    self._corrections.append((owner, difference))

    def flush(self, now_s: float) -> None:
        """Write queued corrections though nobody asks."""
        if self._corrections:
            locked = self._lock()
            try:
                self._correct(now_s)
            finally:
                if locked:
                    fcntl.lockf(self._fd, fcntl.LOCK_UN)

    def _correct(self, now_s: float) -> None:
        for owner, difference in self._corrections:
            if owner.tpm is None:
                continue
            at, requests_s, tokens_s = self._find(owner, now_s)
            moved = gcra.corrected(tokens_s, now_s, owner.tpm, difference)
            _SLOT.pack_into(self._map, at, owner.hash, requests_s, moved)
        self._corrections.clear()

    def _lock(self) -> bool:
        """Held for microseconds by others; a holder that was stopped must not stop this worker."""
        for attempt in range(_LOCK_TRIES):
            try:
                fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                if attempt > 10:
                    os.sched_yield()
                continue
            return True
        self.unlocked += 1
        return False

    def _find(self, owner: Owner, now_s: float) -> tuple[int, float, float]:
        """``(offset, requests' state, tokens' state)``; a free slot, or the one longest at rest, when it is new."""
        best, best_s = -1, 0.0
        for step in range(_PROBES):
            at = (owner.home + step) % _SLOTS * _SLOT.size
            found, requests_s, tokens_s = _SLOT.unpack_from(self._map, at)
            if found == owner.hash:
                return at, requests_s, tokens_s
            # A state in the past is a full bucket, the same as none: its place may be taken.
            latest_s = 0.0 if found == 0 else max(requests_s, tokens_s)
            if best < 0 or latest_s < best_s:
                best, best_s = at, latest_s
        return best, 0.0, 0.0


def _decide(
    owner: Owner, requests_s: float, tokens_s: float, now_s: float, tokens: int, room: Room
) -> tuple[float, float, Room]:
    """New states and the tighter room. Raises Refusal 429."""
    rpm, requests_left, requests_reset_s, tpm, tokens_left, tokens_reset_s = room
    if owner.rpm is not None:
        limit = owner.rpm
        decision = _one(owner, "requests", limit, requests_s, now_s, 1)
        requests_s = decision.arrival_s
        if rpm is None or decision.remaining < requests_left:
            rpm, requests_left, requests_reset_s = limit, decision.remaining, decision.reset_s
    if owner.tpm is not None:
        limit = owner.tpm
        decision = _one(owner, "tokens", limit, tokens_s, now_s, tokens)
        tokens_s = decision.arrival_s
        if tpm is None or decision.remaining < tokens_left:
            tpm, tokens_left, tokens_reset_s = limit, decision.remaining, decision.reset_s
    return requests_s, tokens_s, Room(rpm, requests_left, requests_reset_s, tpm, tokens_left, tokens_reset_s)


def _one(owner: Owner, kind: str, limit: int, state_s: float, now_s: float, weight: int) -> gcra.Decision:
    if limit < 1:
        raise _refused(owner, kind, limit, gcra.Decision(False, state_s, 0, 0.0, gcra.WINDOW_S))
    decision = gcra.decide(state_s, now_s, limit, weight)
    if not decision.allowed:
        raise _refused(owner, kind, limit, decision)
    return decision


def _refused(owner: Owner, kind: str, limit: int, decision: gcra.Decision) -> Refusal:
    if kind == "requests":
        room = Room(limit, decision.remaining, decision.reset_s, None, 0, 0.0)
    else:
        room = Room(None, 0, 0.0, limit, decision.remaining, decision.reset_s)
    return rate_limited(kind, limit, owner.whose, decision.retry_after_s, header_lines(room))


def duration_text(seconds: float) -> str:
    """OpenAI's way to write a duration: ``20ms``, ``1.5s``, ``6m0s``."""
    if seconds < 1:
        return f"{int(seconds * 1000)}ms"
    if seconds < 60:
        return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)}m{int(rest)}s"


def header_lines(room: Room) -> bytes:
    """``x-ratelimit-*`` lines, each ended by CRLF; empty without limits."""
    text = ""
    if room.rpm is not None:
        text = (
            f"x-ratelimit-limit-requests: {room.rpm}\r\nx-ratelimit-remaining-requests: {room.requests_left}\r\n"
            f"x-ratelimit-reset-requests: {duration_text(room.requests_reset_s)}\r\n"
        )
    if room.tpm is not None:
        text += (
            f"x-ratelimit-limit-tokens: {room.tpm}\r\nx-ratelimit-remaining-tokens: {room.tokens_left}\r\n"
            f"x-ratelimit-reset-tokens: {duration_text(room.tokens_reset_s)}\r\n"
        )
    return text.encode()
