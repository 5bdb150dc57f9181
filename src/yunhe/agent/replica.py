"""One replica in the agent's hands: from its launch plan to ready, watched until it ends."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import httpx

from yunhe.agent import files, launch
from yunhe.agent.drivers import Engines
from yunhe.agent.launch import Launch
from yunhe.agent.probe import Asker, Counters, NotReachable, NotSane
from yunhe.catalogue.ports import LaunchPlan
from yunhe.core.errors import YunheError
from yunhe.pool.errors import CentreUnavailable
from yunhe.pool.model import Card
from yunhe.pool.workload import Workload, WorkloadStatus
from yunhe.serve.sync import DesiredReplica, ObservedReplica

_LOG = logging.getLogger(__name__)
POLL_S: Final = 0.02
POLL_SLOW_S: Final = 0.25
#: A start that takes longer than this is looked at less often.
QUICK_START_S: Final = 10.0
HEALTH_EVERY_S: Final = 2.0
START_LIMIT_S: Final = 600.0
CENTRE_RETRY_S: Final = 2.0
#: So many failed health checks in a row make a replica unhealthy.
FAILURES_MAX: Final = 2
PROVE_ATTEMPTS_MAX: Final = 5


class RunsWorkloads(Protocol):
    """What a replica needs of the centre's driver."""

    def start(self, workload: Workload) -> None:
        """As in CentreDriver."""
        ...

    def read_file(self, workload_id: str, name: str) -> str | None:
        """As in CentreReads."""
        ...


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all replicas of an agent share."""

    centre: RunsWorkloads
    engines: Engines
    client: httpx.AsyncClient
    #: One JSON file a replica.
    launches: Path
    verified_weights: Path
    card: Callable[[str], Card | None]
    changed: Callable[[], None]


class ReplicaKeeper:
    """Brings one replica up and watches it. ``observed`` is what control is told."""

    def __init__(self, desired: DesiredReplica, around: Surroundings) -> None:
        self.desired = desired
        self.observed = ObservedReplica(desired.replica_id, "starting", "starting")
        self._around = around
        self._path = launch_path(around.launches, desired.replica_id)
        self._task: asyncio.Task[None] | None = None
        self._asker: Asker | None = None

    def begin(self) -> None:
        """Start bringing it up in the background."""
        self._task = asyncio.create_task(self._live(), name=f"replica {self.desired.replica_id}")

    async def let_go(self) -> None:
        """Stop watching; what runs goes on."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def take_status(self, status: WorkloadStatus) -> None:
        """What the centre's driver says of its process while it runs."""
        if (status.pid, status.node) != (self.observed.pid, self.observed.node):
            now = self.observed
            self._say(now.phase, now.reason, pid=status.pid, node=status.node, started_at=status.started_at)

    async def ended(self, reason: str, exit_code: int | None = None) -> None:
        """Nothing of it runs any more."""
        await self.let_go()
        if self.observed.phase != "exited":
            self._say("exited", reason, exit_code=exit_code)

    async def ending(self) -> None:
        """It is being told to stop: count a last time, then watch no more."""
        await self.let_go()
        if self._asker is not None and self.observed.phase not in ("stopping", "exited"):
            self._note(await self._asker.read_counters(), files.load(self._path, Launch))
        if self.observed.phase != "exited":
            self._say("stopping", "stopping")

    def forget(self) -> None:
        """Drop what is remembered on disk."""
        self._path.unlink(missing_ok=True)

    def _say(self, phase: str, reason: str, **fields: Any) -> None:
        new = replace(self.observed, phase=phase, reason=reason, **fields)
        if new != self.observed:
            if (new.phase, new.reason) != (self.observed.phase, self.observed.reason):
                _LOG.info("replica %s: %s, %s", new.replica_id, new.phase, new.reason)
            self.observed = new
            self._around.changed()

    async def _live(self) -> None:
        try:
            known = await self._launch()
            asker = self._asker = await self._listening(known.plan)
            known = await self._prove(known, asker)
            self._serve(known, asker)
            await self._watch(known, asker)
        except YunheError as error:
            self._say("exited", f"{error.message} {error.next_step}")
        except NotSane as error:
            self._say("exited", str(error))
        except TimeoutError:
            self._say("exited", f"not ready within {START_LIMIT_S:.0f} s; last: {self.observed.reason}")
        except Exception as error:  # noqa: BLE001 - the edge of this replica: it must not stay live and unwatched
            _LOG.exception("replica %s", self.desired.replica_id)
            self._say("exited", f"the agent could not go on with it: {type(error).__name__}: {error}")

    async def _launch(self) -> Launch:
        """The plan on disk when there is one (adoption), else a new one; then start it, which is idempotent."""
        known = files.load(self._path, Launch)
        if known is None:
            around = self._around
            made = await asyncio.to_thread(
                launch.plan, self.desired, around.engines, around.card, around.verified_weights
            )
            known = Launch(made)
            files.save(self._path, known)
        if not known.plan.attached:
            await self._start(launch.workload(self.desired, known.plan))
        return known

    async def _start(self, workload: Workload) -> None:
        async with asyncio.timeout(START_LIMIT_S):
            while True:
                try:
                    await asyncio.to_thread(self._around.centre.start, workload)
                    return
                except CentreUnavailable as error:
                    self._say("starting", error.message)
                    await asyncio.sleep(CENTRE_RETRY_S)

    async def _listening(self, plan: LaunchPlan) -> Asker:
        """Who asks it, once its health page answers. Raises TimeoutError."""
        begin = asyncio.get_running_loop().time()
        async with asyncio.timeout(START_LIMIT_S):
            while True:
                url = await self._address(plan)
                if url is not None:
                    asker = Asker(self._around.client, url, plan)
                    try:
                        await asker.check_health()
                        return asker
                    except NotReachable as error:
                        self._say("starting", str(error))
                waited_s = asyncio.get_running_loop().time() - begin
                await asyncio.sleep(POLL_S if waited_s < QUICK_START_S else POLL_SLOW_S)

    async def _address(self, plan: LaunchPlan) -> str | None:
        if plan.port_file is None:
            return plan.base_url
        port = await asyncio.to_thread(self._around.centre.read_file, self.desired.replica_id, plan.port_file)
        return plan.base_url.replace(":0", f":{port.strip()}") if port and port.strip().isdigit() else None

    async def _prove(self, known: Launch, asker: Asker) -> Launch:
        """Ask the known prompt, unless an earlier agent did. Raises NotSane after a few attempts."""
        if known.proven:
            return known
        self._say("probing", "asking the known prompt")
        declared = self.desired.external.tokens_per_s if self.desired.external else None
        for attempt in range(PROVE_ATTEMPTS_MAX):
            try:
                speed = await asker.check_sanity(self.desired.model)
                break
            except (NotReachable, NotSane) as error:
                if attempt + 1 == PROVE_ATTEMPTS_MAX:
                    raise NotSane(str(error)) from error
                self._say("probing", str(error))
                await asyncio.sleep(POLL_SLOW_S * 2**attempt)
        proven = Launch(known.plan, True, declared or speed, asker.prompt_tokens, asker.completion_tokens)
        files.save(self._path, proven)
        return proven

    def _serve(self, known: Launch, asker: Asker) -> None:
        plan = known.plan
        self._say(
            "ready",
            "it answered the known prompt",
            url=asker.base_url,
            upstream_model=plan.upstream_model,
            slots=plan.slots,
            tokens_per_s=known.tokens_per_s,
            usage_probe=plan.usage_probe,
            api_key=plan.api_key,
        )

    async def _watch(self, known: Launch, asker: Asker) -> None:
        """Look after it until cancelled."""
        failures = 0
        while True:
            await asyncio.sleep(HEALTH_EVERY_S)
            try:
                await asker.check_health()
            except NotReachable as error:
                failures += 1
                if failures >= FAILURES_MAX:
                    self._say("unhealthy", str(error))
                continue
            failures = 0
            self._note(await asker.read_counters(), known)
            if self.observed.phase == "unhealthy":
                self._say("ready", "its health check answers again")

    def _note(self, counters: Counters | None, known: Launch | None) -> None:
        """Take the engine's counters over, less its proof. Quietly: they alone are no reason to wake control."""
        if counters is None or known is None:
            return
        prompt, completion = counters.prompt_tokens, counters.completion_tokens
        self.observed = replace(
            self.observed,
            prompt_tokens_total=None if prompt is None else max(0, prompt - known.proof_prompt_tokens),
            completion_tokens_total=None if completion is None else max(0, completion - known.proof_completion_tokens),
        )


def launch_path(launches: Path, replica_id: str) -> Path:
    """Where a replica's launch is remembered."""
    return launches / f"{replica_id}.json"
