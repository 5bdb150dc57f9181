"""Organisations, projects, members, users and keys."""

from typing import Any

import httpx
import pytest

Call = dict[str, httpx.AsyncClient]


async def test_an_admin_makes_an_organisation_and_a_project_in_it(call: Call) -> None:
    made = await call["admin"].post("/organisations", json={"name": "云计算"})
    assert made.status_code == 201
    organisation = made.json()
    assert set(organisation) == {"id", "name", "created_at"}
    body = {"name": "训练", "organisation_id": organisation["id"], "rpm_limit": 60}
    project = (await call["admin"].post("/projects", json=body)).json()
    assert (project["rpm_limit"], project["tpm_limit"], project["balance_micro"]) == (60, None, 0)
    assert (await call["admin"].get("/projects/训练")).json()["id"] == project["id"]
    assert (await call["admin"].get(f"/projects/{project['id']}")).json() == project


async def test_names_are_taken_once(call: Call) -> None:
    for path, body in (
        ("/organisations", {"name": "default"}),
        ("/projects", {"name": "default"}),
        ("/users", {"name": "mia", "password": "a long password"}),
    ):
        answer = await call["admin"].post(path, json=body)
        assert (answer.status_code, answer.json()["error"]["code"]) == (409, "conflict")


async def test_a_project_goes_to_the_default_organisation_or_a_named_one_that_exists(call: Call) -> None:
    plain = (await call["admin"].post("/projects", json={"name": "plain"})).json()
    organisations = (await call["admin"].get("/organisations")).json()["data"]
    assert plain["organisation_id"] in {o["id"] for o in organisations if o["name"] == "default"}
    lost = await call["admin"].post("/projects", json={"name": "lost", "organisation_id": "nowhere"})
    assert lost.status_code == 404


async def test_an_owner_renames_but_only_an_admin_limits_or_suspends(call: Call) -> None:
    renamed = await call["olga"].patch("/projects/default", json={"name": "lab"})
    assert renamed.json()["name"] == "lab"
    for body in ({"rpm_limit": 1}, {"tpm_limit": None}, {"suspended_reason": "late"}, {"name": "x", "rpm_limit": 5}):
        assert (await call["olga"].patch("/projects/lab", json=body)).status_code == 403
    changed = await call["admin"].patch("/projects/lab", json={"rpm_limit": 5, "suspended_reason": "unpaid bill"})
    assert (changed.json()["rpm_limit"], changed.json()["suspended_reason"]) == (5, "unpaid bill")
    freed = await call["admin"].patch("/projects/lab", json={"rpm_limit": None, "suspended_reason": None})
    assert (freed.json()["rpm_limit"], freed.json()["suspended_reason"]) == (None, None)
    assert (await call["admin"].patch("/projects/lab", json={"name": None})).status_code == 400
    assert (await call["admin"].patch("/projects/lab", json={"name": "other"})).status_code == 409


async def test_a_member_is_added_promoted_and_removed_with_effect_at_once(call: Call) -> None:
    assert (await call["sam"].get("/projects/default")).status_code == 404
    made = await call["olga"].post("/projects/default/members", json={"user": "sam", "role": "member"})
    assert made.status_code == 201
    member = made.json()
    assert (member["user"]["name"], member["role"]) == ("sam", "member")
    assert (await call["sam"].get("/projects/default")).status_code == 200
    assert (await call["sam"].patch("/projects/default", json={"name": "mine"})).status_code == 403
    promoted = await call["olga"].post("/projects/default/members", json={"user": "sam", "role": "project_owner"})
    assert promoted.json() == {**member, "role": "project_owner"}
    assert (await call["sam"].patch("/projects/default", json={"name": "default"})).status_code == 200
    gone = await call["olga"].delete(f"/projects/default/members/{member['id']}")
    assert gone.status_code == 204
    assert (await call["sam"].get("/projects/default")).status_code == 404
    listed = (await call["olga"].get("/projects/default/members")).json()["data"]
    assert {m["user"]["name"] for m in listed} == {"admin", "olga", "mia"}
    assert (await call["olga"].delete(f"/projects/default/members/{member['id']}")).status_code == 404
    unknown = await call["olga"].post("/projects/default/members", json={"user": "nemo", "role": "member"})
    assert unknown.status_code == 404


