"""The view of an adaptation: everything that people are shown, computed from its order and its journal.

One document for the command line, the console and the report in HTML, so that no two of them say different numbers.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from yunhe.adapt.adaptation import (
    Confirmed,
    Ended,
    Entry,
    Noted,
    Phase,
    TuningOrder,
    resumptions,
    search_events,
)
from yunhe.adapt.comparison import Gate
from yunhe.adapt.confirmation import gain, load_of, values
from yunhe.adapt.recipe_evidence import Load
from yunhe.adapt.report_candidates import candidate_views
from yunhe.adapt.report_fidelity import fidelity_views
from yunhe.adapt.report_log import log_lines
from yunhe.adapt.report_records import (
    AdaptationView,
    BudgetView,
    BuildView,
    CandidateView,
    ChipView,
    CountsView,
    FindingView,
    FrontierPoint,
    LoadView,
    RequestView,
    SideView,
    WorkloadView,
)
from yunhe.adapt.report_roofline import roofline_view
from yunhe.adapt.report_spreads import ratio, spread
from yunhe.adapt.samples import Metric
from yunhe.adapt.search import Done, frontier, next_trial
from yunhe.adapt.trials import Budget, Crashed, Gated, State, Windowed, replay
from yunhe.pool.model import Card

_METRICS: Final[tuple[Metric, ...]] = ("output_tokens_per_s", "ttft_s", "tpot_s")
REFUSING: Final[tuple[Gate, ...]] = ("failed", "insufficient")


def adaptation_view(
    order: TuningOrder,
    entries: Sequence[Entry],
    *,
    cards: Sequence[Card] = (),
    phase: Phase = "waiting",
    activity: str = "",
    used_s: float | None = None,
) -> AdaptationView:
    """The view of a journal, however far it has come; an empty one is an adaptation that has not begun.

    ``phase``, ``activity`` and ``used_s`` are the newest report's; the journal's own end goes before them. Raises
    ValueError for a journal with a hole.
    """
    events = search_events(entries)
    state = replay(events) if events else None
    ended = next((entry for entry in reversed(entries) if isinstance(entry, Ended)), None)
    numbers = _numbers(state, entries)
    confirmed = [entry for entry in entries if isinstance(entry, Confirmed)]
    loads = _loads(confirmed, state, ended.chosen if ended else None)
    chosen = ended.chosen if ended else None
    candidates = candidate_views(state, entries, numbers, chosen) if state else ()
    return AdaptationView(
        adaptation_id=order.adaptation_id,
        title=_title(order, cards),
        model=order.model.name,
        use_class=order.spec.use_class,
        objective=order.spec.objective().metric,
        workload=_workload(order),
        chips=_chips(cards),
        simulated=any(card.simulated for card in cards),
        phase=ended.phase if ended else phase,
        activity=ended.reason if ended else activity,
        started_at_s=entries[0].at_s if entries else None,
        updated_at_s=entries[-1].at_s if entries else None,
        budget=_budget(order, state, entries, used_s),
        counts=_counts(state, confirmed, candidates, entries),
        builds=_builds(entries),
        baseline=state.problem.baseline.id if state else None,
        chosen=chosen,
        leading=_standing(state).chosen if state else None,
        confirmed=loads[0].choice.candidate if loads else None,
        candidates=candidates,
        frontier=_frontier(state, candidates) if state else (),
        loads=loads,
        fidelity=fidelity_views(entries, state, chosen),
        findings=_findings(state) if state else (),
        log=log_lines(entries, numbers, order.spec.workload.slo),
        roofline=roofline_view(cards, order.model, loads, _mean_input_tokens(order)),
    )


def _findings(state: State) -> tuple[FindingView, ...]:
    return tuple(
        FindingView(candidate=one.candidate, cause=one.cause, detail=one.detail, rung=one.rung)
        for one in state.findings
    )


def _mean_input_tokens(order: TuningOrder) -> float:
    requests = order.spec.workload.requests
    return sum(one.input_tokens * one.share for one in requests) / sum(one.share for one in requests)


def _title(order: TuningOrder, cards: Sequence[Card]) -> str:
    names = dict.fromkeys(card.model_name for card in cards)
    return f"{order.model.name} on {', '.join(names)}" if names else order.model.name


def _numbers(state: State | None, entries: Sequence[Entry]) -> dict[str, int]:
    """By candidate, in the order in which they were first tried; the baseline is 0."""
    if state is None:
        return {}
    tried = [entry.trial.candidate for entry in entries if isinstance(entry, Windowed | Gated | Crashed)]
    return {name: number for number, name in enumerate(dict.fromkeys([state.problem.baseline.id, *tried]))}


def _standing(state: State) -> Done:
    """What the search would say if it had to end now."""
    ended = replace(state, problem=replace(state.problem, budget=Budget(duration_s=0.0, trials=0)))
    step = next_trial(ended, state.at_s)
    assert isinstance(step, Done), "a search without a budget is at its end"
    return step


def _workload(order: TuningOrder) -> WorkloadView:
    asked = order.spec.workload
    return WorkloadView(
        name=asked.name,
        requests=tuple(
            RequestView(input_tokens=one.input_tokens, output_tokens=one.output_tokens, share=one.share)
            for one in asked.requests
        ),
        concurrencies=asked.concurrencies,
        open_loop_share=asked.open_loop_share,
        slo_ttft_s=asked.slo.ttft_s,
        slo_tpot_s=asked.slo.tpot_s,
    )


def _chips(cards: Sequence[Card]) -> tuple[ChipView, ...]:
    kinds = {(card.chip, card.model_name): card for card in cards}
    counts = Counter((card.chip, card.model_name) for card in cards)
    return tuple(
        ChipView(chip=chip, name=name, cards=counts[chip, name], memory_bytes=card.memory_bytes, cores=card.cores)
        for (chip, name), card in kinds.items()
    )


def _budget(order: TuningOrder, state: State | None, entries: Sequence[Entry], used_s: float | None) -> BudgetView:
    if used_s is None:
        used_s = entries[-1].at_s - state.begun_s - state.idle_s if state else 0.0
    return BudgetView(
        duration_s=order.spec.duration_s,
        used_s=max(0.0, used_s),
        trials_max=order.spec.trials,
        trials=state.trials if state else 0,
    )


def _counts(
    state: State | None, confirmed: Sequence[Confirmed], tried: Sequence[CandidateView], entries: Sequence[Entry]
) -> CountsView:
    windows = [window.reasons for window in (state.windows if state else ())] + [one.reasons for one in confirmed]
    rejected = sum(bool(reasons) for reasons in windows)
    crashes = sum(one.cause != "fidelity" for one in state.findings) if state else 0
    return CountsView(
        windows_accepted=len(windows) - rejected,
        windows_rejected=rejected,
        crashes=crashes,
        refused=sum(one.gate in REFUSING for one in tried),
        candidates_tried=sum(not one.is_baseline for one in tried),
        candidates_untried=len(state.problem.candidates) - sum(not one.is_baseline for one in tried) if state else 0,
        resumptions=resumptions(entries),
    )


def _builds(entries: Sequence[Entry]) -> tuple[BuildView, ...]:
    found = {
        entry.candidate: (entry.build_version, entry.build_digest) for entry in entries if isinstance(entry, Noted)
    }
    counts = Counter(found.values())
    return tuple(
        BuildView(engine=named.partition(" ")[0], version=named.partition(" ")[2], digest=digest, candidates=count)
        for (named, digest), count in counts.items()
    )


def _frontier(state: State, candidates: Sequence[CandidateView]) -> tuple[FrontierPoint, ...]:
    shown = {one.id: one for one in candidates}
    made = []
    for point in frontier(state):
        own = [w for w in state.windows if w.sample.candidate == point.candidate and not w.reasons]
        throughput = spread([w.values["output_tokens_per_s"] for w in own if "output_tokens_per_s" in w.values])
        tpot = spread([w.values["tpot_s"] for w in own if "tpot_s" in w.values])
        view = shown[point.candidate]
        assert throughput is not None and tpot is not None  # a point has both
        made.append(
            FrontierPoint(
                candidate=point.candidate,
                number=view.number,
                output_tokens_per_s=throughput,
                tpot_s=tpot,
                gate=point.gate,
                refused=point.gate in REFUSING or view.finding is not None,
                on_frontier=point.on_frontier,
                is_baseline=view.is_baseline,
                is_chosen=view.is_chosen,
                is_finalist=view.is_finalist,
            )
        )
    return tuple(made)


def _loads(confirmed: Sequence[Confirmed], state: State | None, chosen: str | None) -> tuple[LoadView, ...]:
    """Of the chosen, or of whom the last window of the confirmation was taken beside the baseline."""
    if state is None:
        return ()
    baseline = state.problem.baseline.id
    others = [entry.candidate for entry in confirmed if entry.candidate != baseline]
    choice = chosen or (others[-1] if others else None)
    if choice is None or choice not in others:
        return ()
    pair = (baseline, choice)
    own = [entry for entry in confirmed if entry.candidate in pair]
    return tuple(_load(own, pair, load) for load in dict.fromkeys(load_of(entry) for entry in own))


def _load(own: Sequence[Confirmed], pair: tuple[str, str], load: Load) -> LoadView:
    baseline, choice = (_side(own, name, load) for name in pair)
    return LoadView(
        label=load.label,
        concurrency=load.concurrency,
        requests_per_s=load.requests_per_s,
        baseline=baseline,
        choice=choice,
        gains=tuple(ratio(metric, gain(own, pair, load, metric)) for metric in _METRICS),
    )


def _side(own: Sequence[Confirmed], name: str, load: Load) -> SideView:
    found = {metric: spread(list(values(own, name, load, metric).values())) for metric in _METRICS}
    mine = (entry for entry in own if entry.candidate == name and load_of(entry) == load)
    return SideView(
        candidate=name,
        windows_rejected=sum(bool(entry.reasons) for entry in mine),
        output_tokens_per_s=found["output_tokens_per_s"],
        ttft_s=found["ttft_s"],
        tpot_s=found["tpot_s"],
    )
