"""The conversation with control: says what is observed, takes what is desired (docs/agent-protocol.md)."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Sequence
from typing import Final, Protocol

from yunhe.agent import files
from yunhe.agent.control_client import Unanswered
from yunhe.agent.files import Desired, Identity, Layout
from yunhe.agent.reconcile import newer
from yunhe.agent.supervisor import Supervisor
from yunhe.core.ids import uuid7_hex
from yunhe.pool.model import Inventory
from yunhe.serve.sync import EngineInfo, LogAnswer, SyncAnswer, SyncRequest

_LOG = logging.getLogger(__name__)
WAIT_S: Final = 25.0
RETRY_S_MIN: Final = 0.1
RETRY_S_MAX: Final = 10.0
#: Changes within this time travel in one sync.
GATHER_S: Final = 0.02


class Syncs(Protocol):
    """What the conversation needs of control."""

    async def sync(self, request: SyncRequest, token: str) -> SyncAnswer:
        """As in Control."""
        ...


def new_boot_id() -> str:
    """Names one run of the agent."""
    return uuid7_hex(time.time_ns() // 1_000_000, random.SystemRandom().randbytes(10))


class HasEngines(Protocol):
    """What the conversation needs of the engines."""

    @property
    def infos(self) -> tuple[EngineInfo, ...]:
        """As of Engines."""
        ...


class Tunes(Protocol):
    """What the conversation needs of the tuning desk."""

    def want(self, texts: Sequence[str]) -> None:
        """As in TuningDesk."""
        ...

    def reports(self) -> tuple[str, ...]:
        """As in TuningDesk."""
        ...


class SyncLoop:
    """Keeps the conversation going through restarts and absences of control."""

    def __init__(
        self,
        control: Syncs,
        identity: Identity,
        supervisor: Supervisor,
        engines: HasEngines,
        layout: Layout,
        revision: int,
        tuning: Tunes | None = None,
    ) -> None:
        self._control = control
        self._identity = identity
        self._supervisor = supervisor
        self._engines = engines
        self._tuning = tuning
        self._path = layout.desired
        #: Newest that was taken; -1 before the first.
        self.revision = revision
        self._boot_id = new_boot_id()
        self._sequence = 0
        self._inventory_sent: Inventory | None = None
        self._logs: tuple[LogAnswer, ...] = ()
        self._retry_s = RETRY_S_MIN
        self._away = False

    async def run(self) -> None:
        """Until cancelled, or Refused is raised."""
        wait_s = 0.0
        while True:
            try:
                answer = await self._exchange(wait_s)
            except Unanswered as error:
                await self._pause(str(error))
                wait_s = 0.0
                continue
            if self._away:
                _LOG.info("control answers again")
            self._away, self._retry_s = False, RETRY_S_MIN
            if answer is not None:
                await self.take(answer)
            wait_s = 0.0 if self._logs else WAIT_S

    async def _pause(self, why: str) -> None:
        """Wait before the next try, longer each time, and not in step with other agents."""
        if not self._away:
            _LOG.warning("control is away, everything goes on without it: %s", why)
        self._away = True
        await asyncio.sleep(self._retry_s * (0.5 + random.random() / 2))
        self._retry_s = min(self._retry_s * 2, RETRY_S_MAX)

    async def _exchange(self, wait_s: float) -> SyncAnswer | None:
        """One sync; None when something changed meanwhile and must be said first."""
        supervisor = self._supervisor
        supervisor.changed.clear()
        inventory = supervisor.inventory
        fresh = inventory is not None and inventory is not self._inventory_sent
        request = self._request(inventory if fresh else None, 0.0 if fresh else wait_s)
        exchange = asyncio.create_task(self._control.sync(request, self._identity.agent_token))
        change = asyncio.create_task(supervisor.changed.wait())
        try:
            await asyncio.wait((exchange, change), return_when=asyncio.FIRST_COMPLETED)
            if not exchange.done() and request.wait_s > 0:
                await asyncio.sleep(GATHER_S)
                if not exchange.done():
                    return None
            answer = await exchange
        finally:
            for task in (exchange, change):
                task.cancel()
            await asyncio.gather(exchange, change, return_exceptions=True)
        self._logs = ()
        if fresh:
            self._inventory_sent = inventory
        return answer

    def _request(self, inventory: Inventory | None, wait_s: float) -> SyncRequest:
        self._sequence += 1
        return SyncRequest(
            agent_id=self._identity.agent_id,
            boot_id=self._boot_id,
            sequence=self._sequence,
            desired_revision=self.revision,
            sent_at=time.time(),
            wait_s=wait_s,
            inventory=inventory,
            replicas=self._supervisor.observed(),
            engines=self._engines.infos,
            logs=self._logs,
            tunings=self._tuning.reports() if self._tuning is not None else (),
        )

    async def take(self, answer: SyncAnswer) -> None:
        """Act on an answer, unless it is older than what was taken."""
        if not answer.inventory_known:
            self._inventory_sent = None
        if newer(self.revision, answer.desired_revision):
            if answer.desired_revision != self.revision:
                self._write_down(answer)
            self.revision = answer.desired_revision
            self._supervisor.want(answer.replicas)
        if self._tuning is not None:
            self._tuning.want(answer.tunings)
        if answer.log_asks:
            self._logs = await self._supervisor.answer_logs(answer.log_asks)

    def _write_down(self, answer: SyncAnswer) -> None:
        try:
            files.save(self._path, Desired(answer.desired_revision, answer.replicas))
        except OSError as error:
            # Acting on it matters more than remembering it; control tells it again after a restart.
            _LOG.error("what control wants cannot be written to %s: %s", self._path, error.strerror)
