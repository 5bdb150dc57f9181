"""The model architectures that the package knows: read once, found by any of their names."""

from __future__ import annotations

import difflib
from collections import Counter
from functools import lru_cache
from importlib.resources import files

import msgspec

from yunhe.catalogue.architecture import Architecture, ArchitectureFile, Attention
from yunhe.catalogue.parameters import parameter_problems
from yunhe.core.errors import NotFound


@lru_cache(maxsize=1)
def load() -> dict[str, ArchitectureFile]:
    """All families' files, by the family's name."""
    folder = files("yunhe.catalogue").joinpath("data", "models")
    return {
        entry.name.removesuffix(".json"): msgspec.json.decode(entry.read_bytes(), type=ArchitectureFile)
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".json")
    }


def architectures() -> tuple[Architecture, ...]:
    """All of them, family by family."""
    return tuple(architecture for file in load().values() for architecture in file.architectures)


def find(name: str) -> Architecture:
    """By id, name (with or without the owner) or alias, whatever the case. Raises NotFound with close names."""
    known = _by_name()
    wanted = name.strip().lower()
    if wanted in known:
        return known[wanted]
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.6)
    raise NotFound(
        f"the catalogue has no model architecture {name!r:.100}",
        next_step=(f"Did you mean {' or '.join(near)}? " if near else "") + "List them: yunhe model architectures.",
        close=near,
    )


def names_of(architecture: Architecture) -> tuple[str, ...]:
    """All names that find it, lowercase."""
    whole = (architecture.id, architecture.name, architecture.name.rpartition("/")[2], *architecture.aliases)
    return tuple(dict.fromkeys(name.lower() for name in whole))


@lru_cache(maxsize=1)
def _by_name() -> dict[str, Architecture]:
    found: dict[str, Architecture] = {}
    for architecture in architectures():
        for name in names_of(architecture):
            found.setdefault(name, architecture)
    return found


def shared_names() -> list[str]:
    """Names that would find more than one architecture; empty when the catalogue is sound."""
    uses = Counter(name for architecture in architectures() for name in names_of(architecture))
    return sorted(name for name, count in uses.items() if count > 1)


def problems(file: ArchitectureFile) -> list[str]:
    """Sentences on what is wrong inside one file; empty when it is sound."""
    found = []
    ids = Counter(architecture.id for architecture in file.architectures)
    found += [f"{id}: more than one entry" for id, count in ids.items() if count > 1]
    used = {key for architecture in file.architectures for key in architecture.sources}
    found += [f"source {key}: nothing is from it" for key in sorted(set(file.sources) - used)]
    for architecture in file.architectures:
        missing = sorted(set(architecture.sources) - set(file.sources))
        found += [f"{architecture.id}: source {key} is not in the file" for key in missing]
        found += [f"{architecture.id}: {said}" for group in architecture.attention for said in _attention(group)]
        found += _feed_forward(architecture)
        found += parameter_problems(architecture)
    return found


def _attention(group: Attention) -> list[str]:
    """What a kind of attention must say, and what only others may."""
    said = {
        "window": group.window is not None,
        "kv_rank": group.kv_rank is not None,
        "rotary_size": group.rotary_size is not None,
        "state_elements": group.state_elements is not None,
    }
    needed = {
        "full": set[str](),
        "window": {"window"},
        "mla": {"kv_rank", "rotary_size"},
        "linear": {"state_elements"},
    }[group.kind]
    allowed = needed | ({"window"} if group.kind == "mla" and group.compression > 1 else set())
    found = [f"{group.kind} attention without {name}" for name in sorted(needed) if not said[name]]
    found += [f"{group.kind} attention with {name}" for name, has in said.items() if has and name not in allowed]
    if group.kind != "linear" and group.heads % group.kv_heads:
        found.append(f"{group.heads} heads cannot share {group.kv_heads} key heads")
    if group.chosen_positions is None and group.indexer_heads is not None:
        found.append("an indexer that chooses nothing")
    if (group.indexer_heads is None) != (group.indexer_head_size is None):
        found.append("half an indexer")
    return found


def _feed_forward(architecture: Architecture) -> list[str]:
    found = []
    experts = architecture.experts
    if experts is not None and experts.used > experts.experts:
        found.append(f"{architecture.id}: a token uses more experts than there are")
    if bool(architecture.dense_layers) != bool(architecture.intermediate_size):
        found.append(f"{architecture.id}: plain feed-forward layers and their size go together")
    if experts is None and architecture.active_parameters is not None:
        found.append(f"{architecture.id}: without experts all parameters are active")
    return found
