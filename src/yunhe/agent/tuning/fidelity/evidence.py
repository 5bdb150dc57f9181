"""From a running candidate to the fidelity part of its recipe.

``record_reference`` once for each reference, then ``measure`` for each candidate.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from yunhe.adapt import fidelity, fidelity_stats, recipe_fields
from yunhe.adapt.fidelity_gate import GATES, Evidence, UseClass, judge
from yunhe.adapt.fidelity_sequences import CheckKind, SequenceComparison, compare_sequences, greedy_agreement
from yunhe.adapt.fidelity_stats import CONFIDENCE, PairedTest, mcnemar
from yunhe.adapt.fidelity_texts import reference_texts, text_classes, texts_digest
from yunhe.adapt.recipe_evidence import FidelityPart, FidelityReference, TaskScore
from yunhe.agent.tuning.fidelity import generate
from yunhe.agent.tuning.fidelity.collect import K_DEFAULT, PLACES_PER_TEXT, TextRecord, collect, missing, paired
from yunhe.agent.tuning.fidelity.generate import Answered
from yunhe.agent.tuning.fidelity.logprobs import SpeaksLogprobs, speech
from yunhe.agent.tuning.fidelity.records import (
    PARTS,
    Part,
    RecordsKey,
    ReferenceAnswers,
    ReferenceRecords,
    load_records,
    save_records,
)
from yunhe.agent.tuning.fidelity.server import Exchange, Progress, Server, connected

#: Of the bootstrap: the same measurement gives the same intervals.
_SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Measured:
    """What was measured of a candidate; may be judged for several classes of use."""

    evidence: Evidence
    #: Sentences for what could not be measured, beside what the gate itself finds missing.
    gaps: tuple[str, ...]


async def record_reference(
    server: Server,
    directory: Path,
    reference: FidelityReference,
    engine: str,
    *,
    parts: Sequence[Part] = PARTS,
    k: int = K_DEFAULT,
    places_per_text: int = PLACES_PER_TEXT,
    progress: Progress | None = None,
) -> ReferenceRecords:
    """The records of the reference that this server runs: from the directory, or collected and saved there.

    ``engine`` is name, version and build. Progress is in places. Raises MeasurementFailed, MeasurementRefused or
    InvalidEvidence, and OSError when the disk fails.
    """
    key = RecordsKey(
        reference=reference,
        engine=engine,
        texts_digest=texts_digest(),
        k=k,
        places_per_text=places_per_text,
        context_length=server.context_length,
        parts=tuple(part for part in PARTS if part in parts),
    )
    known = await asyncio.to_thread(load_records, directory, key)
    if known is not None:
        return known
    async with connected(server) as exchange:
        said = speech(server, exchange)
        texts = await collect(said, server.slots, k=k, places_per_text=places_per_text, progress=progress)
        answers = ReferenceAnswers(task=await generate.task_results(server, exchange) if "task" in parts else None)
        if "sequences" in parts:
            answers = await _reference_answers(server, said, texts, answers.task)
    records = ReferenceRecords(key, texts, answers)
    await asyncio.to_thread(save_records, directory, records)
    return records


async def _reference_answers(
    server: Server, said: SpeaksLogprobs, texts: Sequence[TextRecord], task: tuple[bool, ...] | None
) -> ReferenceAnswers:
    whole = [await said.tokens(text.text) for text in reference_texts()]
    prompts = generate.prompts_from(texts, whole, server.context_length)
    return ReferenceAnswers(
        greedy=await generate.alone(said, prompts.greedy, generate.GREEDY_TOKENS),
        short_prompt=await generate.decisive(said, server.slots, prompts.short, generate.SHORT_PROMPTS_KEPT),
        long_prompt=await generate.at_the_edges(said, server.slots, prompts.long) or (),
        task=task,
    )


async def measure(
    server: Server, reference: ReferenceRecords, use_class: UseClass, *, progress: Progress | None = None
) -> FidelityPart:
    """Measure a candidate and judge it. Raises as ``gather`` does."""
    measured = await gather(server, reference, stop_unless=use_class, progress=progress)
    return judged(measured, reference, use_class)


async def gather(
    server: Server,
    reference: ReferenceRecords,
    *,
    stop_unless: UseClass | None = None,
    progress: Progress | None = None,
) -> Measured:
    """Measure a candidate: the parts that the reference has. Progress is in places.

    With ``stop_unless`` nothing is generated of a candidate whose log-probabilities fail this gate already.

    Raises MeasurementFailed when the server goes away or is too slow, MeasurementRefused when it does not give
    log-probabilities, InvalidEvidence when they are unusable or the candidate reads texts as other tokens.
    """
    key, answers = reference.key, reference.answers
    async with connected(server) as exchange:
        said = speech(server, exchange)
        texts = await collect(said, server.slots, k=key.k, places_per_text=key.places_per_text, progress=progress)
        pooled, by_class = await asyncio.to_thread(_summed, reference.texts, texts)
        found = Measured(Evidence(pooled, by_class), tuple(_gaps(reference.texts, texts)))
        if stop_unless is not None and not judge(found.evidence, GATES[stop_unless]).passed:
            return found
        greedy = await generate.alone(said, _prompts(answers.greedy), generate.GREEDY_TOKENS) if answers.greedy else ()
        sequences = (
            *await _batch(server, said, greedy),
            *await _edge(server, said, "short_prompt", answers.short_prompt),
            *await _edge(server, said, "long_prompt", answers.long_prompt),
        )
        task = await _task(server, exchange, answers.task)
    agreement = greedy_agreement(generate.answer_pairs(answers.greedy, greedy)) if greedy else None
    return replace(found, evidence=replace(found.evidence, greedy=agreement, task=task, sequences=sequences))


def judged(measured: Measured, reference: ReferenceRecords, use_class: UseClass) -> FidelityPart:
    """The gate's verdict on what was measured, as the part of a recipe."""
    evidence = measured.evidence
    verdict = judge(evidence, GATES[use_class])
    pooled, greedy, task = evidence.pooled, evidence.greedy, evidence.task
    return FidelityPart(
        reference=reference.key.reference,
        use_class=use_class,
        verdict=verdict.outcome,
        reasons=verdict.reasons,
        unmeasured=(*verdict.unmeasured, *measured.gaps),
        positions=pooled.positions,
        kl_nats=_estimate(pooled.kl),
        top1_share=_estimate(pooled.top1),
        perplexity_ratio=_estimate(pooled.perplexity_ratio),
        greedy_agreement_tokens=None
        if greedy is None
        else recipe_fields.Estimate(value=greedy.mean_tokens, interval=None),
        task=None
        if task is None
        else TaskScore(
            items=task.items,
            reference_correct=task.reference_correct,
            candidate_correct=task.candidate_correct,
            p_value=task.p_value,
        ),
        text_digests={text.entry.id: text.entry.sha256 for text in reference_texts()},
    )


