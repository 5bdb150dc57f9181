"""Which engine runs which model family in which precision on whose chips: published tables as data, with their sources.

It knows the packaged files, one for each maker. It answers ``supported``, ``plugin``, ``not`` or ``unknown``; an
answer is what somebody published, and no proof: trials on the chip decide.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import msgspec

from yunhe.drivers.engines.compatibility.lookup import Compatibility, assemble
from yunhe.drivers.engines.compatibility.model import Answer, CompatibilityFile, NamesFile

__all__ = ["Answer", "Compatibility", "load", "verdict"]

_NAMES = "names.json"


@cache
def load() -> Compatibility:
    """The packaged files. Raises msgspec.ValidationError or ValueError when one is not sound."""
    entries = sorted(files(__package__).iterdir(), key=lambda entry: entry.name)
    texts = {entry.name: entry.read_bytes() for entry in entries if entry.name.endswith(".json")}
    names = msgspec.json.decode(texts.pop(_NAMES), type=NamesFile)
    return assemble([msgspec.json.decode(text, type=CompatibilityFile) for text in texts.values()], names)


def verdict(maker: str, engine: str, version: str, family: str, precision: str, chip: str | None = None) -> Answer:
    """What is published of one combination; see ``Compatibility.verdict``."""
    return load().verdict(maker, engine, version, family, precision, chip)
