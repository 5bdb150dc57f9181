"""How far a candidate's next-token distributions lie from its reference's.

Both run over the same texts, teacher-forced: at each position each gives the log-probabilities of its own K likeliest
next tokens. From these come the divergence, the agreement on the likeliest token, and the perplexities.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from yunhe.adapt.fidelity_stats import CONFIDENCE, RESAMPLES, Interval, cluster_intervals
from yunhe.core.errors import InvalidRequest

#: Listed probabilities may exceed 1 in sum by this much: engines round, some to 16 bits.
MASS_EXCESS_MAX: Final = 2e-3
#: Mass left for the unlisted tokens that is less than this is the rounding of the listed ones.
MASS_FLOOR: Final = 1e-6
#: Engines write minus infinity, or a large negative number, for a probability that underflowed.
LOGPROB_FLOOR: Final = -100.0
#: Log-probabilities may exceed 0 by this much.
_LOGPROB_EXCESS_MAX: Final = 1e-3


class InvalidEvidence(InvalidRequest):
    """What was measured of a candidate cannot be evidence."""

    code = "invalid_evidence"
    default_next_step = "Measure again; if it comes back, the engine's log-probabilities are not to be trusted."


@dataclass(frozen=True, slots=True)
class Position:
    """One teacher-forced position: what both say of the next token.

    Log-probabilities are natural, by token id, for the K likeliest tokens of each side. With K = 300 a position takes
    some 30 kB: pass positions on as they come, ``score`` keeps four numbers of each.
    """

    text_id: str
    #: Of the token within its text; the first token has no prediction, so this counts from 1.
    index: int
    #: Id of the token that the text really has here.
    token: int
    reference_logprobs: Mapping[int, float]
    candidate_logprobs: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Divergence:
    """KL(reference || candidate) at one position, in nats, and how much of the reference was not listed."""

    kl: float
    #: Probability that the reference gives to tokens outside its own list.
    tail_mass: float


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """Scores of many positions as columns, each of shape (positions,)."""

    #: Distinct ids of texts, sorted; ``text`` points into it.
    text_ids: tuple[str, ...]
    text: NDArray[np.int64]
    kl: NDArray[np.float64]
    #: 1.0 where both find the same token likeliest.
    agrees: NDArray[np.float64]
    tail_mass: NDArray[np.float64]
    #: Log-probability of the text's own token.
    reference_logprob: NDArray[np.float64]
    candidate_logprob: NDArray[np.float64]
    #: True where either side did not list the text's own token, so that an upper bound stands in for it.
    unlisted: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its confidence interval; no interval where fewer than two texts were measured."""

    value: float
    interval: Interval | None


@dataclass(frozen=True, slots=True)
class Fidelity:
    """Agreement of a candidate with its reference over some texts."""

    positions: int
    texts: int
    #: Mean over positions, nats.
    kl: Estimate
    #: Share of positions, 0 to 1.
    top1: Estimate
    reference_perplexity: float
    candidate_perplexity: float
    #: Candidate over reference: above 1 the candidate predicts the texts worse.
    perplexity_ratio: Estimate
    #: Mean reference probability outside the reference's list: what the divergence could not look into.
    tail_mass: float
    #: Share of positions whose own token was not listed; there both perplexities are too low.
    unlisted_share: float


