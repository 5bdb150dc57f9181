"""The whole app over a real SQLite database, seeded by the first start, with a person of each role."""

import asyncio
import json
import shutil
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
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
    api_key: str
    manage_key: str
    project: Project
    _tokens: dict[str, str] = field(default_factory=dict)

    def client(self, token: str | None = None) -> httpx.AsyncClient:
        """A client with this bearer token; without one, nobody."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        transport = httpx.ASGITransport(app=self.app)
        return httpx.AsyncClient(transport=transport, base_url="http://yunhe/api/v1", headers=headers)

    @property
    def clock(self) -> ManualClock:
        assert isinstance(self.state.clock, ManualClock)
        return self.state.clock

    async def session_of(self, name: str) -> str:
        """A session token of one of PEOPLE or of admin; stored directly, for signing in is slow by design."""
        if name not in self._tokens:
            token, prefix = make_text("ys", name.encode().ljust(40, b"."))
            now = self.clock.unix_s()
            async with self.state.db.write() as tx:
                user = await users.user(tx, name)
                assert user is not None
                found = digest(self.state.secrets.pepper, token)
                session = users.Session(new_id("sess"), user.id, prefix, found, now, now + 86_400)
                await users.add_session(tx, session)
            self._tokens[name] = token
        return self._tokens[name]

    async def key_of(self, name: str, project: str, *scopes: Scope) -> str:
        """A key of that user in that project."""
        token, prefix = make_text("yh", f"{name}{project}{sorted(scopes)}".encode()[-40:].ljust(40, b"."))
        async with self.state.db.write() as tx:
            user, found = await users.user(tx, name), await projects.project(tx, project)
            assert user is not None
            assert found is not None
            now = self.clock.unix_s()
            text = digest(self.state.secrets.pepper, token)
            key = ApiKey(new_id("key"), found.id, user.id, "made", prefix, text, frozenset(scopes), now)
            await keys.add_key(tx, key)
        return token


@pytest.fixture
async def world(seeded: Path, tmp_path: Path) -> AsyncIterator[World]:
    """An instance of the test's own."""
    root = tmp_path / "home"
    shutil.copytree(seeded, root)
    state = _state_over(root)
    first = json.loads((state.home.run / "first_start.json").read_text())
    manage_key = json.loads(state.home.credentials.read_text())["manage_key"]
    async with state.db.read() as tx:
        project = await projects.project(tx, "default")
    assert project is not None
    yield World(state, build_app(state), first["admin_password"], first["api_key"], manage_key, project)
    await state.db.dispose()


@pytest.fixture
async def call(world: World) -> AsyncIterator[dict[str, httpx.AsyncClient]]:
    """A client for each kind of caller: nobody, admin, PEOPLE's names, and keys named by owner and scope."""
    tokens: dict[str, str | None] = {"nobody": None, "admin": await world.session_of("admin")}
    for name in PEOPLE:
        tokens[name] = await world.session_of(name)
    tokens["inference key"] = await world.key_of("mia", "default", Scope.INFERENCE)
    tokens["read key"] = world.api_key
    tokens["manage key"] = world.manage_key
    clients = {name: world.client(token) for name, token in tokens.items()}
    yield clients
    for client in clients.values():
        await client.aclose()
