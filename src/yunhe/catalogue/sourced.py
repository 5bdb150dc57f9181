"""Values with their sources: no number in a catalogue stands without saying where it is from."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

#: ``confirmed``: two sources that do not copy from each other say the same. ``unsure``: anything less.
Confidence = Literal["confirmed", "unsure"]
SourceKind = Literal[
    "maker page",
    "maker repository",
    "maker test report",
    "benchmark body",
    "measurement",
    "repository",
    "press",
    "other",
]


class Source(Struct, frozen=True, forbid_unknown_fields=True):
    """Where values were read. Files name sources by short keys."""

    title: Annotated[str, Meta(min_length=3)]
    kind: SourceKind
    #: Year and month in which it was read.
    read_at: Annotated[str, Meta(pattern=r"^20\d\d-\d\d$")]
    url: str | None = None


class Sourced(Struct, frozen=True, forbid_unknown_fields=True):
    """One number."""

    value: Annotated[float, Meta(gt=0)]
    #: Keys of the file's sources.
    sources: Annotated[tuple[str, ...], Meta(min_length=1)]
    confidence: Confidence
    #: What contradicts it, under which condition it holds, how it was derived.
    note: str = ""
