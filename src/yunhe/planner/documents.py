"""What the process is asked and answers: JSON on standard input and output."""

from __future__ import annotations

from msgspec import Struct

from yunhe.adapt.plan import Goals, Plan
from yunhe.adapt.validation import Report
from yunhe.catalogue.architecture import Architecture
from yunhe.catalogue.chip_catalogue import Difference
from yunhe.catalogue.chips import Chip
from yunhe.catalogue.sourced import Source


class PlanAsk(Struct, frozen=True, forbid_unknown_fields=True):
    """Plan a model over chips of the catalogue."""

    #: Of the catalogue of architectures; "" with one of the next two.
    model: str = ""
    #: Path of a config.json, or of a directory with one.
    config: str = ""
    #: One that no catalogue here has.
    architecture: Architecture | None = None
    #: Ids or aliases; empty: every chip that is known well enough.
    chips: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    goals: Goals = Goals()
    #: Cards that there are, and credits for a card's hour, by chip.
    cards: dict[str, int] = {}
    prices: dict[str, float] = {}
    #: Directory with what ``yunhe chip calibrate`` measured; "": none.
    calibrations: str = ""


class ValidateAsk(Struct, frozen=True, forbid_unknown_fields=True):
    """Score the predictor on a file of published rows."""

    path: str


class ChipsAsk(Struct, frozen=True, forbid_unknown_fields=True):
    """Chips of the catalogue: those named, else all; ``diff`` compares the two that are named."""

    names: tuple[str, ...] = ()
    diff: bool = False


class KnownChip(Struct, frozen=True):
    """A chip with its maker and the sources that it names."""

    maker: str
    chip: Chip
    sources: dict[str, Source]


class ArchitecturesAsk(Struct, frozen=True, forbid_unknown_fields=True):
    """Architectures of the catalogue: those named, else all, or all of one family."""

    names: tuple[str, ...] = ()
    family: str = ""


class KnownArchitecture(Struct, frozen=True):
    """An architecture with its maker, the sources that it names, and what its shape amounts to."""

    maker: str
    licence: str
    architecture: Architecture
    layers: int
    #: As published, else as its shape gives them; with experts all of them, and those that one token uses.
    parameters: int
    active_parameters: int
    sources: dict[str, Source]


class Ask(Struct, frozen=True, forbid_unknown_fields=True):
    """One of these."""

    plan: PlanAsk | None = None
    chips: ChipsAsk | None = None
    architectures: ArchitecturesAsk | None = None
    validate: ValidateAsk | None = None


class Failure(Struct, frozen=True):
    """Why there is no answer."""

    code: str
    message: str
    next_step: str = ""


class Answer(Struct, frozen=True, omit_defaults=True):
    """What was asked for, or why not."""

    plan: Plan | None = None
    chips: tuple[KnownChip, ...] | None = None
    architectures: tuple[KnownArchitecture, ...] | None = None
    differences: tuple[Difference, ...] | None = None
    report: Report | None = None
    error: Failure | None = None
