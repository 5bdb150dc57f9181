"""The API over PostgreSQL, where several control processes share one database."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from yunhe.api.app import build_app
from yunhe.control.bootstrap import bootstrap
from yunhe.control.secret_files import ensure_secrets
from yunhe.control.state import ControlState, build_state
from yunhe.core.clock import ManualClock
from yunhe.core.home import Home
from yunhe.store.database import Database


@pytest.fixture
async def processes(postgres_url: str, tmp_path: Path) -> AsyncIterator[list[httpx.AsyncClient]]:
    """Two control processes over one database, called with the admin's manage key."""
    home = Home(tmp_path / "home")
    home.make()
    states: list[ControlState] = []
    clock = ManualClock(time.time())
    for _ in range(2):
        states.append(build_state(home, Database(postgres_url), clock, ensure_secrets(home)))
    await states[0].db.migrate()
    await bootstrap(states[0])
    token = json.loads(home.credentials.read_text())["manage_key"]
    clients = [
        httpx.AsyncClient(
            transport=httpx.ASGITransport(app=build_app(state)),
            base_url="http://yunhe/api/v1",
            headers={"authorization": f"Bearer {token}"},
        )
        for state in states
    ]
    yield clients
    for client in clients:
        await client.aclose()
    for state in states:
        await state.db.dispose()


async def test_every_list_and_sum_answers(processes: list[httpx.AsyncClient]) -> None:
    client = processes[0]
    document = (await client.get("/openapi.json")).json()
    paths = [
        path
        for path, operations in document["paths"].items()
        if "get" in operations
        and "{" not in path
        # Comparing two things needs their names.
        and not any(one.get("required") for one in operations["get"].get("parameters", ()))
    ]
    statuses = {path: (await client.get(f"http://yunhe{path}")).status_code for path in paths}
    assert set(statuses.values()) == {200}, statuses
    for group_by in ("key", "day", "hour"):
        params = {"group_by": group_by, "from": "2026-11-01T00:00:00Z", "to": "2026-11-20T00:00:00Z"}
        assert (await client.get("/usage", params=params)).status_code == 200
    assert (await client.post("/ledger/verify")).json()["ok"] is True


async def test_one_reference_posted_by_many_at_once_posts_once(processes: list[httpx.AsyncClient]) -> None:
    body = {"amount_micro": 5_000_000, "memo": "once", "reference": "same"}
    calls = [processes[n % 2].post("/projects/default/credit", json=body) for n in range(8)]
    answers = await asyncio.gather(*calls)
    assert [answer.status_code for answer in answers] == [200] * 8
    assert (await processes[0].get("/balance")).json()["credited_micro"] == 1_005_000_000


async def test_a_key_revoked_in_one_process_is_refused_by_the_other(processes: list[httpx.AsyncClient]) -> None:
    here, there = processes
    key = (await here.post("/keys", json={"name": "k"})).json()
    headers = {"authorization": f"Bearer {key['secret']}"}
    assert (await there.get("/me", headers=headers)).status_code == 200
    await here.delete(f"/keys/{key['id']}")
    assert (await there.get("/me", headers=headers)).status_code == 401


async def test_one_name_taken_by_many_at_once_is_taken_once(processes: list[httpx.AsyncClient]) -> None:
    calls = [processes[n % 2].post("/organisations", json={"name": "acme"}) for n in range(6)]
    statuses = sorted(answer.status_code for answer in await asyncio.gather(*calls))
    assert statuses == [201] + [409] * 5
