"""Identifiers: UUIDv7 (RFC 9562, section 5.7) with a typed prefix, so that they sort by time and say what they name.

``req_0199c0ffee007abc8def0123456789ab``: prefix, underscore, the 32 hexadecimal digits of the UUID.
"""

from __future__ import annotations

import os
import re
import time
from typing import Final, Literal, get_args

Prefix = Literal[
    "org", "proj", "user", "mem", "key", "sess", "centre", "agent", "node", "card", "tok", "model", "recipe",
    "dep", "roll", "adp", "rep", "wl", "evt", "req", "price", "lease", "entry", "acct",
]  # fmt: skip

PREFIXES: Final[frozenset[str]] = frozenset(get_args(Prefix))
_NS_PER_MS: Final = 1_000_000
_SHAPE: Final = re.compile(r"^([a-z]+)_([0-9a-f]{12}7[0-9a-f]{3}[89ab][0-9a-f]{15})$")


def uuid7_hex(unix_ms: int, random_bytes: bytes, fraction: int | None = None) -> str:
    """The 32 hex digits of a UUIDv7 from milliseconds since 1970 and 10 random bytes (74 bits of them are used).

    With ``fraction`` (0..4095, parts of a millisecond) in the place of 12 random bits, ids made within one millisecond
    sort by their time too (RFC 9562, section 6.2, method 3).
    """
    tail = int.from_bytes(random_bytes[:10], "big")
    rand_a = (tail >> 68) & 0x0FFF if fraction is None else fraction
    rand_b = tail & 0x3FFFFFFFFFFFFFFF
    return f"{unix_ms & 0xFFFFFFFFFFFF:012x}{0x7000 | rand_a:04x}{0x8000000000000000 | rand_b:016x}"


def new_id(prefix: Prefix) -> str:
    """A fresh identifier from the wall clock and the system's randomness; edges call it, rooms get ids passed in."""
    unix_ms, rest_ns = divmod(time.time_ns(), _NS_PER_MS)
    return f"{prefix}_{uuid7_hex(unix_ms, os.urandom(10), rest_ns * 4096 // _NS_PER_MS)}"


def is_id(text: str, prefix: Prefix) -> bool:
    """Whether ``text`` has the shape of an identifier of that kind."""
    match = _SHAPE.match(text)
    return match is not None and match.group(1) == prefix
