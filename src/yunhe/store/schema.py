"""The one MetaData, its naming convention, and how complex records lie in a column."""

from __future__ import annotations

from typing import Any, Final, TypeVar

import msgspec
from sqlalchemy import BigInteger, Column, Float, MetaData, Text

METADATA: Final = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

T = TypeVar("T")


def pack(value: object) -> str:
    """A record as JSON text for a column."""
    return msgspec.json.encode(value).decode()


def unpack(text: str, kind: type[T]) -> T:
    """The record back from a column's JSON text. Raises msgspec.ValidationError when the row is damaged."""
    return msgspec.json.decode(text, type=kind)


def key(name: str = "id") -> Column[str]:
    """A textual primary key."""
    return Column(name, Text, primary_key=True)


def text(name: str, *, null: bool = False, **options: Any) -> Column[str]:
    """A text column."""
    return Column(name, Text, nullable=null, **options)


def whole(name: str, *, null: bool = False, **options: Any) -> Column[int]:
    """A 64-bit integer column: bytes, counts, micro-credits."""
    return Column(name, BigInteger, nullable=null, **options)


def number(name: str, *, null: bool = False, **options: Any) -> Column[float]:
    """A double-precision column: unix seconds, durations, speeds."""
    return Column(name, Float(53), nullable=null, **options)
