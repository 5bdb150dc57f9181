"""Prices, credit, usage, and books that somebody tampered with."""

import sqlite3
from datetime import UTC, datetime
from typing import Any

import httpx

from yunhe.core.clock import utc
from yunhe.core.ids import new_id
from yunhe.ledger.usage import UsageRecord
from yunhe.store import models, usage

Call = dict[str, httpx.AsyncClient]
MODEL = "smollm2-135m-instruct"


async def use(world: Any, *, prompt: int = 1000, completion: int = 500, at: float | None = None, **changed: Any) -> str:
    """Put one request into the books; its id."""
    now = world.clock.unix_s()
    async with world.state.db.write() as tx:
        price = (await models.prices_in_force(tx, now, [MODEL]))[MODEL]
        values: dict[str, Any] = {
            "request_id": new_id("req"), "project_id": world.project.id, "key_id": "key_x", "model": MODEL,
            "endpoint": "chat.completions", "stream": True, "outcome": "ok", "http_status": 200,
            "prompt_tokens": prompt, "cached_tokens": 0, "completion_tokens": completion, "token_source": "engine",
            "started_at": now if at is None else at, "duration_s": 0.5, "ttft_s": 0.1, "price_id": price.id,
            "lease_id": None, "replica_id": None, "deployment_id": None, "served_by": None, "attempts": 1,
            "worker": "0",
        }  # fmt: skip
        await usage.record_usage(tx, [UsageRecord(**(values | changed))], now)
    return str((values | changed)["request_id"])


async def test_usage_is_priced_summed_and_taken_from_the_balance(world: Any, call: Call) -> None:
    before = (await call["mia"].get("/balance")).json()
    # The seeded price: 100,000 and 200,000 micro-credits a million tokens.
    request_id = await use(world, prompt=1_000_000, completion=1_000_000)
    after = (await call["mia"].get("/balance")).json()
    assert before["balance_micro"] - after["balance_micro"] == 300_000
    assert after["spent_micro"] == 300_000
    assert after["available_micro"] == after["balance_micro"] - after["leased_micro"]
    record = (await call["mia"].get("/usage/records", params={"request_id": request_id})).json()["data"]
    assert [(r["request_id"], r["cost_micro"]) for r in record] == [(request_id, 300_000)]
    entry = (await call["mia"].get("/ledger/entries", params={"limit": 1})).json()["data"][0]
    assert (entry["kind"], entry["reference"]) == ("usage", request_id)
    assert sum(posting["amount_micro"] for posting in entry["postings"]) == 0


async def test_usage_is_grouped_by_model_key_day_and_hour(world: Any, call: Call) -> None:
    key = (await call["mia"].post("/keys", json={"name": "laptop"})).json()["id"]
    await use(world, key_id=key)
    await use(world, key_id=key, at=world.clock.unix_s() - 86_400, outcome="upstream_error", http_status=502)
    await use(world, key_id=key, at=world.clock.unix_s() - 40 * 86_400)
    world.clock.advance(1)
    found = (await call["mia"].get("/usage")).json()
    assert found["total"]["requests"] == 2
    assert found["total"]["errors"] == 1
    assert [(group["key"], group["requests"]) for group in found["groups"]] == [(MODEL, 2)]
    by_key = (await call["mia"].get("/usage", params={"group_by": "key"})).json()["groups"]
    assert [(group["key"], group["name"]) for group in by_key] == [(key, "laptop")]
    by_day = (await call["mia"].get("/usage", params={"group_by": "day"})).json()["groups"]
    today = utc(world.clock.unix_s()).strftime("%Y-%m-%dT00:00:00Z")
    assert [group["requests"] for group in by_day] == [1, 1]
    assert by_day[-1]["key"] == today
    hourly = await call["mia"].get("/usage", params={"group_by": "hour", "from": "2020-01-01T00:00:00Z"})
    assert hourly.status_code == 400
    backwards = {"from": "2026-02-01T00:00:00Z", "to": "2026-01-01T00:00:00Z"}
    assert (await call["mia"].get("/usage", params=backwards)).status_code == 400
    failed = (await call["mia"].get("/usage/records", params={"outcome": "upstream_error"})).json()["data"]
    assert [r["outcome"] for r in failed] == ["upstream_error"]


