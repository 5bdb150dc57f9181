"""Journals of adaptations on a simulated machine, for tests and demonstrations: plainly not measured anywhere.

The search is the real one; what it measures comes from a small model of a machine that drifts, jitters, is disturbed
by others, crashes under some settings and holds a weight format that is not faithful.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from msgspec.structs import replace

from yunhe.adapt.adaptation import (
    WORKLOADS,
    AdaptationSpec,
    Confirmed,
    Ended,
    Entry,
    Judged,
    Noted,
    TuningOrder,
    search_events,
)
from yunhe.adapt.candidates import Candidate, candidates
from yunhe.adapt.comparison import ROUNDS_MIN
from yunhe.adapt.confirmation import gain, loads_of, next_window
from yunhe.adapt.recipe_document import recipe_json
from yunhe.adapt.recipe_evidence import FidelityPart, FidelityReference, Load, TaskScore
from yunhe.adapt.recipe_fields import Estimate, Interval
from yunhe.adapt.recipe_filling import Findings, fill
from yunhe.adapt.samples import Sample, SampleRules, judge_sample
from yunhe.adapt.search import Done, next_trial
from yunhe.adapt.trials import Begun, Budget, Crashed, Event, Gated, Problem, State, Trial, Windowed, replay
from yunhe.catalogue.model import SettingValue, Weights
from yunhe.catalogue.ports import SettingsSpace
from yunhe.pool.model import Card, Measure
from yunhe.testing.samples import NOW, model, recipe

WINDOW_S: Final = 9.0
START_S: Final = 2.5
GATE_S: Final = 38.0
DEFAULTS: Final[dict[str, SettingValue]] = {
    "slots": 4, "weight_format": "bf16", "kv_type": "f16", "threads": 8, "flash_attention": True, "batch": 512,
}  # fmt: skip
MODEL: Final = model(
    "simulated-135m",
    parameters=134_515_008,
    weights=Weights("gguf", "5a" * 32, 271_000_000, "file:/nowhere/simulated.gguf"),
    shape={"layers": 30, "hidden_size": 576, "heads": 9, "kv_heads": 3, "head_size": 64, "vocabulary": 49152},
    context_length=8192,
    source="simulated: no weights lie behind it",
)
CARD: Final = Card(
    uid="card-simulated",
    chip="cpu-simulated",
    maker="simulated",
    kind="cpu",
    model_name="Simulated 8-core CPU",
    memory_bytes=34_359_738_368,
    cores=8,
    features=("avx2", "avx512f", "amx_bf16"),
    health="healthy",
    speeds={
        "cache_bandwidth_l2": Measure(6.4e11, "bytes_per_s", "simulated"),
        "cache_bandwidth_l3": Measure(2.1e11, "bytes_per_s", "simulated"),
        "memory_bandwidth": Measure(9.2e10, "bytes_per_s", "simulated"),
        "matmul_f32": Measure(7.1e11, "flop_per_s", "simulated"),
        "dot_bf16_avx512": Measure(2.9e12, "flop_per_s", "simulated"),
    },
    simulated=True,
)
_KL: Final = {"bf16": 0.0011, "q8_0": 0.0031, "q4_0": 0.247}
_TOP1: Final = {"bf16": 0.974, "q8_0": 0.957, "q4_0": 0.688}
_PERPLEXITY: Final = {"bf16": 1.001, "q8_0": 1.004, "q4_0": 1.113}
_FORMAT_SPEED: Final = {"bf16": 1.0, "q8_0": 0.66, "q4_0": 0.45}


@dataclass(frozen=True, slots=True)
class SimulatedMachine:
    """What is true there, and how it is disturbed; everything is drawn from the seed."""

    seed: int = 1
    noise: float = 0.025
    drift: float = 0.06
    disturbed_share: float = 0.08

    def crash(self, candidate: Candidate) -> tuple[Literal["signal", "out_of_memory"], str] | None:
        """How this candidate dies."""
        settings = candidate.settings
        if settings["slots"] == 32 and settings["kv_type"] == "f16" and settings["batch"] == 2048:
            return "out_of_memory", "simulated: 36.2 GiB wanted of 32.0 GiB"
        if candidate.engine == "native" and settings["weight_format"] == "bf16" and settings["batch"] == 2048:
            return "signal", "simulated: ended by SIGILL (illegal instruction) while it loaded the weights"
        return None

    def step_s(self, candidate: Candidate, batch: float) -> float:
        """Seconds of one decode step of so many sequences, undisturbed."""
        settings = candidate.settings
        reading = 0.0058 * _FORMAT_SPEED[str(settings["weight_format"])] * (0.75 if candidate.engine == "native" else 1)
        each = 0.0009 * (0.7 if candidate.engine == "native" else 1) * (0.93 if settings["kv_type"] == "q8_0" else 1)
        each *= 1.0 if settings["flash_attention"] else 1.12
        return (reading + each * batch) * (1.0 if settings["threads"] == 8 else 1.45)

    def sample(self, candidate: Candidate, load: Load, shape: tuple[int, int], number: int, round: int) -> Sample:
        """A window under a load; ``shape`` holds input and output tokens."""
        rng = np.random.default_rng([self.seed, number])
        disturbed = bool(rng.random() < self.disturbed_share)
        drift = np.random.default_rng([self.seed, 7, round]).normal(0, self.drift)
        slow = math.exp(drift + self.noise * float(rng.standard_t(4))) * (1.45 if disturbed else 1.0)
        wide = _in_flight(self, candidate, load, shape)
        batch = min(wide, float(candidate.settings["slots"]))
        tpot_s = self.step_s(candidate, batch) * slow
        prefill_s = shape[0] * 0.0011 * (0.4 if candidate.engine == "native" else 1.0) * slow
        request_s = prefill_s * batch**0.5 + shape[1] * tpot_s
        waiting_s = max(0.0, wide / batch - 1.0) * request_s
        rate = load.requests_per_s or batch / request_s
        count = max(4, math.floor(rate * WINDOW_S + 0.5))
        spread = rng.lognormal(0.0, 0.09, size=(2, count))
        return Sample(
            candidate=candidate.id,
            round=round,
            duration_s=count / rate,
            completed=count,
            input_tokens=count * shape[0],
            output_tokens=count * shape[1],
            output_tokens_due=count * shape[1],
            ttft_s=tuple(float(one) for one in (prefill_s * batch**0.5 + waiting_s) * spread[0]),
            tpot_s=tuple(float(one) for one in tpot_s * spread[1] ** 0.4),
            foreign_cpu_share=0.31 if disturbed else float(abs(rng.normal(0.012, 0.008))),
            memory_peak_bytes=int(4.2e8 + 2.3e7 * float(candidate.settings["slots"])),
            owns_port=True,
        )


def _in_flight(machine: SimulatedMachine, candidate: Candidate, load: Load, shape: tuple[int, int]) -> float:
    if load.concurrency is not None:
        return float(load.concurrency)
    wide = 1.0
    for _ in range(20):
        wide = max(0.3, min(64.0, (load.requests_per_s or 0.0) * shape[1] * machine.step_s(candidate, wide)))
    return wide


@dataclass(slots=True)
class SimulatedAdaptation:
    """An order, its cards and what its tuner wrote."""

    order: TuningOrder
    cards: tuple[Card, ...]
    entries: list[Entry] = field(default_factory=list)


def simulated_adaptation(
    *,
    candidates_max: int = 40,
    duration_s: float = 1500.0,
    machine: SimulatedMachine | None = None,
    end: Literal["finished", "failed", "cancelled", ""] = "finished",
    entries_max: int | None = None,
) -> SimulatedAdaptation:
    """A whole adaptation. ``entries_max`` cuts its journal; then ``end`` other than ``finished`` says how it ended
    there, and with "" it is still under way."""
    spec = AdaptationSpec("simulated-135m", WORKLOADS["decode"], duration_s=duration_s)
    baseline = Candidate("baseline", "portable", dict(DEFAULTS), _numerics("portable", DEFAULTS))
    tried = [one for one in _candidates() if one.settings != DEFAULTS or one.engine != "portable"]
    budget = Budget(duration_s - min(0.4 * duration_s, 360.0), None, GATE_S)
    problem = Problem(baseline, tuple(tried[:candidates_max]), spec.objective(), budget)
    served = recipe(model=MODEL.name, chip=CARD.chip, engine="portable", settings=dict(DEFAULTS))
    made = SimulatedAdaptation(TuningOrder("adp_simulated", spec, MODEL, (CARD.uid,), served), (CARD,))
    made.entries.extend(_Tuner(made.order, problem, machine or SimulatedMachine()).entries())
    if entries_max is not None and entries_max < len(made.entries):
        made.entries = made.entries[:entries_max]
        at_s = made.entries[-1].at_s + 1.0 if made.entries else NOW
        if end == "cancelled":
            made.entries.append(Ended("cancelled", None, "somebody cancelled it", at_s=at_s))
        if end == "failed":
            made.entries.append(Ended("failed", None, "simulated: the disk is full", at_s=at_s))
    return made


def _candidates() -> Sequence[Candidate]:
    choices: dict[str, tuple[SettingValue, ...]] = {
        "slots": (4, 8, 16, 32), "weight_format": ("bf16", "q8_0", "q4_0"), "kv_type": ("f16", "q8_0"),
        "threads": (8, 4), "flash_attention": (True, False), "batch": (512, 2048),
    }  # fmt: skip
    space = SettingsSpace(choices)

    def scores(found: Sequence[Candidate]) -> list[float]:
        rng = np.random.default_rng(5)
        guess = SimulatedMachine()
        return [min(8, float(c.settings["slots"])) / guess.step_s(c, 8) * rng.lognormal(0, 0.5) for c in found]

    return candidates({"portable": space, "native": space}, numerics=_numerics, scores=scores)


def _numerics(engine: str, settings: object) -> str:
    assert isinstance(settings, dict)
    return f"{engine} 1.0 kv_type={settings['kv_type']} weight_format={settings['weight_format']}"


class _Tuner:
    """Does what an agent's tuner does, in no time."""

    def __init__(self, order: TuningOrder, problem: Problem, machine: SimulatedMachine) -> None:
        self._order, self._problem, self._machine = order, problem, machine
        self._now_s = NOW
        self._written: list[Entry] = []

    def entries(self) -> list[Entry]:
        """The journal, from its first entry to its last."""
        self._written.append(Begun(self._problem, self._now_s))
        while isinstance(step := next_trial(self._state, self._now_s), Trial):
            self._written.extend(self._carry_out(step))
        self._written.extend(self._conclude(step))
        return self._written

    @property
    def _state(self) -> State:
        return replay(search_events(self._written))

    def _carry_out(self, trial: Trial) -> Iterator[Entry]:
        candidate = self._problem.candidate(trial.candidate)
        if crash := self._machine.crash(candidate):
            self._now_s += 4.0
            yield Crashed(trial, *crash, 4.0, self._now_s)
            return
        yield from self._noted(candidate)
        yield from self._fidelity(trial, candidate) if trial.kind == "fidelity" else self._window(trial, candidate)

    def _noted(self, candidate: Candidate) -> Iterator[Entry]:
        if any(isinstance(entry, Noted) and entry.candidate == candidate.id for entry in self._written):
            return
        argv = ("simulated-server", *(f"--{name}={value}" for name, value in sorted(candidate.settings.items())))
        digest = hashlib.sha256(candidate.engine.encode()).hexdigest()
        yield Noted(candidate.id, argv, {}, f"{candidate.engine} 1.0-simulated", digest, self._now_s)

    def _window(self, trial: Trial, candidate: Candidate) -> Iterator[Event]:
        load = Load(concurrency=self._order.spec.workload.concurrencies[0], requests_per_s=None)
        sample = self._machine.sample(candidate, load, self._shape, trial.number, trial.round)
        spent_s = sample.duration_s + START_S
        self._now_s += spent_s
        yield Windowed(trial, sample, spent_s, self._now_s)

    def _fidelity(self, trial: Trial, candidate: Candidate) -> Iterator[Entry]:
        self._now_s += GATE_S
        evidence = fidelity_evidence(str(candidate.settings["weight_format"]))
        yield Judged(candidate.numerics, evidence, self._now_s)
        yield Gated(trial, evidence.verdict, evidence.reasons, GATE_S, self._now_s)

    @property
    def _shape(self) -> tuple[int, int]:
        request = self._order.spec.workload.requests[0]
        return request.input_tokens, request.output_tokens

    def _conclude(self, done: Done) -> Iterator[Entry]:
        baseline = self._problem.baseline
        if done.chosen in (None, baseline.id):
            yield Ended("finished", None, f"nothing was shown to be better ({done.reason})", at_s=self._now_s)
            return
        assert done.chosen is not None
        own = [w.sample for w in self._state.windows if w.sample.candidate == baseline.id and not w.reasons]
        rate = round(0.7 * float(np.median([one.completed / one.duration_s for one in own])), 3)
        loads = loads_of(self._order.spec.workload, rate)
        pair = (baseline.id, done.chosen)
        confirmed: list[Confirmed] = []
        end_s = NOW + self._order.spec.duration_s
        while window := next_window(confirmed, pair, loads, self._problem.patience):
            if self._now_s > end_s and window.round >= ROUNDS_MIN:
                break
            candidate = self._problem.candidate(window.candidate)
            number = 10_000 + len(confirmed)
            sample = self._machine.sample(candidate, window.load, self._shape, number, 1000 + window.round)
            sample = replace(sample, round=window.round)
            self._now_s += sample.duration_s + START_S
            reasons = judge_sample(sample, SampleRules()).reasons
            load = window.load
            made = Confirmed(
                candidate.id, window.round, load.concurrency, load.requests_per_s, sample, reasons, self._now_s
            )
            confirmed.append(made)
            yield made
        yield self._ended(pair, confirmed, loads)

    def _ended(self, pair: tuple[str, str], confirmed: list[Confirmed], loads: tuple[Load, ...]) -> Ended:
        chosen = self._problem.candidate(pair[1])
        found = Findings(
            spec=self._order.spec,
            model=self._order.model,
            quantisation=None,
            cards=(CARD,),
            node=None,
            baseline=self._problem.baseline,
            chosen=chosen,
            builds={one.candidate: one for one in self._written if isinstance(one, Noted)},
            confirmed=tuple(confirmed),
            loads=loads,
            fidelity=fidelity_evidence(str(chosen.settings["weight_format"])),
            prediction=None,
            made_by="a simulated tuner",
            made_at_s=self._now_s,
        )
        ratio = gain(confirmed, pair, loads[0], "output_tokens_per_s").ratio or 0.0
        reason = f"simulated: {chosen.id} gives {ratio:.2f} times the baseline's with {loads[0].label}"
        return Ended("finished", chosen.id, reason, recipe_json(fill(found)), self._now_s)


