"""Requests through a real worker process."""

from typing import Any

import msgspec
import pytest

from yunhe.testing.fake_engine import FakeEngine, Fault
from yunhe.testing.gateway_instance import MODEL, GatewayInstance
from yunhe.testing.http_client import fetch

CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 5}


async def test_a_chat_answer_has_openais_shape_and_is_billed(instance: GatewayInstance) -> None:
    worker = await instance.start()
    answer = await fetch(worker.port, "POST", "/v1/chat/completions", CHAT, key=instance.key)
    assert answer.status == 200
    document = answer.json()
    assert document["model"] == MODEL
    assert "counts" not in document
    choice = document["choices"][0]
    assert choice["logprobs"] is None
    assert choice["message"] == {"role": "assistant", "content": "t0 t1 t2 t3 t4", "refusal": None}
    assert answer.headers["x-yunhe-served-by"] == "local; cpu; fake; rep_0"
    (record,) = await instance.usage(1)
    assert record.request_id == answer.headers["x-request-id"] == answer.headers["x-yunhe-request-id"]
    assert (record.completion_tokens, record.token_source, record.outcome) == (5, "engine", "ok")
    assert record.prompt_tokens == document["usage"]["prompt_tokens"]
    assert record.price_id == "price_1"
    assert record.lease_id in instance.control.leases


@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"])
@pytest.mark.parametrize("probe", [True, False])
async def test_a_stream_passes_without_the_probe_and_without_unasked_usage(
    instance: GatewayInstance, probe: bool, line_end: bytes
) -> None:
    engine = await instance.start_engine(FakeEngine(model=MODEL, probe=probe, line_end=line_end))
    instance.add_replica(engine)
    worker = await instance.start()
    answer = await fetch(worker.port, "POST", "/v1/chat/completions", {**CHAT, "stream": True}, key=instance.key)
    assert answer.status == 200
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = answer.events()
    assert events[-1] == b"[DONE]"
    chunks = [msgspec.json.decode(event) for event in events[:-1]]
    assert "".join(c["choices"][0]["delta"].get("content") or "" for c in chunks) == "t1 t2 t3 t4 t5 "
    assert all("counts" not in c and "usage" not in c for c in chunks)
    (record,) = await instance.usage(1)
    assert (record.completion_tokens, record.token_source) == (5, "engine")
    assert record.prompt_tokens == engine.counters.prompt_tokens
    assert engine.seen[-1]["stream_options"] == {"include_usage": True}


async def test_usage_is_the_last_chunk_for_who_asks(instance: GatewayInstance) -> None:
    worker = await instance.start()
    body = {**CHAT, "stream": True, "stream_options": {"include_usage": True}}
    answer = await fetch(worker.port, "POST", "/v1/chat/completions", body, key=instance.key)
    last = msgspec.json.decode(answer.events()[-2])
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("stream", [False, True])
async def test_the_model_is_called_by_our_name_whatever_the_replica_calls_it(
    instance: GatewayInstance, stream: bool
) -> None:
    instance.add_model("ours/model")
    engine = await instance.start_engine(FakeEngine(model="theirs"))
    instance.add_replica(engine, model="ours/model", upstream="theirs")
    worker = await instance.start()
    body = {**CHAT, "model": "ours/model", "stream": stream}
    answer = await fetch(worker.port, "POST", "/v1/chat/completions", body, key=instance.key)
    assert engine.seen[-1]["model"] == "theirs"
    assert b"theirs" not in answer.body
    assert b'"model":"ours/model"' in answer.body


