from dataclasses import replace

import numpy as np
import pytest

from yunhe.adapt.fidelity import Estimate, Fidelity, Scores, fidelity
from yunhe.adapt.fidelity_gate import GATES, Evidence, UseClass, judge
from yunhe.adapt.fidelity_sequences import CheckKind, SequenceComparison, compare_sequences
from yunhe.adapt.fidelity_stats import Interval, mcnemar


def measured(kl: float, top1: float, *, positions: int = 2_400, texts: int = 12, tail: float = 0.02) -> Fidelity:
    """A measurement with the given mean divergence and agreement, spread over texts as measurements are."""
    rng = np.random.default_rng(3)
    text = np.arange(positions) % texts
    level = rng.lognormal(0, 0.3, size=texts)[text]
    divergences = rng.exponential(1, size=positions) * level
    agrees = np.zeros(positions)
    agrees[rng.permutation(positions)[: round(top1 * positions)]] = 1.0
    reference = -rng.exponential(3.1, size=positions)
    scores = Scores(
        text_ids=tuple(f"text-{n:02}" for n in range(texts)),
        text=text,
        kl=divergences * kl / divergences.mean(),
        agrees=agrees,
        tail_mass=np.full(positions, tail),
        reference_logprob=reference,
        candidate_logprob=reference + rng.normal(0, (2 * kl) ** 0.5, size=positions),
        unlisted=np.zeros(positions, dtype=np.bool_),
    )
    return fidelity(scores, rng)


def exactly(kl: tuple[float, float, float], top1: tuple[float, float, float]) -> Fidelity:
    """A measurement with given (low, value, high) of divergence and agreement."""
    return replace(
        measured(0.003, 0.95),
        kl=Estimate(kl[1], Interval(kl[0], kl[2])),
        top1=Estimate(top1[1], Interval(top1[0], top1[2])),
    )


GOOD = measured(0.0026, 0.974)


@pytest.mark.parametrize("use", ["chat", "code"])
@pytest.mark.parametrize(("kl", "top1"), [(0.0026, 0.974), (0.003, 0.93), (0.004, 0.939), (0.004, 0.97)])
def test_engines_that_run_the_weights_well_pass(use: UseClass, kl: float, top1: float) -> None:
    verdict = judge(Evidence(measured(kl, top1)), GATES[use])
    assert verdict.passed, verdict.reasons
    assert len(verdict.reasons) == 2


@pytest.mark.parametrize("use", ["chat", "code", "exact"])
def test_the_faulty_requantisation_fails_everywhere_on_both_bounds(use: UseClass) -> None:
    verdict = judge(Evidence(measured(0.247, 0.693)), GATES[use])
    assert verdict.outcome == "failed"
    assert "KL may be" in verdict.reasons[0]
    assert "top-1 agreement may be" in verdict.reasons[1]


def test_exact_takes_only_the_closest_of_the_good_engines() -> None:
    assert judge(Evidence(GOOD), GATES["exact"]).passed
    assert judge(Evidence(measured(0.0028, 0.930)), GATES["exact"]).outcome == "failed"


def test_a_perfect_score_over_too_few_positions_is_refused_as_insufficient() -> None:
    verdict = judge(Evidence(measured(0.0001, 1.0, positions=1_999)), GATES["chat"])
    assert verdict.outcome == "insufficient"
    assert not verdict.passed
    assert verdict.reasons == ("insufficient evidence: 1,999 positions of at least 2,000",)
    assert judge(Evidence(measured(0.0001, 1.0, positions=2_000)), GATES["chat"]).passed


def test_the_measurement_of_114_positions_of_one_text_is_insufficient_even_where_it_is_bad() -> None:
    verdict = judge(Evidence(measured(0.247, 0.693, positions=114, texts=1)), GATES["chat"])
    assert verdict.outcome == "insufficient"
    assert len(verdict.reasons) == 3


def test_few_texts_and_a_heavy_tail_are_insufficient() -> None:
    assert judge(Evidence(measured(0.003, 0.95, texts=7)), GATES["chat"]).outcome == "insufficient"
    verdict = judge(Evidence(measured(0.003, 0.95, tail=0.2)), GATES["chat"])
    assert verdict.outcome == "insufficient"
    assert "20.0%" in verdict.reasons[0]


def test_the_bounds_decide_and_not_the_values() -> None:
    gate = GATES["chat"]
    assert judge(Evidence(exactly((0.01, 0.015, 0.02), (0.90, 0.93, 0.96))), gate).passed
    assert judge(Evidence(exactly((0.01, 0.015, 0.0201), (0.90, 0.93, 0.96))), gate).outcome == "failed"
    assert judge(Evidence(exactly((0.01, 0.015, 0.02), (0.899, 0.93, 0.96))), gate).outcome == "failed"


def test_a_bound_that_is_no_number_does_not_pass() -> None:
    assert judge(Evidence(exactly((0.0, 0.003, float("nan")), (0.9, 0.93, 0.96))), GATES["chat"]).outcome == "failed"


