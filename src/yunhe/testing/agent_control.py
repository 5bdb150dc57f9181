"""A fake control for agents: lets one in, records what it reports, desires what it is told to desire. Simulated."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import msgspec

from yunhe.pool.model import Inventory
from yunhe.serve.sync import (
    DesiredReplica,
    JoinAnswer,
    JoinRequest,
    LogAnswer,
    LogAsk,
    ObservedReplica,
    SyncAnswer,
    SyncRequest,
)
from yunhe.testing.http_server import Request, ScriptedServer, write_json

JOIN_TOKEN = "yj_simulated_join_token"


@dataclass(slots=True)
class Faults:
    """What goes wrong with the next exchanges."""

    #: So many syncs are answered with this status.
    status: int = 500
    times: int = 0
    #: Answer syncs with this revision instead of the right one, as a delayed or repeated message would.
    stale_revision: int | None = None
    #: Cut the connection after a join was taken in.
    lose_join_answers: int = 0


@dataclass(slots=True)
class AgentControl:
    """One centre's side of control. Start it, hand ``url`` and ``JOIN_TOKEN`` to an agent, call ``desire``."""

    revision: int = 0
    faults: Faults = field(default_factory=Faults)
    agent_token: str = "ya_simulated_1"
    joins: list[JoinRequest] = field(default_factory=list)
    syncs: deque[SyncRequest] = field(default_factory=lambda: deque(maxlen=1000))
    inventory: Inventory | None = None
    answers: dict[str, LogAnswer] = field(default_factory=dict)
    _desired: tuple[DesiredReplica, ...] = ()
    _asks: dict[str, LogAsk] = field(default_factory=dict)
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _boot_with_inventory: str = ""
    _server: ScriptedServer | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        assert self._server is not None
        return self._server.url

    async def start(self, port: int = 0) -> None:
        """Begin to answer."""
        self._server = ScriptedServer(self._handle)
        await self._server.start(port)

    async def stop(self) -> int:
        """Stop answering, as a killed process would; the port, to start again on."""
        assert self._server is not None
        port = self._server.port
        await self._server.stop()
        return port

    def desire(self, *replicas: DesiredReplica) -> None:
        """What the centre shall run from now on."""
        self._desired = replicas
        self.revision += 1
        self._news.set()

    def ask_log(self, ask: LogAsk) -> None:
        """Ask for a piece of a log; the answer lands in ``answers``."""
        self._asks[ask.ask_id] = ask
        self._news.set()

    def replica(self, replica_id: str) -> ObservedReplica | None:
        """As last reported."""
        replicas = self.syncs[-1].replicas if self.syncs else ()
        return next((replica for replica in replicas if replica.replica_id == replica_id), None)

    def phases(self, replica_id: str) -> list[str]:
        """All phases reported of a replica, without repetitions."""
        found: list[str] = []
        for sync in self.syncs:
            for replica in sync.replicas:
                if replica.replica_id == replica_id and found[-1:] != [replica.phase]:
                    found.append(replica.phase)
        return found

    async def _handle(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        if request.path == "/api/v1/agent/join":
            return self._join(request, writer)
        if request.headers.get("authorization") != f"Bearer {self.agent_token}":
            self._refuse(writer)
            return True
        await self._sync(request, writer)
        return True

    def _join(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        ask = msgspec.json.decode(request.body, type=JoinRequest)
        if ask.token != JOIN_TOKEN or (self.joins and self.joins[0].nonce != ask.nonce):
            self._refuse(writer)
            return True
        self.joins.append(ask)
        if self.faults.lose_join_answers > 0:
            self.faults.lose_join_answers -= 1
            writer.transport.abort()
            return False
        self._write(writer, JoinAnswer("centre_simulated", "simulated", "agent_simulated", self.agent_token))
        return True

    async def _sync(self, request: Request, writer: asyncio.StreamWriter) -> None:
        ask = msgspec.json.decode(request.body, type=SyncRequest)
        self.syncs.append(ask)
        if self.faults.times > 0:
            self.faults.times -= 1
            write_json(writer, self.faults.status, {"error": {"code": "scripted", "message": "scripted"}})
            return
        if ask.inventory is not None:
            self.inventory, self._boot_with_inventory = ask.inventory, ask.boot_id
        for answer in ask.logs:
            self.answers[answer.ask_id] = answer
            self._asks.pop(answer.ask_id, None)
        known = self._boot_with_inventory == ask.boot_id
        if known and not self._asks and ask.desired_revision == self.revision and ask.wait_s > 0:
            self._news.clear()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), ask.wait_s)
        stale, self.faults.stale_revision = self.faults.stale_revision, None
        replicas = self._desired if stale is None else ()
        revision = self.revision if stale is None else stale
        self._write(writer, SyncAnswer(revision, replicas, tuple(self._asks.values()), 0.0, known))

    def _refuse(self, writer: asyncio.StreamWriter) -> None:
        write_json(writer, 401, {"error": {"code": "not_signed_in", "message": "this token is not good"}})

    def _write(self, writer: asyncio.StreamWriter, document: Any) -> None:
        write_json(writer, 200, msgspec.json.encode(document))
