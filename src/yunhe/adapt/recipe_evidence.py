"""The evidence in a recipe: what was predicted, measured, compared with a baseline and with the reference weights."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from yunhe.adapt.fidelity_gate import Outcome
from yunhe.adapt.recipe_fields import (
    Amount,
    Count,
    Digest,
    EngineBuild,
    Estimate,
    Name,
    Part,
    RecipeId,
    Sentence,
    Settings,
    Share,
    UnixTime,
    refuse_secrets,
)


class Load(Part, frozen=True, kw_only=True):
    """One workload point: requests in flight (closed loop) or requests a second (open loop), never both."""

    concurrency: Count | None
    requests_per_s: Annotated[float, Meta(gt=0)] | None

    def __post_init__(self) -> None:
        if (self.concurrency is None) == (self.requests_per_s is None):
            raise ValueError("a load has either a concurrency or requests a second")

    @property
    def label(self) -> str:
        """The load in a few words, unique among a workload's points."""
        if self.requests_per_s is None:
            return f"{self.concurrency} in flight"
        return f"{self.requests_per_s:g} requests/s"


class PredictedPoint(Part, frozen=True, kw_only=True):
    """What was predicted of a workload point. Errors are predicted / measured - 1; null where it was not measured."""

    load: Load
    ttft_s: Estimate
    tpot_s: Estimate
    output_tokens_per_s: Estimate
    ttft_error_share: float | None
    tpot_error_share: float | None
    output_tokens_per_s_error_share: float | None


class PredictionPart(Part, frozen=True, kw_only=True):
    """What was predicted before it was measured."""

    predictor_version: Name
    #: What the prediction rested on: which of engine, chip and model the fit had seen.
    calibration_level: Name
    #: The resource that takes most of a decode step.
    binding: Name
    points: tuple[PredictedPoint, ...]


class RejectedSample(Part, frozen=True, kw_only=True):
    """A repeat that does not count, and why; its numbers stay visible."""

    #: Number of the repeat, from 0.
    repeat: Annotated[int, Meta(ge=0)]
    reason: Sentence
    output_tokens_per_s: Amount | None
    foreign_cpu_share: Share | None


class Measurement(Part, frozen=True, kw_only=True):
    """What was measured at one workload point, over the repeats that count."""

    load: Load
    ttft_p50_s: Estimate
    ttft_p90_s: Estimate
    ttft_p99_s: Estimate
    tpot_p50_s: Estimate
    tpot_p90_s: Estimate
    tpot_p99_s: Estimate
    output_tokens_per_s: Estimate
    #: Requests a second that kept all objectives; null without objectives.
    goodput_requests_per_s: Estimate | None
    #: Of all cards together.
    memory_peak_bytes: Estimate | None
    #: Joules per output token; null where the chip reports no power.
    energy_per_output_token_j: Estimate | None
    repeats: Count
    rejected: tuple[RejectedSample, ...]
    #: Of the machine's cores, used by other processes during the repeats that count.
    foreign_cpu_share: Share | None


class Gain(Part, frozen=True, kw_only=True):
    """Candidate over baseline, from repeats taken in pairs by turns."""

    load: Load
    metric: Literal["ttft_p50_s", "tpot_p50_s", "output_tokens_per_s", "goodput_requests_per_s"]
    ratio: Estimate
    pairs: Count


class Baseline(Part, frozen=True, kw_only=True):
    """What the gain is over."""

    description: Sentence
    recipe_id: RecipeId | None
    build: EngineBuild
    settings: Settings
    gains: tuple[Gain, ...]

    def __post_init__(self) -> None:
        refuse_secrets(self.settings)


class FidelityReference(Part, frozen=True, kw_only=True):
    """The weights that a candidate is compared with."""

    name: Name
    digest: Digest
    precision: Name


class TaskScore(Part, frozen=True, kw_only=True):
    """Reference and candidate on the same items."""

    items: Count
    reference_correct: Annotated[int, Meta(ge=0)]
    candidate_correct: Annotated[int, Meta(ge=0)]
    #: Of the difference, by an exact paired test.
    p_value: Share


class FidelityPart(Part, frozen=True, kw_only=True):
    """How close the outputs stay to the reference's, and what the gate says of it."""

    reference: FidelityReference
    #: Whose thresholds the gate used: chat, code, exact.
    use_class: Name
    verdict: Outcome
    reasons: tuple[Sentence, ...]
    unmeasured: tuple[Sentence, ...]
    positions: Count
    kl_nats: Estimate
    top1_share: Estimate
    perplexity_ratio: Estimate
    greedy_agreement_tokens: Estimate | None
    task: TaskScore | None
    #: By the text's id.
    text_digests: dict[Name, Digest]


class Reproduction(Part, frozen=True, kw_only=True):
    """Somebody else ran it; their own signed recipe is the proof."""

    recipe_id: RecipeId
    #: Of the key that signed it.
    key_id: Digest
    #: Of the chip's serial number, so that two chips can be told apart and none be named.
    chip_serial_digest: Digest | None
    made_at_unix_s: UnixTime
    #: Output tokens a second, theirs over ours.
    ratio: Estimate
