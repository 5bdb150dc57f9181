"""What a worker does beside serving: follow the snapshot, ship usage, lease credit, report, adopt the dead."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from yunhe.gateway.control_link import ControlAway
from yunhe.ledger.model import LeaseAsk, LeaseGrant

if TYPE_CHECKING:
    from yunhe.gateway.worker import Worker

log = logging.getLogger(__name__)

_STATS_INTERVAL_S: Final = 1.0
_STATS_TIMEOUT_S: Final = 2.0
_CREDIT_INTERVAL_S: Final = 0.25
_ASKS_MAX: Final = 500
_FINISH_S: Final = 3.0


class _LeaseBatch(Struct):
    worker: str
    asks: list[LeaseAsk]
    release: list[str]


class _LeaseAnswer(Struct):
    grants: tuple[LeaseGrant, ...]


class Background:
    """The tasks of one worker."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._tasks: list[asyncio.Task[None]] = []
        self.credit_wanted = asyncio.Event()
        self._reported_s = time.monotonic()

    def start(self) -> None:
        """Start them all."""
        worker = self._worker
        for name, run in (
            ("snapshot", worker.snapshot.follow),
            ("keep", worker.snapshot.keep),
            ("ship", worker.shipper.run),
            ("credit", self._credit),
            ("stats", self._stats),
            ("adopt", self._adopt),
        ):
            self._tasks.append(asyncio.get_running_loop().create_task(_forever(name, run), name=name))

    async def finish(self) -> None:
        """Stop them; ship what is left and give leases back, within a few seconds."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        worker = self._worker
        try:
            async with asyncio.timeout(_FINISH_S):
                worker.spool.retry_backlog()
                worker.spool.seal()
                while await worker.shipper.ship_once():
                    pass
                releases = worker.credit.release_all()
                if releases:
                    await self._lease_call([], releases)
        except (ControlAway, TimeoutError, OSError) as error:
            log.warning("not everything could be shipped before the end; it stays on disk: %s", error)

    async def _credit(self) -> None:
        """Ask for credit when wanted, give back what is idle."""
        worker = self._worker
        while True:
            try:
                async with asyncio.timeout(_CREDIT_INTERVAL_S):
                    await self.credit_wanted.wait()
            except TimeoutError:
                pass
            self.credit_wanted.clear()
            now_s = time.monotonic()
            asks, releases = worker.credit.asks(now_s, worker.shipper.confirmed)
            for start in range(0, max(len(asks), len(releases)), _ASKS_MAX):
                await self._ask(asks[start : start + _ASKS_MAX], releases[start : start + _ASKS_MAX])

    async def _ask(self, asks: list[LeaseAsk], releases: list[str]) -> None:
        worker = self._worker
        try:
            grants = await self._lease_call(asks, releases)
        except ControlAway as error:
            log.debug("no lease: %s", error)
            if asks:
                worker.credit.away = True
            worker.credit.failed([ask.project_id for ask in asks], releases)
            return
        worker.credit.away = False
        # Wall times of control become monotonic ones of ours.
        skew_s = worker.snapshot.skew_s + time.time() - time.monotonic()
        for grant in grants:
            worker.credit.granted(grant, time.monotonic(), skew_s)

    async def _lease_call(self, asks: list[LeaseAsk], releases: list[str]) -> tuple[LeaseGrant, ...]:
        worker = self._worker
        body = msgspec.json.encode(_LeaseBatch(worker.name, asks, releases))
        timeout_s = worker.options.lease_wait_s + 1
        status, answer = await worker.link.call("POST", "/internal/v1/leases", body, timeout_s=timeout_s)
        if status != 200:
            raise ControlAway(f"it answered {status} to the lease call")
        try:
            return msgspec.json.decode(answer, type=_LeaseAnswer).grants
        except msgspec.DecodeError as error:
            raise ControlAway(f"its lease answer cannot be read: {error}") from None

    async def _stats(self) -> None:
        """Report once a second; also how the worker knows whether control is there."""
        worker = self._worker
        while True:
            now_s = time.monotonic()
            stats = worker.stats.window(
                worker=worker.name,
                pid=os.getpid(),
                at=time.time(),
                window_s=now_s - self._reported_s,
                pending=worker.shipper.pending,
                revision=worker.world.revision,
                in_flight={name: one.in_flight for name, one in worker.world.replicas.items() if one.in_flight},
            )
            self._reported_s = now_s
            try:
                body = msgspec.json.encode(stats)
                status, _ = await worker.link.call("POST", "/internal/v1/stats", body, timeout_s=_STATS_TIMEOUT_S)
                worker.link.connected = 200 <= status < 300
            except ControlAway:
                worker.link.connected = False
            if worker.link.connected:
                worker.credit.away = False
            await asyncio.sleep(max(0.05, _STATS_INTERVAL_S - (time.monotonic() - now_s)))

    async def _adopt(self) -> None:
        """Look for dead workers' directories."""
        while True:
            try:
                self._worker.adopter.look()
            except OSError as error:
                log.warning("dead workers' directories cannot be read: %s", error)
            await asyncio.sleep(self._worker.options.adopt_interval_s)


async def _forever(name: str, run: Callable[[], Awaitable[None]]) -> None:
    """A task of the process: an unexpected error is logged and the task begins anew."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("the task %s failed and starts again", name)
        await asyncio.sleep(1.0)
