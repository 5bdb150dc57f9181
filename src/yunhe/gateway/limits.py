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
_LOCK_NOW: Final = fcntl.LOCK_EX | fcntl.LOCK_NB
_pack: Final = _SLOT.pack_into
_unpack: Final = _SLOT.unpack_from
FILE_NAME: Final = "limits"


class Owner:
    """A key or a project with its limits; ``None`` is no limit."""

    __slots__ = ("correction", "hash", "home", "limited", "rpm", "tpm", "whose")

    def __init__(self, whose: str, identity: str, rpm: int | None, tpm: int | None) -> None:
        #: ``key`` or ``project``, for messages.
        self.whose = whose
        self.rpm = rpm
        self.tpm = tpm
        self.limited = rpm is not None or tpm is not None
        #: Tokens that settled requests took more than they were admitted with, not yet written.
        self.correction = 0
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


class _State(NamedTuple):
    at: int
    requests_s: float
    tokens_s: float
    room: Room


UNLIMITED: Final = Room(None, 0, 0.0, None, 0, 0.0)


class LimitTable:
    """The table. What settled requests took more or less is written with the next decision, under the same lock."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory / FILE_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        size = _SLOTS * _SLOT.size
        os.posix_fallocate(self._fd, 0, size)
        self._map = mmap.mmap(self._fd, size)
        self._open = True
        self._to_correct: set[Owner] = set()
        #: Times that the lock could not be had in time and a decision was taken without it.
        self.unlocked = 0

    def close(self) -> None:
        """Unmap; the states stay for the others."""
        if self._open:
            self._open = False
            self._map.close()
            os.close(self._fd)

    def admit(self, now_s: float, key: Owner, project: Owner, tokens: int) -> Room:
        """Count one request of ``tokens`` against both owners, or neither. Raises Refusal 429."""
        if not (key.limited or project.limited):
            return UNLIMITED
        locked = self._lock()
        try:
            key_state = self._decide(key, now_s, tokens) if key.limited else None
            project_state = self._decide(project, now_s, tokens) if project.limited else None
            if key_state is not None:
                self._write(key, key_state)
            if project_state is not None:
                self._write(project, project_state)
        finally:
            if locked:
                fcntl.flock(self._fd, fcntl.LOCK_UN)
        if key_state is None:
            assert project_state is not None
            return project_state.room
        return key_state.room if project_state is None else _tighter(key_state.room, project_state.room)

    def _decide(self, owner: Owner, now_s: float, tokens: int) -> _State:
        """New states of one owner, not written yet. Raises Refusal 429."""
        at, requests_s, tokens_s = self._find(owner)
        requests_left = tokens_left = 0
        requests_reset_s = tokens_reset_s = 0.0
        rpm, tpm = owner.rpm, owner.tpm
        if rpm is not None:
            allowed, requests_s, requests_left, requests_reset_s, retry_s = gcra.decide(requests_s, now_s, rpm, 1)
            if not allowed:
                raise _refused(owner, "requests", rpm, requests_left, requests_reset_s, retry_s)
        if tpm is not None:
            if owner.correction:
                tokens_s = gcra.corrected(tokens_s, now_s, tpm, owner.correction)
            allowed, tokens_s, tokens_left, tokens_reset_s, retry_s = gcra.decide(tokens_s, now_s, tpm, tokens)
            if not allowed:
                raise _refused(owner, "tokens", tpm, tokens_left, tokens_reset_s, retry_s)
        return _State(
            at, requests_s, tokens_s, Room(rpm, requests_left, requests_reset_s, tpm, tokens_left, tokens_reset_s)
        )

    def _write(self, owner: Owner, state: _State) -> None:
        owner.correction = 0
        _pack(self._map, state[0], owner.hash, state[1], state[2])

    def correct(self, key: Owner, project: Owner, difference: int) -> None:
        """A settled request took ``difference`` tokens more than it was admitted with (less: negative)."""
        if difference:
            for owner in (key, project):
                if owner.tpm is not None:
                    owner.correction += difference
                    self._to_correct.add(owner)

    def flush(self, now_s: float) -> None:
        """Write corrections that no decision has taken along; called a few times a second."""
        if not self._to_correct or not self._open:
            return
        locked = self._lock()
        try:
            for owner in self._to_correct:
                if owner.correction and owner.tpm is not None:
                    at, requests_s, tokens_s = self._find(owner)
                    moved = gcra.corrected(tokens_s, now_s, owner.tpm, owner.correction)
                    owner.correction = 0
                    _pack(self._map, at, owner.hash, requests_s, moved)
            self._to_correct.clear()
        finally:
            if locked:
                fcntl.flock(self._fd, fcntl.LOCK_UN)

    def _lock(self) -> bool:
        """Held for microseconds by others; a holder that was stopped must not stop this worker."""
        for attempt in range(_LOCK_TRIES):
            try:
                fcntl.flock(self._fd, _LOCK_NOW)
            except BlockingIOError:
                if attempt > 10:
                    os.sched_yield()
                continue
            return True
        self.unlocked += 1
        return False

    def _find(self, owner: Owner) -> tuple[int, float, float]:
        """``(offset, requests' state, tokens' state)``; a free slot, or the one longest at rest, when it is new."""
        at = owner.home * _SLOT.size
        found, requests_s, tokens_s = _unpack(self._map, at)
        if found == owner.hash:
            return at, requests_s, tokens_s
        best, best_s = -1, 0.0
        for step in range(_PROBES):
            at = (owner.home + step) % _SLOTS * _SLOT.size
            found, requests_s, tokens_s = _unpack(self._map, at)
            if found == owner.hash:
                return at, requests_s, tokens_s
            # A state in the past is a full bucket, the same as none: its place may be taken.
            latest_s = 0.0 if found == 0 else max(requests_s, tokens_s)
            if best < 0 or latest_s < best_s:
                best, best_s = at, latest_s
        return best, 0.0, 0.0


def _tighter(one: Room, other: Room) -> Room:
    """Of each kind the limit with less left."""
    rpm, requests_left, requests_reset_s, tpm, tokens_left, tokens_reset_s = one
    if other[0] is not None and (rpm is None or other[1] < requests_left):
        rpm, requests_left, requests_reset_s = other[:3]
    if other[3] is not None and (tpm is None or other[4] < tokens_left):
        tpm, tokens_left, tokens_reset_s = other[3:]
    return Room(rpm, requests_left, requests_reset_s, tpm, tokens_left, tokens_reset_s)


def _refused(owner: Owner, kind: str, limit: int, left: int, reset_s: float, retry_after_s: float) -> Refusal:
    room = Room(limit, left, reset_s, None, 0, 0.0) if kind == "requests" else Room(None, 0, 0.0, limit, left, reset_s)
    return rate_limited(kind, limit, owner.whose, retry_after_s, header_lines(room))


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
    rpm, requests_left, requests_reset_s, tpm, tokens_left, tokens_reset_s = room
    text = ""
    if rpm is not None:
        text = (
            f"x-ratelimit-limit-requests: {rpm}\r\nx-ratelimit-remaining-requests: {requests_left}\r\n"
            f"x-ratelimit-reset-requests: {duration_text(requests_reset_s)}\r\n"
        )
    if tpm is not None:
        text += (
            f"x-ratelimit-limit-tokens: {tpm}\r\nx-ratelimit-remaining-tokens: {tokens_left}\r\n"
            f"x-ratelimit-reset-tokens: {duration_text(tokens_reset_s)}\r\n"
        )
    return text.encode()
