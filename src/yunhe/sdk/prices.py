"""Prices of models' tokens, micro-credits per million tokens."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport


class Price(Record):
    """What a model's tokens cost from a date on."""

    id: str
    model: str
    input_micro_per_mtok: int
    output_micro_per_mtok: int
    effective_from: Time


class Prices:
    """/prices."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def set(
        self,
        model: str,
        *,
        input_micro_per_mtok: int,
        output_micro_per_mtok: int,
        effective_from: datetime | None = None,
    ) -> Price:
        """A price from now or a later date on (platform admin); earlier usage keeps its price. Raises ApiError."""
        body: dict[str, object] = {
            "model": model,
            "input_micro_per_mtok": input_micro_per_mtok,
            "output_micro_per_mtok": output_micro_per_mtok,
        }
        if effective_from is not None:
            body["effective_from"] = effective_from.isoformat()
        return self._transport.one(Price, "POST", "/prices", body=body)

    def list(self, model: str | None = None) -> Iterator[Price]:
        """Every price, newest first. Raises ApiError."""
        return self._transport.pages(Price, "/prices", {"model": model})
