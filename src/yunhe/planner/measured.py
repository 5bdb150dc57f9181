"""Chips that were measured on this machine: their files, and the ways on them beside those of the catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
from msgspec.structs import replace

from yunhe.adapt.measured_chip import MeasuredChip
from yunhe.adapt.measured_plan import measured_ways
from yunhe.adapt.plan import Goals, Plan
from yunhe.catalogue import chip_catalogue
from yunhe.catalogue.architecture import Architecture
from yunhe.core.errors import InvalidRequest, NotFound

#: Formats of weights that engines of such chips run.
DEFAULT_PRECISIONS: Final = ("int4", "int8", "bf16")


def read_calibrations(directory: str) -> dict[str, MeasuredChip]:
    """By chip id; none without a directory. Raises InvalidRequest for a file that is no calibration."""
    found: dict[str, MeasuredChip] = {}
    for path in sorted(Path(directory).glob("*.json")) if directory else ():
        try:
            made = msgspec.json.decode(path.read_bytes(), type=MeasuredChip)
        except (OSError, msgspec.MsgspecError) as error:
            raise InvalidRequest(
                f"{path} cannot be read: {error}", next_step="Measure again: yunhe chip calibrate"
            ) from None
        found[made.chip] = made
    return found


def split_chips(names: Sequence[str], measured: dict[str, MeasuredChip]) -> tuple[list[MeasuredChip], list[str]]:
    """Chips that were measured here, and the rest, which the catalogue has. Raises NotFound with the next step."""
    rest = []
    for name in names:
        if name in measured:
            continue
        try:
            chip_catalogue.find(name)
        except NotFound as error:
            raise NotFound(
                f"{error.message}, and it has not been measured here",
                next_step=f"If it is this machine's: yunhe chip calibrate. {error.next_step}",
            ) from None
        rest.append(name)
    return [measured[name] for name in dict.fromkeys(names) if name in measured], rest


def with_measured(
    plan: Plan,
    architecture: Architecture,
    chips: Sequence[MeasuredChip],
    engines: Sequence[str],
    precisions: Sequence[str],
    goals: Goals,
    prices: dict[str, float],
) -> Plan:
    """The plan with the ways on measured chips in their places; the best of all is chosen."""
    ways = [replace(way, chosen=False) for way in plan.ways]
    refused = list(plan.refused)
    for chip in chips:
        here, out = measured_ways(
            architecture, chip, engines, precisions or DEFAULT_PRECISIONS, goals, prices.get(chip.chip)
        )
        ways += here
        refused += out
    priced = bool(ways) and all(way.credits_per_million_tokens is not None for way in ways)
    ways.sort(key=lambda way: (way.credits_per_million_tokens or 0.0) if priced else -way.output_tokens_per_s_per_card)
    if ways:
        ways[0] = replace(ways[0], chosen=True)
    return Plan(plan.model, "cost" if priced else "tokens per second per card", tuple(ways), tuple(refused))
