"""Search: which candidate to measure next, when to stop, and which one is chosen.

A pure function of the state that ``trials.replay`` makes of a journal, so a tuner that was killed goes on where the
journal ends.

The way: successive halving. Every round measures the baseline beside at most ``HEAT`` candidates, because only ratios
of one round are compared. Rung 0 gives each candidate one window, best prediction first, as many as leave room for the
rungs after it. Then the best third goes on, of those that the fidelity gate lets through, until ``FINALISTS`` are
left; those are measured until the leader is shown to be better, or the rest is noise. What is claimed at the end rests
on the last rung's rounds alone where it has enough: those before chose the finalists, so they flatter them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from statistics import median
from typing import Final, Literal

import numpy as np
from msgspec import Struct

from yunhe.adapt.comparison import ROUNDS_MIN, Comparison, Point, compare, with_frontier
from yunhe.adapt.samples import Metric
from yunhe.adapt.trials import Kind, State, Trial, Window

#: Candidates measured beside one window of the baseline.
HEAT: Final = 8
FINALISTS: Final = 3
#: One in so many goes on. On a simulated machine a third found the best of 40 more often, at any budget, than a half.
_SHARE: Final = 3
#: Windows tried for one place in a round before it stays empty.
ATTEMPTS: Final = 3
#: Rounds of the rungs between the first and the last: one where many are left, then two.
_MANY: Final = 2 * HEAT
#: While halving, a guarded metric that seems worse by so much more than its slack puts a candidate behind the others:
#: throughput bought with waiting would else take all places and fall to the guards at the end.
_GUARD_DOUBT: Final = 0.10
_LOWER_IS_BETTER: Final = ("ttft_s", "tpot_s")

#: ``unmeasurable``: no window counts, so the machine is too busy or the load is wrong.
#: ``baseline_failed``: what is to be beaten does not run.
Reason = Literal["decided", "budget", "no_candidate_left", "baseline_failed", "unmeasurable"]


class Done(Struct, frozen=True):
    """The end."""

    reason: Reason
    #: Id; the baseline's when nothing is shown to be better, None when that may not be chosen either.
    chosen: str | None
    #: Of the chosen over the baseline in the objective; None for the baseline itself.
    comparison: Comparison | None
    #: Shown to be better than the baseline too, and not told apart from the chosen.
    tied: tuple[str, ...]
    #: Of the chosen over the baseline in what the objective guards.
    guards: dict[str, Comparison]
    #: All measured candidates; those on the frontier are marked.
    frontier: tuple[Point, ...]


def next_trial(state: State, now_s: float) -> Trial | Done:
    """What to do next at this time (seconds of the journal's clock), or the end.

    A trial is not begun when the budget cannot bear what such a trial took so far.
    """
    known = _Known(state)
    step: Trial | Reason = known.hopeless() or _step(known, _Left(state, now_s))
    return step if isinstance(step, Trial) else _done(known, step)


def frontier(state: State) -> tuple[Point, ...]:
    """All candidates measured so far, the baseline included, in throughput against TPOT (medians of windows)."""
    known = _Known(state)
    points = []
    for name in (known.baseline, *known.order):
        throughput = known.values(name, "output_tokens_per_s")
        tpot = known.values(name, "tpot_s")
        if throughput and tpot:
            gate = state.verdicts.get(known.numerics[name], "unmeasured")
            points.append(Point(name, median(throughput.values()), median(tpot.values()), gate))
    return with_frontier(points)


class _Left:
    """What the budget still bears."""

    def __init__(self, state: State, now_s: float) -> None:
        budget = state.problem.budget
        used_s = max(now_s, state.at_s) - state.begun_s - state.idle_s
        self._trials = math.inf if budget.trials is None else budget.trials - state.trials
        self._time_s = math.inf if budget.duration_s is None else budget.duration_s - used_s
        self._window_s = median(state.window_spent_s) if state.window_spent_s else 0.0
        expected_s = max(budget.fidelity_s or 0.0, self._window_s)
        self._fidelity_s = median(state.fidelity_spent_s) if state.fidelity_spent_s else expected_s

    def bears(self, windows: int, fidelities: int = 0) -> bool:
        """Whether so many more trials end in time."""
        needed_s = windows * self._window_s + fidelities * self._fidelity_s
        return self._trials >= windows + fidelities and self._time_s > 0 and self._time_s >= needed_s


class _Known:
    """A state, looked up by candidate and round."""

    def __init__(self, state: State) -> None:
        problem = state.problem
        self.state = state
        self.objective = problem.objective
        self.baseline = problem.baseline.id
        self.order = [one.id for one in problem.candidates]
        self.numerics = {one.id: one.numerics for one in (problem.baseline, *problem.candidates)}
        self.findings = {finding.candidate: finding for finding in state.findings}
        self._accepted: dict[str, dict[int, Window]] = {name: {} for name in self.numerics}
        self._rejected: dict[tuple[str, int], int] = {}
        self._rung_of_round: dict[int, int] = {}
        for window in state.windows:
            name, number = window.sample.candidate, window.sample.round
            self._rung_of_round[number] = window.rung
            if window.reasons:
                self._rejected[name, number] = self._rejected.get((name, number), 0) + 1
            else:
                self._accepted[name][number] = window

    def hopeless(self) -> Reason | None:
        """Why no trial can help any more."""
        found = self.findings.get(self.baseline)
        if found and found.kind == "window":
            return "baseline_failed"
        tried = sum(count for (name, _), count in self._rejected.items() if name == self.baseline)
        return "unmeasurable" if tried >= 2 * ATTEMPTS and not self._accepted[self.baseline] else None

    def gate(self, name: str) -> str:
        """The fidelity gate's word on this candidate; a crash in the gate is a refusal."""
        crashed = name in self.findings and self.findings[name].kind == "fidelity"
        return "failed" if crashed else self.state.verdicts.get(self.numerics[name], "unmeasured")

    def tried(self, name: str, number: int) -> bool:
        """Whether this place in a round had a window, accepted or not."""
        return number in self._accepted[name] or (name, number) in self._rejected

    def open(self, name: str, number: int) -> bool:
        """Whether this place in a round is still to be filled."""
        # Without any window of the baseline nothing can be compared: it is tried on until that is hopeless.
        eager = name == self.baseline and not self._accepted[name]
        attempts = 2 * ATTEMPTS if eager else ATTEMPTS
        return number not in self._accepted[name] and self._rejected.get((name, number), 0) < attempts

    def measured(self, name: str) -> bool:
        """Whether any window of it counts."""
        return bool(self._accepted[name])

    def begun(self, number: int) -> bool:
        """Whether this round or a later one has a window."""
        return any(seen >= number for seen in self._rung_of_round)

    def first_round(self, rung: int) -> int:
        """The number of a rung's first round: rounds are counted on over the rungs."""
        return 1 + max((number for number, of in self._rung_of_round.items() if of < rung), default=-1)

    def values(self, name: str, metric: Metric, rung_max: int | None = None) -> dict[int, float]:
        """By round, of accepted windows up to a rung."""
        return {
            number: window.values[metric]
            for number, window in self._accepted[name].items()
            if metric in window.values and (rung_max is None or window.rung <= rung_max)
        }

    def score(self, name: str, metric: Metric, rung: int) -> float | None:
        """Logarithm of the gain over the baseline by all windows up to a rung, larger is better."""
        beside = self.values(self.baseline, metric, rung)
        own = self.values(name, metric, rung)
        if not own or not beside:
            return None
        usual = median(beside.values())
        sign = -1.0 if metric in _LOWER_IS_BETTER else 1.0
        return sign * median(math.log(value / beside.get(number, usual)) for number, value in own.items())

    def ranked(self, names: Iterable[str], rung: int) -> list[str]:
        """Those that were measured, best first; those that seem to break a guard come last."""
        allowed = -math.log1p(self.objective.guard_slack + _GUARD_DOUBT)
        keys = {}
        for name in names:
            score = self.score(name, self.objective.metric, rung)
            if score is not None:
                guards = [self.score(name, guard, rung) for guard in self.objective.guards]
                keys[name] = (any(guard is not None and guard < allowed for guard in guards), -score)
        return sorted(keys, key=lambda name: keys[name])

    def guards(self, name: str) -> dict[str, Comparison]:
        """A candidate over the baseline in what is guarded."""
        return {str(guard): self.compared(name, self.baseline, guard) for guard in self.objective.guards}

    def vetoed(self, name: str) -> bool:
        """Whether a guarded metric is shown to be worse by more than the slack."""
        slack = 1.0 + self.objective.guard_slack
        for guard, found in self.guards(name).items():
            ends = found.interval
            if ends and (ends.low > slack if guard in _LOWER_IS_BETTER else ends.high < 1.0 / slack):
                return True
        return False

    def compared(self, name: str, other: str, metric: Metric) -> Comparison:
        """By the last rung's rounds where there are enough, else by all."""
        a, b = self.values(name, metric), self.values(other, metric)
        start = self.first_round(self.state.rung)
        late = {number for number in a.keys() & b.keys() if number >= start}
        if len(late) >= ROUNDS_MIN:
            a = {number: a[number] for number in late}
        return compare(
            a,
            b,
            np.random.default_rng(self.state.problem.seed),
            higher_is_better=metric not in _LOWER_IS_BETTER,
            patience=self.state.problem.patience,
        )

    def trial(self, kind: Kind, name: str, rung: int, number: int = 0) -> Trial:
        return Trial(self.state.trials, kind, name, rung, number)


def _step(known: _Known, left: _Left) -> Trial | Reason:
    """Walk the rungs from the one in progress until something is due."""
    rung = known.state.rung
    while True:
        alive, ungated = _alive(known, rung)
        if ungated is not None:
            return known.trial("fidelity", ungated, rung) if left.bears(0, 1) else "budget"
        if not any(name not in known.findings for name in alive):
            unheard = [name for name in known.order if name not in known.findings]
            return "unmeasurable" if unheard and not any(map(known.measured, known.order)) else "no_candidate_left"
        last = rung > 0 and len(alive) <= FINALISTS
        due = _rung_0(known, left) if rung == 0 else _later_rung(known, rung, alive, last)
        if due is not None:
            return known.trial("window", due[0], rung, due[1]) if left.bears(1) else "budget"
        if last:
            return "decided"
        rung += 1


def _alive(known: _Known, rung: int) -> tuple[list[str], str | None]:
    """Who entered a rung, best first; and who has to pass the gate before that can be said.

    Depends on the windows of lower rungs only, so it stays the same while the rung goes on.
    """
    alive, wanted = known.order, None
    for below in range(rung):
        ranked = known.ranked((name for name in alive if not _gone(known, name, below)), below)
        width = _next_width(len(ranked))
        if below == 0:
            alive, wanted = _gated(known, ranked, width)
        else:
            alive = ranked[:width]
    return alive, wanted


def _gone(known: _Known, name: str, rung: int) -> bool:
    found = known.findings.get(name)
    return found is not None and (found.rung <= rung or found.kind == "fidelity")


def _gated(known: _Known, ranked: Sequence[str], width: int) -> tuple[list[str], str | None]:
    """The best that passed, as many as fit; the baseline is asked last, as it is chosen when nobody beats it."""
    passed: list[str] = []
    for name in ranked:
        gate = known.gate(name)
        if gate == "unmeasured":
            return passed, name
        if gate == "passed":
            passed.append(name)
        if len(passed) == width:
            break
    return passed, known.baseline if known.gate(known.baseline) == "unmeasured" else None


def _next_width(width: int) -> int:
    return min(width, max(FINALISTS, math.ceil(width / _SHARE)))


def _repeats(width: int) -> int:
    return 1 if width > _MANY else 2


def _rung_0(known: _Known, left: _Left) -> tuple[str, int] | None:
    """One window each in the given order, while the budget bears the later rungs too."""
    measured = [name for name in known.order if known.measured(name)]
    for position, name in enumerate(known.order):
        number = position // HEAT
        if name in known.findings or not known.open(name, number):
            continue
        if measured and not known.tried(name, number) and not left.bears(*_later_cost(known, [*measured, name])):
            return None
        return (known.baseline if known.open(known.baseline, number) else name), number
    return None


def _later_cost(known: _Known, entered: Sequence[str]) -> tuple[int, int]:
    """Windows (one of rung 0 included) and runs of the gate that follow when so many were measured in rung 0."""
    windows, width = 1, len(entered)
    while True:
        width = _next_width(width)
        if width <= FINALISTS:
            break
        windows += _repeats(width) * (width + math.ceil(width / HEAT))
    windows += ROUNDS_MIN * (width + 1)
    asked = {known.numerics[name] for name in (known.baseline, *entered)} - known.state.verdicts.keys()
    return windows, min(len(asked), 1 + _next_width(len(entered)))


def _later_rung(known: _Known, rung: int, alive: Sequence[str], last: bool) -> tuple[str, int] | None:
    """Rounds of heats; the baseline comes first in one round and last in the next, so that drift cancels."""
    first = known.first_round(rung)
    heats = math.ceil(len(alive) / HEAT)
    repeats = known.state.problem.patience.rounds_max if last else _repeats(len(alive))
    for index in range(repeats * heats):
        number, heat = first + index, index % heats
        if last and index >= ROUNDS_MIN and not known.begun(number) and _settled(known, alive):
            return None
        runners = [name for name in alive[heat * HEAT : (heat + 1) * HEAT] if name not in known.findings]
        order = [known.baseline, *runners] if number % 2 == 0 else [*reversed(runners), known.baseline]
        for name in order if runners else ():
            if known.open(name, number):
                return name, number
    return None


def _settled(known: _Known, alive: Sequence[str]) -> bool:
    """Whether more rounds of the finalists would change nothing."""
    metric = known.objective.metric
    runners = [name for name in alive if name not in known.findings]
    if not runners:
        return True
    over = {name: known.compared(name, known.baseline, metric) for name in runners}
    leader = max(runners, key=lambda name: (not known.vetoed(name), _gain(over[name], metric)))
    others = [known.compared(leader, name, metric) for name in runners if name != leader]
    return not over[leader].rounds_worth and all(
        one.outcome in ("better", "worse") or not one.rounds_worth for one in others
    )


def _gain(comparison: Comparison, metric: Metric) -> float:
    ratio = comparison.ratio or 0.0
    return -ratio if metric in _LOWER_IS_BETTER else ratio


def _done(known: _Known, reason: Reason) -> Done:
    """The end: of those that may be chosen and got farthest, the one with the largest gain."""
    metric = known.objective.metric
    found = dict(_contenders(known))
    if not found:
        kept = known.baseline if known.gate(known.baseline) == "passed" else None
        return Done(reason, kept, None, (), {}, frontier(known.state))
    rungs = {name: max(w.rung for w in known.state.windows if w.sample.candidate == name) for name in found}
    best = [name for name in found if rungs[name] == max(rungs.values())]
    chosen = max(best, key=lambda name: _gain(found[name], metric))
    tied = [n for n in best if n != chosen and known.compared(chosen, n, metric).outcome != "better"]
    return Done(reason, chosen, found[chosen], tuple(tied), known.guards(chosen), frontier(known.state))


def _contenders(known: _Known) -> Iterator[tuple[str, Comparison]]:
    """Passed the gate, shown to be better than the baseline, and not vetoed."""
    for name in known.order:
        if name in known.findings or known.gate(name) != "passed":
            continue
        gain = known.compared(name, known.baseline, known.objective.metric)
        if gain.outcome == "better" and not known.vetoed(name):
            yield name, gain
