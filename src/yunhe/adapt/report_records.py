"""What an adaptation's report holds. JSON-able (``msgspec.to_builtins``); units end the names; null is unknown."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from yunhe.adapt.adaptation import Phase
from yunhe.adapt.comparison import Gate, Outcome
from yunhe.adapt.fidelity_gate import Outcome as GateOutcome
from yunhe.adapt.samples import Metric
from yunhe.adapt.trials import CrashCause
from yunhe.catalogue.model import SettingValue

#: What ``low`` and ``high`` of a spread are: a 95 % interval (five windows or more), the smallest and largest window
#: (two to four), or nothing (one window).
Basis = Literal["interval", "range", "single"]


class Record(Struct, frozen=True, kw_only=True):
    """What all parts of a report share."""


class Spread(Record, frozen=True, kw_only=True):
    """A number over windows."""

    value: float
    low: float
    high: float
    basis: Basis
    windows: int


class Ratio(Record, frozen=True, kw_only=True):
    """A candidate over the baseline by paired rounds; ends of a 95 % interval, null with fewer than five rounds."""

    metric: Metric
    lower_is_better: bool
    ratio: float | None
    low: float | None
    high: float | None
    rounds: int
    outcome: Outcome


class Speeds(Record, frozen=True, kw_only=True):
    """What the windows that count say together."""

    output_tokens_per_s: Spread
    input_tokens_per_s: Spread
    ttft_p50_s: Spread
    ttft_p95_s: Spread
    #: Null when every answer had one token.
    tpot_p50_s: Spread | None
    tpot_p95_s: Spread | None
    goodput_per_s: Spread
    memory_peak_bytes: int | None
    joules_per_output_token: Spread | None


class Rejection(Record, frozen=True, kw_only=True):
    """Why windows do not count, and how many."""

    reason: str
    windows: int


class FindingView(Record, frozen=True, kw_only=True):
    """Why a candidate is out for good."""

    candidate: str
    cause: CrashCause | Literal["fidelity"]
    detail: str
    rung: int


class BuildView(Record, frozen=True, kw_only=True):
    """An engine's build that ran."""

    engine: str
    version: str
    digest: str
    candidates: int


class CandidateView(Record, frozen=True, kw_only=True):
    """A candidate that was tried."""

    id: str
    #: In the order in which they were first tried; the baseline is 0.
    number: int
    engine: str
    settings: dict[str, SettingValue]
    #: Those that differ from the baseline's.
    changed: dict[str, SettingValue]
    numerics: str
    #: Digest of the build that it ran; null until it started.
    build_digest: str | None
    is_baseline: bool
    is_chosen: bool
    is_finalist: bool
    on_frontier: bool
    #: Rung of its last window.
    rung: int | None
    windows_accepted: int
    windows_rejected: int
    rejections: tuple[Rejection, ...]
    speeds: Speeds | None
    #: Over the baseline in the objective, by all rounds of the search.
    gain: Ratio | None
    gate: Gate
    finding: FindingView | None


class FrontierPoint(Record, frozen=True, kw_only=True):
    """A candidate in the picture of throughput against TPOT."""

    candidate: str
    number: int
    output_tokens_per_s: Spread
    tpot_s: Spread
    gate: Gate
    #: May never be chosen: the gate refused it, or it crashed.
    refused: bool
    on_frontier: bool
    is_baseline: bool
    is_chosen: bool
    is_finalist: bool


class SideView(Record, frozen=True, kw_only=True):
    """Baseline or choice under one load; medians of the windows' own medians and rates. Null where none counts."""

    candidate: str
    windows_rejected: int
    output_tokens_per_s: Spread | None
    ttft_s: Spread | None
    tpot_s: Spread | None


class LoadView(Record, frozen=True, kw_only=True):
    """Before and after under one load, from rounds of the confirmation alone."""

    label: str
    #: Requests in flight, or (open loop) requests a second.
    concurrency: int | None
    requests_per_s: float | None
    baseline: SideView
    choice: SideView
    gains: tuple[Ratio, ...]


class FidelityMeasure(Record, frozen=True, kw_only=True):
    """One number of the fidelity gate with the bound of the use class."""

    name: Literal["kl_nats", "top1_share", "perplexity_ratio", "greedy_agreement_tokens"]
    value: float
    low: float | None
    high: float | None
    #: Null: reported, never judged.
    limit: float | None
    #: Whether the bound is kept; a bound that can only veto is kept unless it is shown to be broken.
    kept: bool | None