def divergence(reference: Mapping[int, float], candidate: Mapping[int, float]) -> Divergence:
    """KL(reference || candidate) from two lists of the K likeliest tokens' log-probabilities.

    Each side lists its own K tokens, so the tokens are put into buckets that both can be asked for: every token that
    both list (set S) is a bucket of its own; the tokens that only the reference lists are one bucket (M); all others
    are one bucket (E). With p the reference and q the candidate,

        KL = sum over S of p ln(p / q)  +  p(M) ln(p(M) / q(M))  +  p(E) ln(p(E) / q(E)).

    p is known of all buckets. Of q, only q(S) and q(M) + q(E) = 1 - q(S) are known, and that q(M) is at most |M| times
    the candidate's smallest listed probability, and at most its unlisted mass; within these bounds the q(M) that makes
    the sum least is taken. So a candidate that drops the reference's favourite token is seen, which one lumped tail
    of the shared tokens would hide.

    Bias: downward only, but for rounding (at most 2e-5 nats). By the chain rule the true value is larger by
    p(B) KL(p(.|B) || q(.|B)) for each bucket B, and by the slack in q(M). It is exact when K is the whole vocabulary.
    The part that cannot be seen grows with the tail mass, which is returned beside it; the gate refuses evidence whose
    tail is too heavy. Each side's unlisted mass counts as at least ``MASS_FLOOR``: less than that is the rounding of
    what is listed.

    Raises InvalidEvidence for an empty list, for a value that is no log-probability, or for a sum beyond 1.
    """
    p, q = _masses(reference, "reference"), _masses(candidate, "candidate")
    shared = p.keys() & q.keys()
    p_only = math.fsum(mass for token, mass in p.items() if token not in shared)
    p_else = max(1.0 - math.fsum(p.values()), MASS_FLOOR)
    q_rest = max(1.0 - math.fsum(q[token] for token in shared), MASS_FLOOR)
    terms = [p[token] * math.log(p[token] / q[token]) for token in shared]
    q_only = 0.0
    if len(shared) < len(p):
        q_tail = max(1.0 - math.fsum(q.values()), MASS_FLOOR)
        q_most = min((len(p) - len(shared)) * min(q.values()), q_tail)
        q_only = min(q_most, q_rest * p_only / (p_only + p_else))
        terms.append(p_only * math.log(p_only / q_only))
    terms.append(p_else * math.log(p_else / max(q_rest - q_only, MASS_FLOOR)))
    return Divergence(kl=max(0.0, math.fsum(terms)), tail_mass=p_else)


def likeliest(logprobs: Mapping[int, float]) -> int:
    """The likeliest token; of equally likely ones the one with the smallest id, so that both sides break ties alike."""
    return max(logprobs.items(), key=lambda entry: (entry[1], -entry[0]))[0]


def token_logprob(logprobs: Mapping[int, float], token: int) -> tuple[float, bool]:
    """Log-probability of a token, and whether it was listed.

    An unlisted token is at most as likely as the least likely listed one, and as all unlisted ones together: the lower
    of the two bounds stands in, so a perplexity that needs it is too low, on both sides by the same rule. Where only
    the candidate needs it the ratio of the two is too kind to it: read it together with the unlisted share.
    """
    if token in logprobs:
        return max(logprobs[token], LOGPROB_FLOOR), True
    masses = _masses(logprobs, "listed")
    tail = max(1.0 - math.fsum(masses.values()), MASS_FLOOR)
    return math.log(min(min(masses.values()), tail)), False


def score(positions: Iterable[Position]) -> Scores:
    """Score positions one by one; only four numbers of each are kept.

    Raises InvalidEvidence when there are none, when one comes twice, or when one is not usable (see ``divergence``).
    """
    texts: list[str] = []
    rows: list[tuple[float, float, float, float, float, bool]] = []
    seen: set[tuple[str, int]] = set()
    for position in positions:
        key = (position.text_id, position.index)
        if key in seen:
            raise InvalidEvidence("a position was measured twice", text_id=position.text_id, index=position.index)
        seen.add(key)
        texts.append(position.text_id)
        rows.append(_row(position))
    if not rows:
        raise InvalidEvidence("no position was measured")
    text_ids = tuple(sorted(set(texts)))
    number = {text_id: index for index, text_id in enumerate(text_ids)}
    table = np.array(rows, dtype=np.float64)
    return Scores(
        text_ids=text_ids,
        text=np.array([number[text_id] for text_id in texts], dtype=np.int64),
        kl=table[:, 0],
        tail_mass=table[:, 1],
        agrees=table[:, 2],
        reference_logprob=table[:, 3],
        candidate_logprob=table[:, 4],
        unlisted=table[:, 5] > 0,
    )


