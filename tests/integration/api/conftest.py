"""The whole app over a real SQLite database, seeded by the first start, with a person of each role."""

import asyncio
import contextlib
import json
import shutil
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from yunhe.accounts.keys import digest, make_text
from yunhe.accounts.model import ApiKey, Membership, Organisation, Project, Role, Scope, User
from yunhe.accounts.passwords import hash_password
from yunhe.api.app import build_app
from yunhe.control.bootstrap import bootstrap
from yunhe.control.secret_files import ensure_secrets
from yunhe.control.state import ControlState, build_state
from yunhe.core.clock import ManualClock
from yunhe.core.home import Home
from yunhe.core.ids import new_id
from yunhe.store import keys, projects, users
from yunhe.store.database import Database

PASSWORD = "correct horse battery"
#: name -> platform roles, role in project `default`
PEOPLE: dict[str, tuple[frozenset[Role], Role | None]] = {
    "olga": (frozenset(), Role.PROJECT_OWNER),
    "mia": (frozenset(), Role.MEMBER),
    "sam": (frozenset(), None),
    "cato": (frozenset({Role.CENTRE_OPERATOR}), None),
}


INFERENCE_KEY_SEED = b"i" * 40


async def _seed_people(state: ControlState) -> None:
    encoded = hash_password(PASSWORD)
    now = state.clock.unix_s()
    async with state.db.write() as tx:
        project = await projects.project(tx, "default")
        assert project is not None
        other_organisation = Organisation(new_id("org"), "elsewhere", now)
        other = Project(new_id("proj"), other_organisation.id, "other", now)
        await projects.add_organisation(tx, other_organisation)
        await projects.add_project(tx, other)
        for name, (roles, role) in PEOPLE.items():
            user = User(new_id("user"), name, encoded, roles, now)
            await users.add_user(tx, user)
            if role is not None:
                await projects.add_member(tx, Membership(new_id("mem"), user.id, project.id, role))
            if name == "sam":
                await projects.add_member(tx, Membership(new_id("mem"), user.id, other.id, Role.PROJECT_OWNER))
            if name == "mia":
                text, prefix = make_text("yh", INFERENCE_KEY_SEED)
                found = digest(state.secrets.pepper, text)
                scopes = frozenset({Scope.INFERENCE})
                await keys.add_key(tx, ApiKey(new_id("key"), project.id, user.id, "calls", prefix, found, scopes, now))
        for name in ("admin", *PEOPLE):
            person = await users.user(tx, name)
            assert person is not None
            token, prefix = make_text("ys", session_seed(name))
            found = digest(state.secrets.pepper, token)
            await users.add_session(tx, users.Session(new_id("sess"), person.id, prefix, found, now, now + 86_400))


def session_seed(name: str) -> bytes:
    """What the session token of that user is made from; signing in is slow by design."""
    return name.encode().ljust(40, b".")


def _state_over(root: Path) -> ControlState:
    home = Home(root)
    home.make()
    return build_state(home, Database(f"sqlite:///{home.database}"), ManualClock(time.time()), ensure_secrets(home))


async def _first_start(root: Path) -> None:
    state = _state_over(root)
    await state.db.migrate()
    await bootstrap(state)
    await _seed_people(state)
    await state.db.dispose()


@pytest.fixture(scope="session")
def seeded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory after the first start, to be copied."""
    root = tmp_path_factory.mktemp("seeded") / "home"
    asyncio.run(_first_start(root))
    return root


@dataclass
class World:
    """One instance, and who calls it."""

    state: ControlState
    app: FastAPI
    admin_password: str
    project: Project
    #: Bearer tokens of all kinds of callers: sessions by user name, keys by what they may.
    tokens: dict[str, str]

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        """A client with this bearer token; without one, nobody."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://yunhe/api/v1", headers=headers)

    @property
    def clock(self) -> ManualClock:
        assert isinstance(self.state.clock, ManualClock)
        return self.state.clock


def tokens_of(root: Path) -> dict[str, str]:
    """Bearer tokens of every kind of caller in a copy of the seeded data directory."""
    first = json.loads((Home(root).run / "first_start.json").read_text())
    found = {name: make_text("ys", session_seed(name))[0] for name in ("admin", *PEOPLE)}
    found["inference key"] = make_text("yh", INFERENCE_KEY_SEED)[0]
    found["read key"] = first["api_key"]
    found["manage key"] = json.loads(Home(root).credentials.read_text())["manage_key"]
    return found


@pytest.fixture
def tokens() -> Callable[[Path], dict[str, str]]:
    """Finds the tokens of a data directory."""
    return tokens_of


@pytest.fixture
def instance_over() -> Callable[[Path], tuple[ControlState, FastAPI]]:
    """Makes state and app over a data directory."""

    def make(root: Path) -> tuple[ControlState, FastAPI]:
        state = _state_over(root)
        return state, build_app(state)

    return make


@pytest.fixture
async def world(seeded: Path, tmp_path: Path) -> AsyncIterator[World]:
    """An instance of the test's own."""
    root = tmp_path / "home"
    shutil.copytree(seeded, root)
    state = _state_over(root)
    password = json.loads((state.home.run / "first_start.json").read_text())["admin_password"]
    async with state.db.read() as tx:
        project = await projects.project(tx, "default")
    assert project is not None
    yield World(state, build_app(state), password, project, tokens_of(root))
    await state.db.dispose()


@pytest.fixture
async def call(world: World) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client for each kind of caller: nobody, admin, PEOPLE's names, and keys named by owner and scope."""
    clients = {name: world.client(token) for name, token in world.tokens.items()} | {"nobody": world.client()}
    yield clients
    for client in clients.values():
        await client.aclose()


@contextlib.contextmanager
def served(build: Any, root: Path) -> Iterator[str]:
    """The app over the data directory, answering at the yielded base URL."""
    # With its protocol named, the event loop switches Nagle's delay off: else each answer takes 40 ms.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    started = threading.Event()
    servers: list[uvicorn.Server] = []

    async def serve() -> None:
        state, app = build(root)
        config = uvicorn.Config(app, loop="none", http="httptools", lifespan="off", log_config=None, access_log=False)
        servers.append(uvicorn.Server(config))
        started.set()
        await servers[0].serve(sockets=[listener])
        await state.db.dispose()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert started.wait(30)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        servers[0].should_exit = True
        thread.join(30)
        listener.close()


@pytest.fixture
def serving() -> Callable[[Any, Path], contextlib.AbstractContextManager[str]]:
    """Serves the app over a data directory with the server that control uses."""
    return served
