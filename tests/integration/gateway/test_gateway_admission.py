"""Who may call what, how often, and for how much."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from yunhe.serve.snapshot import PriceEntry, ProjectEntry
from yunhe.testing.gateway_instance import MODEL, PROJECT, GatewayInstance
from yunhe.testing.http_client import Answer, fetch

CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
PATH = "/v1/chat/completions"


async def chat(port: int, key: str | None, **changes: Any) -> Answer:
    return await fetch(port, "POST", PATH, {**CHAT, **changes}, key=key)


async def test_wrong_missing_expired_and_revoked_keys_are_401(instance: GatewayInstance) -> None:
    expired = instance.add_key(expires_at=time.time() - 1)
    revoked = instance.add_key()
    worker = await instance.start()
    assert (await chat(worker.port, revoked)).status == 200
    prefix = revoked[3:15]
    del instance.control.keys[prefix]
    await instance.control.publish()
    for _ in range(100):
        if (await chat(worker.port, revoked)).status == 401:
            break
        await asyncio.sleep(0.02)
    flipped = instance.key[:-1] + ("A" if instance.key[-1] != "A" else "B")
    for key in (
        None,
        "",
        "nonsense",
        flipped,
        expired,
        revoked,
        "yh_" + "a" * 12 + "_" + "b" * 43,
        "ключ".encode().hex(),
    ):
        answer = await chat(worker.port, key)
        assert answer.status == 401, key
        error = answer.error()
        assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")
        assert answer.headers["www-authenticate"] == "Bearer"
        if key:
            assert key[16:] == "" or key[16:] not in error["message"]
    basic = await fetch(worker.port, "POST", PATH, CHAT, headers={"authorization": "Basic eDp5"})
    assert basic.status == 401


async def test_scopes_allow_lists_and_suspension_are_403(instance: GatewayInstance) -> None:
    instance.add_model("other")
    reader = instance.add_key(scopes=("read",))
    narrow = instance.add_key(models=("other",))
    instance.control.projects["proj_2"] = ProjectEntry("proj_2", "late", None, None, "unpaid bills", 0)
    suspended = instance.add_key(project="proj_2")
    worker = await instance.start()
    codes = {}
    for name, key in (("reader", reader), ("narrow", narrow), ("suspended", suspended)):
        answer = await chat(worker.port, key)
        assert answer.status == 403
        codes[name] = answer.error()["code"]
    assert codes == {"reader": "insufficient_scope", "narrow": "model_not_allowed", "suspended": "project_suspended"}
    listed = (await fetch(worker.port, "GET", "/v1/models", key=narrow)).json()
    assert [model["id"] for model in listed["data"]] == ["other"]


async def test_unknown_models_are_404_and_models_without_a_replica_503(instance: GatewayInstance) -> None:
    instance.add_model("sleeping")
    worker = await instance.start()
    unknown = await chat(worker.port, instance.key, model="gpt-9")
    assert (unknown.status, unknown.error()["code"], unknown.error()["param"]) == (404, "model_not_found", "model")
    sleeping = await chat(worker.port, instance.key, model="sleeping")
    assert (sleeping.status, sleeping.error()["code"]) == (503, "no_ready_replica")
    assert int(sleeping.headers["retry-after"]) >= 1


async def test_a_key_over_its_requests_per_minute_is_429_with_the_time_to_wait(instance: GatewayInstance) -> None:
    key = instance.add_key(rpm=3)
    worker = await instance.start()
    answers = [await chat(worker.port, key) for _ in range(4)]
    assert [answer.status for answer in answers] == [200, 200, 200, 429]
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["2", "1", "0", "0"]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
    refused = answers[3]
    assert (refused.error()["type"], refused.error()["code"]) == ("requests", "rate_limit_exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= 20
    assert instance.engines[0].counters.requests == 3


async def test_tokens_are_counted_at_admission_and_corrected_to_what_was_used(instance: GatewayInstance) -> None:
    key = instance.add_key(tpm=1000)
    worker = await instance.start()
    first = await chat(worker.port, key, max_tokens=800)
    assert first.status == 200
    assert int(first.headers["x-ratelimit-remaining-tokens"]) < 200
    # 800 tokens were really used; the next request for 800 must wait, one for 100 not.
    assert (await chat(worker.port, key, max_tokens=800)).status == 429
    instance.engines[0].tokens = 2
    fits = await chat(worker.port, key, max_tokens=100)
    assert fits.status == 200
    unlimited = instance.add_key(tpm=1000)
    await instance.control.publish()
    for _ in range(3):
        # Without a limit in the request 256 are set aside and 2 used: the rest must come back.
        body = {name: value for name, value in CHAT.items() if name != "max_tokens"}
        while (answer := await fetch(worker.port, "POST", PATH, body, key=unlimited)).status == 401:
            await asyncio.sleep(0.01)
        assert answer.status == 200
    assert int(answer.headers["x-ratelimit-remaining-tokens"]) > 500


async def test_limits_are_exact_over_two_workers(instance: GatewayInstance) -> None:
    key = instance.add_key(rpm=40)
    first = await instance.start(workers=2)
    pids = set()

    async def one() -> int:
        answer = await chat(first.port, key, max_tokens=1)
        return answer.status

    statuses = await asyncio.gather(*(one() for _ in range(100)))
    for _ in range(50):
        pids.add((await fetch(first.port, "GET", "/gateway/health")).json()["pid"])
    assert len(pids) == 2
    # One more may have flowed back while the hundred were on their way: 40 a minute are one each 1.5 s.
    assert 40 <= statuses.count(200) <= 45
    assert statuses.count(200) + statuses.count(429) == 100
    assert instance.engines[0].counters.requests == statuses.count(200)


async def test_a_project_limit_holds_over_all_of_its_keys(instance: GatewayInstance) -> None:
    instance.control.projects[PROJECT] = ProjectEntry(PROJECT, "default", 4, None, None, 0)
    keys = [instance.add_key() for _ in range(3)]
    worker = await instance.start()
    statuses = [(await chat(worker.port, keys[n % 3])).status for n in range(6)]
    assert statuses == [200] * 4 + [429] * 2


async def test_fifty_parallel_requests_cannot_spend_the_credit_of_ten(instance: GatewayInstance) -> None:
    # 2 micro-credits an output token only: each request costs, and is held at, exactly 10.
    instance.add_model(MODEL, price=PriceEntry("price_2", 0, 2_000_000))
    instance.control.credit[PROJECT] = 100
    first = await instance.start(workers=2)
    instance.engines[0].interval_s = 0.02
    answers = await asyncio.gather(*(chat(first.port, instance.key) for _ in range(50)))
    served = [answer for answer in answers if answer.status == 200]
    refused = [answer for answer in answers if answer.status == 429]
    assert len(served) + len(refused) == 50
    assert 1 <= len(served) <= 10
    for answer in refused:
        assert (answer.error()["type"], answer.error()["code"]) == ("insufficient_quota", "insufficient_quota")
        assert "credit" in answer.error()["message"]
    await instance.usage(len(served))
    assert instance.control.credit[PROJECT] == 100 - 10 * len(served) >= 0
    # What is left can still be spent, to the last.
    while (answer := await chat(first.port, instance.key)).status == 200 or instance.control.credit[PROJECT] >= 10:
        await asyncio.sleep(0.05)
    assert answer.error()["code"] == "insufficient_quota"
    assert instance.control.credit[PROJECT] == 0


async def test_new_credit_is_used_at_once(instance: GatewayInstance) -> None:
    instance.control.credit[PROJECT] = 0
    worker = await instance.start()
    assert (await chat(worker.port, instance.key)).status == 429
    instance.control.credit[PROJECT] = 10**9
    await instance.control.publish()
    while (await chat(worker.port, instance.key)).status != 200:
        await asyncio.sleep(0.01)


async def test_models_without_a_price_need_no_credit(instance: GatewayInstance) -> None:
    instance.add_model(MODEL, price=None)
    instance.control.credit[PROJECT] = 0
    worker = await instance.start()
    assert (await chat(worker.port, instance.key)).status == 200
    (record,) = await instance.usage(1)
    assert (record.price_id, record.lease_id) == (None, None)


async def test_the_clients_own_request_id_is_shown_but_never_the_identity_of_the_record(
    instance: GatewayInstance,
) -> None:
    worker = await instance.start()
    ids = set()
    for _ in range(2):
        answer = await fetch(worker.port, "POST", PATH, CHAT, key=instance.key, headers={"x-request-id": "mine-1"})
        assert answer.headers["x-request-id"] == "mine-1"
        ids.add(answer.headers["x-yunhe-request-id"])
    insane = await fetch(worker.port, "POST", PATH, CHAT, key=instance.key, headers={"x-request-id": "a b <script>"})
    assert insane.headers["x-request-id"] == insane.headers["x-yunhe-request-id"]
    await instance.usage(3)
    assert ids < set(instance.control.usage)
