"""Adaptations as the API shows them."""

from __future__ import annotations

from typing import Any

import httpx
import msgspec
import pytest

from yunhe.adapt.adaptation import Ended, TuningReport, entry_text
from yunhe.adapt.trials import Resumed
from yunhe.control.effects import Effects
from yunhe.control.state import ControlState
from yunhe.control.tunings import TuningIntake
from yunhe.core.units import GIB
from yunhe.pool.model import Card, Inventory, Node
from yunhe.serve.sync import EngineInfo
from yunhe.store import pool

Call = dict[str, httpx.AsyncClient]
MODEL = "smollm2-135m-instruct"
BODY: dict[str, Any] = {"model": MODEL, "centre": "local"}
CARD = Card("cpu0", "cpu-x", "maker", "cpu", "A CPU", 16 * GIB, cores=8, health="healthy")


async def local_id(state: ControlState) -> str:
    async with state.db.read() as tx:
        local = await pool.centre(tx, "local")
    assert local is not None
    return local.id


@pytest.fixture
async def stocked(world: Any) -> Any:
    """An instance whose local centre is online and has a card and an engine."""
    state, now = world.state, world.state.clock.unix_s()
    centre_id = await local_id(state)
    async with state.db.write() as tx:
        await pool.touch_centre(tx, centre_id, now)
        await pool.set_engines(tx, centre_id, (EngineInfo("alpha", "1"),))
        await pool.take_inventory(tx, centre_id, Inventory((Node("host", 16 * GIB, 8, "linux", (CARD,)),), now))
    return world


async def report(state: ControlState, id: str, *entries: str, since: int = 0) -> None:
    """As the centre's agent would with its next sync."""
    text = msgspec.json.encode(TuningReport(id, "searching", "window of a", since, entries, 42.0)).decode()
    now = state.clock.unix_s()
    effects = Effects(now)
    async with state.db.write() as tx:
        await TuningIntake(tx, state, await local_id(state), now, effects).take([text], up_to_date=True)
        await effects.write(tx)


async def test_an_adaptation_is_ordered_followed_and_cancelled(stocked: Any, call: Call) -> None:
    made = await call["cato"].post("/adaptations", json=BODY | {"workload": "prefill", "trials": 9})
    assert made.status_code == 201, made.text
    one = made.json()
    assert (one["state"], one["model"], one["centre"], one["cards"], one["chip"]) == (
        "waiting",
        MODEL,
        "local",
        ["cpu0"],
        "cpu-x",
    )
    assert (one["baseline"]["name"], one["baseline_engine"], one["entries"], one["used_s"]) == (
        "default",
        "alpha",
        0,
        0.0,
    )
    assert (one["spec"]["workload"]["name"], one["spec"]["trials"], one["spec"]["duration_s"]) == ("prefill", 9, 840.0)
    assert (await call["mia"].get(f"/adaptations/{one['id']}")).json() == one
    assert (await call["mia"].get("/adaptations")).json() == {"data": [one], "next": None}
    path = f"/adaptations/{one['id']}/entries"
    assert (await call["mia"].get(path)).json() == {"data": [], "next": 0, "ended": False}
    await report(stocked.state, one["id"], *(entry_text(Resumed(float(second))) for second in range(3)))
    first = (await call["mia"].get(path, params={"limit": 2})).json()
    assert [(entry["number"], entry["type"]) for entry in first["data"]] == [(0, "resumed"), (1, "resumed")]
    assert first["data"][1] == {
        "number": 1,
        "at": "1970-01-01T00:00:01Z",
        "type": "resumed",
        "entry": {"type": "resumed", "at_s": 1.0},
    }
    rest = (await call["mia"].get(path, params={"since": first["next"]})).json()
    assert ([entry["number"] for entry in rest["data"]], rest["next"], rest["ended"]) == ([2], 3, False)
    now = (await call["mia"].get(f"/adaptations/{one['id']}")).json()
    assert (now["state"], now["activity"], now["entries"], now["used_s"]) == ("searching", "window of a", 3, 42.0)
    asked = await call["cato"].post(f"/adaptations/{one['id']}/cancel")
    assert (asked.status_code, asked.json()["cancel_asked"], asked.json()["state"]) == (200, True, "searching")
    await report(stocked.state, one["id"], entry_text(Ended("cancelled", None, "by hand", at_s=9.0)), since=3)
    ended = (await call["mia"].get(path, params={"since": 3})).json()
    assert (ended["data"][0]["type"], ended["ended"]) == ("ended", True)
    assert (await call["cato"].post(f"/adaptations/{one['id']}/cancel")).status_code == 409
    events = (await call["mia"].get("/events", params={"subject": one["id"]})).json()["data"]
    assert [event["kind"] for event in events] == [
        "adaptation_cancelled",
        "adaptation_searching",
        "adaptation_waiting",
    ]


