"""What the fidelity gate measured, beside the bounds of the use class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

from yunhe.adapt.adaptation import Entry, Judged
from yunhe.adapt.fidelity_gate import GATES, TASK_P_MAX, UseClass
from yunhe.adapt.recipe_evidence import FidelityPart
from yunhe.adapt.recipe_fields import Estimate
from yunhe.adapt.report_records import FidelityMeasure, FidelityView, TaskView
from yunhe.adapt.trials import State

MeasureName = Literal["kl_nats", "top1_share", "perplexity_ratio", "greedy_agreement_tokens"]


def fidelity_views(entries: Sequence[Entry], state: State | None, chosen: str | None) -> tuple[FidelityView, ...]:
    """By numerics; those of the chosen candidate first."""
    judged = {entry.numerics: entry.evidence for entry in entries if isinstance(entry, Judged)}
    everyone = (state.problem.baseline, *state.problem.candidates) if state else ()
    made = [
        _view(numerics, evidence, tuple(one.id for one in everyone if one.numerics == numerics), chosen)
        for numerics, evidence in judged.items()
    ]
    return tuple(sorted(made, key=lambda one: not one.has_chosen))


def _view(numerics: str, evidence: FidelityPart, candidates: tuple[str, ...], chosen: str | None) -> FidelityView:
    return FidelityView(
        numerics=numerics,
        candidates=candidates,
        has_chosen=chosen in candidates,
        reference=f"{evidence.reference.name} {evidence.reference.precision}",
        use_class=evidence.use_class,
        verdict=evidence.verdict,
        reasons=evidence.reasons,
        unmeasured=evidence.unmeasured,
        positions=evidence.positions,
        texts=len(evidence.text_digests),
        measures=_measures(evidence),
        task=_task(evidence),
    )


def _task(evidence: FidelityPart) -> TaskView | None:
    task = evidence.task
    if task is None:
        return None
    worse = task.candidate_correct < task.reference_correct
    return TaskView(
        items=task.items,
        reference_correct=task.reference_correct,
        candidate_correct=task.candidate_correct,
        p_value=task.p_value,
        p_max=TASK_P_MAX,
        kept=not (worse and task.p_value < TASK_P_MAX),
    )


def _measures(evidence: FidelityPart) -> tuple[FidelityMeasure, ...]:
    gate = GATES.get(cast(UseClass, evidence.use_class))
    kl, top1, perplexity = evidence.kl_nats, evidence.top1_share, evidence.perplexity_ratio
    made = [
        # Shown to be close: the far end of the interval counts. A perplexity only vetoes: its near end does.
        _measure("kl_nats", kl, gate.kl_max if gate else None, "high is at most"),
        _measure("top1_share", top1, gate.top1_min if gate else None, "low is at least"),
        _measure("perplexity_ratio", perplexity, gate.perplexity_ratio_max if gate else None, "low is at most"),
    ]
    if evidence.greedy_agreement_tokens:
        made.append(_measure("greedy_agreement_tokens", evidence.greedy_agreement_tokens, None, "low is at least"))
    return tuple(made)


def _measure(
    name: MeasureName,
    estimate: Estimate,
    limit: float | None,
    bound: Literal["high is at most", "low is at least", "low is at most"],
) -> FidelityMeasure:
    ends = estimate.interval
    kept = None
    if ends is not None and limit is not None:
        kept = {
            "high is at most": ends.high <= limit,
            "low is at least": ends.low >= limit,
            "low is at most": ends.low <= limit,
        }[bound]
    return FidelityMeasure(
        name=name,
        value=estimate.value,
        low=ends.low if ends else None,
        high=ends.high if ends else None,
        limit=limit,
        kept=kept,
    )
