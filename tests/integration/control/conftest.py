"""Control's app in this process, on both databases, with a scripted agent on its wire."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import httpx
import msgspec
import pytest

from yunhe.control.agent_desk import AgentDesk
from yunhe.control.bootstrap import bootstrap
from yunhe.control.controller import ServeController
from yunhe.control.leader import Leadership
from yunhe.control.machine import machine_app
from yunhe.control.secret_files import ensure_secrets
from yunhe.control.state import ControlState, build_state
from yunhe.core.clock import ManualClock
from yunhe.core.home import Home
from yunhe.core.units import GIB
from yunhe.pool.model import Card, Inventory, Node
from yunhe.serve.snapshot import SnapshotDelta
from yunhe.serve.sync import (
    DesiredReplica,
    EngineInfo,
    JoinAnswer,
    JoinRequest,
    ObservedReplica,
    SyncAnswer,
    SyncRequest,
)
from yunhe.store.database import Database

CARD = Card("cpu0", "cpu-x", "maker", "cpu", "A CPU", 16 * GIB, cores=8, health="healthy")


def inventory(*cards: Card) -> Inventory:
    return Inventory((Node("host", 16 * GIB, 8, "linux", cards or (CARD,)),), taken_at=1_790_000_000.0)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of each kind."""
    if request.param == "postgresql":
        url: str = request.getfixturevalue("postgres_url")
        return url
    return f"sqlite:///{tmp_path}/yunhe.db"


@pytest.fixture
async def state(database_url: str, tmp_path: Path) -> AsyncIterator[ControlState]:
    """A control process's state over a database after its first start; time stands still until moved."""
    home = Home(tmp_path / "home")
    home.make()
    database = Database(database_url)
    await database.migrate()
    made = build_state(home, database, ManualClock(), ensure_secrets(home))
    await bootstrap(made)
    try:
        yield made
    finally:
        made.hub.close()
        await database.dispose()


@pytest.fixture
def clock(state: ControlState) -> ManualClock:
    """The state's clock."""
    assert isinstance(state.clock, ManualClock)
    return state.clock


@pytest.fixture
async def wire(state: ControlState) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the machine routes."""
    transport = httpx.ASGITransport(machine_app(state))
    async with httpx.AsyncClient(transport=transport, base_url="http://control") as client:
        yield client


@dataclass
class ScriptedAgent:
    """Speaks the agent protocol and reports what the test scripts."""

    wire: httpx.AsyncClient
    token: str
    identity: JoinAnswer
    boot_id: str = "boot-1"
    sequence: int = 0
    revision: int = -1
    phases: dict[str, ObservedReplica] = field(default_factory=dict)
    desired: dict[str, DesiredReplica] = field(default_factory=dict)
    engines: tuple[EngineInfo, ...] = (EngineInfo("alpha", "1"), EngineInfo("external", "external"))

    async def sync(self, inventory: Inventory | None = None, **changes: object) -> SyncAnswer:
        """One exchange; takes what is desired and forgets what is no longer."""
        self.sequence += 1
        ask = SyncRequest(
            agent_id=self.identity.agent_id,
            boot_id=self.boot_id,
            sequence=self.sequence,
            desired_revision=self.revision,
            sent_at=0.0,
            wait_s=0.0,
            inventory=inventory,
            replicas=tuple(self.phases.values()),
            engines=self.engines,
        )
        answer = await self.send(replace(ask, **changes))  # type: ignore[arg-type]
        if answer.desired_revision >= self.revision:
            self.revision = answer.desired_revision
            self.desired = {one.replica_id: one for one in answer.replicas}
            self.phases = {id: seen for id, seen in self.phases.items() if id in self.desired}
        return answer

    async def send(self, ask: SyncRequest) -> SyncAnswer:
        """The exchange as it is."""
        reply = await self.wire.post(
            "/api/v1/agent/sync",
            content=msgspec.json.encode(ask),
            headers={"authorization": f"Bearer {self.token}"},
        )
        assert reply.status_code == 200, reply.text
        return msgspec.json.decode(reply.content, type=SyncAnswer)

    def report(self, replica_id: str, phase: str, reason: str = "scripted", exit_code: int | None = None) -> None:
        """What the next sync says of a replica."""
        url = f"http://127.0.0.1:1/{replica_id}" if phase in ("ready", "unhealthy") else None
        self.phases[replica_id] = ObservedReplica(
            replica_id, phase, reason, url, "up", 8, 100.0, pid=7, node="host", exit_code=exit_code
        )

    def run_all(self, phase: str = "ready") -> None:
        """Report every desired replica as running, and those that shall stop as ended."""
        for id, wanted in self.desired.items():
            self.report(id, phase if wanted.run else "exited", "scripted")


@pytest.fixture
async def agent(state: ControlState, wire: httpx.AsyncClient) -> ScriptedAgent:
    """The local centre's agent, joined, not yet synced."""
    token = (state.home.agent / "join_token").read_text()
    reply = await wire.post("/api/v1/agent/join", content=msgspec.json.encode(JoinRequest(token, "local", "host")))
    assert reply.status_code == 200, reply.text
    identity = msgspec.json.decode(reply.content, type=JoinAnswer)
    return ScriptedAgent(wire, identity.agent_token, identity)


@dataclass
class Controllers:
    """One process's controllers, run by hand."""

    state: ControlState
    serve: ServeController

    async def settle(self) -> None:
        """One pass, which itself repeats until nothing is left to do."""
        await self.serve.work()


@pytest.fixture
def controllers(state: ControlState) -> Controllers:
    """The controllers of the state."""
    return Controllers(state, ServeController(state, Leadership(state)))


@pytest.fixture
def desk(state: ControlState) -> AgentDesk:
    """The desk without its routes."""
    return AgentDesk(state)


Snapshot = Callable[[int], Awaitable[SnapshotDelta]]


@pytest.fixture
def snapshot(wire: httpx.AsyncClient, internal: dict[str, str]) -> Snapshot:
    """Reads a snapshot as a gateway worker does: everything after a revision, -1 for the whole."""

    async def read(since: int) -> SnapshotDelta:
        reply = await wire.get("/internal/v1/snapshot", params={"since": since}, headers=internal)
        assert reply.status_code == 200, reply.text
        return msgspec.json.decode(reply.content, type=SnapshotDelta)

    return read


@pytest.fixture
def internal(state: ControlState) -> dict[str, str]:
    """Headers of a gateway worker."""
    return {"authorization": f"Bearer {state.secrets.internal_token}"}


@pytest.fixture
def first_start(state: ControlState) -> dict[str, str]:
    """What the first start wrote down."""
    found: dict[str, str] = json.loads((state.home.run / "first_start.json").read_text())
    return found
