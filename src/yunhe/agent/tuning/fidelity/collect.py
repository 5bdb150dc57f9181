"""Collecting log-probabilities over the reference texts: the same places of the same texts for every server.

Of each text a run of places after a short lead is measured, in order, so that a server that keeps the prefix computes
one token for each: the path that answers take. Several texts run at once, each in a slot of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from yunhe.adapt.fidelity import InvalidEvidence, Position
from yunhe.adapt.fidelity_texts import ReferenceText, reference_texts
from yunhe.agent.tuning.fidelity.logprobs import Logprobs, SpeaksLogprobs
from yunhe.agent.tuning.fidelity.server import Progress, over_slots

#: Log-probabilities listed for each place. Measured of a small model: 300 leave 4 % of the probability unlisted on
#: average, and cost as little time as 20.
K_DEFAULT: Final = 300
#: Tokens of a text before the first measured one.
LEAD_TOKENS: Final = 16
#: Places of each text. Times 18 texts 2,052: 2,000 are due, and some may be missing.
PLACES_PER_TEXT: Final = 114
#: Bound of one collection.
COLLECT_LIMIT_S: Final = 900.0
#: Stands for "no token" in ``TextRecord.ids``.
NO_TOKEN: Final = -1


@dataclass(frozen=True, slots=True, eq=False)
class TextRecord:
    """What one server said of one text."""

    text_id: str
    #: Of the whole text up to the last measured place.
    tokens: tuple[int, ...]
    #: Place of the first measured token.
    first: int
    #: Shape (places, K); ``NO_TOKEN`` where fewer were listed, in a whole row where none were.
    ids: NDArray[np.int32]
    #: Natural, shape (places, K).
    logprobs: NDArray[np.float32]

    @property
    def missing(self) -> int:
        """Places for which the server listed nothing."""
        return int((self.ids[:, 0] == NO_TOKEN).sum())

    def listed(self, row: int) -> Logprobs:
        """The list of one place; empty where it is missing."""
        kept = self.ids[row] != NO_TOKEN
        return dict(zip(self.ids[row][kept].tolist(), self.logprobs[row][kept].tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Missing:
    """Places that could not be compared."""

    reference: int
    candidate: int


async def collect(
    speech: SpeaksLogprobs,
    slots: int,
    *,
    k: int = K_DEFAULT,
    texts: Sequence[ReferenceText] | None = None,
    places_per_text: int = PLACES_PER_TEXT,
    limit_s: float = COLLECT_LIMIT_S,
    progress: Progress | None = None,
) -> tuple[TextRecord, ...]:
    """Collect over the texts (all when None). Raises as ``Exchange.post`` does."""
    chosen = reference_texts() if texts is None else texts
    due, done = len(chosen) * places_per_text, 0

    async def one(text: ReferenceText, slot: int) -> TextRecord:
        nonlocal done
        tokens = (await speech.tokens(text.text))[: LEAD_TOKENS + places_per_text]
        if len(tokens) <= LEAD_TOKENS:
            raise InvalidEvidence(f"the text {text.entry.id} has {len(tokens)} tokens only", text_id=text.entry.id)
        ids = np.full((len(tokens) - LEAD_TOKENS, k), NO_TOKEN, dtype=np.int32)
        logprobs = np.zeros(ids.shape, dtype=np.float32)
        row = 0
        async for listed in speech.logprobs(tokens, LEAD_TOKENS, k, slot):
            _fill(ids[row], logprobs[row], listed or {})
            row += 1
            done += 1
            if progress is not None:
                progress(done, due)
        return TextRecord(text.entry.id, tuple(tokens), LEAD_TOKENS, ids, logprobs)

    records = await over_slots(slots, chosen, one, limit_s=limit_s, what="log-probabilities")
    return tuple(records)


def _fill(ids: NDArray[np.int32], logprobs: NDArray[np.float32], listed: Logprobs) -> None:
    count = min(len(listed), len(ids))
    ids[:count] = list(listed)[:count]
    logprobs[:count] = list(listed.values())[:count]


def paired(reference: Iterable[TextRecord], candidate: Iterable[TextRecord]) -> Iterator[Position]:
    """The places that both sides listed.

    Raises InvalidEvidence when a text is missing or the two read it as different tokens.
    """
    others = {record.text_id: record for record in candidate}
    for known in reference:
        other = others.get(known.text_id)
        if other is None:
            raise InvalidEvidence(f"the candidate has no record of {known.text_id}", text_id=known.text_id)
        if other.tokens != known.tokens or other.first != known.first:
            raise InvalidEvidence(
                f"the candidate reads {known.text_id} as other tokens than the reference", text_id=known.text_id
            )
        for row in range(len(known.ids)):
            expected, seen = known.listed(row), other.listed(row)
            if expected and seen:
                place = known.first + row
                yield Position(known.text_id, place, known.tokens[place], expected, seen)


def missing(reference: Iterable[TextRecord], candidate: Iterable[TextRecord]) -> Missing:
    """How many places either side did not list."""
    return Missing(sum(record.missing for record in reference), sum(record.missing for record in candidate))