def test_one_broken_class_vetoes_what_the_others_would_hide() -> None:
    classes = {"prose": GOOD, "zh": measured(0.08, 0.80, positions=600, texts=4)}
    verdict = judge(Evidence(GOOD, classes), GATES["chat"])
    assert verdict.outcome == "failed"
    assert [reason.split(":")[0] for reason in verdict.reasons] == ["zh", "zh"]


def test_a_class_that_is_only_uncertain_does_not_veto() -> None:
    wide = exactly((0.001, 0.015, 0.05), (0.80, 0.88, 0.93))
    assert judge(Evidence(GOOD, {"zh": wide}), GATES["chat"]).passed


def test_a_class_measured_too_little_is_named_and_does_not_veto() -> None:
    verdict = judge(Evidence(GOOD, {"zh": measured(0.5, 0.5, positions=190, texts=2)}), GATES["chat"])
    assert verdict.passed
    assert "class zh (190 positions of 2 texts)" in verdict.unmeasured


def test_a_worse_perplexity_vetoes_once_it_is_shown() -> None:
    worse = replace(GOOD, perplexity_ratio=Estimate(1.10, Interval(1.06, 1.14)))
    unsure = replace(GOOD, perplexity_ratio=Estimate(1.10, Interval(1.04, 1.16)))
    verdict = judge(Evidence(worse), GATES["chat"])
    assert verdict.outcome == "failed"
    assert "perplexity" in verdict.reasons[0]
    assert judge(Evidence(unsure), GATES["chat"]).passed


def test_a_task_vetoes_only_a_loss_that_chance_does_not_explain() -> None:
    lost = mcnemar([True] * 60, [False] * 6 + [True] * 54)
    by_chance = mcnemar([True] * 60, [False] * 5 + [True] * 55)
    gained = mcnemar([False] * 9 + [True] * 51, [True] * 60)
    verdict = judge(Evidence(GOOD, task=lost), GATES["chat"])
    assert verdict.outcome == "failed"
    assert verdict.reasons == ("task: 6 of 60 items lost, 0 gained (p = 0.0312)",)
    assert judge(Evidence(GOOD, task=by_chance), GATES["chat"]).passed
    assert judge(Evidence(GOOD, task=gained), GATES["chat"]).passed


def answers(kind: CheckKind, *agreed: int) -> SequenceComparison:
    whole = list(range(32))
    return compare_sequences(kind, [(whole, [*whole[:n], *([999] * (32 - n))]) for n in agreed])


@pytest.mark.parametrize(
    ("use", "comparison", "passes"),
    [
        ("chat", answers("batch", 32, 32, 8, 0), True),
        ("chat", answers("batch", 32, 32, 7, 0), False),
        ("exact", answers("batch", 32, 32, 32, 31), False),
        ("exact", answers("batch", 32, 32, 32, 32), True),
        ("chat", answers("short_prompt", 4, 4, 0, 0), True),
        ("chat", answers("short_prompt", 4, 3, 0, 0), False),
        ("code", answers("long_prompt", 0, 0, 0, 32), False),
        ("exact", answers("long_prompt", 8, 8, 8, 0), True),
    ],
)
def test_answers_that_change_with_the_batch_or_at_an_edge_veto(
    use: UseClass, comparison: SequenceComparison, passes: bool
) -> None:
    verdict = judge(Evidence(GOOD, sequences=(comparison,)), GATES[use])
    assert verdict.passed is passes
    assert verdict.reasons[0].startswith("KL is" if passes else f"{comparison.kind}:")


def test_what_nobody_measured_is_named() -> None:
    verdict = judge(Evidence(GOOD), GATES["chat"])
    assert verdict.unmeasured == ("classes of texts", "task", "batch", "short_prompt", "long_prompt")
    full = Evidence(
        GOOD,
        {"prose": GOOD},
        task=mcnemar([True] * 60, [True] * 60),
        sequences=tuple(answers(kind, 32) for kind in ("batch", "short_prompt", "long_prompt")),
    )
    assert judge(full, GATES["chat"]).unmeasured == ()
    few = replace(full, task=mcnemar([True] * 20, [True] * 20))
    assert judge(few, GATES["chat"]).unmeasured == ("task (20 of 60 items)",)


def test_all_faults_are_named_at_once() -> None:
    bad = Evidence(
        measured(0.247, 0.693),
        {"code": measured(0.3, 0.6)},
        task=mcnemar([True] * 60, [False] * 30 + [True] * 30),
        sequences=(answers("batch", 0, 0),),
    )
    assert len(judge(bad, GATES["code"]).reasons) >= 6


def test_stricter_uses_have_stricter_gates() -> None:
    chat, code, exact = GATES["chat"], GATES["code"], GATES["exact"]
    assert chat.kl_max > code.kl_max > exact.kl_max
    assert chat.top1_min <= code.top1_min < exact.top1_min
    assert chat.perplexity_ratio_max > code.perplexity_ratio_max > exact.perplexity_ratio_max