def fidelity(
    scores: Scores,
    rng: np.random.Generator,
    *,
    texts: Iterable[str] | None = None,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Fidelity:
    """Sum up the scores of some texts (all when None), with intervals clustered by text.

    Raises InvalidEvidence when no position is of these texts.
    """
    wanted = set(scores.text_ids if texts is None else texts)
    kept = np.isin(scores.text, [index for index, name in enumerate(scores.text_ids) if name in wanted])
    if not kept.any():
        raise InvalidEvidence("no position was measured of these texts", texts=sorted(wanted))
    loss = scores.reference_logprob - scores.candidate_logprob
    metrics = np.stack([scores.kl, scores.agrees, loss], axis=1)[kept]
    owner, counts = np.unique(scores.text[kept], return_inverse=True, return_counts=True)[1:]
    sums = np.zeros((len(counts), metrics.shape[1]))
    np.add.at(sums, owner, metrics)
    means = sums.sum(axis=0) / counts.sum()
    intervals: list[Interval | None] = [None, None, None]
    if len(counts) > 1:
        intervals = list(cluster_intervals(sums, counts, rng, resamples=resamples, confidence=confidence))
    ratio = intervals[2]
    return Fidelity(
        positions=int(counts.sum()),
        texts=len(counts),
        kl=Estimate(float(means[0]), intervals[0]),
        top1=Estimate(float(means[1]), intervals[1]),
        reference_perplexity=math.exp(-float(scores.reference_logprob[kept].mean())),
        candidate_perplexity=math.exp(-float(scores.candidate_logprob[kept].mean())),
        perplexity_ratio=Estimate(
            math.exp(float(means[2])), Interval(math.exp(ratio.low), math.exp(ratio.high)) if ratio else None
        ),
        tail_mass=float(scores.tail_mass[kept].mean()),
        unlisted_share=float(scores.unlisted[kept].mean()),
    )


def fidelity_by_class(
    scores: Scores,
    classes: Mapping[str, str],
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> dict[str, Fidelity]:
    """Sum up the scores of each text class; ``classes`` gives the class of each text id.

    Classes come in alphabetical order. Raises InvalidEvidence when a measured text has no class.
    """
    nameless = sorted(set(scores.text_ids) - classes.keys())
    if nameless:
        raise InvalidEvidence("a measured text has no class", texts=nameless)
    members: dict[str, list[str]] = {}
    for text_id in scores.text_ids:
        members.setdefault(classes[text_id], []).append(text_id)
    return {
        name: fidelity(scores, rng, texts=members[name], resamples=resamples, confidence=confidence)
        for name in sorted(members)
    }


def _row(position: Position) -> tuple[float, float, float, float, float, bool]:
    found = divergence(position.reference_logprobs, position.candidate_logprobs)
    agrees = likeliest(position.reference_logprobs) == likeliest(position.candidate_logprobs)
    reference, reference_listed = token_logprob(position.reference_logprobs, position.token)
    candidate, candidate_listed = token_logprob(position.candidate_logprobs, position.token)
    unlisted = not (reference_listed and candidate_listed)
    return found.kl, found.tail_mass, float(agrees), reference, candidate, unlisted


def _masses(logprobs: Mapping[int, float], side: str) -> dict[int, float]:
    """Probabilities by token, scaled to a sum of 1 where rounding took them past it."""
    if not logprobs:
        raise InvalidEvidence(f"the {side} list of log-probabilities is empty")
    if any(not value <= _LOGPROB_EXCESS_MAX for value in logprobs.values()):
        raise InvalidEvidence(f"the {side} list holds a value that is no log-probability")
    masses = {token: math.exp(max(value, LOGPROB_FLOOR)) for token, value in logprobs.items()}
    total = math.fsum(masses.values())
    if total > 1.0 + MASS_EXCESS_MAX:
        raise InvalidEvidence(f"the {side} probabilities sum to {total:.4f}, more than 1")
    if total > 1.0:
        masses = {token: mass / total for token, mass in masses.items()}
    return masses
