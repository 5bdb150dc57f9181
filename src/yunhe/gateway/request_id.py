"""Request ids: the identity of a request's hold, usage record and ledger entry."""

from __future__ import annotations

import random
import time
from typing import Final

from yunhe.core.ids import uuid7_hex

#: Seeded from the system's randomness: ids must be unique over processes, not secret, and a call to the system for
#: each costs more than the rest of the id.
_random: Final = random.Random()


def new_request_id() -> str:
    """``req_`` and a UUIDv7."""
    return "req_" + uuid7_hex(time.time_ns() // 1_000_000, _random.randbytes(10))
