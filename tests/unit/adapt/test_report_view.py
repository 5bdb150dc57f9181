"""The view of an adaptation, from journals of a simulated machine."""

import json
from collections.abc import Sequence
from statistics import median

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace

from yunhe.adapt.adaptation import Confirmed, Ended, Entry, Judged
from yunhe.adapt.confirmation import gain
from yunhe.adapt.fidelity_gate import GATES
from yunhe.adapt.recipe_evidence import Load
from yunhe.adapt.report_records import AdaptationView, FidelityMeasure
from yunhe.adapt.report_view import adaptation_view
from yunhe.adapt.samples import judge_sample
from yunhe.adapt.trials import Begun, Crashed, Gated, Resumed, Windowed
from yunhe.pool.model import Measure
from yunhe.testing.adaptations import CARD, SimulatedAdaptation, simulated_adaptation


@pytest.fixture(scope="module")
def whole() -> SimulatedAdaptation:
    return simulated_adaptation()


@pytest.fixture(scope="module")
def view(whole: SimulatedAdaptation) -> AdaptationView:
    return view_of(whole)


def view_of(made: SimulatedAdaptation, **said: object) -> AdaptationView:
    return adaptation_view(made.order, made.entries, cards=made.cards, **said)  # type: ignore[arg-type]


def windows(entries: Sequence[Entry], candidate: str) -> list[Windowed]:
    return [one for one in entries if isinstance(one, Windowed) and one.trial.candidate == candidate]


def test_the_view_is_json_and_comes_back_the_same(view: AdaptationView) -> None:
    text = json.dumps(msgspec.to_builtins(view))
    assert msgspec.json.decode(text, type=AdaptationView) == view


def test_every_tried_candidate_is_there_once_the_baseline_first(
    whole: SimulatedAdaptation, view: AdaptationView
) -> None:
    tried = {one.trial.candidate for one in whole.entries if isinstance(one, Windowed | Gated | Crashed)}
    assert {one.id for one in view.candidates} == tried
    assert [one.number for one in view.candidates] == list(range(len(tried)))
    assert [one.id for one in view.candidates if one.is_baseline] == ["baseline"] == [view.candidates[0].id]
    begun = whole.entries[0]
    assert isinstance(begun, Begun)
    assert view.counts.candidates_tried + view.counts.candidates_untried == len(begun.problem.candidates)


def test_windows_count_or_are_rejected_with_their_reason(whole: SimulatedAdaptation, view: AdaptationView) -> None:
    rejected = 0
    for one in view.candidates:
        own = [judge_sample(window.sample).reasons for window in windows(whole.entries, one.id)]
        assert one.windows_accepted == sum(not reasons for reasons in own)
        assert one.windows_rejected == sum(bool(reasons) for reasons in own)
        assert sum(why.windows for why in one.rejections) == one.windows_rejected
        assert all("foreign CPU" in why.reason for why in one.rejections)
        rejected += one.windows_rejected
    later = [one for one in whole.entries if isinstance(one, Confirmed)]
    assert view.counts.windows_rejected == rejected + sum(bool(one.reasons) for one in later) > 0


def test_speeds_are_medians_of_the_windows_that_count(whole: SimulatedAdaptation, view: AdaptationView) -> None:
    for one in view.candidates:
        own = [w.sample for w in windows(whole.entries, one.id) if not judge_sample(w.sample).reasons]
        if not own:
            assert one.speeds is None
            continue
        assert one.speeds is not None
        rates = [sample.output_tokens / sample.duration_s for sample in own]
        found = one.speeds.output_tokens_per_s
        assert found.value == pytest.approx(median(rates))
        assert found.low <= found.value <= found.high
        assert found.basis == ("single" if len(own) == 1 else "range" if len(own) < 5 else "interval")
        if found.basis == "range":
            assert (found.low, found.high) == (min(rates), max(rates))
        assert one.speeds.ttft_p50_s.value <= one.speeds.ttft_p95_s.value


