"""Pages of lists: how many, and after what. A cursor is opaque to callers and good for one list only."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar

from fastapi import Depends, Query

from yunhe.api.schemas.fields import Page
from yunhe.control.page import Page as Found
from yunhe.core.errors import InvalidRequest

LIMIT_DEFAULT: Final = 100
LIMIT_MAX: Final = 500
_POSITION: Final = re.compile(r"^[^\x00-\x20\x7f]{1,300}$")

R = TypeVar("R")
S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Paging:
    """The page that a caller wants: at most `limit` things after `cursor` (None: from the start)."""

    limit: int
    cursor: str | None

    def after(self, kind: str) -> str | None:
        """The position in the list `kind` that the cursor stands for. Raises InvalidRequest when it is none of it."""
        return decode_cursor(kind, self.cursor)


def _paging(
    limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="How many at most.")] = LIMIT_DEFAULT,
    after: Annotated[str | None, Query(max_length=600, description="`next` of the page before.")] = None,
) -> Paging:
    return Paging(limit, after)


Wanted = Annotated[Paging, Depends(_paging)]


def encode_cursor(kind: str, position: str | None) -> str | None:
    """The cursor that stands for a position in the list `kind`; None (the end) stays None."""
    if position is None:
        return None
    return base64.urlsafe_b64encode(f"{kind} {position}".encode()).decode().rstrip("=")


def decode_cursor(kind: str, cursor: str | None) -> str | None:
    """The position that `encode_cursor` was given. Raises InvalidRequest when this is no cursor of this list."""
    if cursor is None:
        return None
    try:
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        text = ""
    owner, _, position = text.partition(" ")
    if owner != kind or not _POSITION.match(position):
        raise InvalidRequest(
            fields=["query.after: is no cursor of this list"], next_step="Send `next` of the page before, unchanged."
        )
    return position


def page_of(kind: str, found: Found[R], convert: Callable[[R], S]) -> Page[S]:
    """The answer of a list: its records in the caller's shape, and the cursor of what follows."""
    return Page(data=[convert(item) for item in found.items], next=encode_cursor(kind, found.next))