async def test_a_user_is_made_and_changed(world: Any, call: Call) -> None:
    made = await call["admin"].post(
        "/users", json={"name": "neo", "password": "a long password", "roles": ["centre_operator"]}
    )
    assert made.status_code == 201
    assert (made.json()["roles"], made.json()["disabled"]) == (["centre_operator"], False)
    assert "password" not in made.text
    async with world.client() as neo:
        signed_in = await neo.post("/sessions", json={"user": "neo", "password": "a long password"})
        token = signed_in.json()["token"]
    async with world.client(token) as neo:
        assert (await neo.get("/users")).status_code == 403
        await call["admin"].patch("/users/neo", json={"roles": ["platform_admin"]})
        assert (await neo.get("/users")).status_code == 200
        await call["admin"].patch("/users/neo", json={"password": "another password"})
        assert (await neo.get("/users")).status_code == 401


async def test_an_admin_cannot_lock_itself_out(call: Call) -> None:
    for body in ({"disabled": True}, {"roles": []}):
        answer = await call["admin"].patch("/users/admin", json=body)
        assert answer.status_code == 409
    assert (await call["admin"].patch("/users/none", json={"disabled": True})).status_code == 404


async def test_a_key_shows_its_secret_once_and_works_until_revoked(world: Any, call: Call) -> None:
    made = await call["mia"].post("/keys", json={"name": "laptop", "models": ["tiny"], "rpm_limit": 5})
    assert made.status_code == 201
    key = made.json()
    secret = key.pop("secret")
    assert secret.startswith(f"yh_{key['prefix']}_")
    assert (key["scopes"], key["created_by"], key["models"]) == (["inference", "read"], "mia", ["tiny"])
    for ref in (key["id"], key["prefix"]):
        assert (await call["mia"].get(f"/keys/{ref}")).json() == key
    listed = await call["mia"].get("/keys")
    assert key in listed.json()["data"]
    assert secret not in listed.text
    async with world.client(secret) as holder:
        assert (await holder.get("/me")).json()["scopes"] == ["inference", "read"]
        revoked = await call["mia"].delete(f"/keys/{key['prefix']}")
        assert revoked.json()["revoked_at"] is not None
        assert (await holder.get("/me")).status_code == 401
    again = await call["mia"].delete(f"/keys/{key['id']}")
    assert again.json() == revoked.json()


async def test_a_key_expires(world: Any, call: Call) -> None:
    secret = (await call["mia"].post("/keys", json={"name": "brief", "expires_in_s": 60})).json()["secret"]
    async with world.client(secret) as holder:
        assert (await holder.get("/me")).status_code == 200
        world.clock.advance(61)
        assert (await holder.get("/me")).status_code == 401


async def test_a_members_key_is_revoked_by_its_maker_or_an_owner_only(call: Call) -> None:
    of_olga = (await call["olga"].post("/keys", json={"name": "o"})).json()["id"]
    of_mia = (await call["mia"].post("/keys", json={"name": "m"})).json()["id"]
    assert (await call["mia"].delete(f"/keys/{of_olga}")).status_code == 403
    assert (await call["sam"].delete(f"/keys/{of_mia}")).status_code == 404
    assert (await call["olga"].delete(f"/keys/{of_mia}")).status_code == 200


async def test_a_manage_key_of_a_member_does_no_more_than_its_maker(world: Any, call: Call) -> None:
    secret = (await call["mia"].post("/keys", json={"name": "m", "scopes": ["manage"]})).json()["secret"]
    async with world.client(secret) as holder:
        assert (await holder.get("/balance")).status_code == 200
        assert (await holder.post("/keys", json={"name": "n"})).status_code == 201
        assert (await holder.patch("/projects/default", json={"name": "x"})).status_code == 403
        assert (await holder.get("/users")).status_code == 403


async def test_a_revoked_key_is_told_to_gateways(world: Any, call: Call) -> None:
    key = (await call["mia"].post("/keys", json={"name": "k"})).json()
    before = world.state.hub.count("snapshot")
    await call["mia"].delete(f"/keys/{key['id']}")
    assert world.state.hub.count("snapshot") > before


@pytest.mark.parametrize("path", ["/keys", "/users", "/projects", "/organisations", "/projects/default/members"])
async def test_lists_come_in_pages_that_join_without_gap_or_repeat(call: Call, path: str) -> None:
    for number in range(3):
        await call["admin"].post("/keys", json={"name": f"k{number}"})
    whole = (await call["admin"].get(path)).json()
    assert whole["next"] is None
    found, cursor = [], None
    for _ in range(len(whole["data"])):
        params = {"limit": 1} | ({"after": cursor} if cursor else {})
        page = (await call["admin"].get(path, params=params)).json()
        assert len(page["data"]) == 1
        found += page["data"]
        cursor = page["next"]
    assert cursor is None
    assert found == whole["data"]
    bad = await call["admin"].get(path, params={"after": "bm9uc2Vuc2U"})
    assert bad.json()["error"]["details"]["fields"] == ["query.after: is no cursor of this list"]
    assert (await call["admin"].get(path, params={"limit": 501})).status_code == 400