def fidelity_evidence(weight_format: str) -> FidelityPart:
    """Simulated evidence: ``q4_0`` is refused, the others pass."""
    kl, top1 = _KL[weight_format], _TOP1[weight_format]
    passed = kl < 0.02
    kept = (f"KL is at most {1.2 * kl:.4f}, the limit is 0.02", f"top-1 agreement is at least {top1 - 0.012:.3f}")
    broken = (f"KL may be {1.2 * kl:.4f} (measured {kl:.4f}), the limit is 0.02",)
    return FidelityPart(
        reference=FidelityReference(name=MODEL.name, digest="5a" * 32, precision="bf16"),
        use_class="chat",
        verdict="passed" if passed else "failed",
        reasons=kept if passed else broken,
        unmeasured=("long_prompt",),
        positions=2304,
        kl_nats=_estimate(kl, 0.2 * kl),
        top1_share=_estimate(top1, 0.012),
        perplexity_ratio=_estimate(_PERPLEXITY[weight_format], 0.004),
        greedy_agreement_tokens=_estimate(21.5 if passed else 2.1, 3.0),
        task=TaskScore(
            items=80, reference_correct=41, candidate_correct=40 if passed else 22, p_value=1.0 if passed else 0.0004
        ),
        text_digests={f"prose-simulated-{number}": "c" * 64 for number in range(12)},
    )


def _estimate(value: float, half: float) -> Estimate:
    return Estimate(value=value, interval=Interval(low=max(0.0, value - half), high=value + half, confidence=0.95))
