"""All replicas of this centre: carries reconcile's actions out and watches what runs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import httpx

from yunhe.agent import files
from yunhe.agent.drivers import Engines
from yunhe.agent.reconcile import End, Forget, Keep, decide
from yunhe.agent.replica import ReplicaKeeper, Surroundings
from yunhe.core.errors import YunheError
from yunhe.pool.model import Card, Inventory
from yunhe.pool.workload import WorkloadStatus
from yunhe.serve.sync import DesiredReplica, LogAnswer, LogAsk, ObservedReplica

_LOG = logging.getLogger(__name__)
TICK_S: Final = 0.2
SETTLE_S: Final = 3.0
STOP_GRACE_S: Final = 3.0
STOP_LIMIT_S: Final = 20.0
#: Ids of what was stopped because everything was: no failures, and started again by the next agent.
STOPPED_FILE: Final = "stopped.json"
LOG_LIMIT_BYTES: Final = 1024 * 1024


class Supervisor:
    """Owns the replica keepers; everything it does is idempotent."""

    def __init__(self, centre: Any, engines: Engines, state_dir: Path, client: httpx.AsyncClient) -> None:
        #: Set whenever what control should know has changed.
        self.changed = asyncio.Event()
        self.inventory: Inventory | None = None
        self._centre = centre
        self._keepers: dict[str, ReplicaKeeper] = {}
        self._desired: Sequence[DesiredReplica] = ()
        launches = state_dir / "launches"
        launches.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._stopped_path = state_dir / STOPPED_FILE
        self._around = Surroundings(
            centre=centre,
            engines=engines,
            client=client,
            launches=launches,
            verified_weights=state_dir / "verified-weights.json",
            card=self._card,
            changed=self.changed.set,
        )

    def observed(self) -> tuple[ObservedReplica, ...]:
        """What control is told."""
        return tuple(keeper.observed for _, keeper in sorted(self._keepers.items()))

    def _card(self, uid: str) -> Card | None:
        cards = (card for node in (self.inventory.nodes if self.inventory else ()) for card in node.cards)
        return next((card for card in cards if card.uid == uid), None)

    def want(self, desired: Sequence[DesiredReplica]) -> None:
        """The newest that control wants; the next tick acts on it."""
        self._desired = desired

    def revive(self) -> None:
        """Forget what was stopped together with the last agent, so that what is still wanted of it starts anew.

        Without this its end would be reported as a failure. Blocks; call it before the first tick.
        """
        stopped = set(files.load(self._stopped_path, list[str]) or ())
        ended = {status.id for status in self._centre.observe() if status.phase in ("exited", "lost")}
        for replica_id in sorted(stopped & ended) if hasattr(self._centre, "forget") else ():
            self._centre.forget(replica_id)
            (self._around.launches / f"{replica_id}.json").unlink(missing_ok=True)
        self._stopped_path.unlink(missing_ok=True)

    async def watch(self) -> None:
        """Tick until cancelled; a tick that fails is logged and does not end the watch."""
        while True:
            try:
                await self.tick()
            except YunheError as error:
                _LOG.warning("the centre: %s", error.message)
            except Exception:  # noqa: BLE001 - the edge of the process: one bad tick must not end the watch
                _LOG.exception("a tick failed")
            await asyncio.sleep(TICK_S)

    async def tick(self) -> None:
        """Look at what runs, then make it meet what is desired."""
        statuses: Sequence[WorkloadStatus] = await asyncio.to_thread(self._centre.observe)
        for status in statuses:
            if (keeper := self._keepers.get(status.id)) is not None:
                keeper.take_status(status)
        running = {status.id for status in statuses if status.phase not in ("exited", "lost")}
        ended = {status.id for status in statuses} - running
        attached_ended = {i for i, k in self._keepers.items() if k.observed.phase == "exited" and i not in running}
        for action in decide(self._desired, self._keepers.keys(), running, ended | attached_ended):
            match action:
                case Keep(replica):
                    self._keepers[replica.replica_id] = keeper = ReplicaKeeper(replica, self._around)
                    keeper.begin()
                    self.changed.set()
                case End(replica_id, grace_s):
                    await self._end(replica_id, grace_s, replica_id in running)
                case Forget(replica_id):
                    await self._forget(replica_id)

    async def _end(self, replica_id: str, grace_s: float, runs: bool) -> None:
        keeper = self._keepers.get(replica_id)
        if keeper is not None and keeper.observed.phase not in ("stopping", "exited"):
            await keeper.let_go()
            keeper.ending()
        if keeper is None and not runs:
            desired = next((d for d in self._desired if d.replica_id == replica_id), None)
            if desired is not None:
                self._keepers[replica_id] = keeper = ReplicaKeeper(desired, self._around)
                keeper.attached = True
                keeper.ending()
        if runs and (keeper is None or keeper.observed.phase == "stopping"):
            await asyncio.to_thread(self._centre.stop, replica_id, grace_s)

    async def _forget(self, replica_id: str) -> None:
        keeper = self._keepers.pop(replica_id, None)
        if keeper is not None:
            await keeper.let_go()
            keeper.forget()
            self.changed.set()
        if hasattr(self._centre, "forget"):
            await asyncio.to_thread(self._centre.forget, replica_id)

    async def answer_logs(self, asks: Sequence[LogAsk]) -> tuple[LogAnswer, ...]:
        """The pieces of log that control asked for."""
        return tuple([await asyncio.to_thread(self._answer_log, ask) for ask in asks])

    def _answer_log(self, ask: LogAsk) -> LogAnswer:
        try:
            chunk = self._centre.logs(ask.replica_id, ask.offset, min(ask.limit_bytes, LOG_LIMIT_BYTES))
        except KeyError:
            return LogAnswer(ask.ask_id, "", ask.offset, ask.offset, True, "this centre has no such replica")
        except OSError as error:
            return LogAnswer(ask.ask_id, "", ask.offset, ask.offset, True, f"the log cannot be read: {error.strerror}")
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


def stop_all(centre: Any, state_dir: Path, grace_s: float = STOP_GRACE_S) -> bool:
    """Stop every workload of the centre and wait for it. Blocks; True when nothing is left."""
    deadline = time.monotonic() + STOP_LIMIT_S
    asked: set[str] = set()
    while True:
        running = [status.id for status in centre.observe() if status.phase not in ("exited", "lost")]
        if not running:
            return True
        if time.monotonic() > deadline:
            return False
        if set(running) - asked:
            known = files.load(state_dir / STOPPED_FILE, list[str]) or []
            files.save(state_dir / STOPPED_FILE, sorted({*known, *running}))
        for workload_id in set(running) - asked:
            centre.stop(workload_id, grace_s)
            asked.add(workload_id)
        time.sleep(0.05)