async def test_a_workload_of_ones_own_and_a_single_candidate(stocked: Any, call: Call) -> None:
    workload = {
        "name": "summaries",
        "requests": [{"input_tokens": 900, "output_tokens": 30, "share": 1.0}],
        "concurrencies": [4],
        "slo": {"ttft_s": 0.5},
    }
    only = {"engine": "alpha", "settings": {"slots": 8, "flash_attention": True}}
    made = await call["cato"].post("/adaptations", json=BODY | {"workload": workload, "only": only, "chip": "cpu-x"})
    assert made.status_code == 201, made.text
    spec = made.json()["spec"]
    assert spec["workload"] == workload | {"open_loop_share": 0.7, "slo": {"ttft_s": 0.5, "tpot_s": None}}
    assert spec["only"] == only


async def test_lists_are_filtered_by_model_and_centre(stocked: Any, call: Call) -> None:
    ids = [(await call["cato"].post("/adaptations", json=BODY)).json()["id"] for _ in range(2)]
    page = (await call["mia"].get("/adaptations", params={"limit": 1, "centre": "local", "model": MODEL})).json()
    assert [one["id"] for one in page["data"]] == ids[1:]
    rest = (await call["mia"].get("/adaptations", params={"after": page["next"]})).json()
    assert [one["id"] for one in rest["data"]] == ids[:1]
    assert rest["data"][0]["activity"] == "waits for the agent of centre local"
    assert page["data"][0]["activity"] == f"waits until {ids[0]} (of {MODEL}) has ended"
    assert (await call["mia"].get("/adaptations", params={"model": "none"})).json()["data"] == []
    assert (await call["mia"].get("/adaptations", params={"centre": "nowhere"})).status_code == 404


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"model": "none"}, 404),
        ({"centre": "nowhere"}, 404),
        ({"chip": "npu-y"}, 409),
        ({"engines": ["gamma"]}, 400),
        ({"workload": "other"}, 400),
        ({"workload": {"requests": []}}, 400),
        ({"workload": {"requests": [{"input_tokens": 0, "output_tokens": 1}]}}, 400),
        ({"use_class": "poems"}, 400),
        ({"duration_s": 1}, 400),
        ({"trials": 0}, 400),
        ({"only": {"settings": {}}}, 400),
        ({"other": 1}, 400),
    ],
    ids=str,
)
async def test_wrong_wishes_are_refused(stocked: Any, call: Call, change: dict[str, Any], status: int) -> None:
    answer = await call["cato"].post("/adaptations", json=BODY | change)
    assert answer.status_code == status, answer.text
    assert answer.json()["error"]["next_step"]
    assert (await call["mia"].get("/adaptations")).json()["data"] == []


async def test_a_centre_that_is_away_takes_no_order(world: Any, call: Call) -> None:
    answer = await call["cato"].post("/adaptations", json=BODY)
    assert (answer.status_code, "away" in answer.text) == (409, True)
    for path in ("/adaptations/adp_none", "/adaptations/adp_none/entries"):
        assert (await call["mia"].get(path)).status_code == 404
    assert (await call["cato"].post("/adaptations/adp_none/cancel")).status_code == 404
