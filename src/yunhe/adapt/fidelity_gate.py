"""The fidelity gate: is a candidate close enough to its reference to be chosen?

Two bounds decide: the upper end of the divergence's interval and the lower end of the top-1 agreement's. So a candidate
must be *shown* to be close; too little evidence is refused, never waved through. Everything else can only veto, and
only when it is *shown* to be bad: one class of texts, the perplexity, a task, answers that change with the batch, and
prompts at the edges.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final, Literal

from yunhe.adapt.fidelity import Fidelity
from yunhe.adapt.fidelity_sequences import GreedyAgreement, SequenceComparison
from yunhe.adapt.fidelity_stats import PairedTest

#: Fewer positions are no evidence. The measurement that the thresholds come from had 114 positions of one text, and
#: told only a gross failure from the rest; at 2,000 the half-width of a top-1 agreement of 0.93 is some 0.01 to 0.02.
POSITIONS_MIN: Final = 2_000
#: Intervals are clustered by text; with fewer texts they are too wide, or too uncertain, to decide by.
TEXTS_MIN: Final = 8
#: Mean reference probability that may lie outside the listed tokens: the divergence does not look in there.
TAIL_MASS_MAX: Final = 0.10
#: A class of texts vetoes only with this many positions of at least two texts.
CLASS_POSITIONS_MIN: Final = 200
#: A task vetoes when more items are lost than gained and McNemar's exact test finds that less probable than this.
TASK_P_MAX: Final = 0.05
#: A task with fewer items counts as not measured: it could not show even a loss of a tenth.
TASK_ITEMS_MIN: Final = 60

UseClass = Literal["chat", "code", "exact"]
Outcome = Literal["passed", "failed", "insufficient"]


@dataclass(frozen=True, slots=True)
class Gate:
    """Thresholds of one class of use.

    Where those of ``GATES`` come from. *Measured*: a 135-million model against its own 16-bit weights, 114 positions:
    engines that run the weights well had KL 0.0026 to 0.0040, top-1 0.93 to 0.97 and a perplexity ratio of 0.99 to
    1.01; a faulty requantisation had KL 0.25, top-1 0.69 and ratio 1.11. *Published*: an 8-billion model's weight
    formats against 16 bit (the table of a widely used perplexity tool, 2024): KL 0.0014 and top-1 0.977 for 8 bit,
    0.0055 and 0.960 for 6 bit, 0.011 for 5 bit, 0.031 and 0.919 for mixed 4 bit, 0.33 to 0.45 and 0.711 for 2 bit.

    chat: KL 0.02 lies between 5 and 4 bit as published, at five times the good engines and a twelfth of the faulty one.
    Top-1 0.90 is the lowest good engine less the interval's half-width at 2,000 positions. Perplexity 5 % up is
    half-way from the good engines to the faulty one.

    code: one wrong token breaks a program, so KL 0.01, between 6 and 5 bit as published; perplexity 3 % up.

    exact: for answers that are compared or reproduced, KL 0.005 and top-1 0.95, which 8 bit passes and 6 bit does not,
    and of the good engines only those near top-1 0.97; perplexity 1 % up.

    Sequences: by judgement, not by measurement. At a top-1 agreement of 0.93 answers part every 14 tokens or so, mostly
    where two tokens are near ties, so 4 tokens for half of the prompts is kept by any sound candidate and broken by one
    that writes nonsense at an edge. Alone and in a batch the same weights run, so more is asked: 8 tokens for three of
    four prompts, and for ``exact`` all tokens of all answers.
    """

    name: str
    #: Nats a position; compared with the upper end of the interval.
    kl_max: float
    #: Share of positions; compared with the lower end of the interval.
    top1_min: float
    #: Candidate over reference; vetoes when the lower end of the interval is above it.
    perplexity_ratio_max: float
    #: Share of prompts whose answer in a full batch must equal the one alone over ``batch_tokens`` (None: to its end).
    batch_share_min: float
    batch_tokens: int | None
    #: The same for very short and very long prompts, against the reference's answers.
    edge_share_min: float
    edge_tokens: int | None


#: Gates by class of use.
GATES: Final[Mapping[UseClass, Gate]] = MappingProxyType(
    {
        "chat": Gate("chat", 0.02, 0.90, 1.05, 0.75, 8, 0.5, 4),
        "code": Gate("code", 0.01, 0.90, 1.03, 0.75, 8, 0.5, 4),
        "exact": Gate("exact", 0.005, 0.95, 1.01, 1.0, None, 0.75, 8),
    }
)


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was measured of a candidate against its reference. All but ``pooled`` may be missing."""

    #: Over all texts together.
    pooled: Fidelity
    #: By text class: prose, code, zh, maths.
    by_class: Mapping[str, Fidelity] = field(default_factory=dict)
    #: Reported, never judged: it depends on the prompts more than on the candidate.
    greedy: GreedyAgreement | None = None
    task: PairedTest | None = None
    sequences: tuple[SequenceComparison, ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the gate says; only ``passed`` lets a candidate be chosen."""

    gate: str
    outcome: Outcome
    #: Why: each fault, or, of a candidate that passed, the bounds that it kept.
    reasons: tuple[str, ...]
    #: What this verdict does not rest on because nobody measured it.
    unmeasured: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether the candidate may be chosen."""
        return self.outcome == "passed"


def judge(evidence: Evidence, gate: Gate) -> Verdict:
    """Judge evidence by a gate.

    In this order: too little evidence is ``insufficient``, whatever it seems to say; any fault is ``failed``, and all
    faults are named; else ``passed``, with the bounds that were kept.
    """
    unmeasured = tuple(_unmeasured(evidence))
    lacking = tuple(_lacking(evidence.pooled))
    if lacking:
        return Verdict(gate.name, "insufficient", lacking, unmeasured)
    faults = (*_bounds_broken(evidence.pooled, gate), *_class_faults(evidence, gate), *_other_faults(evidence, gate))
    if faults:
        return Verdict(gate.name, "failed", faults, unmeasured)
    return Verdict(gate.name, "passed", tuple(_bounds_kept(evidence.pooled, gate)), unmeasured)


def _lacking(pooled: Fidelity) -> Iterator[str]:
    if pooled.positions < POSITIONS_MIN:
        yield f"insufficient evidence: {pooled.positions:,} positions of at least {POSITIONS_MIN:,}"
    if pooled.texts < TEXTS_MIN:
        yield f"insufficient evidence: {pooled.texts} texts of at least {TEXTS_MIN}"
    if pooled.kl.interval is None or pooled.top1.interval is None:
        yield "insufficient evidence: no confidence interval"
    if pooled.tail_mass > TAIL_MASS_MAX:
        yield (
            f"insufficient evidence: {pooled.tail_mass:.1%} of the reference's probability lies outside the listed "
            f"tokens, at most {TAIL_MASS_MAX:.0%} may; list more tokens at each position"
        )


def _bounds_broken(pooled: Fidelity, gate: Gate) -> Iterator[str]:
    kl, top1 = pooled.kl, pooled.top1
    if kl.interval is not None and not kl.interval.high <= gate.kl_max:
        yield f"KL may be {kl.interval.high:.4f} (measured {kl.value:.4f}), the limit is {gate.kl_max}"
    if top1.interval is not None and not top1.interval.low >= gate.top1_min:
        low = top1.interval.low
        yield f"top-1 agreement may be {low:.3f} (measured {top1.value:.3f}), at least {gate.top1_min} is due"


def _bounds_kept(pooled: Fidelity, gate: Gate) -> Iterator[str]:
    if pooled.kl.interval is not None:
        yield f"KL is at most {pooled.kl.interval.high:.4f}, the limit is {gate.kl_max}"
    if pooled.top1.interval is not None:
        yield f"top-1 agreement is at least {pooled.top1.interval.low:.3f}, at least {gate.top1_min} is due"


def _class_faults(evidence: Evidence, gate: Gate) -> Iterator[str]:
    for name, found in sorted(evidence.by_class.items()):
        kl, top1 = found.kl.interval, found.top1.interval
        if found.positions < CLASS_POSITIONS_MIN or kl is None or top1 is None:
            continue
        if kl.low > gate.kl_max:
            yield f"{name}: KL is at least {kl.low:.4f}, the limit is {gate.kl_max}"
        if top1.high < gate.top1_min:
            yield f"{name}: top-1 agreement is at most {top1.high:.3f}, at least {gate.top1_min} is due"


def _other_faults(evidence: Evidence, gate: Gate) -> Iterator[str]:
    ratio = evidence.pooled.perplexity_ratio.interval
    if ratio is not None and ratio.low > gate.perplexity_ratio_max:
        yield f"perplexity is at least {ratio.low:.3f} times the reference's, the limit is {gate.perplexity_ratio_max}"
    task = evidence.task
    if task is not None and task.lost > task.gained and task.p_value < TASK_P_MAX:
        yield f"task: {task.lost} of {task.items} items lost, {task.gained} gained (p = {task.p_value:.3g})"
    for comparison in evidence.sequences:
        batch = comparison.kind == "batch"
        tokens = gate.batch_tokens if batch else gate.edge_tokens
        due = gate.batch_share_min if batch else gate.edge_share_min
        share = comparison.agreeing_share(tokens)
        if share < due:
            how_far = "to their end" if tokens is None else f"over {tokens} tokens"
            yield f"{comparison.kind}: {share:.0%} of the answers agree {how_far}, at least {due:.0%} are due"


def _unmeasured(evidence: Evidence) -> Iterator[str]:
    for name, found in sorted(evidence.by_class.items()):
        if found.positions < CLASS_POSITIONS_MIN or found.kl.interval is None:
            yield f"class {name} ({found.positions} positions of {found.texts} texts)"
    if not evidence.by_class:
        yield "classes of texts"
    if evidence.task is None:
        yield "task"
    elif evidence.task.items < TASK_ITEMS_MIN:
        yield f"task ({evidence.task.items} of {TASK_ITEMS_MIN} items)"
    measured = {comparison.kind for comparison in evidence.sequences}
    yield from (kind for kind in ("batch", "short_prompt", "long_prompt") if kind not in measured)