async def test_text_completions_and_embeddings(instance: GatewayInstance) -> None:
    instance.add_model("embedder", capabilities=("embeddings",))
    instance.add_replica(await instance.start_engine(), model="embedder")
    instance.add_replica(instance.engines[0])
    worker = await instance.start()
    body = {"model": MODEL, "prompt": "Once", "max_tokens": 3}
    answer = await fetch(worker.port, "POST", "/v1/completions", body, key=instance.key)
    assert answer.json()["choices"][0]["text"] == "t0 t1 t2"
    streamed = await fetch(worker.port, "POST", "/v1/completions", {**body, "stream": True}, key=instance.key)
    assert streamed.events()[-1] == b"[DONE]"
    vectors = await fetch(worker.port, "POST", "/v1/embeddings", {"model": "embedder", "input": "x"}, key=instance.key)
    assert vectors.json()["data"][0] == {"embedding": [0.25, -0.5], "index": 0, "object": "embedding"}
    wrong = await fetch(worker.port, "POST", "/v1/embeddings", {"model": MODEL, "input": "x"}, key=instance.key)
    assert (wrong.status, wrong.error()["code"]) == (400, "model_lacks_embeddings")
    wrong = await fetch(worker.port, "POST", "/v1/chat/completions", {**CHAT, "model": "embedder"}, key=instance.key)
    assert (wrong.status, wrong.error()["code"]) == (400, "model_lacks_chat")


async def test_models_are_listed_ready_ones_first_and_found_by_id(instance: GatewayInstance) -> None:
    instance.add_model("a/sleeping")
    worker = await instance.start()
    listed = (await fetch(worker.port, "GET", "/v1/models", key=instance.key)).json()
    assert [m["id"] for m in listed["data"]] == [MODEL, "a/sleeping"]
    for path in ("/v1/models/a/sleeping", "/v1/models/a%2Fsleeping"):
        one = await fetch(worker.port, "GET", path, key=instance.key)
        assert one.json() == {"id": "a/sleeping", "object": "model", "created": 1_790_000_000, "owned_by": "yunhe"}
    missing = await fetch(worker.port, "GET", "/v1/models/nothing", key=instance.key)
    assert (missing.status, missing.error()["code"]) == (404, "model_not_found")


async def test_another_replica_takes_over_before_the_first_byte(instance: GatewayInstance) -> None:
    broken, healthy = await instance.start_engine(), await instance.start_engine()
    instance.add_replica(broken, tokens_per_s=1e6)
    instance.add_replica(healthy)
    worker = await instance.start()
    for fault in (Fault(drop=True), Fault(status=503), Fault(status=500), Fault(drop_after=0), Fault(raw=b"nonsense")):
        for stream in (False, True):
            broken.faults.clear()
            broken.faults.append(fault)
            answer = await fetch(
                worker.port, "POST", "/v1/chat/completions", {**CHAT, "stream": stream}, key=instance.key
            )
            assert answer.status == 200 or (stream and fault.drop_after == 0)


async def test_a_stream_that_breaks_ends_with_an_error_event_and_is_billed_exactly(instance: GatewayInstance) -> None:
    worker = await instance.start()
    engine = instance.engines[0]
    for index, fault in enumerate((Fault(drop_after=3), Fault(error_after=3))):
        engine.faults.append(fault)
        body = {**CHAT, "stream": True}
        answer = await fetch(worker.port, "POST", "/v1/chat/completions", body, key=instance.key)
        last = msgspec.json.decode(answer.events()[-1])
        assert last["error"]["code"] == "stream_interrupted"
        records = await instance.usage(index + 1)
        record = records[index]
        assert (record.outcome, record.completion_tokens, record.token_source) == (
            "upstream_error",
            3,
            "engine_partial",
        )
    await instance.usage(2)
    served = engine.counters
    records = list(instance.control.usage.values())
    assert sum(r.completion_tokens for r in records) == served.completion_tokens
    assert sum(r.prompt_tokens for r in records) == served.prompt_tokens


async def test_the_replicas_refusal_is_told_in_openais_shape(instance: GatewayInstance) -> None:
    worker = await instance.start()
    error = {"message": "the request exceeds the available context size", "type": "exceed_context_size_error"}
    instance.engines[0].faults.append(Fault(status=400, error=error))
    answer = await fetch(worker.port, "POST", "/v1/chat/completions", CHAT, key=instance.key)
    assert answer.status == 400
    assert answer.error() == {
        "message": "the request exceeds the available context size",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
    (record,) = await instance.usage(1)
    assert (record.outcome, record.completion_tokens, record.prompt_tokens) == ("refused", 0, 0)