def test_before_and_after_are_the_confirmations_own_numbers(whole: SimulatedAdaptation, view: AdaptationView) -> None:
    confirmed = [one for one in whole.entries if isinstance(one, Confirmed)]
    assert [(load.concurrency, load.requests_per_s is None) for load in view.loads] == [
        (8, True),
        (1, True),
        (None, False),
    ]
    assert view.chosen is not None
    for load in view.loads:
        wanted = Load(concurrency=load.concurrency, requests_per_s=load.requests_per_s)
        for shown in load.gains:
            truth = gain(confirmed, ("baseline", view.chosen), wanted, shown.metric)
            assert truth.interval is not None
            assert (shown.ratio, shown.low, shown.high) == (truth.ratio, truth.interval.low, truth.interval.high)
            assert (shown.rounds, shown.outcome) == (truth.rounds, truth.outcome)
            assert shown.lower_is_better == (shown.metric != "output_tokens_per_s")


def test_the_gate_bounds_are_those_of_the_use_class(whole: SimulatedAdaptation, view: AdaptationView) -> None:
    judged = {one.numerics: one.evidence for one in whole.entries if isinstance(one, Judged)}
    assert {one.numerics for one in view.fidelity} == judged.keys()
    assert [one.has_chosen for one in view.fidelity].index(True) == 0
    verdicts = set()
    for one in view.fidelity:
        measures: dict[str, FidelityMeasure] = {measure.name: measure for measure in one.measures}
        assert measures["kl_nats"].value == judged[one.numerics].kl_nats.value
        assert measures["kl_nats"].limit == GATES["chat"].kl_max
        assert measures["top1_share"].limit == GATES["chat"].top1_min
        assert measures["greedy_agreement_tokens"].kept is None
        assert measures["kl_nats"].kept == (one.verdict == "passed")
        verdicts.add(one.verdict)
    assert verdicts == {"passed", "failed"}


@pytest.mark.parametrize(
    ("name", "low", "high", "kept"),
    [
        ("kl_nats", 0.015, 0.0201, False),
        ("kl_nats", 0.015, 0.02, True),
        ("top1_share", 0.899, 0.95, False),
        ("perplexity_ratio", 1.01, 1.2, True),
        ("perplexity_ratio", 1.051, 1.2, False),
    ],
)
def test_the_far_end_must_keep_a_bound_but_perplexity_only_vetoes(
    whole: SimulatedAdaptation, name: str, low: float, high: float, kept: bool
) -> None:
    entries = []
    for entry in whole.entries:
        if isinstance(entry, Judged):
            estimate = getattr(entry.evidence, name)
            ends = replace(estimate.interval, low=low, high=high)
            entry = replace(entry, evidence=replace(entry.evidence, **{name: replace(estimate, interval=ends)}))
        entries.append(entry)
    found = adaptation_view(whole.order, entries).fidelity[0].measures
    assert [one.kept for one in found if one.name == name] == [kept]


def test_refused_and_crashed_candidates_are_marked_and_never_chosen(view: AdaptationView) -> None:
    points = {one.candidate: one for one in view.frontier}
    refused = [one for one in view.frontier if one.refused]
    assert refused and all(one.gate == "failed" for one in refused)
    assert {one.cause for one in view.findings} == {"signal", "fidelity"}
    crashed = {one.candidate for one in view.findings if one.cause == "signal"}
    assert len(crashed) == view.counts.crashes
    assert crashed.isdisjoint(points)
    assert [one.id for one in view.candidates if one.is_chosen] == [view.chosen] == [view.leading] == [view.confirmed]
    assert view.chosen not in {one.candidate for one in refused}
    assert sum(one.is_finalist for one in view.candidates) == 3


def test_the_log_has_every_entry_in_order_of_time(whole: SimulatedAdaptation, view: AdaptationView) -> None:
    assert len(view.log) == len(whole.entries)
    assert [one.elapsed_s for one in view.log] == sorted(one.elapsed_s for one in view.log)
    off = [one for one in view.log if one.accepted is False]
    assert len(off) == view.counts.windows_rejected
    assert all(one.reasons and one.output_tokens_per_s for one in off)
    assert (view.log[-1].kind, view.log[-1].outcome) == ("ended", "finished")


def test_an_event_that_was_written_twice_is_shown_once(whole: SimulatedAdaptation, view: AdaptationView) -> None:
    at = next(index for index, one in enumerate(whole.entries) if isinstance(one, Windowed))
    twice = [*whole.entries[: at + 1], whole.entries[at], *whole.entries[at + 1 :]]
    assert adaptation_view(whole.order, twice, cards=whole.cards) == view


