"""Recipes and the trust list as the API shows them."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import httpx
import pytest
from msgspec import structs

from yunhe.adapt.recipe_document import Recipe
from yunhe.adapt.signing import SigningKey, sign
from yunhe.catalogue.model import Model
from yunhe.control.recipes import Recipes, keep_signed
from yunhe.control.state import ControlState
from yunhe.core.units import GIB
from yunhe.pool.model import Card, Inventory, Node
from yunhe.serve.sync import EngineInfo
from yunhe.store import models, pool
from yunhe.testing.recipes import CHIP, sample_recipe

Call = dict[str, httpx.AsyncClient]
PARTNER = SigningKey(b"p" * 32)
CARD = Card(
    "cpu0", CHIP.chip_id, "maker", "cpu", CHIP.model_name, CHIP.memory_bytes, cores=8, health="healthy",
    features=CHIP.instruction_sets,
)  # fmt: skip
KEY = {"name": "partner", "public_key": PARTNER.public_key.hex()}


def other_recipe(**changes: Any) -> Recipe:
    return structs.replace(sample_recipe(), **changes)


async def keep(state: ControlState, recipe: Recipe) -> str:
    """Sign and keep it, as at the end of an adaptation."""
    async with state.db.write() as tx:
        return await keep_signed(tx, state, recipe)


async def stock(state: ControlState, *cards: Card, engine: str = "fake") -> None:
    """The local centre syncs and has these cards."""
    now = state.clock.unix_s()
    async with state.db.write() as tx:
        local = await pool.centre(tx, "local")
        assert local is not None
        await pool.touch_centre(tx, local.id, now)
        await pool.set_engines(tx, local.id, (EngineInfo(engine, "1"),))
        await pool.take_inventory(tx, local.id, Inventory((Node("host", 64 * GIB, 8, "linux", cards),), now))


def error_of(answer: httpx.Response) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()["error"]
    assert found["next_step"]
    return found


async def import_(client: httpx.AsyncClient, data: bytes) -> httpx.Response:
    return await client.post("/recipes/import", content=data, headers={"content-type": "application/json"})


async def test_a_recipe_made_here_is_listed_shown_and_exported_as_signed(world: Any, call: Call) -> None:
    await stock(world.state, CARD)
    id = await keep(world.state, sample_recipe())
    (listed,) = (await call["mia"].get("/recipes")).json()["data"]
    assert (listed["id"], listed["model"], listed["chip"], listed["engine"]) == (id, "tiny", CHIP.chip_id, "fake")
    assert (listed["origin"], listed["workload"], listed["revoked_at"]) == (
        "local",
        "128+64 tokens, 8 in flight",
        None,
    )
    (gain,) = listed["gains"]
    assert (gain["load"], gain["metric"], gain["ratio"]["value"]) == ("8 in flight", "output_tokens_per_s", 2.25)
    assert gain["ratio"]["low"] < 2.25 < gain["ratio"]["high"]
    assert (listed["fidelity"]["verdict"], listed["fidelity"]["kl_nats"]["value"]) == ("passed", 0.0026)
    shown = (await call["mia"].get(f"/recipes/{id}")).json()
    assert {name: shown[name] for name in listed} == listed
    assert (shown["verdict"]["accepted"], shown["verdict"]["signed_by"]) == (True, "this instance")
    assert shown["document"]["engine"]["argv"][0] == "serve"
    (place,) = shown["places"]
    assert (place["centre"], place["node"], place["chip"], place["outcome"]) == (
        "local",
        "host",
        CHIP.chip_id,
        "needs force",
    )
    assert "firmware version" in place["reasons"][0]
    exported = await call["mia"].get(f"/recipes/{id}/envelope")
    assert exported.headers["content-type"] == "application/json"
    assert exported.content == sign(sample_recipe(), world.state.secrets.signing_key)
    by_beginning = await call["mia"].get(f"/recipes/{id[:16]}")
    assert by_beginning.json()["id"] == id


async def test_lists_are_filtered_and_paged(world: Any, call: Call) -> None:
    ids = []
    for number in range(3):
        world.clock.advance(1.0)
        ids.append(await keep(world.state, other_recipe(made_by=f"centre {number}")))
    elsewhere = structs.replace(CHIP, chip_id="npu-y")
    world.clock.advance(1.0)
    ids.append(await keep(world.state, other_recipe(chip=elsewhere)))
    first = (await call["mia"].get("/recipes", params={"limit": 3})).json()
    rest = (await call["mia"].get("/recipes", params={"limit": 3, "after": first["next"]})).json()
    assert [one["id"] for one in first["data"] + rest["data"]] == ids[::-1]
    assert rest["next"] is None
    for filters, found in (
        ({"chip": "npu-y"}, ids[3:]), ({"model": "tiny", "chip": CHIP.chip_id}, ids[2::-1]),
        ({"engine": "other"}, []), ({"model": "big"}, []),
    ):  # fmt: skip
        answer = await call["mia"].get("/recipes", params=filters)
        assert [one["id"] for one in answer.json()["data"]] == found, filters
    forged = await call["mia"].get("/recipes", params={"after": "cmVjaXBlcyB4"})
    assert forged.status_code == 400


async def test_one_flipped_byte_is_refused_as_altered(world: Any, call: Call) -> None:
    assert (await call["cato"].post("/recipe-keys", json=KEY)).status_code == 201
    data = sign(sample_recipe(), PARTNER)
    flipped = data.replace(b'"value":655.5', b'"value":955.5', 1)
    assert len([1 for a, b in zip(data, flipped, strict=True) if a != b]) == 1
    refused = await import_(call["cato"], flipped)
    assert refused.status_code == 409
    error = error_of(refused)
    assert (error["code"], error["details"]["refusal"]) == ("recipe_refused", "altered")
    assert (await call["mia"].get("/recipes")).json()["data"] == []
    taken = await import_(call["cato"], data)
    assert (taken.status_code, taken.json()["origin"], taken.json()["key_id"]) == (201, "imported", PARTNER.id)
    # The signature altered instead of the content.
    at = data.index(b'"signature":"') + len(b'"signature":"')
    signature = data[:at] + (b"0" if data[at : at + 1] != b"0" else b"1") + data[at + 1 :]
    assert error_of(await import_(call["cato"], signature))["details"]["refusal"] == "altered"


async def test_a_key_nobody_trusts_is_refused_until_it_is_trusted(world: Any, call: Call) -> None:
    data = sign(sample_recipe(), PARTNER)
    error = error_of(await import_(call["cato"], data))
    assert (error["details"]["refusal"], PARTNER.id in error["message"]) == ("unknown_key", True)
    assert "trust list" in error["next_step"]
    added = await call["cato"].post("/recipe-keys", json=KEY)
    assert (added.json()["key_id"], added.json()["own"]) == (PARTNER.id, False)
    assert (await call["cato"].post("/recipe-keys", json=KEY)).status_code == 409
    first = await import_(call["cato"], data)
    again = await import_(call["admin"], data)
    assert (again.status_code, again.json()) == (201, first.json())
    exported = await call["mia"].get(f"/recipes/{first.json()['id']}/envelope")
    assert exported.content == data
    # Without its key it stays, and is believed no longer.
    assert (await call["cato"].delete(f"/recipe-keys/{PARTNER.id}")).status_code == 204
    verdict = (await call["mia"].get(f"/recipes/{first.json()['id']}")).json()["verdict"]
    assert (verdict["accepted"], verdict["refusal"]) == (False, "unknown_key")
    assert (await call["cato"].delete(f"/recipe-keys/{PARTNER.id}")).status_code == 404


@pytest.mark.parametrize(
    "data", [b"", b"null", b"[]", b"{}", b"nonsense", b'{"schema": 1}', b"\xff", b"[" * 5000 + b"]" * 5000]
)
async def test_what_is_no_signed_recipe_is_refused(call: Call, data: bytes) -> None:
    answer = await import_(call["cato"], data)
    error = error_of(answer)
    assert (answer.status_code, error["code"]) == (400, "bad_recipe")
    assert error["details"]["refusal"] == "malformed"


async def test_another_release_is_said_so(world: Any, call: Call) -> None:
    document = json.loads(sign(sample_recipe(), PARTNER)) | {"schema": "yunhe.signed-recipe/9"}
    data = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
    assert error_of(await import_(call["cato"], data))["details"]["refusal"] == "wrong_schema"


async def test_a_revoked_recipe_is_believed_no_longer_and_not_taken_in_again(world: Any, call: Call) -> None:
    await call["cato"].post("/recipe-keys", json=KEY)
    data = sign(sample_recipe(), PARTNER)
    id = (await import_(call["cato"], data)).json()["id"]
    revoked = await call["cato"].post(f"/recipes/{id}/revoke", json={"why": "the clock was wrong"})
    assert (revoked.status_code, revoked.json()["revoked_why"]) == (200, "the clock was wrong")
    assert (await call["cato"].post(f"/recipes/{id}/revoke", json={"why": "again"})).status_code == 409
    verdict = (await call["mia"].get(f"/recipes/{id}")).json()["verdict"]
    assert (verdict["refusal"], "the clock was wrong" in verdict["reason"]) == ("revoked_recipe", True)
    assert error_of(await import_(call["cato"], data))["details"]["refusal"] == "revoked_recipe"
    (event,) = (await call["mia"].get("/events", params={"subject": id, "limit": 1})).json()["data"]
    assert (event["kind"], event["reason"]) == ("recipe_revoked", "the clock was wrong")
    assert (await call["cato"].post(f"/recipes/{id}/revoke", json={"why": ""})).status_code == 400


async def test_the_trust_list_begins_with_the_own_key(world: Any, call: Call) -> None:
    own = world.state.secrets.signing_key
    (first,) = (await call["mia"].get("/recipe-keys")).json()["data"]
    assert (first["key_id"], first["own"], first["name"]) == (own.id, True, "this instance")
    assert (await call["cato"].delete(f"/recipe-keys/{own.id}")).status_code == 409
    assert (await call["cato"].post("/recipe-keys", json=KEY | {"public_key": first["public_key"]})).status_code == 409
    id = await keep(world.state, sample_recipe())
    await call["cato"].post("/recipe-keys", json=KEY)
    assert [key["name"] for key in (await call["mia"].get("/recipe-keys")).json()["data"]] == [
        "this instance",
        "partner",
    ]
    revoked = await call["cato"].post(f"/recipe-keys/{own.id}/revoke", json={"why": "stolen"})
    assert (revoked.json()["own"], revoked.json()["revoked_why"]) == (True, "stolen")
    assert (await call["cato"].post(f"/recipe-keys/{own.id}/revoke", json={"why": "x"})).status_code == 409
    assert (await call["mia"].get(f"/recipes/{id}")).json()["verdict"]["refusal"] == "revoked_key"


async def test_a_keys_time_counts(world: Any, call: Call) -> None:
    past = {"valid_from": "2020-01-01T00:00:00Z", "valid_until": "2021-01-01T00:00:00Z"}
    assert (await call["cato"].post("/recipe-keys", json=KEY | past)).status_code == 201
    refused = await import_(call["cato"], sign(sample_recipe(), PARTNER))
    assert error_of(refused)["details"]["refusal"] == "expired"
    backwards = {"valid_from": "2022-01-01T00:00:00Z", "valid_until": "2021-01-01T00:00:00Z"}
    wrong = await call["cato"].post("/recipe-keys", json=KEY | backwards)
    assert (wrong.status_code, "valid_until" in wrong.text) == (400, True)
    assert (await call["cato"].post("/recipe-keys", json=KEY | {"public_key": "zz"})).status_code == 400


async def test_two_recipes_are_compared_field_by_field(world: Any, call: Call) -> None:
    a = await keep(world.state, sample_recipe())
    b = await keep(world.state, other_recipe(settings={"threads": 6, "kv_type": "f16", "slots": 8}))
    found = (await call["mia"].get("/recipes/diff", params={"a": a, "b": b})).json()
    assert (found["a"], found["b"]) == (a, b)
    kinds = {change["path"]: (change["kind"], change["left"], change["right"]) for change in found["changes"]}
    assert kinds["settings.threads"] == ("changed", 8, 6)
    assert kinds["settings.slots"] == ("added", None, 8)
    assert kinds["settings.flash_attention"] == ("removed", True, None)
    assert "settings.threads: 8 -> 6 (-25.0%)" in [change["line"] for change in found["changes"]]
    assert (await call["mia"].get("/recipes/diff", params={"a": a, "b": a})).json()["changes"] == []
    assert (await call["mia"].get("/recipes/diff", params={"a": a, "b": f"rcp_{'0' * 64}"})).status_code == 404
    assert (await call["mia"].get("/recipes/diff", params={"a": a, "b": "rcp_%"})).status_code == 400
    assert (await call["mia"].get("/recipes/rcp_00000000")).status_code == 404


async def test_only_recipes_of_these_weights_and_this_chip_match(world: Any, call: Call) -> None:
    state: ControlState = world.state
    fitting = structs.replace(CHIP, firmware_version=None)
    same = await keep(state, other_recipe(chip=fitting))
    # Of another chip, of other weights, unfaithful, revoked.
    await keep(state, other_recipe(chip=structs.replace(CHIP, chip_id="npu-y")))
    await keep(state, other_recipe(model=structs.replace(sample_recipe().model, digest="e" * 64)))
    await keep(state, other_recipe(fidelity=structs.replace(sample_recipe().fidelity, verdict="failed")))
    gone = await keep(state, other_recipe(made_by="gone"))
    await call["cato"].post(f"/recipes/{gone}/revoke", json={"why": "wrong"})
    world.clock.advance(1.0)
    forced = await keep(state, other_recipe(chip=structs.replace(fitting, core_count=64)))
    tiny = await _tiny(state)
    found = await Recipes(state).matching(tiny, [CARD])
    assert [(one.view.kept.id, one.verdict.outcome) for one in found] == [(forced, "needs force"), (same, "applies")]


async def _tiny(state: ControlState) -> Model:
    """The model of the sample recipe."""
    async with state.db.read() as tx:
        known = await models.model(tx, "smollm2-135m-instruct")
    assert known is not None
    return replace(known, name="tiny", weights=replace(known.weights, sha256="a" * 64))


async def test_a_recipe_fits_nowhere_without_its_engine_or_its_chip(world: Any, call: Call) -> None:
    other = Card("npu0", "npu-y", "maker", "npu", "An NPU", 16 * GIB, health="healthy")
    await stock(world.state, CARD, other, engine="alpha")
    id = await keep(world.state, sample_recipe())
    places = {one["chip"]: one for one in (await call["mia"].get(f"/recipes/{id}")).json()["places"]}
    assert {chip: one["outcome"] for chip, one in places.items()} == {CHIP.chip_id: "never", "npu-y": "never"}
    assert any(reason.startswith("engine: ") for reason in places[CHIP.chip_id]["reasons"])
    assert any(reason.startswith("chip: ") for reason in places["npu-y"]["reasons"])


async def test_a_signed_recipe_is_rolled_out_by_its_id_only_while_it_is_believed(world: Any, call: Call) -> None:
    state: ControlState = world.state
    async with state.db.read() as tx:
        model = await models.model(tx, "smollm2-135m-instruct")
    assert model is not None
    sample = sample_recipe()
    part = structs.replace(sample.model, name=model.name, digest=model.weights.sha256 or "")
    id = await keep(state, other_recipe(model=part))
    path = "/deployments/smollm2-135m-instruct/rollouts"
    for unknown in (f"rcp_{'0' * 64}", "rcp_", id[:8], "r"):
        assert (await call["olga"].post(path, json={"recipe_id": unknown})).status_code == 404
    started = await call["olga"].post(path, json={"recipe_id": id})
    assert (started.status_code, started.json()["recipe_id"]) == (201, id), started.text
    await call["olga"].post(f"{path}/{started.json()['id']}/abort")
    await call["cato"].post(f"/recipes/{id}/revoke", json={"why": "wrong"})
    refused = await call["olga"].post(path, json={"recipe_id": id})
    assert (refused.status_code, error_of(refused)["code"]) == (409, "recipe_refused")
