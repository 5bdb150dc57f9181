"""Every other path goes to control, as if it answered itself."""

from __future__ import annotations

import asyncio

from yunhe.testing.gateway_instance import GatewayInstance
from yunhe.testing.http_client import Connection, fetch, request_bytes


async def test_requests_and_answers_pass_with_hop_by_hop_headers_cut(instance: GatewayInstance) -> None:
    worker = await instance.start()
    headers = {
        "host": "yunhe.example",
        "cookie": "a=b",
        "connection": "keep-alive, x-private",
        "x-private": "secret",
        "te": "trailers",
        "x-forwarded-for": "10.1.2.3",
        "upgrade": "websocket",
    }
    answer = await fetch(worker.port, "GET", "/api/v1/models?limit=5&x=%20", headers=headers)
    seen = answer.json()
    assert (seen["method"], seen["path"], seen["query"]) == ("GET", "/api/v1/models", "limit=5&x=%20")
    got = seen["headers"]
    assert got["host"] == got["x-forwarded-host"] == "yunhe.example"
    assert got["cookie"] == "a=b"
    assert got["x-forwarded-for"] == "10.1.2.3, 127.0.0.1"
    assert got["x-forwarded-proto"] == "http"
    assert not {"x-private", "te", "upgrade", "connection"} & set(got)


async def test_bodies_of_any_size_stream_through(instance: GatewayInstance) -> None:
    worker = await instance.start("body_bytes_max=1000")
    big = b"z" * 3_000_000
    answer = await fetch(worker.port, "POST", "/api/v1/models", big)
    assert answer.json()["size"] == len(big)
    connection = await Connection.open(worker.port)
    await connection.send(b"PUT /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(50):
        await connection.send(b"2710\r\n" + b"y" * 10_000 + b"\r\n")
    await connection.send(b"0\r\n\r\n" + request_bytes("GET", "/next"))
    assert (await connection.answer()).json()["size"] == 500_000
    assert (await connection.answer()).json()["path"] == "/next"
    await connection.close()


async def test_streams_cookies_and_heads_pass(instance: GatewayInstance) -> None:
    worker = await instance.start()
    stream = await fetch(worker.port, "GET", "/stream")
    assert stream.events() == [b"0", b"1", b"2"]
    cookies = await fetch(worker.port, "GET", "/cookies")
    assert (cookies.status, cookies.headers["set-cookie"]) == (204, "a=1\nb=2")
    head = await fetch(worker.port, "HEAD", "/console/index.html")
    assert (head.status, head.body) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    old = await Connection.open(worker.port)
    await old.send(b"GET /stream HTTP/1.0\r\n\r\n")
    answer = await old.answer()
    assert "transfer-encoding" not in answer.headers
    assert answer.events() == [b"0", b"1", b"2"]
    await old.close()


async def test_a_restarted_control_is_found_again(instance: GatewayInstance) -> None:
    worker = await instance.start()
    connection = await Connection.open(worker.port)
    await connection.send(request_bytes("GET", "/one"))
    assert (await connection.answer()).status == 200
    port = instance.control.port
    await instance.control.stop()
    await connection.send(request_bytes("GET", "/two"))
    answer = await connection.answer()
    assert (answer.status, answer.error()["code"]) == (503, "control_unavailable")
    assert answer.error()["next_step"]
    await instance.control.start(port)
    await connection.send(request_bytes("GET", "/three"))
    assert (await connection.answer()).status == 200
    await connection.close()


async def test_a_client_that_leaves_during_an_upload_frees_control(instance: GatewayInstance) -> None:
    worker = await instance.start()
    connection = await Connection.open(worker.port)
    await connection.send(b"POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
    connection.abort()
    answers = await asyncio.gather(*(fetch(worker.port, "GET", "/page") for _ in range(20)))
    assert {answer.status for answer in answers} == {200}


async def test_health_and_metrics_answer_without_a_key(instance: GatewayInstance) -> None:
    worker = await instance.start()
    health = (await fetch(worker.port, "GET", "/gateway/health")).json()
    assert health["worker"] == 0
    assert health["models"] == {"fake-model": 1}
    metrics = await fetch(worker.port, "GET", "/gateway/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert b"yunhe_gateway_connections" in metrics.body
