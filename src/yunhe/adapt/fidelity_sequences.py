"""Agreement of generated token sequences: how long greedy answers stay the same, and checks at the edges.

Teacher forcing shows each next token on its own. What it cannot show is seen by generating: an answer that depends on
what else is in the batch, and prompts so short or so long that a kernel takes another path.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

Tokens = Sequence[int]
#: ``batch``: the same prompt alone and in a full batch, both by the candidate. ``short_prompt`` and ``long_prompt``:
#: the reference's answer and the candidate's, to a prompt of one to three tokens, or of nearly the whole context.
CheckKind = Literal["batch", "short_prompt", "long_prompt"]


@dataclass(frozen=True, slots=True)
class GreedyAgreement:
    """How many tokens greedy answers to the same prompts share from their start. Lengths are in tokens."""

    answers: int
    #: Answers that are the same to their end; their agreement is at least their length, not equal to it.
    identical: int
    mean_tokens: float
    median_tokens: float
    #: One answer in ten parts sooner than this.
    p10_tokens: float
    #: Tokens agreed on for each difference met: the mean agreement length were every answer endless (exponential
    #: lengths cut off at the answer's end, by maximum likelihood). None when no answer differed.
    tokens_per_difference: float | None


@dataclass(frozen=True, slots=True)
class SequenceComparison:
    """One kind of check over several prompts; tuples are by prompt, in tokens."""

    kind: CheckKind
    #: Length of the common start.
    agreed_tokens: tuple[int, ...]
    #: Length of the longer of the two answers: what full agreement would be.
    length_tokens: tuple[int, ...]

    def agreeing_share(self, tokens: int | None) -> float:
        """Share of prompts whose answers agree over their first ``tokens`` tokens, or wholly when None.

        Of answers shorter than that, all of the longer one must agree. Two empty answers do not count as agreement: an
        engine that says nothing has not been checked.
        """
        agreeing = [
            length > 0 and agreed >= (length if tokens is None else min(tokens, length))
            for agreed, length in zip(self.agreed_tokens, self.length_tokens, strict=True)
        ]
        return sum(agreeing) / len(agreeing)


def common_start(expected: Tokens, seen: Tokens) -> int:
    """How many tokens two sequences share from their start."""
    for index, (left, right) in enumerate(zip(expected, seen, strict=False)):
        if left != right:
            return index
    return min(len(expected), len(seen))


def greedy_agreement(answers: Iterable[tuple[Tokens, Tokens]]) -> GreedyAgreement:
    """Statistics of the common start of greedy answers, given as (reference, candidate) pairs.

    An answer that ends sooner than the other differs where it ends. Raises ValueError when there are none.
    """
    pairs = list(answers)
    if not pairs:
        raise ValueError("no answers to compare")
    agreed = np.array([common_start(expected, seen) for expected, seen in pairs], dtype=np.float64)
    identical = sum(list(expected) == list(seen) for expected, seen in pairs)
    differing = len(pairs) - identical
    return GreedyAgreement(
        answers=len(pairs),
        identical=identical,
        mean_tokens=float(agreed.mean()),
        median_tokens=float(np.median(agreed)),
        p10_tokens=float(np.quantile(agreed, 0.1)),
        tokens_per_difference=float(agreed.sum()) / differing if differing else None,
    )


def compare_sequences(kind: CheckKind, answers: Iterable[tuple[Tokens, Tokens]]) -> SequenceComparison:
    """Compare answers given as (expected, seen) pairs. Raises ValueError when there are none."""
    pairs = list(answers)
    if not pairs:
        raise ValueError("no answers to compare")
    return SequenceComparison(
        kind=kind,
        agreed_tokens=tuple(common_start(expected, seen) for expected, seen in pairs),
        length_tokens=tuple(max(len(expected), len(seen)) for expected, seen in pairs),
    )
