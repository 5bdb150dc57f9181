"""Where candidates run: as replicas of this centre, a few alive at once so that rounds need no new starts."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from yunhe.adapt.candidates import Candidate
from yunhe.adapt.trials import CrashCause
from yunhe.agent import files
from yunhe.agent.launch import Launch
from yunhe.agent.replica import launch_path
from yunhe.agent.supervisor import TRIAL_PREFIX
from yunhe.catalogue.model import Model, Recipe
from yunhe.catalogue.ports import LaunchPlan
from yunhe.serve.sync import DesiredReplica, ObservedReplica

#: Candidates alive at once: the baseline and the finalists, so that their rounds follow each other without starts.
ALIVE_MAX: Final = 4
#: Longest wait for a candidate to be ready; small models take seconds.
READY_LIMIT_S: Final = 180.0
POLL_S: Final = 0.05


class RunsTrials(Protocol):
    """What a stage needs of the supervisor."""

    def try_out(self, trial: DesiredReplica) -> None:
        """As in Supervisor."""
        ...

    def trial(self, replica_id: str) -> ObservedReplica | None:
        """As in Supervisor."""
        ...

    def end_trial(self, replica_id: str) -> None:
        """As in Supervisor."""
        ...


class CandidateFailed(Exception):
    """A candidate did not come up, or went away: a finding about it."""

    def __init__(self, cause: CrashCause, detail: str) -> None:
        super().__init__(detail)
        self.cause: CrashCause = cause
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Running:
    """A candidate that answered its known prompt."""

    replica_id: str
    base_url: str
    api_key: str | None
    upstream_model: str
    slots: int
    pid: int | None
    plan: LaunchPlan


class Stage:
    """Candidates as replicas."""

    def __init__(
        self, supervisor: RunsTrials, launches: Path, adaptation_id: str, model: Model, cards: tuple[str, ...]
    ):
        self._supervisor = supervisor
        self._launches = launches
        # The end of an id is its random part. The word after it keeps what a killed agent left behind apart: its
        # successor stops that, and must not take it for its own.
        self._prefix = f"{TRIAL_PREFIX}{adaptation_id[-10:]}-{secrets.token_hex(3)}"
        self._model, self._cards = model, cards
        self._alive: OrderedDict[str, str] = OrderedDict()
        self._starts = 0

    async def ready(self, candidate: Candidate, model: Model | None = None) -> Running:
        """The candidate, started when it does not run. Raises CandidateFailed. ``model``: other weights than asked."""
        replica_id = self._alive.get(candidate.id)
        if replica_id is None:
            await self._make_room()
            replica_id = self._start(candidate, model or self._model)
        self._alive.move_to_end(candidate.id)
        try:
            return await self._await_ready(replica_id)
        except CandidateFailed:
            await self.drop(candidate.id)
            raise

    def _start(self, candidate: Candidate, model: Model) -> str:
        self._starts += 1
        replica_id = f"{self._prefix}-{self._starts}-{candidate.id}"[:120]
        recipe = Recipe(candidate.id, candidate.id, model.name, "any", candidate.engine, dict(candidate.settings))
        self._supervisor.try_out(DesiredReplica(replica_id, "trial", model, recipe, self._cards))
        self._alive[candidate.id] = replica_id
        return replica_id

    async def _await_ready(self, replica_id: str) -> Running:
        try:
            async with asyncio.timeout(READY_LIMIT_S):
                while True:
                    seen = self._supervisor.trial(replica_id)
                    if seen is not None and seen.phase == "exited":
                        raise CandidateFailed(_cause(seen), seen.reason)
                    if seen is not None and seen.phase == "ready" and seen.url is not None:
                        return self._running(seen)
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise CandidateFailed("start_failed", f"not ready within {READY_LIMIT_S:.0f} s") from None

    def _running(self, seen: ObservedReplica) -> Running:
        known = files.load(launch_path(self._launches, seen.replica_id), Launch)
        if known is None or seen.url is None:
            raise CandidateFailed("start_failed", "its launch cannot be read from this agent's directory")
        return Running(
            seen.replica_id, seen.url, seen.api_key, seen.upstream_model or "", seen.slots, seen.pid, known.plan
        )

    def failure(self, candidate: Candidate) -> CandidateFailed | None:
        """Why it runs no more; None when it does."""
        seen = self._supervisor.trial(self._alive.get(candidate.id, ""))
        return CandidateFailed(_cause(seen), seen.reason) if seen is not None and seen.phase == "exited" else None

    async def drop(self, candidate_id: str) -> None:
        """Stop one and wait until nothing of it is left, so that it disturbs no window."""
        replica_id = self._alive.pop(candidate_id, None)
        if replica_id is None:
            return
        self._supervisor.end_trial(replica_id)
        while self._supervisor.trial(replica_id) is not None:
            await asyncio.sleep(POLL_S)

    async def clear(self) -> None:
        """Stop all."""
        for candidate_id in list(self._alive):
            await self.drop(candidate_id)

    async def _make_room(self) -> None:
        while len(self._alive) >= ALIVE_MAX:
            await self.drop(next(iter(self._alive)))


def _cause(seen: ObservedReplica) -> CrashCause:
    """Which kind of finding a replica's end is."""
    reason = seen.reason.lower()
    if "out of memory" in reason or "memory limit" in reason:
        return "out_of_memory"
    if "signal" in reason or (seen.exit_code is not None and seen.exit_code > 128):
        return "signal"
    return "wrong_answer" if "it answered" in reason or "answered something" in reason else "start_failed"
