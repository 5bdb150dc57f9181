"""The one shape of every error answer."""

from __future__ import annotations

from pydantic import BaseModel, Field

Detail = str | int | float | bool | list[str] | None


class ErrorDetail(BaseModel):
    """What went wrong and what to do next."""

    code: str = Field(description="Stable snake_case name; match on this.")
    message: str
    next_step: str
    request_id: str = Field(description="Also in the header x-request-id; name it when you ask for help.")
    details: dict[str, Detail]


class ErrorBody(BaseModel):
    """Every answer with a status of 400 or more."""

    error: ErrorDetail
