"""Roll-outs as the API shows them."""

from typing import Any

import httpx
import pytest

Call = dict[str, httpx.AsyncClient]
PATH = "/deployments/smollm2-135m-instruct/rollouts"
BODY: dict[str, Any] = {
    "recipe": {"settings": {"slots": 8}, "name": "eight"},
    "share": 0.5,
    "canary_s": 5,
    "requests_min": 3,
    "guards": {"ttft_p95_s": 0.5},
}


async def test_a_roll_out_is_started_shown_and_taken_back(call: Call) -> None:
    made = await call["olga"].post(PATH, json=BODY)
    assert made.status_code == 201, made.text
    one = made.json()
    assert (one["stage"], one["share"], one["generation"], one["recipe_id"]) == ("canary", 0.5, 2, None)
    assert (one["recipe"]["name"], one["recipe"]["settings"], one["previous"]["name"]) == (
        "eight",
        {"slots": 8},
        "default",
    )
    assert one["guards"] == {"ttft_p95_s": 0.5, "tpot_p50_s": None, "error_share": 0.0, "slowdown_max": 2.0}
    assert one["policy"] == {"canary_s": 5.0, "requests_min": 3}
    nothing = {"requests": 0, "errors": 0, "streams": 0, "ttft_p95_s": None, "tpot_p50_s": None}
    assert one["figures"] == one["others"] == nothing
    assert one["progress"] == "its replica is about to be made"
    assert (await call["mia"].get(f"{PATH}/{one['id']}")).json() == one
    assert (await call["mia"].get(PATH)).json() == {"data": [one], "next": None}
    again = await call["olga"].post(PATH, json=BODY)
    assert again.status_code == 409
    ended = await call["olga"].post(f"{PATH}/{one['id']}/abort")
    assert (ended.status_code, ended.json()["stage"]) == (200, "rolled_back")
    assert (await call["olga"].post(f"{PATH}/{one['id']}/promote")).status_code == 409
    (event,) = (await call["mia"].get("/events", params={"subject": one["deployment_id"], "limit": 1})).json()["data"]
    assert (event["kind"], event["severity"]) == ("rollout_rolled_back", "warning")


async def test_promoting_by_hand_changes_the_deployments_recipe(call: Call) -> None:
    one = (await call["olga"].post(PATH, json=BODY)).json()
    assert (await call["olga"].post(f"{PATH}/{one['id']}/promote")).json()["stage"] == "default"
    deployment = (await call["mia"].get("/deployments/smollm2-135m-instruct")).json()
    assert (deployment["recipe"]["name"], deployment["generation"]) == ("eight", 2)


async def test_only_owners_roll_out_and_strangers_see_nothing(call: Call) -> None:
    assert (await call["mia"].post(PATH, json=BODY)).status_code == 403
    for verb in ("abort", "promote"):
        assert (await call["mia"].post(f"{PATH}/roll_1/{verb}")).status_code == 403
    assert (await call["sam"].get(PATH)).status_code == 404
    assert (await call["nobody"].get(PATH)).status_code == 401
    assert (await call["olga"].get(f"{PATH}/roll_1")).status_code == 404


@pytest.mark.parametrize(
    "change",
    [
        {"recipe": None},
        {"recipe_id": "rcp_1"},
        {"share": 0},
        {"share": 1.1},
        {"requests_min": 501},
        {"canary_s": -1},
        {"guards": {"ttft_p95_s": 0}},
        {"guards": {"error_share": 2}},
        {"recipe": {"settings": {"slots": None}}},
        {"other": 1},
    ],
    ids=str,
)
async def test_wrong_wishes_are_refused(call: Call, change: dict[str, Any]) -> None:
    answer = await call["olga"].post(PATH, json=BODY | change)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "invalid_request"
