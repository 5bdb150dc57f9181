"""Carries one adaptation out: proposes, measures what the search asks for, confirms the choice, writes the recipe.

Everything that has ended is in the journal before the next begins, so a tuner that is killed anywhere loses at most
the trial that was under way.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final, Protocol

from yunhe.adapt.adaptation import Confirmed, Ended, Entry, Judged, Noted, Phase, TuningOrder, search_events
from yunhe.adapt.candidates import Candidate
from yunhe.adapt.confirmation import load_of, loads_of, next_window
from yunhe.adapt.recipe_evidence import FidelityPart, Load
from yunhe.adapt.samples import Sample, judge_sample
from yunhe.adapt.search import Done, next_trial
from yunhe.adapt.trials import Begun, Budget, Crashed, Event, Gated, Problem, Resumed, State, Trial, Windowed, replay
from yunhe.agent.tuning import builds, windows
from yunhe.agent.tuning.conclusion import Outcome, conclude, shown
from yunhe.agent.tuning.host import busy_share
from yunhe.agent.tuning.journal import Journal
from yunhe.agent.tuning.place import Place
from yunhe.agent.tuning.proposals import candidate_of, propose
from yunhe.agent.tuning.stage import CandidateFailed, Running
from yunhe.agent.tuning.windows import WINDOW_S, NotLoaded
from yunhe.core.errors import YunheError

_LOG = logging.getLogger(__name__)
#: What one window of the confirmation takes with its warm-up, expected.
CONFIRM_WINDOW_S: Final = WINDOW_S + 3.0
#: Rounds for which the search leaves time.
CONFIRM_ROUNDS: Final = 5
#: Of the whole budget at most.
CONFIRM_SHARE_MAX: Final = 0.4
#: What the gate is expected to take until one was measured.
FIDELITY_S: Final = 45.0
#: A busy machine is looked at so often, for a second each, before a window is tried all the same.
CALM_TRIES: Final = 90
#: Saying so wakes control, which is work on the same machine.
CALM_SAID_EVERY: Final = 10
#: The confirmation may outlast the budget by this share rather than end without enough rounds.
OVERTIME_SHARE: Final = 0.25


class ReferenceFailed(YunheError):
    """The reference weights do not run here."""

    code = "reference_failed"
    default_next_step = "Look at the agent's log; the reference runs on the baseline's engine with its defaults."


class Judges(Protocol):
    """Measures fidelity: what a tuner needs of ``fidelity``."""

    async def prepare(self) -> None:
        """Have the reference ready. Raises CandidateFailed, YunheError."""
        ...

    async def judge(self, candidate: Candidate, running: Running, build_digest: str) -> FidelityPart:
        """Evidence and verdict of what runs. Raises CandidateFailed when it dies meanwhile, YunheError."""
        ...


class Stages(Protocol):
    """Where candidates run: what a tuner needs of ``Stage``."""

    async def ready(self, candidate: Candidate) -> Running:
        """As in Stage."""
        ...

    async def drop(self, candidate_id: str) -> None:
        """As in Stage."""
        ...

    async def clear(self) -> None:
        """As in Stage."""
        ...

    def failure(self, candidate: Candidate) -> CandidateFailed | None:
        """As in Stage."""
        ...


class Tuner:
    """One adaptation in this centre."""

    def __init__(
        self,
        order: TuningOrder,
        place: Place,
        stage: Stages,
        judge: Judges,
        changed: Callable[[], None],
        measure: Callable[..., Awaitable[Sample]] = windows.measure,
        busy: Callable[[], Awaitable[float]] = busy_share,
    ) -> None:
        self.order = order
        self.phase: Phase = "starting"
        self.activity = "reads its journal"
        self._place, self._stage, self._judge, self._changed = place, stage, judge, changed
        self._measure, self._busy = measure, busy
        #: Windows of the confirmation that could not even be put on.
        self._failures = 0
        place.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.journal = Journal(place.directory / "journal.jsonl")

    async def run(self) -> None:
        """Until it has ended, which the journal then says. Cancelling leaves it to be resumed."""
        try:
            await self._work()
        except YunheError as error:
            self._end(Ended("failed", None, f"{error.message} {error.next_step}", at_s=time.time()))
        except OSError as error:
            self._end(Ended("failed", None, f"the journal cannot be kept: {error}", at_s=time.time()))
        finally:
            await self._stage.clear()

    async def cancel(self) -> None:
        """End it for good; what was measured stays."""
        if not self.ended:
            self._end(Ended("cancelled", None, "somebody cancelled it", at_s=time.time()))
        await self._stage.clear()

    def fail(self, reason: str) -> None:
        """End it as failed."""
        if not self.ended:
            self._end(Ended("failed", None, reason, at_s=time.time()))

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do."""
        return bool(self.journal.entries) and isinstance(self.journal.entries[-1], Ended)

    @property
    def used_s(self) -> float:
        """Seconds used of the budget, without those between a tuner's death and its resumption."""
        state = self._state
        if state is None:
            return 0.0
        now = _at(self.journal.entries[-1]) if self.ended else time.time()
        return max(0.0, max(now, state.at_s) - state.begun_s - state.idle_s)

    @property
    def _state(self) -> State | None:
        events = search_events(self.journal.entries)
        return replay(events) if events else None

    async def _work(self) -> None:
        if self.ended:
            self._say(self._last_phase(), "it has ended")
            return
        state = self._state
        if state is None:
            self._say("starting", "asks this centre's engines what can be tried")
            self._append(Begun(await asyncio.to_thread(self._problem), time.time()))
        else:
            self._append(Resumed(time.time()))
        await self._prepare()
        if self.order.spec.only is not None:
            await self._verify()
        else:
            await self._conclude(await self._search())

    async def _prepare(self) -> None:
        """The reference first: minutes the first time, which no candidate's trial shall be charged with."""
        self._say("starting", "prepares the reference that fidelity is measured against")
        try:
            await self._judge.prepare()
        except CandidateFailed as error:
            raise ReferenceFailed(f"The reference weights do not run: {error.detail}.") from error

    async def _verify(self) -> None:
        """Judge and measure the one candidate that was named."""
        state = self._state
        assert state is not None
        baseline, chosen = state.problem.baseline, state.problem.candidates[0]
        self._say("searching", f"fidelity of {shown(chosen)}")
        try:
            found = await self._fidelity(chosen, await self._ready(chosen))
        except CandidateFailed as error:
            self._end(Ended("failed", None, f"{shown(chosen)} does not run: {error.detail}", at_s=time.time()))
            return
        if found.verdict != "passed":
            reason = f"{shown(chosen)} is not faithful: {'; '.join(found.reasons)}"
            self._end(Ended("finished", None, reason, at_s=time.time()))
            return
        loads = await self._confirm(state, baseline, chosen)
        self._end(await asyncio.to_thread(conclude, self._outcome(state, baseline, chosen, loads)))

    def _problem(self) -> Problem:
        order, spec = self.order, self.order.spec
        baseline = candidate_of("baseline", self._place.engines, order.baseline.engine, order.baseline.settings)
        loads = len(spec.workload.concurrencies) + (1 if spec.workload.open_loop_share else 0)
        reserve_s = min(2 * CONFIRM_ROUNDS * loads * CONFIRM_WINDOW_S, CONFIRM_SHARE_MAX * spec.duration_s)
        budget = Budget(spec.duration_s - reserve_s, spec.trials, FIDELITY_S)
        if spec.only is not None:
            named = candidate_of("named", self._place.engines, spec.only.engine, spec.only.settings)
            return Problem(baseline, (named,), spec.objective(), budget, rules=self._place.rules, seed=spec.seed)
        found = propose(self._place.engines, spec, order.model, self._place.cards)
        others = tuple(one for one in found if (one.engine, one.settings) != (baseline.engine, baseline.settings))
        return Problem(baseline, others, spec.objective(), budget, rules=self._place.rules, seed=spec.seed)

    async def _search(self) -> Done:
        while True:
            state = self._state
            assert state is not None
            step = next_trial(state, time.time())
            if isinstance(step, Done):
                return step
            self._append(await self._carry_out(step, state))

    async def _carry_out(self, trial: Trial, state: State) -> Event:
        candidate = state.problem.candidate(trial.candidate)
        begun_s = time.monotonic()
        what = "fidelity of" if trial.kind == "fidelity" else "window of"
        self._say("searching", f"{what} {shown(candidate)}")
        try:
            running = await self._ready(candidate)
            if trial.kind == "window":
                await self._calm(state)
            if trial.kind == "fidelity":
                found = await self._fidelity(candidate, running)
                spent_s = time.monotonic() - begun_s
                return Gated(trial, found.verdict, found.reasons, spent_s, time.time())
            sample = await self._measure(
                running,
                self.order.spec.workload,
                candidate=candidate.id,
                round=trial.round,
                seed=self.order.spec.seed + trial.round,
                concurrency=self.order.spec.workload.concurrencies[0],
            )
            return Windowed(trial, sample, time.monotonic() - begun_s, time.time())
        except NotLoaded as error:
            failure = self._stage.failure(candidate) or CandidateFailed("wrong_answer", str(error))
        except CandidateFailed as error:
            failure = error
        await self._stage.drop(candidate.id)
        return Crashed(trial, failure.cause, failure.detail[:500], time.monotonic() - begun_s, time.time())

    async def _ready(self, candidate: Candidate) -> Running:
        running = await self._stage.ready(candidate)
        if not any(isinstance(entry, Noted) and entry.candidate == candidate.id for entry in self.journal.entries):
            engine = self._place.engines.get(candidate.engine)
            self._append(await asyncio.to_thread(builds.note, candidate, engine, running))
        return running

    async def _calm(self, state: State) -> None:
        """Wait for a while where others use the machine: a window now would only be rejected."""
        limit = state.problem.rules.foreign_cpu_share_max
        before = self.activity
        for waited in range(CALM_TRIES):
            busy = await self._busy()
            if busy <= limit:
                break
            if waited % CALM_SAID_EVERY == 0:
                self._say(self.phase, f"waits for the machine: others use {busy:.0%} of it")
        self._say(self.phase, before)

    async def _fidelity(self, candidate: Candidate, running: Running) -> FidelityPart:
        for entry in self.journal.entries:
            if isinstance(entry, Judged) and entry.numerics == candidate.numerics:
                return entry.evidence
        noted = {entry.candidate: entry for entry in self.journal.entries if isinstance(entry, Noted)}
        evidence = await self._judge.judge(candidate, running, noted[candidate.id].build_digest)
        self._append(Judged(candidate.numerics, evidence, time.time()))
        return evidence

    async def _conclude(self, done: Done) -> None:
        state = self._state
        assert state is not None
        baseline = state.problem.baseline
        if done.chosen is None or done.chosen == baseline.id:
            reason = f"nothing was shown to be better than the baseline ({done.reason.replace('_', ' ')})"
            self._end(Ended("finished", None, reason, at_s=time.time()))
            return
        chosen = state.problem.candidate(done.chosen)
        loads = await self._confirm(state, baseline, chosen)
        self._end(await asyncio.to_thread(conclude, self._outcome(state, baseline, chosen, loads)))

    async def _confirm(self, state: State, baseline: Candidate, chosen: Candidate) -> tuple[Load, ...]:
        """Measure both by turns under every load until decided or out of time."""
        loads = loads_of(self.order.spec.workload, self._rate(state, baseline))
        pair = (baseline.id, chosen.id)
        limit_s = self.order.spec.duration_s
        while True:
            done = self._confirmed(pair)
            window = next_window(done, pair, loads, state.problem.patience)
            rounds = min(len({entry.round for entry in done if load_of(entry) == load}) for load in loads)
            late = self.used_s + 2 * CONFIRM_WINDOW_S > limit_s * (
                1.0 if rounds >= CONFIRM_ROUNDS else 1 + OVERTIME_SHARE
            )
            if window is None or late:
                return loads
            candidate = state.problem.candidate(window.candidate)
            self._say("confirming", f"{shown(candidate)} with {window.load.label}, round {window.round + 1}")
            try:
                running = await self._ready(candidate)
                await self._calm(state)
                sample = await self._measure(
                    running,
                    self.order.spec.workload,
                    candidate=candidate.id,
                    round=window.round,
                    seed=self.order.spec.seed + 1000 + window.round,
                    concurrency=window.load.concurrency,
                    requests_per_s=window.load.requests_per_s,
                )
            except (NotLoaded, CandidateFailed) as error:
                # It ran through a whole search: a fault of this machine as likely as its own, so it is tried again.
                await self._stage.drop(candidate.id)
                self._failures += 1
                if self._failures > CONFIRM_ROUNDS:
                    raise YunheError(f"{shown(candidate)} could not be confirmed: {error}") from error
                continue
            reasons = judge_sample(sample, state.problem.rules).reasons
            load = window.load
            self._append(
                Confirmed(
                    candidate.id, window.round, load.concurrency, load.requests_per_s, sample, reasons, time.time()
                )
            )

    def _rate(self, state: State, baseline: Candidate) -> float | None:
        """Requests a second of the open loop: a share of what the baseline bore in closed loop."""
        share = self.order.spec.workload.open_loop_share
        own = [w.sample for w in state.windows if w.sample.candidate == baseline.id and not w.reasons]
        if not share or not own:
            return None
        rates = sorted(sample.completed / sample.duration_s for sample in own)
        return round(share * rates[len(rates) // 2], 3)

    def _outcome(self, state: State, baseline: Candidate, chosen: Candidate, loads: tuple[Load, ...]) -> Outcome:
        place = self._place
        entries = tuple(self.journal.entries)
        return Outcome(self.order, place.cards, place.node, place.made_by, state, baseline, chosen, loads, entries)

    def _confirmed(self, pair: tuple[str, str]) -> tuple[Confirmed, ...]:
        found = (entry for entry in self.journal.entries if isinstance(entry, Confirmed))
        return tuple(entry for entry in found if entry.candidate in pair)

    def _append(self, entry: Entry) -> None:
        self.journal.append(entry)
        self._changed()

    def _end(self, ended: Ended) -> None:
        try:
            self._append(ended)
        except OSError:
            _LOG.exception("the end of %s cannot be written", self.order.adaptation_id)
        self._say(ended.phase, ended.reason)

    def _last_phase(self) -> Phase:
        last = self.journal.entries[-1]
        return last.phase if isinstance(last, Ended) else "failed"

    def tell(self, activity: str) -> None:
        """What is under way, in words for people."""
        if activity != self.activity:
            self._say(self.phase, activity)

    def _say(self, phase: Phase, activity: str) -> None:
        self.phase, self.activity = phase, activity
        self._changed()


def _at(entry: Entry) -> float:
    return entry.at_s
