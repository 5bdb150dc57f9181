"""The base of every record that the API answers with."""

from __future__ import annotations

from pydantic import AwareDatetime, BaseModel, ConfigDict

#: ISO 8601 UTC on the wire, an aware datetime here.
Time = AwareDatetime


class Record(BaseModel):
    """Immutable; fields that a newer instance adds are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())