async def test_the_same_reference_posts_once(call: Call) -> None:
    body = {"amount_micro": 7_000_000, "memo": "invoice 7", "reference": "inv-7"}
    first = await call["admin"].post("/projects/default/credit", json=body)
    again = await call["admin"].post("/projects/default/credit", json=body)
    assert first.status_code == 200
    assert again.json() == first.json()
    assert first.json()["credited_micro"] == 1_007_000_000
    other = await call["admin"].post("/projects/default/credit", json=body | {"amount_micro": 8})
    assert other.status_code == 409
    elsewhere = await call["admin"].post("/projects/other/credit", json=body)
    assert elsewhere.status_code == 409
    without = {"amount_micro": 1, "memo": ""}
    for _ in range(2):
        last = await call["admin"].post("/projects/default/credit", json=without)
    assert last.json()["credited_micro"] == 1_007_000_002


async def test_credit_is_taken_with_a_negative_amount_and_never_nothing(call: Call) -> None:
    taken = await call["admin"].post("/projects/default/credit", json={"amount_micro": -1_000_000, "memo": "refund"})
    assert taken.json()["balance_micro"] == 999_000_000
    for amount in (0, 10**16, 2**63, 1.5, "5", True, None):
        answer = await call["admin"].post("/projects/default/credit", json={"amount_micro": amount, "memo": "x"})
        assert answer.status_code == 400


async def test_new_credit_is_told_to_gateways(world: Any, call: Call) -> None:
    before = world.state.hub.count("snapshot")
    await call["admin"].post("/projects/default/credit", json={"amount_micro": 1, "memo": "x"})
    assert world.state.hub.count("snapshot") > before


async def test_a_price_follows_a_price(world: Any, call: Call) -> None:
    body = {"model": MODEL, "input_micro_per_mtok": 5, "output_micro_per_mtok": 6}
    made = await call["admin"].post("/prices", json=body)
    assert made.status_code == 201
    assert made.json()["effective_from"].endswith("Z")
    listed = (await call["mia"].get("/prices", params={"model": MODEL})).json()["data"]
    assert [price["input_micro_per_mtok"] for price in listed] == [5, 100_000]
    assert (await call["mia"].get(f"/models/{MODEL}")).json()["price"] == made.json()
    tomorrow = datetime.fromtimestamp(world.clock.unix_s() + 86_400, UTC).isoformat()
    later = await call["admin"].post("/prices", json=body | {"effective_from": tomorrow})
    assert later.status_code == 201
    assert (await call["mia"].get(f"/models/{MODEL}")).json()["price"] == made.json()
    assert (await call["admin"].post("/prices", json=body | {"model": "none"})).status_code == 404
    for moment in ("2020-01-01T00:00:00Z", "2030-01-01T00:00:00", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "x"):
        answer = await call["admin"].post("/prices", json=body | {"effective_from": moment})
        assert answer.status_code == 400, moment


async def test_sound_books_verify(world: Any, call: Call) -> None:
    await use(world)
    found = (await call["admin"].post("/ledger/verify")).json()
    assert found == {"ok": True, "entries_checked": 2, "usage_checked": 1, "sum_micro": 0, "problems": []}


async def test_a_tampered_row_is_found(world: Any, call: Call) -> None:
    request_id = await use(world, prompt=1_000_000, completion=0)
    database = sqlite3.connect(world.state.home.database)
    try:
        triggers = database.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'").fetchall()
        for (name,) in triggers:
            database.execute(f'DROP TRIGGER "{name}"')
        database.execute("UPDATE transfers SET amount_micro = 1 WHERE reference = ?", (request_id,))
        database.commit()
    finally:
        database.close()
    assert triggers
    found = (await call["admin"].post("/ledger/verify")).json()
    assert found["ok"] is False
    posting = next(problem for problem in found["problems"] if problem["reference"] == request_id)
    assert (posting["expected_micro"], posting["found_micro"]) == (100_000, 1)


async def test_the_books_refuse_to_be_changed(world: Any) -> None:
    await use(world)
    database = sqlite3.connect(world.state.home.database)
    refused = []
    try:
        for statement in ("UPDATE transfers SET amount_micro = 1", "DELETE FROM usage_records"):
            try:
                database.execute(statement)
            except sqlite3.DatabaseError as error:
                refused.append(str(error))
    finally:
        database.close()
    assert len(refused) == 2
