"""The first start: fills an empty database with what a newcomer needs, and writes down the secrets once.

Everything is one transaction that a marker guards, so that of several processes one seeds and a crash leaves either an
empty database or a complete one. The files with the secrets are written just before the commit: a crash in between
leaves files that the next start, finding the database empty, writes anew.
"""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import string
from dataclasses import dataclass
from typing import Final

from yunhe.accounts import keys as credentials
from yunhe.accounts.model import ApiKey, Membership, Organisation, Project, Role, Scope, User
from yunhe.accounts.passwords import hash_password
from yunhe.catalogue.builtin import DEFAULT_MODEL, default_model
from yunhe.catalogue.model import ANY, Recipe
from yunhe.control.secret_files import write_private
from yunhe.control.state import ControlState
from yunhe.core.ids import new_id
from yunhe.core.units import MICRO_PER_CREDIT
from yunhe.ledger.credit import credit_entry
from yunhe.ledger.model import Price
from yunhe.pool.model import Centre
from yunhe.serve.model import Deployment, Event
from yunhe.store import agents, changes, entries, keys, models, pool, projects, serve, users
from yunhe.store.agents import JoinToken
from yunhe.store.database import Tx

ADMIN: Final = "admin"
LOCAL_CENTRE: Final = "local"
#: Driver of the centre that ``yunhe up`` runs on its own machine (an entry-point name).
LOCAL_DRIVER: Final = "local"
FIRST_CREDIT_MICRO: Final = 1000 * MICRO_PER_CREDIT
#: Micro-credits per million tokens: a million tokens of the small default model cost 0.1 and 0.2 credits.
INPUT_MICRO_PER_MTOK: Final = 100_000
OUTPUT_MICRO_PER_MTOK: Final = 200_000
JOIN_TOKEN_S: Final = 24 * 3600.0
_PASSWORD_CHARS: Final = 20
_MARKER: Final = "seeded"
_LOG: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Fresh:
    """The secrets of a first start; they leave this module only into 0600 files."""

    password: str
    api_key: str
    manage_key: str
    join_token: str


async def bootstrap(state: ControlState) -> bool:
    """Seed the database unless it is; whether this call did."""
    async with state.db.read() as tx:
        if await users.count_users(tx) > 0:
            return False
    password = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(_PASSWORD_CHARS))
    password_hash = await asyncio.to_thread(hash_password, password)
    async with state.db.write() as tx:
        # The marker's row is held until the commit: a process that waited for it finds the database seeded.
        await changes.bump(tx, _MARKER)
        if await users.count_users(tx) > 0:
            return False
        fresh = await _seed(tx, state, password, password_hash)
        _write_files(state, fresh)
    _LOG.info("first start: the database is seeded")
    return True


async def renew_join_token(state: ControlState) -> bool:
    """Write a new join token for the local agent when it has no identity and the written token can let nobody in.

    So an agent that comes more than a day after the first start, or that lost its directory, can still join.
    """
    path = state.home.agent / "join_token"
    # The local agent belongs to the data directory that had the first start.
    if not state.home.credentials.exists() or (state.home.agent / "identity.json").exists():
        return False
    text = path.read_text(encoding="utf-8").strip() if path.exists() else ""
    prefix = credentials.prefix_of(text, "yj") or ""
    async with state.db.write() as tx:
        token = await agents.join_token_by_prefix(tx, prefix)
        centre = await pool.centre(tx, LOCAL_CENTRE)
        if centre is None or (token and token.used_by is None and token.expires_at > state.clock.unix_s()):
            return False
        write_private(path, await new_join_token(tx, state, centre.id))
    _LOG.info("the local agent has a new join token")
    return True


async def _seed(tx: Tx, state: ControlState, password: str, password_hash: str) -> _Fresh:
    now = state.clock.unix_s()
    organisation = Organisation(new_id("org"), "default", now)
    project = Project(new_id("proj"), organisation.id, "default", now)
    admin = User(new_id("user"), ADMIN, password_hash, frozenset({Role.PLATFORM_ADMIN}), now)
    await projects.add_organisation(tx, organisation)
    await projects.add_project(tx, project)
    await users.add_user(tx, admin)
    await projects.add_member(tx, Membership(new_id("mem"), admin.id, project.id, Role.PROJECT_OWNER))
    api_key = await _add_key(tx, state, project, admin, "default", frozenset({Scope.INFERENCE, Scope.READ}))
    manage = frozenset({Scope.INFERENCE, Scope.READ, Scope.MANAGE})
    manage_key = await _add_key(tx, state, project, admin, "command line", manage)
    memo = "to begin with"
    await entries.post(tx, [credit_entry(new_id("entry"), project.id, FIRST_CREDIT_MICRO, "first-start", memo, now)])
    await models.add_model(tx, default_model(new_id("model"), now))
    await models.add_price(tx, Price(new_id("price"), DEFAULT_MODEL, INPUT_MICRO_PER_MTOK, OUTPUT_MICRO_PER_MTOK, now))
    centre = Centre(new_id("centre"), LOCAL_CENTRE, LOCAL_DRIVER, now)
    await pool.add_centre(tx, centre)
    join_token = await new_join_token(tx, state, centre.id)
    recipe = Recipe(new_id("recipe"), "default", DEFAULT_MODEL, ANY, ANY, {})
    deployment = Deployment(new_id("dep"), project.id, DEFAULT_MODEL, DEFAULT_MODEL, 1, recipe, 1, now)
    await serve.add_deployment(tx, deployment)
    reason = "made at the first start"
    await serve.add_events(tx, [Event(new_id("evt"), now, "deployment", deployment.id, "deployment_created", reason)])
    return _Fresh(password, api_key, manage_key, join_token)


async def _add_key(
    tx: Tx, state: ControlState, project: Project, user: User, name: str, scopes: frozenset[Scope]
) -> str:
    """Store a key; returns its whole text."""
    text, prefix = credentials.make_text("yh", secrets.token_bytes(40))
    digest = credentials.digest(state.secrets.pepper, text)
    now = state.clock.unix_s()
    await keys.add_key(tx, ApiKey(new_id("key"), project.id, user.id, name, prefix, digest, scopes, now))
    return text


async def new_join_token(tx: Tx, state: ControlState, centre_id: str) -> str:
    """Store a token that lets one agent join the centre within a day; returns its whole text."""
    text, prefix = credentials.make_text("yj", secrets.token_bytes(40))
    digest = credentials.digest(state.secrets.pepper, text)
    now = state.clock.unix_s()
    await agents.add_join_token(tx, JoinToken(new_id("tok"), centre_id, prefix, digest, now, now + JOIN_TOKEN_S))
    return text


def _write_files(state: ControlState, fresh: _Fresh) -> None:
    """What the launcher shows once, what the command line signs in with, and what lets the local agent join."""
    home = state.home
    write_private(
        home.run / "first_start.json",
        json.dumps({"admin_user": ADMIN, "admin_password": fresh.password, "api_key": fresh.api_key}),
    )
    write_private(home.credentials, json.dumps({"api_key": fresh.api_key, "manage_key": fresh.manage_key}))
    write_private(home.agent / "join_token", fresh.join_token)
