"""The candidates of a journal as rows: what each is, how far it came, what it gave, and why it is out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from yunhe.adapt.adaptation import Entry, Noted
from yunhe.adapt.candidates import Candidate
from yunhe.adapt.comparison import compare
from yunhe.adapt.confirmation import LOWER_IS_BETTER
from yunhe.adapt.report_records import CandidateView, FindingView, Ratio, Rejection
from yunhe.adapt.report_spreads import ratio, speeds
from yunhe.adapt.search import FINALISTS, frontier
from yunhe.adapt.trials import State, Window
from yunhe.catalogue.model import SettingValue


def candidate_views(
    state: State, entries: Sequence[Entry], numbers: Mapping[str, int], chosen: str | None
) -> tuple[CandidateView, ...]:
    """Those that were tried, in the order in which they were; the baseline first. ``numbers``: by candidate id."""
    windows: dict[str, list[Window]] = {name: [] for name in numbers}
    for window in state.windows:
        windows[window.sample.candidate].append(window)
    builds = {entry.candidate: entry.build_digest for entry in entries if isinstance(entry, Noted)}
    on_frontier = {point.candidate for point in frontier(state) if point.on_frontier}
    finalists = _finalists(state)
    findings = {one.candidate: one for one in state.findings}
    made = []
    for name, number in numbers.items():
        candidate, own = state.problem.candidate(name), windows[name]
        found = findings.get(name)
        made.append(
            CandidateView(
                id=name,
                number=number,
                engine=candidate.engine,
                settings=candidate.settings,
                changed=_changed(candidate, state.problem.baseline),
                numerics=candidate.numerics,
                build_digest=builds.get(name),
                is_baseline=name == state.problem.baseline.id,
                is_chosen=name == chosen,
                is_finalist=name in finalists,
                on_frontier=name in on_frontier,
                rung=max((window.rung for window in own), default=None),
                windows_accepted=sum(not window.reasons for window in own),
                windows_rejected=sum(bool(window.reasons) for window in own),
                rejections=_rejections(own),
                speeds=speeds(tuple(one.sample for one in own if not one.reasons), state.problem.objective.slo),
                gain=_gain(state, own, windows[state.problem.baseline.id]),
                gate=state.verdicts.get(candidate.numerics, "unmeasured"),
                finding=FindingView(candidate=name, cause=found.cause, detail=found.detail, rung=found.rung)
                if found
                else None,
            )
        )
    return tuple(made)


def _changed(candidate: Candidate, baseline: Candidate) -> dict[str, SettingValue]:
    return {
        name: value
        for name, value in candidate.settings.items()
        if name not in baseline.settings or baseline.settings[name] != value
    }


def _finalists(state: State) -> set[str]:
    """Of the last rung; none before it has begun."""
    if not state.rung:
        return set()
    last = {window.sample.candidate for window in state.windows if window.rung == state.rung}
    last.discard(state.problem.baseline.id)
    return last if len(last) <= FINALISTS else set()


def _rejections(windows: Sequence[Window]) -> tuple[Rejection, ...]:
    counts = Counter("; ".join(window.reasons) for window in windows if window.reasons)
    return tuple(Rejection(reason=reason, windows=count) for reason, count in counts.items())


def _gain(state: State, own: Sequence[Window], beside: Sequence[Window]) -> Ratio | None:
    if own is beside:
        return None
    metric = state.problem.objective.metric
    mine, theirs = (
        {one.sample.round: one.values[metric] for one in windows if metric in one.values} for windows in (own, beside)
    )
    compared = compare(
        mine,
        theirs,
        np.random.default_rng(state.problem.seed),
        higher_is_better=metric not in LOWER_IS_BETTER,
        patience=state.problem.patience,
    )
    return ratio(metric, compared) if compared.rounds else None
