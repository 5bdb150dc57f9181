"""Puts catalogues, compatibility tables and predictor together."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from yunhe.adapt import plan as planning
from yunhe.adapt.calibration import shipped
from yunhe.adapt.plan import Plan, Supply
from yunhe.adapt.precision import PRECISIONS, Precision
from yunhe.adapt.predictor import Predictor
from yunhe.adapt.validation import Report, validate
from yunhe.catalogue import architecture_catalogue, chip_catalogue
from yunhe.catalogue.architecture import Architecture
from yunhe.catalogue.chips import Chip
from yunhe.catalogue.hf_model import config_of, structure_of
from yunhe.catalogue.parameters import parameters_of
from yunhe.core.errors import InvalidRequest, NotFound
from yunhe.core.units import MIB
from yunhe.drivers.engines import compatibility
from yunhe.planner.documents import ArchitecturesAsk, KnownArchitecture, KnownChip, PlanAsk
from yunhe.planner.measured import read_calibrations, split_chips, with_measured

_DEFAULT_PRECISIONS: Final = ("bf16", "fp8", "int8")
_CONFIG: Final = "config.json"
_CONFIG_BYTES_MAX: Final = 64 * MIB
_NEEDED: Final = {"row_id", "model", "chip", "engine"}


def make_plan(ask: PlanAsk) -> Plan:
    """Raises NotFound for unknown names, InvalidRequest for impossible asks and unusable configurations."""
    architecture = _architecture(ask)
    unknown = sorted(set(ask.precisions) - set(PRECISIONS))
    if unknown:
        raise InvalidRequest(f"no such precision: {', '.join(unknown)}", next_step=f"One of {', '.join(PRECISIONS)}.")
    here, names = split_chips(ask.chips, read_calibrations(ask.calibrations))
    supplies = [_supply(chip, ask) for chip in _chips(ask, names)]
    calibration = shipped()
    plan = planning.plan(
        architecture,
        [supply for supply in supplies if supply.engines],
        ask.precisions or _DEFAULT_PRECISIONS,
        ask.goals,
        Predictor(calibration),
        calibration,
        lambda engine, chip, precision: _refusal(architecture, engine, chip, precision),
    )
    return with_measured(plan, architecture, here, ask.engines, ask.precisions, ask.goals, ask.prices) if here else plan


def _architecture(ask: PlanAsk) -> Architecture:
    if ask.architecture is not None:
        return ask.architecture
    return _configured(Path(ask.config)) if ask.config else architecture_catalogue.find(ask.model)


def _configured(path: Path) -> Architecture:
    """Out of a config.json."""
    file = path
    try:
        file = path / _CONFIG if path.is_dir() else path
        with file.open("rb") as opened:
            text = opened.read(_CONFIG_BYTES_MAX).decode()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidRequest(f"{file} cannot be read: {error}", next_step="Give a model's config.json.") from None
    return structure_of(config_of(text), file.absolute().parent.name or _CONFIG)


def _chips(ask: PlanAsk, names: Sequence[str]) -> Iterable[Chip]:
    """Those asked for (``names`` less those measured here), else all of which bandwidth and speed are known."""
    if ask.chips:
        return [chip_catalogue.find(name) for name in names]
    chips = [chip for file in chip_catalogue.load().values() for chip in file.chips]
    return [chip for chip in chips if chip.memory_bandwidth_bytes_per_s and chip.peak_flops and chip.memory_bytes]


def _supply(chip: Chip, ask: PlanAsk) -> Supply:
    maker = chip_catalogue.maker_of(chip.id)
    engines = ask.engines or tuple(_engines(maker))
    return Supply(chip, engines, ask.cards.get(chip.id), ask.prices.get(chip.id))


def _engines(maker: str) -> dict[str, str]:
    """Engines that run on a maker's chips: the name under which results know them -> the product's."""
    file = compatibility.load().makers.get(maker.lower())
    products = file.products if file is not None else ()
    return {product.plugin or product.engine: product.engine for product in products if product.status != "not"}


def _refusal(architecture: Architecture, engine: str, chip: Chip, precision: Precision) -> str:
    """What published tables say against it; nothing where they are silent."""
    maker = chip_catalogue.maker_of(chip.id)
    product = _engines(maker).get(engine, engine)
    said = compatibility.verdict(maker, product, "", architecture.family, precision.name, chip.id)
    return said.reason if said.status == "not" else ""


def known_chips(names: tuple[str, ...]) -> tuple[KnownChip, ...]:
    """Raises NotFound."""
    chips = [chip_catalogue.find(name) for name in names] if names else chip_catalogue.chips()
    found = []
    for chip in chips:
        file = chip_catalogue.load()[chip_catalogue.maker_of(chip.id)]
        used = {key for value in chip_catalogue.values(chip).values() for key in value.sources}
        found.append(KnownChip(file.maker, chip, {key: file.sources[key] for key in sorted(used)}))
    return tuple(found)


def known_architectures(ask: ArchitecturesAsk) -> tuple[KnownArchitecture, ...]:
    """Raises NotFound."""
    wanted = [architecture_catalogue.find(name) for name in ask.names] or architecture_catalogue.architectures()
    family = ask.family.strip().lower()
    found = [architecture for architecture in wanted if family in ("", architecture.family)]
    if not found:
        families = sorted({architecture.family for architecture in architecture_catalogue.architectures()})
        raise NotFound(f"the catalogue has no family {ask.family!r:.60}", next_step=f"One of {', '.join(families)}.")
    return tuple(_known(architecture) for architecture in found)


def _known(architecture: Architecture) -> KnownArchitecture:
    file = next(file for file in architecture_catalogue.load().values() if architecture in file.architectures)
    total, active = parameters_of(architecture)
    return KnownArchitecture(
        maker=file.maker,
        licence=file.licence,
        architecture=architecture,
        layers=architecture.layers,
        parameters=architecture.parameters or total,
        active_parameters=architecture.active_parameters
        or (active if architecture.experts else architecture.parameters or total),
        sources={key: file.sources[key] for key in architecture.sources},
    )


def make_report(path: Path) -> Report:
    """Raises InvalidRequest when the file cannot be read as rows."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            missing = sorted(_NEEDED - set(reader.fieldnames or ()))
            if missing:
                raise InvalidRequest(
                    f"{path} lacks the columns {', '.join(missing)}", next_step="See docs/plan.md for the columns."
                )
            rows = [{name: value or "" for name, value in row.items() if name} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidRequest(f"{path} cannot be read: {error}", next_step="Give a CSV file in UTF-8.") from None
    return validate(rows, Predictor(shipped()), architecture_catalogue.find, chip_catalogue.find)
