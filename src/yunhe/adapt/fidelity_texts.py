"""The texts over which fidelity is measured: small, licensed, shipped with the package.

Several texts of each class, because intervals are clustered by text. They are data of a measurement: changing one byte
makes new results incomparable with old ones, so each text has its digest and the set has one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from types import MappingProxyType
from typing import Final, Literal

import msgspec

TextClass = Literal["prose", "code", "zh", "maths"]
_FOLDER: Final = files("yunhe.adapt") / "data" / "texts"


class TextEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the index of texts."""

    id: str
    text_class: TextClass = msgspec.field(name="class")
    #: A language tag, or the programming language of code.
    language: str
    #: ``public domain`` or an SPDX identifier.
    licence: str
    source: str
    #: Of the file's bytes, in lower-case hexadecimal.
    sha256: str


class ReferenceText(msgspec.Struct, frozen=True):
    """A text to measure over, with where it is from."""

    entry: TextEntry
    text: str


@cache
def reference_texts() -> tuple[ReferenceText, ...]:
    """All texts in the order of the index, read once. Raises ValueError when a file is not the one of its digest."""
    entries = msgspec.json.decode((_FOLDER / "index.json").read_bytes(), type=list[TextEntry])
    return tuple(ReferenceText(entry, _content(entry)) for entry in entries)


@cache
def text_classes() -> Mapping[str, str]:
    """The class of each text by its id."""
    return MappingProxyType({text.entry.id: text.entry.text_class for text in reference_texts()})


@cache
def texts_digest() -> str:
    """One sha256 for the whole set, for the evidence: equal digests mean equal texts. Hexadecimal, lower case."""
    lines = sorted(f"{text.entry.id} {text.entry.sha256}\n" for text in reference_texts())
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _content(entry: TextEntry) -> str:
    content = (_FOLDER / f"{entry.id}.txt").read_bytes()
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise ValueError(f"the text {entry.id} is not the one of its digest")
    return content.decode()
