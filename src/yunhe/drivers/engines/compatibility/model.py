"""The records of compatibility: which engine runs which model family in which precision on whose chips."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from msgspec import Meta, Struct

from yunhe.catalogue.sourced import Source

#: ``supported``: by the engine itself. ``plugin``: with the named plug-in. ``not``: a source says that it does not run.
Said = Literal["supported", "plugin", "not"]
Status = Literal["supported", "plugin", "not", "unknown"]
Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
SourceKeys = Annotated[tuple[str, ...], Meta(min_length=1)]


class Product(Struct, frozen=True, forbid_unknown_fields=True):
    """An engine on one maker's chips, as a whole."""

    engine: Name
    status: Said
    sources: SourceKeys
    #: The package that brings the engine to these chips; "" without one.
    plugin: str = ""
    #: Newest version that the sources speak of; "" when they name none.
    version: str = ""
    note: str = ""


class Row(Struct, frozen=True, forbid_unknown_fields=True):
    """What sources say of all the named families in all the named precisions."""

    engine: Name
    families: Annotated[tuple[Name, ...], Meta(min_length=1)]
    precisions: Annotated[tuple[Name, ...], Meta(min_length=1)]
    status: Said
    sources: SourceKeys
    #: The package where it is another than the product's.
    plugin: str = ""
    #: Engine versions of which it is said, both included, by release number; "" is open.
    since: str = ""
    until: str = ""
    #: Parts of the ids of the chips of which it is said; empty: of all of this maker's.
    chips: tuple[Name, ...] = ()
    #: ``experimental`` ones are said to run, and not to be tested through.
    experimental: bool = False
    note: str = ""


class CompatibilityFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One maker's chips."""

    schema: Literal[1]
    maker: Name
    #: Other names under which inventories know the maker.
    aliases: tuple[Name, ...]
    sources: dict[str, Source]
    products: Annotated[tuple[Product, ...], Meta(min_length=1)]
    rows: tuple[Row, ...]


class NamesFile(Struct, frozen=True, forbid_unknown_fields=True):
    """Other spellings of families and precisions: the one used here -> those found in weights and configurations."""

    schema: Literal[1]
    families: dict[str, tuple[str, ...]]
    precisions: dict[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one combination."""

    status: Status
    #: One sentence, without a full stop.
    reason: str
    #: Titles of the sources, empty for ``unknown`` when nobody says anything.
    sources: tuple[str, ...] = ()
    #: The package that is needed besides the engine.
    plugin: str = ""
    experimental: bool = False
