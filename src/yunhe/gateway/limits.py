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
from typing import Final

from msgspec import Struct

from yunhe.gateway.refusal import Refusal, rate_limited
from yunhe.ledger import gcra
from yunhe.ledger.gcra import advance, corrected, remaining

_SLOTS: Final = 65536
_PROBES: Final = 8
_SLOT: Final = struct.Struct("<Qdd")
_LOCK_TRIES: Final = 2000
_LOCK_NOW: Final = fcntl.LOCK_EX | fcntl.LOCK_NB
_UNLOCK: Final = fcntl.LOCK_UN
_flock: Final = fcntl.flock
_pack: Final = _SLOT.pack_into
_unpack: Final = _SLOT.unpack_from
FILE_NAME: Final = "limits"


class Owner:
    """A key or a project with its limits; ``None`` is no limit."""

    __slots__ = ("closed", "correction", "hash", "home", "limited", "rpm", "tpm", "whose")

    def __init__(self, whose: str, identity: str, rpm: int | None, tpm: int | None) -> None:
        #: ``key`` or ``project``, for messages.
        self.whose = whose
        self.rpm = rpm
        self.tpm = tpm
        self.limited = rpm is not None or tpm is not None
        #: The kind of which nothing at all is allowed, empty when there is none.
        self.closed = "requests" if rpm is not None and rpm < 1 else "tokens" if tpm is not None and tpm < 1 else ""
        #: Tokens that settled requests took more than they were admitted with, not yet written.
        self.correction = 0
        digest = hashlib.blake2b(f"{whose}:{identity}".encode(), digest_size=8).digest()
        self.hash = int.from_bytes(digest, "little") or 1
        self.home = self.hash % _SLOTS


class Room(Struct, frozen=True, gc=False):
    """What is left after a request, of the tightest limit of each kind; limits None where there is none."""

    rpm: int | None
    requests_left: int
    requests_reset_s: float
    tpm: int | None
    tokens_left: int
    tokens_reset_s: float


UNLIMITED: Final = Room(None, 0, 0.0, None, 0, 0.0)
#: Offset in the table, requests' and tokens' states.
_State = tuple[int, float, float]
_NO_STATE: Final[_State] = (0, 0.0, 0.0)
#: A state further ahead than this does not fit.
_FULL_S: Final = gcra.WINDOW_S + gcra.SLACK_S


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
        if key.closed or project.closed:
            raise _nothing_allowed(key if key.closed else project)
        locked = self._lock()
        try:
            key_state = self._advance(key, now_s, tokens) if key.limited else _NO_STATE
            project_state = self._advance(project, now_s, tokens) if project.limited else _NO_STATE
            if key.limited:
                key.correction = 0
                _pack(self._map, key_state[0], key.hash, key_state[1], key_state[2])
            if project.limited:
                project.correction = 0
                _pack(self._map, project_state[0], project.hash, project_state[1], project_state[2])
        finally:
            if locked:
                _flock(self._fd, _UNLOCK)
        return _room(now_s, key, key_state, project, project_state)

    def _advance(self, owner: Owner, now_s: float, tokens: int) -> _State:
        """``(offset, new states)`` of one owner, not written yet. Raises Refusal 429."""
        at, requests_s, tokens_s = self._find(owner)
        rpm, tpm = owner.rpm, owner.tpm
        if rpm is not None:
            after_s = advance(requests_s, now_s, rpm, 1)
            if after_s > now_s + _FULL_S:
                raise _refused(owner, "requests", rpm, requests_s, after_s, now_s)
            requests_s = after_s
        if tpm is not None:
            if owner.correction:
                tokens_s = corrected(tokens_s, now_s, tpm, owner.correction)
            after_s = advance(tokens_s, now_s, tpm, tokens)
            if after_s > now_s + _FULL_S:
                raise _refused(owner, "tokens", tpm, tokens_s, after_s, now_s)
            tokens_s = after_s
        return at, requests_s, tokens_s

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
                    moved = corrected(tokens_s, now_s, owner.tpm, owner.correction)
                    owner.correction = 0
                    _pack(self._map, at, owner.hash, requests_s, moved)
            self._to_correct.clear()
        finally:
            if locked:
                _flock(self._fd, _UNLOCK)

    def _lock(self) -> bool:
        """Held for microseconds by others; a holder that was stopped must not stop this worker."""
        for attempt in range(_LOCK_TRIES):
            try:
                _flock(self._fd, _LOCK_NOW)
            except BlockingIOError:
                if attempt > 10:
                    os.sched_yield()
                continue
            return True
        self.unlocked += 1
        return False

    def _find(self, owner: Owner) -> _State:
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


def _room(
    now_s: float,
    key: Owner,
    key_state: tuple[int, float, float],
    project: Owner,
    project_state: tuple[int, float, float],
) -> Room:
    """Of each kind the limit that has less left."""
    _, requests_s, tokens_s = key_state
    rpm, tpm = key.rpm, key.tpm
    requests_left = 0 if rpm is None else remaining(requests_s, now_s, rpm)
    tokens_left = 0 if tpm is None else remaining(tokens_s, now_s, tpm)
    if project.rpm is not None:
        left = remaining(project_state[1], now_s, project.rpm)
        if rpm is None or left < requests_left:
            rpm, requests_left, requests_s = project.rpm, left, project_state[1]
    if project.tpm is not None:
        left = remaining(project_state[2], now_s, project.tpm)
        if tpm is None or left < tokens_left:
            tpm, tokens_left, tokens_s = project.tpm, left, project_state[2]
    return Room(rpm, requests_left, requests_s - now_s, tpm, tokens_left, tokens_s - now_s)


def _nothing_allowed(owner: Owner) -> Refusal:
    room = Room(0, 0, 0.0, None, 0, 0.0) if owner.closed == "requests" else Room(None, 0, 0.0, 0, 0, 0.0)
    return rate_limited(owner.closed, 0, owner.whose, gcra.WINDOW_S, header_lines(room))


def _refused(owner: Owner, kind: str, limit: int, state_s: float, after_s: float, now_s: float) -> Refusal:
    left, reset_s = remaining(state_s, now_s, limit), max(0.0, state_s - now_s)
    room = Room(limit, left, reset_s, None, 0, 0.0) if kind == "requests" else Room(None, 0, 0.0, limit, left, reset_s)
    return rate_limited(kind, limit, owner.whose, gcra.excess_s(after_s, now_s), header_lines(room))


def duration_text(seconds: float) -> bytes:
    """OpenAI's way to write a duration: ``20ms``, ``1.5s``, ``6m0s``."""
    if seconds < 1:
        return b"%dms" % (seconds * 1000) if seconds > 0 else b"0ms"
    if seconds < 60:
        return (b"%.3f" % seconds).rstrip(b"0").rstrip(b".") + b"s"
    minutes, rest = divmod(seconds, 60)
    return b"%dm%ds" % (minutes, rest)


def header_lines(room: Room) -> bytes:
    """``x-ratelimit-*`` lines, each ended by CRLF; empty without limits."""
    lines = b""
    if room.rpm is not None:
        lines = (
            b"x-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\n"
            b"x-ratelimit-reset-requests: %b\r\n" % (room.rpm, room.requests_left, duration_text(room.requests_reset_s))
        )
    if room.tpm is not None:
        lines += (
            b"x-ratelimit-limit-tokens: %d\r\nx-ratelimit-remaining-tokens: %d\r\n"
            b"x-ratelimit-reset-tokens: %b\r\n" % (room.tpm, room.tokens_left, duration_text(room.tokens_reset_s))
        )
    return lines
