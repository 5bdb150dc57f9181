"""What vLLM needs on each maker's cards, read from ``plugins.json``: package, variables, arguments, formats."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from yunhe.catalogue.sourced import Source
from yunhe.pool.model import Card

Texts = tuple[str, ...]


class Plugin(Struct, frozen=True, forbid_unknown_fields=True):
    """One maker's cards under vLLM; ``package`` "" where vLLM itself knows them."""

    name: str
    package: str
    makers: Annotated[Texts, Meta(min_length=1)]
    kinds: Annotated[Texts, Meta(min_length=1)]
    #: Variables that show a process its cards, all with the same value.
    visible_devices: Texts
    #: First is the default.
    kv_cache_dtypes: Annotated[Texts, Meta(min_length=1)]
    sources: Annotated[Texts, Meta(min_length=1)]
    #: How identities begin that these variables take besides numbers.
    uuid_prefixes: Texts = ()
    env: dict[str, str] = {}
    arguments: Texts = ()
    #: Precision of the weights -> value of ``--quantization`` where the weights do not say it themselves.
    quantisation: dict[str, str] = {}
    #: Settings whose default differs from the engine's.
    defaults: dict[str, bool] = {}


class PluginFile(Struct, frozen=True, forbid_unknown_fields=True):
    """All of them."""

    schema: Literal[1]
    sources: dict[str, Source]
    plugins: tuple[Plugin, ...]


@cache
def load() -> PluginFile:
    """The packaged file. Raises msgspec.ValidationError when it is not sound."""
    return msgspec.json.decode(files(__package__).joinpath("plugins.json").read_bytes(), type=PluginFile)


def plugin_for(card: Card | None) -> Plugin | None:
    """The one for this card; without a card vLLM's own. None when none is known."""
    if card is None:
        return load().plugins[0]
    return next((known for known in load().plugins if card.maker in known.makers and card.kind in known.kinds), None)
