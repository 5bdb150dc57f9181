"""Filling a recipe's document with what an adaptation measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from yunhe.adapt.adaptation import AdaptationSpec, Confirmed, Noted
from yunhe.adapt.candidates import Candidate
from yunhe.adapt.comparison import Comparison
from yunhe.adapt.confirmation import gain, load_of
from yunhe.adapt.recipe_document import (
    SCHEMA,
    ChipFingerprint,
    EnginePart,
    HostPart,
    LengthShare,
    LinkTopology,
    ModelPart,
    Objectives,
    Parallelism,
    Quantisation,
    Recipe,
    Workload,
)
from yunhe.adapt.recipe_evidence import Baseline, FidelityPart, Gain, Load, Measurement, PredictionPart, RejectedSample
from yunhe.adapt.recipe_fields import EngineBuild, Estimate, Interval
from yunhe.adapt.samples import Measured, Metric, Slo, Summary, summarise
from yunhe.catalogue.model import Model
from yunhe.pool.model import Card, Node

GainMetric = Literal["ttft_p50_s", "tpot_p50_s", "output_tokens_per_s", "goodput_requests_per_s"]
CONFIDENCE: Final = 0.95
#: Metric of a window -> its name in a recipe's gains.
GAINS: Final[tuple[tuple[Metric, GainMetric], ...]] = (
    ("output_tokens_per_s", "output_tokens_per_s"),
    ("ttft_s", "ttft_p50_s"),
    ("tpot_s", "tpot_p50_s"),
)


@dataclass(frozen=True, slots=True)
class Findings:
    """All that a recipe is made of."""

    spec: AdaptationSpec
    model: Model
    quantisation: Quantisation | None
    cards: tuple[Card, ...]
    node: Node | None
    baseline: Candidate
    chosen: Candidate
    #: By candidate id; both are there.
    builds: dict[str, Noted]
    confirmed: tuple[Confirmed, ...]
    loads: tuple[Load, ...]
    fidelity: FidelityPart
    prediction: PredictionPart | None
    made_by: str
    made_at_s: float
    known_limits: tuple[str, ...] = ()


def fill(found: Findings) -> Recipe:
    """The document. Raises ValueError when a load has no window that counts."""
    pair = (found.baseline.id, found.chosen.id)
    rates = tuple(load.requests_per_s for load in found.loads if load.requests_per_s is not None)
    slo = found.spec.workload.slo
    asked = found.spec.workload
    return Recipe(
        schema=SCHEMA,
        model=ModelPart(
            name=found.model.name,
            digest=found.model.weights.sha256 or "0" * 64,
            architecture=found.model.architecture,
            source=found.model.source or found.model.weights.location,
            quantisation=found.quantisation,
        ),
        chip=fingerprint(found.cards),
        host=host_part(found.cards, found.node),
        engine=_engine(found.builds[found.chosen.id]),
        settings=dict(found.chosen.settings),
        parallelism=Parallelism(tensor=max(1, len(found.cards)), pipeline=1, expert=1, data=1),
        workload=Workload(
            lengths=tuple(
                LengthShare(input_tokens=one.input_tokens, output_tokens=one.output_tokens, share=one.share)
                for one in asked.requests
            ),
            concurrencies=asked.concurrencies,
            request_rates_per_s=rates,
            arrival="closed and poisson" if rates else "closed",
            seed=found.spec.seed,
            prompts_digest=None,
            objectives=Objectives(ttft_s=slo.ttft_s, tpot_s=slo.tpot_s) if slo != Slo() else None,
        ),
        prediction=found.prediction,
        measurements=tuple(_measurement(found, load) for load in found.loads),
        baseline=Baseline(
            description=f"{found.baseline.engine} as it was deployed before",
            recipe_id=None,
            build=_build(found.builds[found.baseline.id]),
            settings=dict(found.baseline.settings),
            gains=tuple(
                made
                for load in found.loads
                for metric, name in GAINS
                if (made := _gain(gain(found.confirmed, pair, load, metric), load, name)) is not None
            ),
        ),
        fidelity=found.fidelity,
        known_limits=found.known_limits,
        made_by=found.made_by,
        made_at_unix_s=found.made_at_s,
        parent_recipe_id=None,
        reproductions=(),
    )


def fingerprint(cards: Sequence[Card]) -> ChipFingerprint:
    """The cards, as recipes tell them apart. Raises ValueError without a card."""
    if not cards:
        raise ValueError("a recipe is of cards")
    card = cards[0]
    return ChipFingerprint(
        chip_id=card.chip,
        model_name=card.model_name,
        core_count=card.cores,
        memory_bytes=card.memory_bytes,
        instruction_sets=tuple(sorted(set(card.features))),
        firmware_version=None,
        driver_version=card.driver_version,
        count=len(cards),
        link_topology=LinkTopology(shape="none" if len(cards) == 1 else "unknown", bandwidth_bytes_per_s=None),
    )


def host_part(cards: Sequence[Card], node: Node | None) -> HostPart:
    """The machine around them."""
    cpu = next((card.model_name for card in (node.cards if node else ()) if card.kind == "cpu"), None)
    system, _, kernel = (node.os if node else "unknown").partition(" ")
    return HostPart(
        cpu_model_name=cpu or next((card.model_name for card in cards if card.kind == "cpu"), None),
        cpu_cores=node.cpu_cores if node else None,
        memory_bytes=node.memory_bytes if node else None,
        numa_nodes=None,
        os=system or "unknown",
        kernel=kernel or None,
        governor=None,
    )


def _engine(noted: Noted) -> EnginePart:
    return EnginePart(build=_build(noted), argv=noted.argv, env=noted.env)


def _build(noted: Noted) -> EngineBuild:
    engine, _, version = noted.build_version.partition(" ")
    return EngineBuild(name=engine, version=version or "unknown", build_digest=noted.build_digest)


def _measurement(found: Findings, load: Load) -> Measurement:
    own = [one for one in found.confirmed if one.candidate == found.chosen.id and load_of(one) == load]
    counted = [one.sample for one in own if not one.reasons]
    if not counted:
        raise ValueError(f"no window with {load.label} counts")
    slo = found.spec.workload.slo
    summary = summarise(counted, slo, np.random.default_rng(1))
    tpot = summary.tpot_s
    zero = Estimate(value=0.0, interval=None)
    return Measurement(
        load=load,
        ttft_p50_s=_estimate(summary.ttft_s.p50),
        ttft_p90_s=_estimate(summary.ttft_s.p90),
        ttft_p99_s=_estimate(summary.ttft_s.p99),
        tpot_p50_s=_estimate(tpot.p50) if tpot else zero,
        tpot_p90_s=_estimate(tpot.p90) if tpot else zero,
        tpot_p99_s=_estimate(tpot.p99) if tpot else zero,
        output_tokens_per_s=_estimate(summary.output_tokens_per_s),
        goodput_requests_per_s=_estimate(summary.goodput_per_s) if slo != Slo() else None,
        memory_peak_bytes=_memory(summary),
        energy_per_output_token_j=_estimate(summary.joules_per_output_token)
        if summary.joules_per_output_token
        else None,
        repeats=len(counted),
        rejected=tuple(_rejected(number, one) for number, one in enumerate(own) if one.reasons),
        foreign_cpu_share=float(np.mean([sample.foreign_cpu_share for sample in counted])),
    )


def _rejected(number: int, one: Confirmed) -> RejectedSample:
    sample = one.sample
    return RejectedSample(
        repeat=number,
        reason="; ".join(one.reasons)[:2000],
        output_tokens_per_s=sample.output_tokens / sample.duration_s if sample.duration_s > 0 else None,
        foreign_cpu_share=min(1.0, sample.foreign_cpu_share),
    )


def _memory(summary: Summary) -> Estimate | None:
    peak = summary.memory_peak_bytes
    return Estimate(value=float(peak), interval=None) if peak is not None else None


def _estimate(measured: Measured) -> Estimate:
    ends = measured.interval
    if ends is None:
        return Estimate(value=measured.value, interval=None)
    return Estimate(value=measured.value, interval=Interval(low=ends.low, high=ends.high, confidence=CONFIDENCE))


def _gain(compared: Comparison, load: Load, name: GainMetric) -> Gain | None:
    if compared.ratio is None:
        return None
    ends = compared.interval
    interval = None if ends is None else Interval(low=ends.low, high=ends.high, confidence=CONFIDENCE)
    ratio = Estimate(value=compared.ratio, interval=interval)
    return Gain(load=load, metric=name, ratio=ratio, pairs=compared.rounds)
