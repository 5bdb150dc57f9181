"""Request ids: the identity of a request's hold, usage record and ledger entry."""

from __future__ import annotations

import random
import time
from typing import Final

#: Seeded from the system's randomness: ids must be unique over processes, not secret, and a call to the system for
#: each costs more than the rest of the id.
_bits: Final = random.Random().getrandbits


def new_request_id() -> str:
    """``req_`` and a UUIDv7, written out here for speed: it has the shape that ``core.ids.is_id`` knows.

    A fraction of the millisecond stands in the first 12 free bits, so that ids sort by their time.
    """
    unix_ms, rest_ns = divmod(time.time_ns(), 1_000_000)
    return f"req_{unix_ms:012x}7{rest_ns * 4096 // 1_000_000:03x}{0x8000000000000000 | _bits(62):016x}"
