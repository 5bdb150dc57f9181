"""The chips that the package knows: read once, found by any of their names."""

from __future__ import annotations

import difflib
from collections import Counter
from functools import lru_cache
from importlib.resources import files
from typing import Final

import msgspec
from msgspec import Struct

from yunhe.catalogue.chips import Chip, ChipFile
from yunhe.catalogue.sourced import Sourced
from yunhe.core.errors import NotFound

#: Plausible values by field; beyond, a unit was mistaken.
_BOUNDS: Final = {
    "memory_bytes": (4e9, 2e12),
    "memory_bandwidth_bytes_per_s": (1e10, 3e13),
    "cache_bytes": (1e6, 2e9),
    "scale_up_bytes_per_s": (1e9, 5e12),
    "scale_out_bytes_per_s": (1e9, 1e12),
    "supernode_cards": (2, 100_000),
    "power_watts": (10, 5000),
    "peak_flops": (1e12, 1e17),
}


class Difference(Struct, frozen=True):
    """One field of two chips; None where nobody says. ``ratio`` is the second over the first."""

    field: str
    first: float | None
    second: float | None
    ratio: float | None


@lru_cache(maxsize=1)
def load() -> dict[str, ChipFile]:
    """All makers' files, by the file's name."""
    folder = files("yunhe.catalogue").joinpath("data", "chips")
    return {
        entry.name.removesuffix(".json"): msgspec.json.decode(entry.read_bytes(), type=ChipFile)
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".json")
    }


def makers() -> tuple[str, ...]:
    """Names of the makers."""
    return tuple(file.maker for file in load().values())


def chips() -> tuple[Chip, ...]:
    """All of them, maker by maker."""
    return tuple(chip for file in load().values() for chip in file.chips)


def maker_of(chip_id: str) -> str:
    """The file name of its maker. Raises NotFound."""
    for maker, file in load().items():
        if any(chip.id == chip_id for chip in file.chips):
            return maker
    raise NotFound(f"the catalogue has no chip {chip_id!r:.100}")


def find(name: str) -> Chip:
    """By id, name or alias, whatever the case. Raises NotFound with close names."""
    known = _by_name()
    wanted = name.strip().lower()
    if wanted in known:
        return known[wanted]
    near = difflib.get_close_matches(wanted, known, n=3, cutoff=0.5)
    raise NotFound(
        f"the catalogue has no chip {name!r:.100}",
        next_step=f"Did you mean {' or '.join(near)}?" if near else "List what exists: yunhe chip list.",
        close=near,
    )


@lru_cache(maxsize=1)
def _by_name() -> dict[str, Chip]:
    found: dict[str, Chip] = {}
    for chip in chips():
        for name in (chip.id, chip.name, *chip.aliases):
            found.setdefault(name.lower(), chip)
    return found


def values(chip: Chip) -> dict[str, Sourced]:
    """Every number that the record has, by field; peaks as ``peak_flops.bf16``."""
    found = {name: value for name in _BOUNDS if isinstance(value := getattr(chip, name), Sourced)}
    return found | {f"peak_flops.{dtype}": value for dtype, value in chip.peak_flops.items()}


def diff(first: Chip, second: Chip) -> list[Difference]:
    """Field by field, of all that either has."""
    a, b = values(first), values(second)
    found = []
    for field in sorted({*a, *b}):
        left = a[field].value if field in a else None
        right = b[field].value if field in b else None
        found.append(Difference(field, left, right, right / left if left and right else None))
    return found


def problems(file: ChipFile) -> list[str]:
    """Sentences on what breaks the rules of the catalogue; empty when nothing does."""
    found = []
    for chip in file.chips:
        for field, value in values(chip).items():
            where = f"{chip.id}.{field}"
            found += [f"{where}: no source {key!r}" for key in value.sources if key not in file.sources]
            if value.confidence == "confirmed" and len(set(value.sources)) < 2:
                found.append(f"{where}: confirmed needs two sources")
            low, high = _BOUNDS[field.partition(".")[0]]
            if not low <= value.value <= high:
                found.append(f"{where}: {value.value:g} lies outside {low:g} to {high:g}; is the unit right?")
    used = {key for chip in file.chips for value in values(chip).values() for key in value.sources}
    return found + [f"the source {key!r} is not used" for key in file.sources if key not in used]


def name_clashes() -> list[str]:
    """Names that would find two chips."""
    names = Counter(name for chip in chips() for name in {one.lower() for one in (chip.id, chip.name, *chip.aliases)})
    return [name for name, count in names.items() if count > 1]
