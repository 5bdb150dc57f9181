"""Who dies, leaves or hangs when: what was delivered is billed once, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

from yunhe.ledger.usage import UsageRecord
from yunhe.testing.fake_engine import FakeEngine, Fault
from yunhe.testing.gateway_instance import MODEL, PROJECT, GatewayInstance, until
from yunhe.testing.http_client import Connection, fetch, request_bytes

CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}
STREAM = {**CHAT, "stream": True, "max_tokens": 50}
PATH = "/v1/chat/completions"


async def opened_stream(port: int, key: str, events: int, **changes: Any) -> Connection:
    """A stream of which ``events`` events with text have arrived."""
    connection = await Connection.open(port)
    await connection.send(request_bytes("POST", PATH, {**STREAM, **changes}, key=key))
    status, _ = await connection.head()
    assert status == 200
    seen = 0
    while seen < events:
        seen += (await connection.chunk()).count(b'"content":"t')
    return connection


def totals(instance: GatewayInstance) -> tuple[int, int]:
    records: list[UsageRecord] = list(instance.control.usage.values())
    return sum(r.prompt_tokens for r in records), sum(r.completion_tokens for r in records)


async def test_a_client_that_leaves_aborts_the_engine_and_pays_for_what_was_generated(
    instance: GatewayInstance,
) -> None:
    engine = await instance.start_engine(FakeEngine(model=MODEL, interval_s=0.01))
    instance.add_replica(engine)
    worker = await instance.start()
    connection = await opened_stream(worker.port, instance.key, 4)
    connection.abort()
    await asyncio.wait_for(engine.aborted.wait(), 10)
    (record,) = await instance.usage(1)
    assert (record.outcome, record.token_source) == ("client_disconnected", "engine_partial")
    assert 4 <= record.completion_tokens <= engine.counters.completion_tokens < 50
    assert record.prompt_tokens == engine.counters.prompt_tokens
    assert record.cached_tokens == 1


async def test_a_client_that_leaves_before_the_first_byte_pays_nothing(instance: GatewayInstance) -> None:
    worker = await instance.start()
    instance.engines[0].faults.append(Fault(delay_s=30))
    connection = await Connection.open(worker.port)
    await connection.send(request_bytes("POST", PATH, STREAM, key=instance.key))
    await until(lambda: instance.engines[0].counters.requests == 1, "the engine has the request")
    connection.abort()
    (record,) = await instance.usage(1)
    assert (record.outcome, record.completion_tokens, record.token_source) == ("client_disconnected", 0, "none")


async def test_without_cumulative_counts_the_delivered_events_are_billed(instance: GatewayInstance) -> None:
    engine = await instance.start_engine(FakeEngine(model=MODEL, probe=False))
    instance.add_replica(engine)
    worker = await instance.start()
    engine.faults.append(Fault(drop_after=7))
    answer = await fetch(worker.port, "POST", PATH, STREAM, key=instance.key)
    assert b"stream_interrupted" in answer.body
    (record,) = await instance.usage(1)
    assert (record.completion_tokens, record.token_source) == (7, "delivered")


async def test_a_killed_worker_is_settled_by_the_one_that_lives(instance: GatewayInstance) -> None:
    engine = await instance.start_engine()
    instance.add_replica(engine)
    first = await instance.start("adopt_interval_s=0.1", workers=2)
    second = instance.workers[1]
    engine.gate.clear()
    # Streams on both workers, held open by the engine.
    streams = []
    engine.gate.set()
    engine.faults.extend(Fault(stall_after=6) for _ in range(12))
    for _ in range(12):
        streams.append(await opened_stream(first.port, instance.key, 6))
    first.kill()
    await first.process.wait()
    killed = 0
    for stream in streams:
        try:
            async with asyncio.timeout(0.3):
                if await stream.at_end():
                    killed += 1
        except TimeoutError:
            pass
    assert 0 < killed < 12
    await instance.usage(killed)
    records = list(instance.control.usage.values())
    assert [record.outcome for record in records] == ["gateway_crash"] * killed
    assert {record.completion_tokens for record in records} == {6}
    assert {record.token_source for record in records} == {"engine_partial"}
    assert (await fetch(second.port, "POST", PATH, CHAT, key=instance.key)).status == 200
    for stream in streams:
        stream.abort()
    await instance.usage(13)
    prompt, completion = totals(instance)
    assert completion == engine.counters.completion_tokens
    assert prompt == engine.counters.prompt_tokens
    assert instance.control.duplicates == 0


async def test_a_killed_only_worker_is_settled_by_its_successor_exactly_once(instance: GatewayInstance) -> None:
    worker = await instance.start()
    engine = instance.engines[0]
    instance.control.usage_status = 503
    for _ in range(20):
        assert (await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)).status == 200
    engine.faults.append(Fault(stall_after=3))
    stream = await opened_stream(worker.port, instance.key, 3)
    worker.kill()
    await worker.process.wait()
    stream.abort()
    instance.control.usage_status = 0
    for _ in range(2):
        successor = await instance.start_worker("adopt_interval_s=0.1")
        await instance.usage(21)
        # Killed again in the middle of whatever it does: nothing may be billed twice.
        successor.kill()
        await successor.process.wait()
    assert len(instance.control.usage) == 21
    assert totals(instance) == (engine.counters.prompt_tokens, engine.counters.completion_tokens)
    last = await instance.start_worker("adopt_interval_s=0.1")
    root = instance.home.gateway / "spool"
    await until(lambda: len([p for p in root.iterdir() if p.is_dir()]) == 1, "dead workers' directories are gone")
    assert await last.stop() == 0
    assert len(instance.control.usage) == 21


async def test_control_away_requests_go_on_and_are_stored_once_afterwards(instance: GatewayInstance) -> None:
    worker = await instance.start()
    assert (await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)).status == 200
    port = instance.control.port
    await instance.control.stop()
    for _ in range(10):
        assert (await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)).status == 200
    away = await fetch(worker.port, "GET", "/api/v1/status")
    assert (away.status, away.error()["code"]) == (503, "control_unavailable")
    await instance.wait_health(worker, lambda health: health["control_connected"] is False)
    await instance.control.start(port)
    await instance.usage(11)
    await instance.wait_health(worker, lambda health: health["spool_pending"] == 0)
    assert totals(instance) == (
        instance.engines[0].counters.prompt_tokens,
        instance.engines[0].counters.completion_tokens,
    )


async def test_a_worker_starts_and_serves_while_control_is_away(instance: GatewayInstance) -> None:
    worker = await instance.start()
    kept = instance.home.gateway / "snapshot.json"
    await until(kept.exists, "the snapshot is kept")
    assert kept.stat().st_mode & 0o777 == 0o600
    assert await worker.stop() == 0
    await instance.control.stop()
    again = await instance.start_worker()
    answers = [await fetch(again.port, "POST", PATH, CHAT, key=instance.key) for _ in range(3)]
    assert [answer.status for answer in answers] == [200, 200, 200]


async def test_control_that_hangs_does_not_hold_requests_up_for_long(instance: GatewayInstance) -> None:
    worker = await instance.start("lease_wait_s=0.3")
    instance.control.answering.clear()
    answer = await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)
    assert answer.status == 200
    instance.control.answering.set()
    (record,) = await instance.usage(1)
    assert record.lease_id is None


async def test_the_offline_allowance_is_bounded(instance: GatewayInstance) -> None:
    # A quarter of 400 is 100: enough for few requests of 5 answer tokens (10) and some 90 prompt bytes.
    instance.control.credit[PROJECT] = 800
    worker = await instance.start()
    await until(lambda: (instance.home.gateway / "snapshot.json").exists(), "the snapshot is kept")
    await instance.control.stop()
    statuses = [(await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)).status for _ in range(40)]
    assert statuses[0] == 200
    assert statuses[-1] == 429
    spent = instance.engines[0].counters.prompt_tokens + 2 * instance.engines[0].counters.completion_tokens
    assert spent <= 200


async def test_a_silent_engine_times_out(instance: GatewayInstance) -> None:
    worker = await instance.start("first_byte_timeout_s=0.3", "answer_timeout_s=0.3", "stream_idle_timeout_s=0.3")
    engine = instance.engines[0]
    for body in (CHAT, STREAM):
        engine.faults.append(Fault(delay_s=30))
        answer = await fetch(worker.port, "POST", PATH, body, key=instance.key)
        assert (answer.status, answer.error()["code"]) == (504, "upstream_timeout")
    engine.faults.append(Fault(stall_after=2))
    answer = await fetch(worker.port, "POST", PATH, STREAM, key=instance.key)
    assert answer.status == 200
    assert b"stream_interrupted" in answer.events()[-1]
    await instance.usage(3)
    outcomes = [(r.outcome, r.completion_tokens) for r in instance.control.usage.values()]
    assert outcomes == [("timeout", 0), ("timeout", 0), ("timeout", 2)]


async def test_a_reader_that_stalls_is_cut_off_and_the_engine_freed(instance: GatewayInstance) -> None:
    engine = await instance.start_engine(FakeEngine(model=MODEL))
    instance.add_replica(engine)
    worker = await instance.start("write_stall_timeout_s=0.5", "write_buffer_bytes=16384")
    connection = await Connection.open(worker.port)
    connection.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await connection.send(request_bytes("POST", PATH, {**STREAM, "max_tokens": 1_000_000}, key=instance.key))
    await asyncio.wait_for(engine.aborted.wait(), 30)
    (record,) = await instance.usage(1)
    assert record.outcome == "client_disconnected"
    # Back-pressure: the engine could not run a million tokens ahead of a reader that takes none.
    assert engine.counters.completion_tokens < 500_000
    connection.abort()


async def test_a_dead_replica_is_avoided_and_a_living_one_used(instance: GatewayInstance) -> None:
    engine = await instance.start_engine()
    dead = await instance.start_engine()
    instance.add_replica(dead, tokens_per_s=1e9)
    instance.add_replica(engine)
    await dead.stop()
    worker = await instance.start()
    for _ in range(10):
        answer = await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)
        assert answer.status == 200
    records = await instance.usage(10)
    assert {record.replica_id for record in records} == {"rep_1"}
    assert records[0].attempts == 2
    assert sum(record.attempts for record in records) <= 12


async def test_when_the_only_replica_is_dead_the_answer_is_503_with_retry_after(instance: GatewayInstance) -> None:
    engine = await instance.start_engine()
    instance.add_replica(engine)
    await engine.stop()
    worker = await instance.start()
    for _ in range(3):
        answer = await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)
        assert answer.status == 503
        assert "retry-after" in answer.headers
        assert answer.error()["type"] == "server_error"


async def test_a_draining_replica_gets_no_new_requests_but_finishes_its_own(instance: GatewayInstance) -> None:
    leaving, staying = await instance.start_engine(), await instance.start_engine()
    instance.add_replica(leaving, name="leaving", tokens_per_s=1e9)
    worker = await instance.start()
    leaving.interval_s = 0.02
    stream = await opened_stream(worker.port, instance.key, 1)
    instance.add_replica(leaving, name="leaving", state="draining")
    instance.add_replica(staying, name="staying")
    await instance.control.publish()
    await instance.wait_health(worker, lambda health: health["revision"] == instance.control.revision)
    assert (
        (await fetch(worker.port, "POST", PATH, CHAT, key=instance.key))
        .headers["x-yunhe-served-by"]
        .endswith("staying")
    )
    rest = b""
    while piece := await stream.chunk():
        rest += piece
    assert rest.endswith(b"data: [DONE]\n\n")
    await stream.close()


async def test_sigterm_finishes_what_runs_refuses_the_rest_and_loses_nothing(instance: GatewayInstance) -> None:
    engine = await instance.start_engine(FakeEngine(model=MODEL, interval_s=0.02))
    instance.add_replica(engine)
    worker = await instance.start()
    stream = await opened_stream(worker.port, instance.key, 1)
    idle = await Connection.open(worker.port)
    await idle.send(request_bytes("GET", "/gateway/health"))
    await idle.answer()
    stopped = asyncio.create_task(worker.stop())
    assert await idle.at_end()
    rest = b""
    while piece := await stream.chunk():
        rest += piece
    assert rest.endswith(b"data: [DONE]\n\n")
    assert await stopped == 0
    assert [record.outcome for record in await instance.usage(1)] == ["ok"]
    assert not list((instance.home.gateway / "spool").glob("gateway-*"))
    assert all(not lease.live for lease in instance.control.leases.values())
    for connection in (stream, idle):
        await connection.close()


async def test_a_drain_has_an_end_and_tells_the_stream_so(instance: GatewayInstance) -> None:
    worker = await instance.start("drain_s=0.3")
    instance.engines[0].faults.append(Fault(stall_after=2))
    stream = await opened_stream(worker.port, instance.key, 2)
    stopped = asyncio.create_task(worker.stop())
    assert b"stream_interrupted" in await stream.chunk()
    assert await stopped == 0
    (record,) = await instance.usage(1)
    assert (record.outcome, record.completion_tokens) == ("upstream_error", 2)
    await stream.close()
