"""What came of an adaptation: whether the choice holds, and then its recipe. Pure, but for the time of the end."""

from __future__ import annotations

import time
from dataclasses import dataclass

from yunhe.adapt.adaptation import Confirmed, Ended, Entry, Judged, Noted, TuningOrder
from yunhe.adapt.candidates import Candidate
from yunhe.adapt.confirmation import gain, load_of, vetoes
from yunhe.adapt.recipe_document import recipe_json
from yunhe.adapt.recipe_evidence import Load
from yunhe.adapt.recipe_filling import Findings, fill
from yunhe.adapt.trials import State
from yunhe.pool.model import Card, Node

#: Crashes that a recipe tells of.
LIMITS_MAX = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """All that a conclusion is drawn from."""

    order: TuningOrder
    cards: tuple[Card, ...]
    node: Node | None
    made_by: str
    state: State
    baseline: Candidate
    chosen: Candidate
    loads: tuple[Load, ...]
    entries: tuple[Entry, ...]


def conclude(of: Outcome) -> Ended:
    """The last entry of the journal: with a recipe where the confirmation shows the choice to be better."""
    pair = (of.baseline.id, of.chosen.id)
    done = tuple(entry for entry in of.entries if isinstance(entry, Confirmed) and entry.candidate in pair)
    objective = of.state.problem.objective
    main = gain(done, pair, of.loads[0], objective.metric)
    against = vetoes(done, pair, of.loads, objective.guards, objective.guard_slack)
    if main.outcome != "better":
        against.insert(0, f"with {of.loads[0].label} the rounds do not show it to be better ({main.outcome})")
    if against or main.ratio is None:
        return Ended("finished", None, f"{shown(of.chosen)} did not hold: {'; '.join(against)}", at_s=time.time())
    measured = tuple(load for load in of.loads if any(load_of(one) == load and not one.reasons for one in done))
    findings = Findings(
        spec=of.order.spec,
        model=of.order.model,
        quantisation=None,
        cards=of.cards,
        node=of.node,
        baseline=of.baseline,
        chosen=of.chosen,
        builds={entry.candidate: entry for entry in of.entries if isinstance(entry, Noted)},
        confirmed=done,
        loads=measured,
        fidelity=next(e.evidence for e in of.entries if isinstance(e, Judged) and e.numerics == of.chosen.numerics),
        prediction=None,
        made_by=of.made_by,
        made_at_s=time.time(),
        known_limits=tuple(f"{f.candidate}: {f.cause}: {f.detail}"[:500] for f in of.state.findings[:LIMITS_MAX]),
    )
    reason = f"{shown(of.chosen)} gives {main.ratio:.2f} times the baseline's with {of.loads[0].label}"
    return Ended("finished", of.chosen.id, reason, recipe_json(fill(findings)), time.time())


def shown(candidate: Candidate) -> str:
    """A candidate in one line."""
    settings = " ".join(f"{name}={value}" for name, value in sorted(candidate.settings.items()))
    return f"{candidate.id} ({candidate.engine}{f' {settings}' if settings else ''})"[:300]
