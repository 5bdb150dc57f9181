"""A disk that cannot be written: new requests are refused, running ones are billed, and all is well again by itself."""

from __future__ import annotations

import asyncio
import resource
import sys
from typing import Any

from yunhe.testing.gateway_instance import MODEL, GatewayInstance, WorkerProcess
from yunhe.testing.http_client import Connection, fetch, request_bytes

CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
PATH = "/v1/chat/completions"


def limit_files(worker: WorkerProcess, size: int) -> None:
    """From now on no file grows beyond ``size`` bytes, as on a full disk."""
    resource.prlimit(worker.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


async def test_a_full_disk_refuses_new_requests_and_bills_the_running_ones(instance: GatewayInstance) -> None:
    worker = await instance.start("segment_bytes=8192")
    engine = instance.engines[0]
    assert (await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)).status == 200
    engine.gate.clear()
    running = []
    for stream in (True, True, False):
        connection = await Connection.open(worker.port)
        await connection.send(request_bytes("POST", PATH, {**CHAT, "stream": stream}, key=instance.key))
        if stream:
            await connection.head()
        running.append(connection)
    await instance.wait_health(worker, lambda health: health["in_flight"] >= 2)
    limit_files(worker, 100)
    engine.gate.set()
    for connection in running[:2]:
        rest = b""
        while piece := await connection.chunk():
            rest += piece
        assert rest.endswith(b"data: [DONE]\n\n")
    assert (await running[2].answer()).status == 200
    served = 4
    # What is laid out already is used up first.
    while (refused := await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)).status == 200:
        served += 1
        assert served < 50
    assert (refused.status, refused.error()["code"]) == (503, "spool_unavailable")
    assert "retry-after" in refused.headers
    assert engine.counters.requests == served
    limit_files(worker, resource.RLIM_INFINITY)
    while (await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)).status != 200:
        await asyncio.sleep(0.02)
    records = await instance.usage(served + 1)
    assert sum(record.completion_tokens for record in records) == engine.counters.completion_tokens == 5 * (served + 1)
    assert sum(record.prompt_tokens for record in records) == engine.counters.prompt_tokens
    for connection in running:
        await connection.close()


async def test_a_disk_that_is_almost_full_refuses_too(instance: GatewayInstance) -> None:
    worker = await instance.start("disk_free_bytes_min=1000000000000000")
    refused = await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)
    assert (refused.status, refused.error()["code"]) == (503, "spool_unavailable")
    assert (await fetch(worker.port, "GET", "/v1/models", key=instance.key)).status == 200
    assert instance.engines[0].counters.requests == 0


async def test_a_worker_that_starts_on_a_full_disk_waits_for_room(instance: GatewayInstance) -> None:
    # 64 KiB segments do not fit below the limit, nor does the journal.

    code = (
        "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50000, resource.RLIM_INFINITY));"
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    await instance.control.start()
    instance.add_replica(await instance.start_engine())
    (instance.home.gateway / "limits").write_bytes(b"\0" * 65536 * 24)
    worker = await instance.start_worker("segment_bytes=65536", prefix=(sys.executable, "-c", code))
    refused = await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)
    assert (refused.status, refused.error()["code"]) == (503, "spool_unavailable")
    limit_files(worker, resource.RLIM_INFINITY)
    while (await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)).status != 200:
        await asyncio.sleep(0.02)
    await instance.usage(1)


async def test_no_more_requests_are_admitted_than_records_fit(instance: GatewayInstance) -> None:
    worker = await instance.start("segment_bytes=8192")
    engine = instance.engines[0]
    streams = []
    statuses = []
    # Two segments of 8 KiB hold at most ten records of 1.5 KiB; one may not be laid out yet.
    engine.gate.clear()
    for _ in range(14):
        connection = await Connection.open(worker.port)
        streams.append(connection)
        await connection.send(request_bytes("POST", PATH, {**CHAT, "stream": True}, key=instance.key))
        statuses.append((await connection.head())[0])
    assert 4 <= statuses.count(200) <= 10
    assert set(statuses) == {200, 503}
    engine.gate.set()
    records = await instance.usage(statuses.count(200))
    assert {record.outcome for record in records} == {"ok"}
    # Segments were sealed, shipped and deleted on the way: room for more.
    for _ in range(30):
        assert (await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)).status in (200, 503)
    for connection in streams:
        await connection.close()