def _summed(
    reference: Sequence[TextRecord], candidate: Sequence[TextRecord]
) -> tuple[fidelity.Fidelity, dict[str, fidelity.Fidelity]]:
    """Takes the CPU for a second or two."""
    scores = fidelity.score(paired(reference, candidate))
    pooled = fidelity.fidelity(scores, np.random.default_rng(_SEED))
    return pooled, fidelity.fidelity_by_class(scores, text_classes(), np.random.default_rng(_SEED))


def _prompts(answers: Sequence[Answered]) -> list[generate.Tokens]:
    return [answered.prompt for answered in answers]


async def _batch(server: Server, said: SpeaksLogprobs, greedy: tuple[Answered, ...]) -> list[SequenceComparison]:
    """The candidate's own answers alone and with all slots busy; with one slot there is no batch."""
    if not greedy or server.slots < 2:
        return []
    busy = await generate.in_full_batches(said, server.slots, _prompts(greedy), generate.GREEDY_TOKENS)
    return [compare_sequences("batch", generate.answer_pairs(greedy, busy))]


async def _edge(
    server: Server, said: SpeaksLogprobs, kind: CheckKind, expected: tuple[Answered, ...]
) -> list[SequenceComparison]:
    """Against the reference's answers; prompts that do not fit the candidate's context are left out."""
    prompts = [prompt for prompt in _prompts(expected) if len(prompt) + generate.EDGE_TOKENS < server.context_length]
    seen = await generate.at_the_edges(said, server.slots, prompts) if prompts else None
    return [compare_sequences(kind, generate.answer_pairs(expected, seen))] if seen else []


async def _task(server: Server, exchange: Exchange, expected: tuple[bool, ...] | None) -> PairedTest | None:
    seen = await generate.task_results(server, exchange) if expected is not None else None
    return mcnemar(expected, seen) if expected is not None and seen is not None else None


def _gaps(reference: Sequence[TextRecord], candidate: Sequence[TextRecord]) -> Iterator[str]:
    lost = missing(reference, candidate)
    for side, count in (("reference", lost.reference), ("candidate", lost.candidate)):
        if count:
            yield f"{count} places for which the {side} listed no log-probabilities"


def _estimate(found: fidelity.Estimate) -> recipe_fields.Estimate:
    return recipe_fields.Estimate(value=found.value, interval=_interval(found.interval))


def _interval(found: fidelity_stats.Interval | None) -> recipe_fields.Interval | None:
    return None if found is None else recipe_fields.Interval(low=found.low, high=found.high, confidence=CONFIDENCE)
