from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import msgspec
import pytest

from yunhe.accounts import keys as credentials
from yunhe.control.bootstrap import FIRST_CREDIT_MICRO
from yunhe.control.hub import SNAPSHOT
from yunhe.control.snapshots import SnapshotDesk
from yunhe.control.state import ControlState
from yunhe.core.ids import new_id
from yunhe.ledger.credit import credit_entry
from yunhe.ledger.model import LeaseAsk
from yunhe.ledger.usage import UsageRecord
from yunhe.serve.snapshot import WorkerStats
from yunhe.store import entries, keys, models, projects


def record(number: int, project: str, price: str | None, lease: str | None = None) -> UsageRecord:
    return UsageRecord(
        request_id=f"req_{number:08d}",
        project_id=project,
        key_id="key_1",
        model="smollm2-135m-instruct",
        endpoint="chat.completions",
        stream=False,
        outcome="ok",
        http_status=200,
        prompt_tokens=10,
        cached_tokens=0,
        completion_tokens=20,
        token_source="engine",
        started_at=1_790_000_000.0,
        duration_s=1.0,
        ttft_s=0.1,
        price_id=price,
        lease_id=lease,
        replica_id="rep_1",
        deployment_id="dep_1",
        served_by="local; cpu-x; alpha; default",
        attempts=1,
        worker="w0",
    )


async def project_and_price(state: ControlState) -> tuple[str, str]:
    async with state.db.read() as tx:
        project = await projects.project(tx, "default")
        assert project is not None
        (price,) = (await models.prices_in_force(tx, state.clock.unix_s())).values()
        return project.id, price.id


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/internal/v1/snapshot"),
        ("POST", "/internal/v1/usage"),
        ("POST", "/internal/v1/leases"),
        ("POST", "/internal/v1/stats"),
    ],
)
async def test_internal_routes_need_the_internal_token(wire: httpx.AsyncClient, method: str, path: str) -> None:
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic x"}):
        assert (await wire.request(method, path, headers=headers)).status_code == 401


async def test_health_needs_no_credential(wire: httpx.AsyncClient) -> None:
    assert (await wire.get("/healthz")).json() == {"ok": True}


async def test_usage_is_stored_and_posted_exactly_once(
    state: ControlState, wire: httpx.AsyncClient, internal: dict[str, str]
) -> None:
    project, price = await project_and_price(state)
    lease = await wire.post(
        "/internal/v1/leases",
        content=msgspec.json.encode({"worker": "w0", "asks": [LeaseAsk(project, 1_000_000)], "release": []}),
        headers=internal,
    )
    grant = lease.json()["grants"][0]
    assert grant["granted_micro"] == 1_000_000
    batch = [record(n, project, price, grant["lease_id"]) for n in range(10)]
    content = msgspec.json.encode({"worker": "w0", "records": batch})
    for expected in ({"accepted": 10, "duplicates": 0}, {"accepted": 0, "duplicates": 10}):
        assert (await wire.post("/internal/v1/usage", content=content, headers=internal)).json() == expected
    async with state.db.read() as tx:
        assert (await entries.balance(tx, project)).spent_micro == 10 * 5
        audit = await entries.audit(tx)
    assert audit.problems == []


async def test_a_project_without_credit_is_refused_a_lease_with_the_reason(
    state: ControlState, wire: httpx.AsyncClient, internal: dict[str, str]
) -> None:
    project, _ = await project_and_price(state)
    async with state.db.write() as tx:
        taken = credit_entry(new_id("entry"), project, -FIRST_CREDIT_MICRO, "all of it", "", state.clock.unix_s())
        await entries.post(tx, [taken])
    content = msgspec.json.encode({"worker": "w0", "asks": [LeaseAsk(project, 10)]})
    grant = (await wire.post("/internal/v1/leases", content=content, headers=internal)).json()["grants"][0]
    assert (grant["lease_id"], grant["granted_micro"]) == (None, 0)
    assert "no credit" in grant["refused_reason"]


async def test_malformed_batches_are_refused_and_store_nothing(
    wire: httpx.AsyncClient, internal: dict[str, str]
) -> None:
    for content in (b"", b"[]", b"{", b'{"worker": "w", "records": [{}]}', b"\xff\xfe"):
        reply = await wire.post("/internal/v1/usage", content=content, headers=internal)
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "invalid_request")


async def test_a_record_that_no_database_can_hold_is_refused_for_good(
    state: ControlState, wire: httpx.AsyncClient, internal: dict[str, str]
) -> None:
    project, price = await project_and_price(state)
    good = record(1, project, price)
    for bad in (replace(good, prompt_tokens=-1), replace(good, completion_tokens=2**63), replace(good, model="a\0b")):
        content = msgspec.json.encode({"worker": "w0", "records": [bad]})
        assert (await wire.post("/internal/v1/usage", content=content, headers=internal)).status_code == 400


async def test_a_revoked_key_leaves_the_snapshot_and_wakes_who_waits(
    state: ControlState, snapshot: Any, first_start: dict[str, str]
) -> None:
    prefix = credentials.prefix_of(first_start["api_key"])
    whole = await snapshot(-1)
    assert prefix in {key.prefix for key in whole.keys}
    waiting = asyncio.create_task(SnapshotDesk(state).read(whole.revision, 20.0))
    await asyncio.sleep(0)
    async with state.db.write() as tx:
        key = await keys.key(tx, prefix or "")
        assert key is not None
        await keys.revoke(tx, key.id, state.clock.unix_s())
    state.hub.wake(SNAPSHOT)
    delta = await asyncio.wait_for(waiting, 15)
    assert delta.removed == (f"key:{prefix}",)
    assert not delta.full


async def test_a_revision_from_another_database_gets_the_whole(snapshot: Any) -> None:
    assert (await snapshot(10**9)).full


async def test_nothing_new_is_an_empty_delta(snapshot: Any) -> None:
    whole = await snapshot(-1)
    empty = await snapshot(whole.revision)
    assert (empty.revision, empty.full, empty.keys, empty.removed) == (whole.revision, False, (), ())


async def test_worker_stats_are_kept_in_memory(
    state: ControlState, wire: httpx.AsyncClient, internal: dict[str, str]
) -> None:
    stats = WorkerStats("w0", 7, 1.0, 1.0, 5, 0, 10, 20, 1, None, None, None, None, 0, 3, {"m": 5})
    reply = await wire.post("/internal/v1/stats", content=msgspec.json.encode(stats), headers=internal)
    assert reply.status_code == 204
    assert state.stats.running(state.clock.unix_s()) == [stats]
