"""Why a process ended, in one line, from the end of its log. Pure."""

from __future__ import annotations

import re
from typing import Final

#: So many bytes before the end are looked at.
TAIL_BYTES: Final = 8192
LENGTH_MAX: Final = 300
_TROUBLE: Final = re.compile(r"error|fail|cannot|invalid|exception|abort|assert|no such|denied|killed", re.IGNORECASE)
#: Time stamps and levels that loggers put before the words.
_PREFIX: Final = re.compile(r"^\d[\d.:,TZ -]*[.:][\d.:,TZ -]*\s+(?:[EWIDF]\s+)?(?=\S)")
_UNPRINTABLE: Final = re.compile(r"[^\x20-\x7e\u00a0-\uffff]+")


def last_words(tail: str) -> str:
    """The first line that speaks of trouble, because causes come before consequences; else the last line; or empty."""
    lines = [cleaned for line in tail.splitlines() if (cleaned := _UNPRINTABLE.sub(" ", line).strip())]
    trouble = [line for line in lines if _TROUBLE.search(line)]
    chosen = (trouble or lines[-1:] or [""])[0]
    return _PREFIX.sub("", chosen)[:LENGTH_MAX]