class TaskView(Record, frozen=True, kw_only=True):
    """A task's items solved by the reference and by the candidate."""

    items: int
    reference_correct: int
    candidate_correct: int
    p_value: float
    #: A loss less probable than this refuses.
    p_max: float
    kept: bool


class FidelityView(Record, frozen=True, kw_only=True):
    """The gate's evidence on all candidates with these numerics."""

    numerics: str
    candidates: tuple[str, ...]
    has_chosen: bool
    reference: str
    use_class: str
    verdict: GateOutcome
    reasons: tuple[str, ...]
    unmeasured: tuple[str, ...]
    positions: int
    texts: int
    measures: tuple[FidelityMeasure, ...]
    task: TaskView | None


LineKind = Literal["begun", "resumed", "window", "fidelity", "crash", "confirmation", "judged", "build", "ended"]


class LogLine(Record, frozen=True, kw_only=True):
    """An entry of the journal, in order of time."""

    at_s: float
    kind: LineKind
    #: Since the beginning, idle time included.
    elapsed_s: float = 0.0
    candidate: str | None = None
    number: int | None = None
    rung: int | None = None
    round: int | None = None
    load: str | None = None
    spent_s: float | None = None
    output_tokens_per_s: float | None = None
    ttft_s: float | None = None
    tpot_s: float | None = None
    foreign_cpu_share: float | None = None
    #: Null where nothing was to be accepted.
    accepted: bool | None = None
    #: A word: accepted, rejected, a verdict of the gate, the cause of a crash, or the last phase.
    outcome: str = ""
    reasons: tuple[str, ...] = ()


class Ceiling(Record, frozen=True, kw_only=True):
    """A speed of the cards together: bytes or operations a second."""

    name: str
    value: float
    kind: Literal["bandwidth", "compute"]
    source: str


class OperatingPoint(Record, frozen=True, kw_only=True):
    """A measured load in the roofline: operations a second, and operations for each byte read."""

    label: str
    role: Literal["baseline", "choice"]
    stage: Literal["decode", "prefill"]
    operations_per_byte: float
    operations_per_s: float
    #: The roof above it: main memory, or the highest compute ceiling.
    binding: Literal["memory", "compute"]
    #: Of that roof; above 1 when the weights come from a cache.
    attained_share: float


class RooflineView(Record, frozen=True, kw_only=True):
    """What the cards can, and what was reached."""

    ceilings: tuple[Ceiling, ...]
    points: tuple[OperatingPoint, ...]


class RequestView(Record, frozen=True, kw_only=True):
    """Requests of one length."""

    input_tokens: int
    output_tokens: int
    share: float


class WorkloadView(Record, frozen=True, kw_only=True):
    """What candidates were loaded with."""

    name: str
    requests: tuple[RequestView, ...]
    concurrencies: tuple[int, ...]
    open_loop_share: float
    slo_ttft_s: float | None
    slo_tpot_s: float | None


class ChipView(Record, frozen=True, kw_only=True):
    """Equal cards."""

    chip: str
    name: str
    cards: int
    memory_bytes: int | None
    cores: int | None


class BudgetView(Record, frozen=True, kw_only=True):
    """What may be used, and what is."""

    duration_s: float
    used_s: float
    trials_max: int | None
    trials: int


class CountsView(Record, frozen=True, kw_only=True):
    """How many of what; windows of search and confirmation together."""

    windows_accepted: int
    windows_rejected: int
    crashes: int
    refused: int
    candidates_tried: int
    candidates_untried: int
    resumptions: int


class AdaptationView(Record, frozen=True, kw_only=True):
    """All of a report."""

    adaptation_id: str
    title: str
    model: str
    use_class: str
    objective: Metric
    workload: WorkloadView
    chips: tuple[ChipView, ...]
    #: Some of it was made on a simulated chip: no number here is a measurement.
    simulated: bool
    phase: Phase
    #: What is under way, or why it ended.
    activity: str
    started_at_s: float | None
    updated_at_s: float | None
    budget: BudgetView
    counts: CountsView
    builds: tuple[BuildView, ...]
    baseline: str | None
    #: The recipe's candidate; null until it is confirmed, or when nothing was shown to be better.
    chosen: str | None
    #: What would be chosen if the search ended now; the baseline's id when nothing better is shown yet.
    leading: str | None
    #: Compared with the baseline in ``loads``.
    confirmed: str | None
    candidates: tuple[CandidateView, ...]
    frontier: tuple[FrontierPoint, ...]
    loads: tuple[LoadView, ...]
    fidelity: tuple[FidelityView, ...]
    findings: tuple[FindingView, ...]
    log: tuple[LogLine, ...]
    roofline: RooflineView | None
