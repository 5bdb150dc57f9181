"""A canary behind a real worker process: its share of the requests, and what control is told of each replica."""

import asyncio
from collections import Counter
from dataclasses import replace
from typing import Any

from yunhe.serve.snapshot import ReplicaStats
from yunhe.testing.fake_engine import Fault
from yunhe.testing.gateway_instance import MODEL, GatewayInstance, WorkerProcess, until
from yunhe.testing.http_client import Answer, fetch

NOTHING = ReplicaStats()
STREAM: dict[str, Any] = {
    "model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 3, "stream": True,
}  # fmt: skip


async def send(instance: GatewayInstance, worker: WorkerProcess, count: int) -> list[Answer]:
    """So many streams, eight at a time."""
    room = asyncio.Semaphore(8)

    async def one() -> Answer:
        async with room:
            return await fetch(worker.port, "POST", "/v1/chat/completions", STREAM, key=instance.key)

    return await asyncio.gather(*(one() for _ in range(count)))


def served(answers: list[Answer]) -> Counter[str]:
    assert {answer.status for answer in answers} == {200}
    return Counter(answer.headers["x-yunhe-served-by"].rpartition(" ")[2] for answer in answers)


async def test_the_canary_gets_its_share_and_control_learns_how_it_did(instance: GatewayInstance) -> None:
    old, new = await instance.start_engine(), await instance.start_engine()
    instance.add_replica(old, name="old")
    instance.add_replica(new, name="new", share=0.25)
    worker = await instance.start()
    taken = served(await send(instance, worker, 600))
    assert 90 <= taken["new"] <= 210
    told = instance.control.stats
    await until(lambda: sum(one.requests for one in told) >= 600, "all requests are told")
    for name in ("old", "new"):
        parts = [one.by_replica[name] for one in told if name in one.by_replica]
        assert sum(part.requests for part in parts) == taken[name]
        assert sum(part.streams for part in parts) == taken[name]
        assert not any(part.errors for part in parts)
        assert all(part.ttft_ms_p95 and part.tpot_ms_p50 is not None for part in parts)


async def test_a_canary_that_fails_costs_no_request_and_is_told(instance: GatewayInstance) -> None:
    old, new = await instance.start_engine(), await instance.start_engine()
    new.faults += [Fault(status=500)] * 40
    instance.add_replica(old, name="old")
    instance.add_replica(new, name="new", share=0.5)
    worker = await instance.start()
    assert set(served(await send(instance, worker, 40))) == {"old"}
    told = instance.control.stats
    await until(lambda: any("new" in one.by_replica for one in told), "the failed attempts are told")
    parts = [one.by_replica["new"] for one in told if "new" in one.by_replica]
    assert sum(part.errors for part in parts) == sum(part.requests for part in parts) > 0


async def test_a_draining_canary_gets_no_request_more(instance: GatewayInstance) -> None:
    old, new = await instance.start_engine(), await instance.start_engine()
    instance.add_replica(old, name="old")
    instance.add_replica(new, name="new", share=1.0)
    worker = await instance.start()
    assert set(served(await send(instance, worker, 10))) == {"new"}
    instance.control.replicas["new"] = replace(instance.control.replicas["new"], state="draining")
    await instance.control.publish()
    revision = instance.control.revision
    await instance.wait_health(worker, lambda health: health["revision"] == revision)
    assert set(served(await send(instance, worker, 20))) == {"old"}


async def test_control_learns_which_replica_still_has_requests(instance: GatewayInstance) -> None:
    engine = await instance.start_engine()
    instance.add_replica(engine, name="old")
    engine.gate.clear()
    worker = await instance.start()
    running = asyncio.create_task(send(instance, worker, 3))
    told = instance.control.stats
    await until(lambda: any(one.by_replica.get("old", NOTHING).in_flight == 3 for one in told), "three are in flight")
    engine.gate.set()
    await running
    await until(lambda: told[-1].by_replica == {}, "none is in flight")
