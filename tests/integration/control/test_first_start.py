from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import msgspec
import pytest

from yunhe.accounts import keys as credentials
from yunhe.catalogue.builtin import DEFAULT_MODEL
from yunhe.control import bootstrap as first
from yunhe.control.secret_files import ensure_secrets
from yunhe.control.state import ControlState, build_state
from yunhe.core.clock import ManualClock
from yunhe.core.home import Home
from yunhe.serve.sync import JoinRequest
from yunhe.store import agents, entries, keys, models, projects, serve, users
from yunhe.store.database import Database


async def test_a_newcomer_finds_everything_needed(state: ControlState, first_start: dict[str, str]) -> None:
    async with state.db.read() as tx:
        project = await projects.project(tx, "default")
        assert project is not None
        assert (await entries.balance(tx, project.id)).available_micro == first.FIRST_CREDIT_MICRO
        prefix = credentials.prefix_of(first_start["api_key"])
        assert prefix is not None
        key = await keys.key(tx, prefix)
        assert key is not None
        assert credentials.matches(state.secrets.pepper, first_start["api_key"], key.digest)
        assert sorted(key.scopes) == ["inference", "read"]
        assert (await models.prices_in_force(tx, state.clock.unix_s()))[DEFAULT_MODEL].output_micro_per_mtok > 0
        (deployment,) = await serve.all_deployments(tx)
        assert (deployment.model, deployment.replicas) == (DEFAULT_MODEL, 1)
        admin = await users.user(tx, first_start["admin_user"])
        assert admin is not None
        join = credentials.prefix_of((state.home.agent / "join_token").read_text(), "yj")
        assert join is not None
        assert await agents.join_token_by_prefix(tx, join) is not None


async def test_secrets_are_written_for_their_owner_only(state: ControlState) -> None:
    home = state.home
    for path in (home.run / "first_start.json", home.credentials, home.agent / "join_token", home.secrets / "pepper"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


async def test_a_second_start_changes_nothing(state: ControlState) -> None:
    before = (state.home.run / "first_start.json").read_text()
    assert not await first.bootstrap(state)
    assert (state.home.run / "first_start.json").read_text() == before


async def test_a_crash_before_the_commit_is_made_good_by_the_next_start(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = Home(tmp_path / "crashed")
    home.make()
    database = Database(database_url)
    await database.migrate()
    state = build_state(home, database, ManualClock(), ensure_secrets(home))
    written = first._write_files

    def written_then_crash(state: ControlState, fresh: first._Fresh) -> None:
        written(state, fresh)
        raise RuntimeError("crash")

    with monkeypatch.context() as patched:
        patched.setattr(first, "_write_files", written_then_crash)
        with pytest.raises(RuntimeError):
            await first.bootstrap(state)
    stale = json.loads((home.run / "first_start.json").read_text())
    assert await first.bootstrap(state)
    fresh = json.loads((home.run / "first_start.json").read_text())
    assert fresh["api_key"] != stale["api_key"]
    async with database.read() as tx:
        assert await keys.key(tx, credentials.prefix_of(stale["api_key"]) or "") is None
        assert await keys.key(tx, credentials.prefix_of(fresh["api_key"]) or "") is not None
    await database.dispose()


async def test_an_agent_that_lost_its_directory_can_join_again(state: ControlState, agent: Any, wire: Any) -> None:
    path = state.home.agent / "join_token"
    (state.home.agent / "identity.json").touch()
    assert not await first.renew_join_token(state)
    (state.home.agent / "identity.json").unlink()
    used = path.read_text()
    path.unlink()
    assert await first.renew_join_token(state)
    assert path.read_text() != used
    reply = await wire.post(
        "/api/v1/agent/join", content=msgspec.json.encode(JoinRequest(path.read_text(), "local", "host"))
    )
    assert (reply.status_code, reply.json()["centre_name"]) == (200, "local")


async def test_a_join_token_that_still_lets_somebody_in_is_kept(state: ControlState, clock: ManualClock) -> None:
    assert not await first.renew_join_token(state)
    clock.advance(first.JOIN_TOKEN_S + 1)
    assert await first.renew_join_token(state)