def test_time_between_a_kill_and_the_resumption_is_not_used(whole: SimulatedAdaptation) -> None:
    before = whole.entries[:31]
    resumed = [*before, Resumed(before[-1].at_s + 500.0)]
    found = adaptation_view(whole.order, resumed)
    assert found.budget.used_s == pytest.approx(adaptation_view(whole.order, before).budget.used_s)
    assert found.counts.resumptions == 1


def test_an_empty_journal_is_an_adaptation_that_has_not_begun(whole: SimulatedAdaptation) -> None:
    found = adaptation_view(whole.order, [], activity="the centre has not taken it up yet")
    assert (found.phase, found.activity) == ("waiting", "the centre has not taken it up yet")
    assert (found.candidates, found.log, found.loads, found.baseline, found.roofline) == ((), (), (), None, None)
    assert found.budget.used_s == 0.0


def test_every_beginning_of_a_journal_has_a_view(whole: SimulatedAdaptation) -> None:
    for length in range(0, len(whole.entries), 17):
        found = adaptation_view(whole.order, whole.entries[:length], cards=whole.cards, phase="searching", used_s=9.0)
        assert (found.phase, found.chosen, found.budget.used_s) == ("searching", None, 9.0)
        assert len(found.log) == length


def test_before_anything_is_better_the_baseline_leads_only_if_it_is_faithful(whole: SimulatedAdaptation) -> None:
    leading = [adaptation_view(whole.order, whole.entries[:length]).leading for length in (5, len(whole.entries) - 1)]
    assert leading[0] is None
    assert leading[1] == adaptation_view(whole.order, whole.entries).chosen


@pytest.mark.parametrize(("end", "reason"), [("cancelled", "somebody cancelled it"), ("failed", "the disk is full")])
def test_the_journals_end_goes_before_an_older_report(end: str, reason: str) -> None:
    made = simulated_adaptation(entries_max=40, end=end)  # type: ignore[arg-type]
    found = view_of(made, phase="searching", activity="window of something")
    assert found.phase == end
    assert reason in found.activity
    assert found.chosen is None


def test_a_choice_that_did_not_hold_is_compared_but_not_chosen(whole: SimulatedAdaptation) -> None:
    ended = whole.entries[-1]
    assert isinstance(ended, Ended)
    found = adaptation_view(whole.order, [*whole.entries[:-1], replace(ended, chosen=None, recipe=None)])
    assert found.chosen is None
    assert found.confirmed == ended.chosen
    assert len(found.loads) == 3


def test_the_roofline_counts_operations_and_bytes_of_a_step(whole: SimulatedAdaptation, view: AdaptationView) -> None:
    assert view.roofline is not None
    assert {one.name: one.value for one in view.roofline.ceilings} == {
        name: speed.value for name, speed in CARD.speeds.items()
    }
    load, point = view.loads[1], view.roofline.points[2]
    assert (point.label, point.role, point.stage) == (load.label, "baseline", "decode")
    parameters, size = whole.order.model.parameters, whole.order.model.weights.size_bytes
    rate, tpot = load.baseline.output_tokens_per_s, load.baseline.tpot_s
    assert parameters and size and rate and tpot
    assert point.operations_per_s == pytest.approx(2 * parameters * rate.value)
    # Alone, every token reads all weights once.
    assert point.operations_per_byte == pytest.approx(2 * parameters / size, rel=0.1)
    assert point.binding == "memory"
    assert point.attained_share == pytest.approx(size / tpot.value / CARD.speeds["memory_bandwidth"].value)


def test_cards_that_tell_no_speed_give_no_roofline_and_experts_no_points(whole: SimulatedAdaptation) -> None:
    from dataclasses import replace as changed

    dumb = changed(CARD, speeds={"memory_bandwidth": Measure(1e10, "bytes_per_s", "measured")})
    assert adaptation_view(whole.order, whole.entries, cards=[dumb]).roofline is None
    mixed = changed(whole.order.model, shape={"experts": 8})
    found = adaptation_view(replace(whole.order, model=mixed), whole.entries, cards=[CARD, CARD]).roofline
    assert found is not None
    assert found.points == ()
    assert max(one.value for one in found.ceilings) == 2 * max(one.value for one in CARD.speeds.values())


def test_the_same_journal_gives_the_same_view(whole: SimulatedAdaptation, view: AdaptationView) -> None:
    np.random.seed(3)
    assert view_of(whole) == view
