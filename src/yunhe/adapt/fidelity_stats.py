"""Statistics of fidelity: intervals clustered by text, and an exact paired test.

Positions of one text are not independent (a hard passage is hard for many tokens), so an interval that counts them as
if they were is too narrow. The unit that is drawn again is therefore the whole text, as one block.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

RESAMPLES: Final = 2_000
CONFIDENCE: Final = 0.95
#: Above this, Student's t and the normal distribution agree to three digits in the tail that is used here.
_DEGREES_MAX: Final = 400


@dataclass(frozen=True, slots=True)
class Interval:
    """A two-sided confidence interval; both ends in the unit of the value."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class PairedTest:
    """Reference and candidate on the same items of a task, with McNemar's exact test of the difference."""

    items: int
    reference_correct: int
    candidate_correct: int
    #: Items that the reference solved and the candidate did not; ``gained`` is the reverse.
    lost: int
    gained: int
    #: Two-sided: how probable a split of the changed items at least this uneven is, were both equally good.
    p_value: float


def cluster_intervals(
    sums: NDArray[np.float64],
    counts: NDArray[np.int64],
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> list[Interval]:
    """Confidence intervals of means over positions, by a bootstrap that draws whole texts.

    ``sums`` has shape (texts, metrics) and holds each metric summed over a text's positions; ``counts`` has shape
    (texts,) and holds how many positions each text has. Of each resample the ratio total sum / total count is taken,
    so long texts weigh more, as they do in the mean itself.

    The ends are percentiles of the resampled means, with levels widened for few texts: Phi(-sqrt(n / (n - 1)) *
    t(n - 1)) in place of the nominal tail (T. Hesterberg, "What teachers should know about the bootstrap", 2015,
    section 5.3, expanded percentile interval); a plain percentile interval over a dozen texts covers too rarely. With
    four texts or fewer the interval is the whole range of the resamples. Texts of all classes are drawn from one urn,
    which is wider than drawing within each class: the doubt falls on the candidate's side.

    Raises ValueError for fewer than two texts, for an empty text, or for shapes that do not fit.
    """
    texts = len(counts)
    if texts < 2:
        raise ValueError("an interval clustered by text needs at least two texts")
    if sums.shape[0] != texts or not (counts > 0).all():
        raise ValueError("each text needs its sums and at least one position")
    draws = rng.multinomial(texts, np.full(texts, 1.0 / texts), size=resamples).astype(np.float64)
    means = (draws @ sums) / (draws @ counts.astype(np.float64))[:, None]
    tail = expanded_tail(texts, confidence)
    low, high = np.quantile(means, [tail, 1.0 - tail], axis=0)
    return [Interval(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def expanded_tail(clusters: int, confidence: float) -> float:
    """The share to cut from each end of the resamples so that an interval over few clusters still covers."""
    if clusters < 2 or not 0.0 < confidence < 1.0:
        raise ValueError("needs two clusters or more and a confidence between 0 and 1")
    stretch = math.sqrt(clusters / (clusters - 1))
    return NormalDist().cdf(-stretch * student_t(clusters - 1, confidence))


def student_t(degrees: int, confidence: float) -> float:
    """The t at which Student's distribution holds ``confidence`` between -t and t, found by bisection.

    The distribution function is the finite sum for whole degrees of freedom (Abramowitz & Stegun 26.7.3, 26.7.4).
    """
    if degrees < 1 or not 0.0 < confidence < 1.0:
        raise ValueError("needs one degree of freedom or more and a confidence between 0 and 1")
    if degrees > _DEGREES_MAX:
        return NormalDist().inv_cdf((1.0 + confidence) / 2.0)
    low, high = 0.0, 1.0
    while _central_share(high, degrees) < confidence:
        high *= 2.0
    for _ in range(80):
        middle = (low + high) / 2.0
        low, high = (middle, high) if _central_share(middle, degrees) < confidence else (low, middle)
    return (low + high) / 2.0


def _central_share(t: float, degrees: int) -> float:
    """Student's probability of lying between -t and t."""
    angle = math.atan(t / math.sqrt(degrees))
    cosine_squared = math.cos(angle) ** 2
    odd = degrees % 2 == 1
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for step in range(degrees // 2):
        total += term
        done, due = (2 * step + 2, 2 * step + 3) if odd else (2 * step + 1, 2 * step + 2)
        term *= cosine_squared * done / due
    total *= math.sin(angle)
    return 2.0 / math.pi * (angle + total) if odd else total


def mcnemar(reference_correct: Sequence[bool], candidate_correct: Sequence[bool]) -> PairedTest:
    """Compare two runs over the same items, in the same order, by McNemar's exact test.

    Only items on which the two differ say anything: were both equally good, each would be lost or gained with
    probability 1/2, so p = min(1, 2 * P(Binomial(changed, 1/2) <= min(lost, gained))). Raises ValueError when the runs
    have different lengths.
    """
    if len(reference_correct) != len(candidate_correct):
        raise ValueError("a paired test needs the same items in both runs")
    pairs = list(zip(reference_correct, candidate_correct, strict=True))
    lost = sum(before and not after for before, after in pairs)
    gained = sum(after and not before for before, after in pairs)
    changed = lost + gained
    tail = sum(math.comb(changed, count) for count in range(min(lost, gained) + 1))
    return PairedTest(
        items=len(pairs),
        reference_correct=sum(map(bool, reference_correct)),
        candidate_correct=sum(map(bool, candidate_correct)),
        lost=lost,
        gained=gained,
        p_value=min(1.0, 2 * tail / 2**changed),
    )
