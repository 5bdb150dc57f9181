"""What the process is asked and answers: JSON on standard input and output."""

from __future__ import annotations

from msgspec import Struct

from yunhe.adapt.plan import Goals, Plan
from yunhe.adapt.validation import Report


class PlanAsk(Struct, frozen=True, forbid_unknown_fields=True):
    """Plan a model over chips of the catalogue."""

    model: str
    #: Ids or aliases; empty: every chip that is known well enough.
    chips: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ()
    goals: Goals = Goals()
    #: Cards that there are, and credits for a card's hour, by chip.
    cards: dict[str, int] = {}
    prices: dict[str, float] = {}


class ValidateAsk(Struct, frozen=True, forbid_unknown_fields=True):
    """Score the predictor on a file of published rows."""

    path: str


class Ask(Struct, frozen=True, forbid_unknown_fields=True):
    """One of both."""

    plan: PlanAsk | None = None
    validate: ValidateAsk | None = None


class Failure(Struct, frozen=True):
    """Why there is no answer."""

    code: str
    message: str
    next_step: str = ""


class Answer(Struct, frozen=True, omit_defaults=True):
    """What was asked for, or why not."""

    plan: Plan | None = None
    report: Report | None = None
    error: Failure | None = None
