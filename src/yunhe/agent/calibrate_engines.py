"""Probes of one engine: a few loads in turn, each until enough undisturbed windows were had or the time is over."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Final

import msgspec

from yunhe.adapt.adaptation import RequestShape, Workload
from yunhe.adapt.candidates import Candidate
from yunhe.adapt.measured_chip import EngineProbe, MeasuredEngine, RejectedWindow
from yunhe.adapt.proposal import SLOT_SETTINGS
from yunhe.adapt.samples import Sample, SampleRules, Slo, judge_sample, window_value
from yunhe.agent.tuning import builds, windows
from yunhe.agent.tuning.stage import CandidateFailed, Running, Stage
from yunhe.agent.tuning.windows import NotLoaded
from yunhe.catalogue.model import Model, SettingValue
from yunhe.catalogue.ports import Engine
from yunhe.pool.model import Card


@dataclass(frozen=True, slots=True)
class Load:
    """One probe."""

    name: str
    input_tokens: int
    output_tokens: int
    concurrency: int


#: Two contexts and two prompts with one request, and several requests at once.
LOADS: Final = (
    Load("1 request, 256 tokens in", 256, 32, 1),
    Load("1 request, 1024 tokens in", 1024, 32, 1),
    Load("8 requests, 64 tokens in", 64, 64, 8),
)
SLOTS: Final = 8
CONTEXT_LENGTH: Final = 2048
#: No request of a window starts later.
WINDOW_S: Final = 2.0
WINDOWS_WANTED: Final = 2
TRIES_MAX: Final = 6
RULES: Final = SampleRules(foreign_cpu_share_max=0.05, duration_s_min=0.5, completed_min=1)
_FOREIGN: Final = "foreign CPU"
_ANY: Final = Slo()


@dataclass(slots=True)
class LoadWindows:
    """Those of one load, and what they say together."""

    load: Load
    accepted: list[Sample] = field(default_factory=list)
    rejected: list[tuple[Sample, tuple[str, ...]]] = field(default_factory=list)

    @property
    def tries(self) -> int:
        """Windows so far."""
        return len(self.accepted) + len(self.rejected)

    @property
    def wanting(self) -> bool:
        """Whether another window is worth its time."""
        return len(self.accepted) < WINDOWS_WANTED and self.tries < TRIES_MAX

    def take(self, sample: Sample) -> str:
        """Keep a window; what to tell of it."""
        judged = judge_sample(sample, RULES)
        if judged.accepted:
            self.accepted.append(sample)
        else:
            self.rejected.append((sample, judged.reasons))
        tpot = window_value(sample, "tpot_s", _ANY)
        said = f"{self.load.name}: {tpot * 1000:.1f} ms a token" if tpot else f"{self.load.name}: no token"
        return said if judged.accepted else f"{said}, rejected: {'; '.join(judged.reasons)}"

    def probe(self) -> EngineProbe | None:
        """What they say; the least disturbed window where none was quiet, None where all were faulty."""
        disturbed = [sample for sample, reasons in self.rejected if all(_FOREIGN in reason for reason in reasons)]
        counted = self.accepted or sorted(disturbed, key=lambda sample: sample.foreign_cpu_share)[:1]
        tpots = [value for sample in counted if (value := window_value(sample, "tpot_s", _ANY))]
        if not tpots:
            return None
        return EngineProbe(
            name=self.load.name,
            input_tokens=round(median(sample.input_tokens / sample.completed for sample in counted)),
            output_tokens=self.load.output_tokens,
            concurrency=self.load.concurrency,
            ttft_s=median(window_value(sample, "ttft_s", _ANY) or 0.0 for sample in counted),
            tpot_s=median(tpots),
            tokens_per_s=median(window_value(sample, "output_tokens_per_s", _ANY) or 0.0 for sample in counted),
            spread=max(tpots) / min(tpots) - 1,
            foreign_cpu_share=max(sample.foreign_cpu_share for sample in counted),
            windows=len(counted),
            quiet=bool(self.accepted),
            rejected=tuple(
                RejectedWindow(window_value(sample, "tpot_s", _ANY), sample.foreign_cpu_share, reasons)
                for sample, reasons in self.rejected
                if sample not in counted
            ),
        )


def probe_settings(engine: Engine, model: Model, card: Card) -> dict[str, SettingValue]:
    """The engine's defaults, but with room for the probes and for no more."""
    declared = engine.settings(model, card).choices
    slots: dict[str, SettingValue] = {name: SLOTS for name in SLOT_SETTINGS if name in declared}
    return {**slots, "context_length": min(CONTEXT_LENGTH, model.context_length)}


async def probe_engine(
    engine: Engine, model: Model, card: Card, stage: Stage, deadline: float, tell: Callable[[str], None]
) -> MeasuredEngine:
    """Start it, load it, stop it; until ``deadline`` of ``time.monotonic`` at the latest."""
    settings = probe_settings(engine, model, card)
    candidate = Candidate(f"{engine.name}-calibration", engine.name, settings, "")
    found = [LoadWindows(load) for load in LOADS]
    failure, digest = "", ""
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + deadline - time.monotonic()):
            running = await stage.ready(candidate)
            noted = await asyncio.to_thread(builds.note, candidate, engine, running)
            digest = noted.build_digest
            await _measure(running, candidate, found, tell)
    except TimeoutError:
        failure = "the time was over"
    except (CandidateFailed, NotLoaded) as error:
        failure = str(error) or type(error).__name__
    finally:
        await stage.drop(candidate.id)
    probes = tuple(probe for one in found if (probe := one.probe()) is not None)
    missing = "" if len(probes) == len(LOADS) else failure or "windows were faulty"
    plain = msgspec.to_builtins(settings)
    return MeasuredEngine(engine.name, engine.version, digest, plain, probes, missing)


async def _measure(
    running: Running, candidate: Candidate, found: Sequence[LoadWindows], tell: Callable[[str], None]
) -> None:
    """Loads in turn, so that a disturbance that passes does not take all windows of one."""
    round = 0
    while any(one.wanting for one in found):
        round += 1
        for one in found:
            if not one.wanting:
                continue
            load = one.load
            workload = Workload(
                load.name, (RequestShape(load.input_tokens, load.output_tokens),), (load.concurrency,), 0.0
            )
            sample = await windows.measure(
                running,
                workload,
                candidate=candidate.id,
                round=round,
                seed=round,
                concurrency=load.concurrency,
                window_s=WINDOW_S,
            )
            tell(one.take(sample))
