"""What every named query takes first: an open transaction."""

from __future__ import annotations

from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

Tx = AsyncConnection

#: In ``Tx.info`` of a writing transaction: what gateways must hear of, in the order in which it was noted.
NOTED: Final = "yunhe_noted"
