"""One replica in the agent's hands: from its launch plan to ready, watched until it ends."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final, Protocol

import httpx

from yunhe.agent import files, probe, weights
from yunhe.agent.drivers import Engines
from yunhe.catalogue.ports import ENGINE_KEY, LaunchPlan
from yunhe.core.errors import YunheError
from yunhe.pool.model import Card
from yunhe.pool.workload import Workload, WorkloadStatus
from yunhe.serve.sync import DesiredReplica, ObservedReplica

_LOG = logging.getLogger(__name__)
POLL_S: Final = 0.02
POLL_SLOW_S: Final = 0.25
HEALTH_EVERY_S: Final = 2.0
START_LIMIT_S: Final = 600.0
#: So many failed health checks in a row make a replica unhealthy.
FAILURES_MAX: Final = 2
PROVE_ATTEMPTS_MAX: Final = 5


@dataclass(frozen=True, slots=True)
class Launch:
    """What is remembered of a replica on disk, so that the next agent can adopt it."""

    plan: LaunchPlan
    #: It has answered its known prompt; its speed then.
    proven: bool = False
    tokens_per_s: float | None = None


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
        self.attached = False
        self._around = around
        self._path = around.launches / f"{desired.replica_id}.json"
        self._task: asyncio.Task[None] | None = None

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
        """What the centre's driver says of its process."""
        if status.phase in ("exited", "lost"):
            if self.observed.phase != "exited":
                code = "" if status.exit_code is None else f" (exit code {status.exit_code})"
                self._say("exited", f"{status.reason or 'it ended'}{code}", exit_code=status.exit_code, pid=status.pid)
                if self._task is not None:
                    self._task.cancel()
        elif status.pid != self.observed.pid or status.node != self.observed.node:
            now = self.observed
            self._say(now.phase, now.reason, pid=status.pid, node=status.node, started_at=status.started_at)

    def ending(self) -> None:
        """It has been told to stop; an attached server is only let go."""
        if self.attached or self.observed.phase == "exited":
            self._say("exited", self.observed.reason if self.observed.phase == "exited" else "detached")
        else:
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
            launch = await self._launch()
            url = await self._listening(launch.plan)
            launch = await self._prove(launch, url)
        except YunheError as error:
            self._say("exited", f"{error.message} {error.next_step}")
            return
        except (TimeoutError, probe.NotSane) as error:
            self._say("exited", str(error) or "it did not start in time")
            return
        plan = launch.plan
        self._say(
            "ready",
            "it answered the known prompt",
            url=url,
            upstream_model=plan.upstream_model,
            slots=plan.slots,
            tokens_per_s=launch.tokens_per_s,
            usage_probe=plan.usage_probe,
            api_key=plan.api_key,
        )
        await self._watch(plan, url)

    async def _launch(self) -> Launch:
        """The plan on disk when there is one (adoption), else a new one; then start it, which is idempotent."""
        known = files.load(self._path, Launch)
        launch = known or Launch(await self._plan())
        if known is None:
            files.save(self._path, launch)
        self.attached = launch.plan.attached
        if not launch.plan.attached:
            await asyncio.to_thread(self._around.centre.start, self._workload(launch.plan))
        return launch

    async def _plan(self) -> LaunchPlan:
        desired = self.desired
        engine = self._around.engines.get(desired.recipe.engine)
        path = None
        if desired.external is None:
            path = await asyncio.to_thread(weights.verified, desired.model, self._around.verified_weights)
        cards = [card for uid in desired.cards if (card := self._around.card(uid)) is not None]
        plan = engine.launch(desired.model, desired.recipe, cards, path, desired.external)
        if plan.api_key == ENGINE_KEY:
            key = secrets.token_urlsafe(32)
            written = {name: text.replace(ENGINE_KEY, key) for name, text in plan.files.items()}
            plan = replace(plan, api_key=key, files=written)
        return plan

    def _workload(self, plan: LaunchPlan) -> Workload:
        return Workload(
            id=self.desired.replica_id,
            name=self.desired.deployment,
            argv=plan.argv,
            env=plan.env,
            cards=self.desired.cards,
            cpu_cores=plan.cpu_cores,
            memory_bytes=plan.memory_bytes,
            files=plan.files,
        )

    async def _listening(self, plan: LaunchPlan) -> str:
        """Its address, once its health page answers. Raises TimeoutError."""
        begin = asyncio.get_running_loop().time()
        async with asyncio.timeout(START_LIMIT_S):
            while True:
                url = await self._address(plan)
                if url is not None:
                    try:
                        await probe.check_health(self._around.client, url, plan)
                        return url
                    except probe.NotReachable as error:
                        self._say("starting", str(error))
                waited_s = asyncio.get_running_loop().time() - begin
                await asyncio.sleep(POLL_S if waited_s < 10 else POLL_SLOW_S)

    async def _address(self, plan: LaunchPlan) -> str | None:
        if plan.port_file is None:
            return plan.base_url
        port = await asyncio.to_thread(self._around.centre.read_file, self.desired.replica_id, plan.port_file)
        return plan.base_url.replace(":0", f":{port.strip()}") if port and port.strip().isdigit() else None

    async def _prove(self, launch: Launch, url: str) -> Launch:
        """Ask the known prompt, unless an earlier agent did. Raises NotSane after a few attempts."""
        if launch.proven:
            return launch
        self._say("probing", "asking the known prompt")
        declared = self.desired.external.tokens_per_s if self.desired.external else None
        for attempt in range(PROVE_ATTEMPTS_MAX):
            try:
                speed = await probe.check_sanity(self._around.client, url, launch.plan, self.desired.model)
                break
            except (probe.NotReachable, probe.NotSane) as error:
                if attempt + 1 == PROVE_ATTEMPTS_MAX:
                    raise probe.NotSane(str(error)) from error
                self._say("probing", str(error))
                await asyncio.sleep(POLL_SLOW_S * 2**attempt)
        proven = Launch(launch.plan, True, declared or speed)
        files.save(self._path, proven)
        return proven

    async def _watch(self, plan: LaunchPlan, url: str) -> None:
        failures = 0
        while True:
            await asyncio.sleep(HEALTH_EVERY_S)
            try:
                await probe.check_health(self._around.client, url, plan)
            except probe.NotReachable as error:
                failures += 1
                if failures >= FAILURES_MAX:
                    self._say("unhealthy", str(error))
                continue
            failures = 0
            counters = await probe.read_counters(self._around.client, url, plan)
            if counters is not None:
                # Quietly: counters alone are no reason to wake control.
                self.observed = replace(
                    self.observed,
                    prompt_tokens_total=counters.prompt_tokens,
                    completion_tokens_total=counters.completion_tokens,
                )
            if self.observed.phase == "unhealthy":
                self._say("ready", "its health check answers again")
