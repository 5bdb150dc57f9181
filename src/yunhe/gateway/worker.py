"""One worker: its parts wired, its clock, its life from the first connection to the drained end."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from email.utils import formatdate
from pathlib import Path
from typing import Final

from yunhe.accounts.keys import Digester
from yunhe.core.home import Home
from yunhe.gateway import metrics, snapshot_client
from yunhe.gateway.background import Background
from yunhe.gateway.client import ClientConnection
from yunhe.gateway.control_link import ControlLink
from yunhe.gateway.credit import CreditBook
from yunhe.gateway.dispatch import dispatch
from yunhe.gateway.exchange import Exchange
from yunhe.gateway.journal import Journal
from yunhe.gateway.limits import LimitTable
from yunhe.gateway.options import Options
from yunhe.gateway.replica import Address, Pool
from yunhe.gateway.request_head import RequestHead
from yunhe.gateway.request_id import new_request_id
from yunhe.gateway.routes import World
from yunhe.gateway.shipper import REJECTED_NAME, Shipper
from yunhe.gateway.snapshot_client import SnapshotClient
from yunhe.gateway.spool import Spool
from yunhe.gateway.stats import Stats
from yunhe.gateway.upstream import HeadedConnection
from yunhe.gateway.worker_dir import Adopter, WorkerDir

log = logging.getLogger(__name__)

_SWEEP_S: Final = 0.25
_SANE_ID: Final = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")


class Worker:
    """Everything that an exchange may need, as attributes."""

    def __init__(
        self,
        home: Home,
        number: int,
        workers: int,
        control_url: str,
        options: Options,
        pepper: bytes,
        internal_token: str,
    ) -> None:
        """Lays out the worker's files. Raises OSError when the data directory cannot be used."""
        self.options = options
        self.number = number
        self.name = f"gateway-{number}"
        self.digester = Digester(pepper)
        self.draining = False
        self.now_s = time.monotonic()
        self._slots_to_end: list[int] = []
        #: Header lines of every answer, with the date; and the same behind the status line of a good one.
        self.common_lines = b""
        self.ok_lines = b""
        self.stats = Stats()
        self.connections: set[ClientConnection] = set()
        self.control_address = Address(control_url)
        self.control_pool = Pool(self.control_address, options, HeadedConnection)
        self.link = ControlLink(self.control_address, self.control_pool, internal_token)
        self.world = World(options, self._credit_arrived)
        self.credit = CreditBook(workers, self._available)
        home.gateway.mkdir(mode=0o700, parents=True, exist_ok=True)
        spool_root = home.gateway / "spool"
        unique = f"{self.name}-{os.getpid()}-{os.urandom(4).hex()}"
        self.directory = WorkerDir.make(spool_root, unique)
        self.journal = Journal(self.directory.path, options.journal_slots)
        self.spool = Spool(self.directory.path, options, self.journal.prepare)
        self.limits = LimitTable(home.gateway)
        self.shipper = Shipper(self.link, self.spool, self.name, spool_root / REJECTED_NAME)
        self.adopter = Adopter(spool_root, self.directory.path, self.spool, self.shipper, self._adopted)
        snapshot_path = home.gateway / snapshot_client.FILE_NAME
        self.snapshot = SnapshotClient(self.link, self.world, options, snapshot_path, unique)
        snapshot_client.load(snapshot_path, self.world)
        self.background = Background(self)
        self._tick_date()

    # for exchanges

    def dispatch(self, client: ClientConnection, head: RequestHead) -> Exchange:
        """The exchange for a request. Raises Refusal."""
        return dispatch(self, client, head)

    def request_id_lines(self, own_id: bytes, request_id: str | None = None) -> bytes:
        """``x-request-id`` (the client's own when it is sane) and ours, under which usage is stored."""
        ours = (request_id or new_request_id()).encode()
        shown = own_id if own_id and _SANE_ID.fullmatch(own_id) else ours
        return b"x-request-id: %b\r\nx-yunhe-request-id: %b\r\n" % (shown, ours)

    def end_slot(self, slot: int) -> None:
        """A stream was settled. Its journal slot is freed only when the record is on disk."""
        if self.spool.waiting:
            self._slots_to_end.append(slot)
        else:
            self.journal.close_slot(slot)

    def wake_credit(self) -> None:
        """Somebody waits for credit."""
        self.background.credit_wanted.set()

    def credit_late(self) -> None:
        """Control did not answer in time: go on with the offline allowance."""
        self.credit.away = True
        self.credit.stop_waiting()

    def _available(self, project_id: str) -> int:
        project = self.world.projects.get(project_id)
        return 0 if project is None else project.entry.available_micro

    def _credit_arrived(self, project_id: str) -> None:
        self.credit.credit_arrived(project_id)

    def _adopted(self, streams: int) -> None:
        self.stats.adopted_streams += streams

    # connections

    def welcome(self, client: ClientConnection) -> bool:
        """Count a connection in; False when there are too many."""
        self.connections.add(client)
        self.stats.connections = len(self.connections)
        self.stats.connections_total += 1
        if len(self.connections) > self.options.connections_max:
            self.stats.connections_refused += 1
            return False
        return True

    def farewell(self, client: ClientConnection) -> None:
        """Count it out."""
        self.connections.discard(client)
        self.stats.connections = len(self.connections)

    # time

    def sweep(self) -> None:
        """Four times a second: the coarse clock, time-outs, idle connections, what waits for the disk."""
        loop = asyncio.get_running_loop()
        loop.call_later(_SWEEP_S, self.sweep)
        now_s = self.now_s = time.monotonic()
        self._tick_date()
        for client in list(self.connections):
            client.tick(now_s)
        for replica in self.world.replicas.values():
            replica.pool.sweep(now_s)
        self.control_pool.sweep(now_s)
        self.limits.flush(now_s)
        self.spool.retry_backlog()
        while self._slots_to_end and not self.spool.waiting:
            self.journal.close_slot(self._slots_to_end.pop())
        if self.credit.pending:
            self.wake_credit()

    def _tick_date(self) -> None:
        self.common_lines = b"server: yunhe\r\ndate: %b\r\n" % formatdate(usegmt=True).encode()
        self.ok_lines = b"HTTP/1.1 200 OK\r\n" + self.common_lines

    # what others ask

    def health(self) -> dict[str, object]:
        """GET /gateway/health."""
        return {
            "worker": self.number,
            "pid": os.getpid(),
            "revision": self.world.revision,
            "control_connected": self.link.connected,
            "models": {name: len(self.world.routes.get(name, ())) for name in sorted(self.world.models)},
            "spool_pending": self.shipper.pending,
            "spool_trouble": self.spool.trouble,
            "in_flight": self.stats.in_flight,
            "draining": self.draining,
        }

    def metrics(self) -> bytes:
        """GET /gateway/metrics."""
        gauges = {
            "spool_pending": self.shipper.pending,
            "spool_writable": 0 if self.spool.trouble else 1,
            "control_connected": 1 if self.link.connected else 0,
            "snapshot_revision": self.world.revision,
            "replicas_ready": sum(map(len, self.world.routes.values())),
            "limits_unlocked": self.limits.unlocked,
        }
        return metrics.text(self.stats, gauges, self.name)

    # the end

    async def drain(self) -> None:
        """Finish what runs (at most ``drain_s``), cut the rest off with an error, settle, ship, give back."""
        self.draining = True
        for client in list(self.connections):
            client.drain()
        end_s = time.monotonic() + self.options.drain_s
        while self.connections and time.monotonic() < end_s:
            await asyncio.sleep(0.02)
        for client in list(self.connections):
            client.cut_off()
        await asyncio.sleep(0.05)
        for client in list(self.connections):
            client.abort()
        await asyncio.sleep(0)
        await self.background.finish()
        self.close()

    def close(self) -> None:
        """Close files and connections. What control has not confirmed stays for whoever adopts the directory."""
        for replica in self.world.replicas.values():
            replica.pool.close_all()
        self.control_pool.close_all()
        confirmed = self.shipper.pending == 0 and self.spool.waiting == 0
        self.spool.close()
        self.journal.close()
        self.limits.close()
        if confirmed:
            self.directory.remove()
        else:
            self.directory.leave()


def read_secret(path: Path) -> str:
    """64 hexadecimal characters. Raises OSError, ValueError."""
    text = path.read_text(encoding="ascii").strip()
    if len(bytes.fromhex(text)) != 32:
        raise ValueError(f"{path} does not hold 64 hexadecimal characters")
    return text
