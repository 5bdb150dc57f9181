"""All replicas of this centre: carries reconcile's actions out and watches what runs."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Sequence
from typing import Any, Final

import httpx

from yunhe.agent.drivers import Engines
from yunhe.agent.files import Layout
from yunhe.agent.last_words import TAIL_BYTES, last_words
from yunhe.agent.reconcile import ENDED_PHASES, Action, Drop, Forget, Keep, Settle, Stop, decide, restartable
from yunhe.agent.replica import ReplicaKeeper, Surroundings, launch_path
from yunhe.core.errors import YunheError
from yunhe.pool.model import Card, Inventory
from yunhe.pool.workload import WorkloadStatus
from yunhe.serve.sync import DesiredReplica, LogAnswer, LogAsk, ObservedReplica

_LOG = logging.getLogger(__name__)
TICK_S: Final = 0.2
SETTLE_S: Final = 3.0
#: A stop is asked for again after this long, should the first have been lost.
STOP_AGAIN_S: Final = 5.0
LOG_LIMIT_BYTES: Final = 1024 * 1024
#: Ids of candidates that the tuner tries begin so; those of control's replicas never do.
TRIAL_PREFIX: Final = "trial-"
#: Ids of replicas become names of files.
_FILE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")


class Supervisor:
    """Owns the replica keepers; everything it does is idempotent."""

    def __init__(self, centre: Any, engines: Engines, layout: Layout, client: httpx.AsyncClient) -> None:
        #: Set whenever what control should know has changed.
        self.changed = asyncio.Event()
        self.inventory: Inventory | None = None
        self._centre = centre
        self._keepers: dict[str, ReplicaKeeper] = {}
        self._desired: Sequence[DesiredReplica] = ()
        #: Candidates that this centre's tuner tries; control is not told of them.
        self._trials: dict[str, DesiredReplica] = {}
        self._wanted = asyncio.Event()
        #: When each workload was last asked to stop.
        self._stop_asked: dict[str, float] = {}
        self._launches = layout.launches
        self._around = Surroundings(
            centre=centre,
            engines=engines,
            client=client,
            launches=layout.launches,
            verified_weights=layout.verified_weights,
            card=self._card,
            changed=self.changed.set,
        )

    def observed(self) -> tuple[ObservedReplica, ...]:
        """What control is told."""
        own = sorted(self._keepers.items())
        return tuple(keeper.observed for _, keeper in own if not keeper.desired.replica_id.startswith(TRIAL_PREFIX))

    def try_out(self, trial: DesiredReplica) -> None:
        """Run a candidate as a replica is run; its id begins with ``TRIAL_PREFIX``."""
        self._trials[trial.replica_id] = trial
        self._wanted.set()

    def trial(self, replica_id: str) -> ObservedReplica | None:
        """How a candidate stands; None while it has not been taken up, or once nothing of it is left."""
        keeper = self._keepers.get(replica_id)
        return keeper.observed if keeper is not None else None

    def end_trial(self, replica_id: str) -> None:
        """Stop a candidate; ``trial`` gives None once that is done."""
        self._trials.pop(replica_id, None)
        self._wanted.set()

    def _card(self, uid: str) -> Card | None:
        cards = (card for node in (self.inventory.nodes if self.inventory else ()) for card in node.cards)
        return next((card for card in cards if card.uid == uid), None)

    def want(self, desired: Sequence[DesiredReplica]) -> None:
        """The newest that control wants; the next tick, which begins at once, acts on it."""
        strange = [replica.replica_id for replica in desired if not _FILE_NAME.fullmatch(replica.replica_id)]
        if strange:
            _LOG.error("control names replicas in a way that could leave this directory: %s", strange[:3])
        self._desired = tuple(replica for replica in desired if replica.replica_id not in strange)
        self._wanted.set()

    async def restore(self, desired: Sequence[DesiredReplica]) -> None:
        """Take up what was wanted before this agent began; what does not run any more starts afresh."""
        self.want(desired)
        for replica_id in restartable(desired, await asyncio.to_thread(self._centre.observe)):
            _LOG.info("replica %s does not run; it is started afresh", replica_id)
            launch_path(self._launches, replica_id).unlink(missing_ok=True)
            await self._forget_workload(replica_id)

    async def watch(self) -> None:
        """Tick until cancelled; a tick that fails is logged and does not end the watch."""
        while True:
            self._wanted.clear()
            try:
                await self.tick()
            except YunheError as error:
                _LOG.warning("the centre: %s", error.message)
            except Exception:  # noqa: BLE001 - the edge of the process: one bad tick must not end the watch
                _LOG.exception("a tick failed")
            try:
                async with asyncio.timeout(TICK_S):
                    await self._wanted.wait()
            except TimeoutError:
                continue

    async def tick(self) -> None:
        """Look at what runs, then make it meet what is desired."""
        workloads: Sequence[WorkloadStatus] = await asyncio.to_thread(self._centre.observe)
        for status in workloads:
            keeper = self._keepers.get(status.id)
            if keeper is None or keeper.observed.phase == "exited":
                continue
            if status.phase in ENDED_PHASES:
                await keeper.ended(await self._why_ended(status), status.exit_code)
            else:
                keeper.take_status(status)
        reported = {replica_id: keeper.observed.phase for replica_id, keeper in self._keepers.items()}
        for action in decide((*self._desired, *self._trials.values()), reported, workloads):
            await self._act(action)

    async def _act(self, action: Action) -> None:
        match action:
            case Keep(replica):
                self._report(replica).begin()
            case Stop(replica_id, grace_s):
                await self._stop(replica_id, grace_s)
            case Settle(replica):
                keeper = self._keepers.get(replica.replica_id) or self._report(replica)
                await keeper.ended("detached" if replica.external is not None else "stopped; nothing of it runs")
            case Drop(replica_id):
                keeper = self._keepers.pop(replica_id)
                await keeper.let_go()
                keeper.forget()
                self._stop_asked.pop(replica_id, None)
                self.changed.set()
            case Forget(replica_id):
                await self._forget_workload(replica_id)

    def _report(self, replica: DesiredReplica) -> ReplicaKeeper:
        keeper = self._keepers[replica.replica_id] = ReplicaKeeper(replica, self._around)
        self.changed.set()
        return keeper

    async def _stop(self, replica_id: str, grace_s: float) -> None:
        asked_at = self._stop_asked.get(replica_id)
        now = time.monotonic()
        if asked_at is not None and now - asked_at < STOP_AGAIN_S:
            return
        keeper = self._keepers.get(replica_id)
        if keeper is None:
            named = next((replica for replica in self._desired if replica.replica_id == replica_id), None)
            keeper = self._report(named) if named is not None else None
        if keeper is not None:
            await keeper.ending()
        self._stop_asked[replica_id] = now
        await asyncio.to_thread(self._centre.stop, replica_id, grace_s)

    async def _why_ended(self, status: WorkloadStatus) -> str:
        if status.reason:
            return status.reason
        said = ""
        if status.exit_code != 0:
            said = await asyncio.to_thread(self._last_words, status.id)
        return f"it ended with exit code {status.exit_code}{f': {said}' if said else ''}"

    def _last_words(self, replica_id: str) -> str:
        try:
            return last_words(self._centre.logs(replica_id, -TAIL_BYTES, TAIL_BYTES).text)
        except (KeyError, OSError):
            return ""

    async def _forget_workload(self, replica_id: str) -> None:
        self._stop_asked.pop(replica_id, None)
        if hasattr(self._centre, "forget"):
            await asyncio.to_thread(self._centre.forget, replica_id)

    async def answer_logs(self, asks: Sequence[LogAsk]) -> tuple[LogAnswer, ...]:
        """The pieces of log that control asked for."""
        return tuple([await asyncio.to_thread(self._answer_log, ask) for ask in asks])

    def _answer_log(self, ask: LogAsk) -> LogAnswer:
        try:
            chunk = self._centre.logs(ask.replica_id, ask.offset, max(1, min(ask.limit_bytes, LOG_LIMIT_BYTES)))
        except KeyError:
            keeper = self._keepers.get(ask.replica_id)
            attached = keeper is not None and keeper.desired.external is not None
            error = "an attached server keeps its own log" if attached else "this centre has no such replica"
            return LogAnswer(ask.ask_id, "", ask.offset, ask.offset, True, error)
        except (OSError, YunheError) as error:
            reason = error.message if isinstance(error, YunheError) else f"it cannot be read: {error.strerror}"
            return LogAnswer(ask.ask_id, "", ask.offset, ask.offset, True, reason)
        return LogAnswer(ask.ask_id, chunk.text, chunk.offset, chunk.next_offset, chunk.end)

    async def settled(self, limit_s: float) -> None:
        """Until no replica is coming up, or the time is over."""
        deadline = time.monotonic() + limit_s
        await asyncio.sleep(SETTLE_S)
        while time.monotonic() < deadline and any(
            keeper.observed.phase in ("starting", "probing") for keeper in self._keepers.values()
        ):
            await asyncio.sleep(TICK_S)

    async def let_go(self) -> None:
        """Stop watching every replica; they go on running."""
        for keeper in self._keepers.values():
            await keeper.let_go()
