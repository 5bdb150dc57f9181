"""Exit statuses, and which error leads to which."""

from __future__ import annotations

from typing import Final

OK: Final = 0
FAILED: Final = 1
USAGE: Final = 2
NOT_FOUND: Final = 3
SIGN_IN: Final = 4
QUOTA: Final = 5
PENDING: Final = 6
GATE: Final = 7
INTERRUPTED: Final = 130

#: By HTTP status of the error that the API or our own classes name.
BY_STATUS: Final = {401: SIGN_IN, 403: SIGN_IN, 404: NOT_FOUND, 429: QUOTA}
BY_CODE: Final = {
    "not_found": NOT_FOUND,
    "not_running": NOT_FOUND,
    "not_signed_in": SIGN_IN,
    "bad_config": USAGE,
    "still_pending": PENDING,
}


def status_for(code: str, http_status: int | None) -> int:
    """The exit status for an error by its code, else by its HTTP status."""
    return BY_CODE.get(code) or BY_STATUS.get(http_status or 0, FAILED)
