"""Signing in and out, as a browser and as a program."""

from typing import Any

import httpx
import pytest

PASSWORD = "correct horse battery"
CONSOLE = {"x-yunhe-console": "1"}


async def sign_in(client: httpx.AsyncClient, user: str = "mia", password: str = PASSWORD) -> httpx.Response:
    return await client.post("/sessions", json={"user": user, "password": password})


async def test_the_admin_of_the_first_start_signs_in(world: Any) -> None:
    async with world.client() as client:
        answer = await sign_in(client, "admin", world.admin_password)
    assert answer.status_code == 201
    body = answer.json()
    assert body["token"].startswith("ys_")
    assert body["expires_at"].endswith("Z")
    assert body["user"]["roles"] == ["platform_admin"]
    assert [(p["name"], p["role"]) for p in body["user"]["projects"]] == [("default", "project_owner")]
    assert body["user"]["scopes"] == ["inference", "manage", "read"]


async def test_the_cookie_is_kept_from_scripts_and_other_sites(world: Any) -> None:
    async with world.client() as client:
        cookie = (await sign_in(client)).headers["set-cookie"]
    assert cookie.startswith("yunhe_session=ys_")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}


async def test_behind_tls_the_cookie_never_travels_in_the_clear(world: Any) -> None:
    async with world.client() as client:
        body = {"user": "mia", "password": PASSWORD}
        answer = await client.post("/sessions", json=body, headers={"x-forwarded-proto": "https"})
    assert "Secure" in {part.strip() for part in answer.headers["set-cookie"].split(";")}


async def test_a_cookie_reads_and_writes_only_for_the_console(world: Any) -> None:
    async with world.client() as client:
        await sign_in(client)
        assert (await client.get("/me")).json()["name"] == "mia"
        forged = await client.post("/keys", json={"name": "k"})
        assert forged.status_code == 403
        assert "X-Yunhe-Console" in forged.json()["error"]["next_step"]
        assert (await client.post("/keys", json={"name": "k"}, headers=CONSOLE)).status_code == 201


async def test_signing_out_ends_the_session_and_the_cookie(world: Any) -> None:
    async with world.client() as client:
        token = (await sign_in(client)).json()["token"]
        gone = await client.delete("/sessions/current", headers=CONSOLE)
        assert gone.status_code == 204
        assert "yunhe_session" not in client.cookies
    async with world.client(token) as client:
        answer = await client.get("/me")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["error"]["code"] == "not_signed_in"


@pytest.mark.parametrize(("user", "password"), [("mia", "wrong"), ("nobody", PASSWORD), ("MIA", PASSWORD)])
async def test_bad_credentials_do_not_tell_what_was_wrong(world: Any, user: str, password: str) -> None:
    async with world.client() as client:
        answer = await sign_in(client, user, password)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "bad_credentials"
    assert answer.json()["error"]["message"] == "The user name or the password is wrong."
    assert "set-cookie" not in answer.headers


async def test_the_id_of_a_user_is_no_user_name(world: Any) -> None:
    async with world.client(world.tokens["mia"]) as client:
        own_id = (await client.get("/me")).json()["id"]
    async with world.client() as client:
        assert (await sign_in(client, own_id)).status_code == 401


async def test_after_ten_failures_even_the_right_password_must_wait(world: Any) -> None:
    async with world.client() as client:
        for _ in range(10):
            assert (await sign_in(client, password="wrong")).status_code == 401
        refused = await sign_in(client)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "too_many_attempts"
        assert 1 <= int(refused.headers["retry-after"]) <= 301
        world.clock.advance(301)
        assert (await sign_in(client)).status_code == 201


async def test_a_new_password_ends_the_other_sessions(world: Any) -> None:
    async with world.client() as here, world.client() as there:
        for client in (here, there):
            await sign_in(client)
        body = {"old": PASSWORD, "new": "a better password"}
        assert (await here.put("/me/password", json=body, headers=CONSOLE)).status_code == 204
        assert (await here.get("/me")).status_code == 200
        assert (await there.get("/me")).status_code == 401
        assert (await sign_in(there)).status_code == 401
        assert (await sign_in(there, password="a better password")).status_code == 201


async def test_a_password_is_changed_only_by_who_knows_the_old_one(
    world: Any, call: dict[str, httpx.AsyncClient]
) -> None:
    wrong = await call["mia"].put("/me/password", json={"old": "wrong", "new": "a better password"})
    assert (wrong.status_code, wrong.json()["error"]["code"]) == (403, "wrong_password")
    short = await call["mia"].put("/me/password", json={"old": PASSWORD, "new": "short"})
    assert short.status_code == 400
    assert short.json()["error"]["details"]["fields"][0].startswith("body.new: ")
    by_key = await call["manage key"].put("/me/password", json={"old": PASSWORD, "new": "a better password"})
    assert by_key.status_code == 403


async def test_a_session_expires(world: Any) -> None:
    async with world.client() as client:
        await sign_in(client)
        assert (await client.get("/me")).status_code == 200
        world.clock.advance(7 * 86_400 + 1)
        answer = await client.get("/me")
    assert answer.status_code == 401


async def test_a_disabled_user_is_out_at_once(world: Any, call: dict[str, httpx.AsyncClient]) -> None:
    assert (await call["mia"].get("/me")).status_code == 200
    key = (await call["mia"].post("/keys", json={"name": "k"})).json()["secret"]
    async with world.client(key) as by_key:
        assert (await by_key.get("/me")).status_code == 200
        assert (await call["admin"].patch("/users/mia", json={"disabled": True})).status_code == 200
        assert (await by_key.get("/me")).status_code == 401
    assert (await call["mia"].get("/me")).status_code == 401
    async with world.client() as client:
        assert (await sign_in(client)).status_code == 401


async def test_an_api_key_is_no_session(call: dict[str, httpx.AsyncClient]) -> None:
    answer = await call["manage key"].delete("/sessions/current")
    assert answer.status_code == 403
    assert (await call["manage key"].get("/me")).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "",
        "Bearer",
        "Bearer ",
        "Basic YTpi",
        "Bearer yh_short",
        "Bearer ys_aaaaaaaaaaaa_" + "a" * 43,
        "Bearer é",
        "Bearer " + "a" * 5000,
    ],
)
async def test_credentials_that_are_none_are_refused(world: Any, header: str) -> None:
    async with world.client() as client:
        answer = await client.get("/me", headers={"authorization": header.encode("latin-1")})
    assert answer.status_code == 401
