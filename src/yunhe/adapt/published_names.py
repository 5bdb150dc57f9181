"""How results call engines and formats, and what engines start with: the package's table."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import msgspec
from msgspec import Struct


class Large(Struct, frozen=True):
    """Engines run more at once on large cards."""

    memory_bytes: float
    but_for: list[str]
    slots: dict[str, int]
    chunk_tokens: dict[str, int]


class Names(Struct, frozen=True):
    """How results call engines and formats, and lengths of well-known benchmarks."""

    engines: list[tuple[str, str]]
    precisions: list[tuple[str, str]]
    #: Regular expression: how servers are started.
    commands: str
    attention_stays_wide: list[str]
    #: By engine, where nothing else is said: sequences at once; with speculation; prompt tokens of one step.
    slots: dict[str, int]
    slots_speculating: dict[str, int]
    chunk_tokens: dict[str, int]
    #: Share of a card's memory for weights and cache; of an answer's tokens that memory is held for, on average.
    usable_share: dict[str, float]
    held_share: dict[str, float]
    #: Slots and tokens of a step on cards of at least so much memory, but for some chips.
    large: Large
    lengths: dict[str, tuple[float, float, str]]


@lru_cache(maxsize=1)
def names() -> Names:
    """The package's table."""
    data = files("yunhe.adapt").joinpath("data", "published_names.json").read_bytes()
    return msgspec.json.decode(data, type=Names)
