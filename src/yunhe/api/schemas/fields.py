"""The bases of all shapes, and the kinds of field that several of them share."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Final, Generic, Self, TypeVar

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from yunhe.accounts.model import Role, Scope
from yunhe.accounts.passwords import PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN
from yunhe.core.units import Source

#: A thousand million credits: far from what 64 bits hold even when thousands of such rows are summed.
MICRO_MAX: Final = 10**15
LIMIT_MAX: Final = 10**12
NESTING_MAX: Final = 16
_ISO: Final = re.compile(r"^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}")
_EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST: Final = datetime(2200, 1, 1, tzinfo=UTC)


def unstorable(value: object, depth: int = 0) -> str | None:
    """Why no database can store this JSON value, or None when it can: NUL, lone surrogates, too deep nesting."""
    if depth > NESTING_MAX:
        return f"is nested deeper than {NESTING_MAX}"
    if isinstance(value, str):
        if "\x00" in value:
            return "must not hold NUL characters"
        if any("\ud800" <= character <= "\udfff" for character in value):
            return "must not hold lone surrogates"
        return None
    inner: Iterable[object] = ()
    if isinstance(value, dict):
        inner = [*value.keys(), *value.values()]
    elif isinstance(value, list):
        inner = value
    return next((why for item in inner if (why := unstorable(item, depth + 1))), None)


class Input(BaseModel):
    """What a caller sends: unknown fields are refused, text must be storable."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _storable(cls, data: object) -> object:
        if isinstance(data, dict):
            for name, value in data.items():
                if why := unstorable(name) or unstorable(value):
                    # The name itself may be what cannot be shown.
                    raise ValueError(f"{ascii(name)[1:-1]} {why}")
        return data


class Output(BaseModel):
    """What we answer, made from records: float unix seconds become times."""

    model_config = ConfigDict(from_attributes=True, frozen=True)

    @classmethod
    def of(cls, record: object) -> Self:
        """This shape of a record whose attributes have the same names."""
        return cls.model_validate(record)


T = TypeVar("T")


class Page(Output, Generic[T]):
    """A part of a list."""

    data: list[T]
    next: Annotated[str | None, Field(description="Send it as `after` for what follows; null at the end.")]


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("must hold printable characters only")
    if text != text.strip():
        raise ValueError("must not begin or end with a space")
    return text


def _sensible(moment: datetime) -> datetime:
    if not _EARLIEST <= moment <= _LATEST:
        raise ValueError("must lie between 1970 and 2200")
    return moment.astimezone(UTC)


def _iso(given: object) -> object:
    """Pydantic would take numbers for unix seconds; we take ISO 8601 only."""
    if isinstance(given, str) and not _ISO.match(given):
        raise ValueError("must be an ISO 8601 time with a zone, like 2026-11-23T16:30:00Z")
    if not isinstance(given, str | datetime):
        raise ValueError("must be text")
    return given


def unix_s(moment: datetime | None) -> float | None:
    """Float unix seconds of an aware time; None stays None."""
    return None if moment is None else moment.timestamp()


#: Text for people: titles, memos.
Title = Annotated[str, Field(min_length=1, max_length=100), AfterValidator(_printable)]
Memo = Annotated[str, Field(max_length=500), AfterValidator(_printable)]
#: Names that may stand in a URL's path: of users, organisations and projects, in any script.
Name = Annotated[
    str,
    Field(min_length=1, max_length=64, pattern=r"""^[^\x00-\x20/\\?#%"<>:.~\-][^\x00-\x20/\\?#%"<>]*$"""),
    AfterValidator(_printable),
]
#: Names of deployments and centres.
Slug = Annotated[str, Field(min_length=1, max_length=63, pattern=r"^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$")]
ModelName = Annotated[
    str, Field(min_length=1, max_length=128, pattern=r"^[a-z0-9][a-z0-9._-]*(/[a-z0-9][a-z0-9._-]*)*$")
]
#: An id or a name, wherever either is accepted.
Reference = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x20/\\?#%]+$")]
Password = Annotated[str, Field(min_length=PASSWORD_CHARS_MIN, max_length=PASSWORD_CHARS_MAX)]
#: What somebody typed; its length is not judged again here, only bounded.
TypedPassword = Annotated[str, Field(min_length=1, max_length=PASSWORD_CHARS_MAX)]

Whole = Annotated[int, Field(strict=True)]
Limit = Annotated[int, Field(strict=True, ge=1, le=LIMIT_MAX)]
Micro = Annotated[int, Field(strict=True, ge=-MICRO_MAX, le=MICRO_MAX)]
PriceMicro = Annotated[int, Field(strict=True, ge=0, le=10**12)]
Flag = Annotated[bool, Field(strict=True)]
#: A moment that a caller names: with a zone, between 1970 and 2200.
GivenTime = Annotated[AwareDatetime, BeforeValidator(_iso), AfterValidator(_sensible)]


def _from_unix(value: object) -> object:
    return datetime.fromtimestamp(value, UTC) if isinstance(value, int | float) else value


#: A moment that we tell: ISO 8601, UTC.
Time = Annotated[datetime, BeforeValidator(_from_unix)]


def _ordered(value: object) -> object:
    return sorted(value) if isinstance(value, frozenset | set) else value


Roles = Annotated[list[Role], BeforeValidator(_ordered)]
Scopes = Annotated[list[Scope], BeforeValidator(_ordered)]


class Measured(Output):
    """A number with its unit and where it comes from."""

    value: float
    unit: str
    source: Source
