"""Trials: the journal of a search, and the state that it amounts to.

A tuner writes an event when a trial has ended, never before; so a journal is enough to go on after a kill, and what
was under way is done again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args

from msgspec import Struct
from msgspec.structs import replace

from yunhe.adapt.candidates import Candidate
from yunhe.adapt.comparison import Gate, Patience
from yunhe.adapt.samples import Metric, Sample, SampleRules, Slo, judge_sample, window_value

Kind = Literal["window", "fidelity"]
CrashCause = Literal["signal", "out_of_memory", "wrong_answer", "start_failed"]


class Objective(Struct, frozen=True):
    """What is maximised, and what must not be shown to be worse than the baseline's."""

    metric: Metric = "output_tokens_per_s"
    guards: tuple[Metric, ...] = ("ttft_s", "tpot_s")
    #: By how much a guarded metric may be worse: a veto needs an interval that lies beyond this share.
    guard_slack: float = 0.05
    slo: Slo = Slo()


#: Long answers: what users wait for is each token.
DECODE_HEAVY: Final = Objective()
#: Long prompts, short answers: the few tokens of an answer may be slower when the whole is faster.
PREFILL_HEAVY: Final = Objective(metric="input_tokens_per_s", guards=("ttft_s",))


class Budget(Struct, frozen=True):
    """Bounds of a whole search, fidelity included; None: no bound of this kind."""

    duration_s: float | None = None
    trials: int | None = None
    #: What one run of the fidelity gate is expected to take, until one was measured.
    fidelity_s: float | None = None


class Problem(Struct, frozen=True):
    """What a search is about. Candidates in the order in which they are to be tried."""

    baseline: Candidate
    candidates: tuple[Candidate, ...]
    objective: Objective
    budget: Budget
    rules: SampleRules = SampleRules()
    patience: Patience = Patience()
    seed: int = 1

    def __post_init__(self) -> None:
        names = [one.id for one in (self.baseline, *self.candidates)]
        if len(set(names)) != len(names):
            raise ValueError("each candidate occurs once, and the baseline is none of them")
        if self.budget.duration_s is None and self.budget.trials is None:
            raise ValueError("a search needs a bound on its time or on its trials")

    def candidate(self, name: str) -> Candidate:
        """By id, the baseline included. Raises ValueError for an unknown one."""
        for one in (self.baseline, *self.candidates):
            if one.id == name:
                return one
        raise ValueError(f"{name} is no candidate of this search")


class Trial(Struct, frozen=True):
    """One thing to do. ``number`` counts finished trials; what has a lower one has been done."""

    number: int
    kind: Kind
    candidate: str
    rung: int
    #: Of a window; pairs it with the others of its round.
    round: int = 0


class Begun(Struct, frozen=True, tag="begun"):
    """First event of every journal."""

    problem: Problem
    at_s: float


class Resumed(Struct, frozen=True, tag="resumed"):
    """A tuner took up the journal of a dead one; the time between does not count."""

    at_s: float


class Windowed(Struct, frozen=True, tag="windowed"):
    """A window was measured. ``spent_s`` holds start, warm-up and window."""

    trial: Trial
    sample: Sample
    spent_s: float
    at_s: float


class Gated(Struct, frozen=True, tag="gated"):
    """The fidelity gate spoke."""

    trial: Trial
    outcome: Literal["passed", "failed", "insufficient"]
    reasons: tuple[str, ...]
    spent_s: float
    at_s: float


class Crashed(Struct, frozen=True, tag="crashed"):
    """A trial ended without a measurement, through the candidate's fault."""

    trial: Trial
    cause: CrashCause
    detail: str
    spent_s: float
    at_s: float


Event = Begun | Resumed | Windowed | Gated | Crashed


class Finding(Struct, frozen=True):
    """Why a candidate is never tried again (the baseline: not chosen)."""

    candidate: str
    cause: CrashCause | Literal["fidelity"]
    detail: str
    kind: Kind
    rung: int


class Window(Struct, frozen=True):
    """A window that was measured; ``reasons`` say why it does not count, empty when it does."""

    rung: int
    sample: Sample
    reasons: tuple[str, ...] = ()
    #: By metric, of a window that counts: what ratios are made of, so always above 0.
    values: dict[Metric, float] = {}


class State(Struct, frozen=True):
    """All that is known. Round-trips through JSON."""

    problem: Problem
    begun_s: float
    at_s: float
    #: Time between a tuner's death and the next one's start.
    idle_s: float = 0.0
    trials: int = 0
    rung: int = 0
    windows: tuple[Window, ...] = ()
    findings: tuple[Finding, ...] = ()
    #: By ``Candidate.numerics``.
    verdicts: dict[str, Gate] = {}
    window_spent_s: tuple[float, ...] = ()
    fidelity_spent_s: tuple[float, ...] = ()


def replay(events: Sequence[Event]) -> State:
    """The state after a journal. Raises ValueError when it does not start with ``Begun`` or has a hole."""
    if not events or not isinstance(events[0], Begun):
        raise ValueError("a journal starts with what the search is about")
    begun = events[0]
    state = State(begun.problem, begun.at_s, begun.at_s)
    for event in events[1:]:
        state = apply(state, event)
    return state


def apply(state: State, event: Event) -> State:
    """The state after one more event. An event that was written twice counts once."""
    if isinstance(event, Begun):
        raise ValueError("a journal begins once")
    at_s = max(state.at_s, event.at_s)
    if isinstance(event, Resumed):
        return replace(state, at_s=at_s, idle_s=state.idle_s + at_s - state.at_s)
    trial = event.trial
    numerics = state.problem.candidate(trial.candidate).numerics
    if trial.number < state.trials:
        return state
    if trial.number > state.trials:
        raise ValueError(f"the journal lacks trial {state.trials}")
    state = replace(state, at_s=at_s, trials=state.trials + 1, rung=max(state.rung, trial.rung))
    if trial.kind == "fidelity":
        state = replace(state, fidelity_spent_s=(*state.fidelity_spent_s, event.spent_s))
    if isinstance(event, Windowed):
        return _windowed(state, event)
    if isinstance(event, Crashed):
        return _found(state, trial, event.cause, event.detail)
    state = replace(state, verdicts={**state.verdicts, numerics: event.outcome})
    if event.outcome == "passed":
        return state
    return _found(state, trial, "fidelity", "; ".join((event.outcome, *event.reasons)))


def _windowed(state: State, event: Windowed) -> State:
    sample, trial = event.sample, event.trial
    if (sample.candidate, sample.round) != (trial.candidate, trial.round):
        raise ValueError("the sample is of another trial")
    reasons = judge_sample(sample, state.problem.rules).reasons
    values = {} if reasons else _ratio_values(sample, state.problem.objective.slo)
    return replace(
        state,
        windows=(*state.windows, Window(trial.rung, sample, reasons, values)),
        window_spent_s=(*state.window_spent_s, event.spent_s),
    )


def _ratio_values(sample: Sample, slo: Slo) -> dict[Metric, float]:
    values: dict[Metric, float] = {}
    for metric in get_args(Metric):
        value = window_value(sample, metric, slo)
        if metric == "goodput_per_s" and value == 0.0:
            # Half a request instead of none, so that a ratio can be made of it.
            value = 0.5 / sample.duration_s
        if value is not None and value > 0.0:
            values[metric] = value
    return values


def _found(state: State, trial: Trial, cause: CrashCause | Literal["fidelity"], detail: str) -> State:
    finding = Finding(trial.candidate, cause, detail, trial.kind, trial.rung)
    return replace(state, findings=(*state.findings, finding))
