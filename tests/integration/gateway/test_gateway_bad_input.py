"""Every kind of bad input gets a clear, typed 4xx in OpenAI's shape, and the worker goes on."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from yunhe.testing.gateway_instance import MODEL, GatewayInstance
from yunhe.testing.http_client import Connection, fetch, request_bytes

CHAT: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": "hi"}], "max_tokens": 2}
PATH = "/v1/chat/completions"


def post(extra: bytes, body: bytes = b"") -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n" + extra + b"\r\n" + body


MALFORMED = {
    "both lengths": post(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "both lengths, other order": post(b"Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", b"0\r\n\r\n"),
    "two lengths": post(b"Content-Length: 3\r\nContent-Length: 3\r\n", b"abc"),
    "two different lengths": post(b"Content-Length: 3\r\nContent-Length: 4\r\n", b"abcd"),
    "list of lengths": post(b"Content-Length: 3, 3\r\n", b"abc"),
    "signed length": post(b"Content-Length: +3\r\n", b"abc"),
    "negative length": post(b"Content-Length: -3\r\n", b"abc"),
    "hexadecimal length": post(b"Content-Length: 0x3\r\n", b"abc"),
    "giant length": post(b"Content-Length: 99999999999999999999999\r\n"),
    "unknown coding": post(b"Transfer-Encoding: xchunked\r\n"),
    "two codings": post(b"Transfer-Encoding: gzip, chunked\r\n", b"0\r\n\r\n"),
    "chunked not last": post(b"Transfer-Encoding: chunked, identity\r\n", b"0\r\n\r\n"),
    "two coding headers": post(b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", b"0\r\n\r\n"),
    "tab in coding": post(b"Transfer-Encoding:\tchunked\x0b\r\n", b"0\r\n\r\n"),
    "chunked in 1.0": b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "folded header": post(b"X-A: b\r\n c\r\n"),
    "space before colon": post(b"Content-Length : 3\r\n", b"abc"),
    "bare line feeds": b"GET /v1/models HTTP/1.1\nHost: x\n\n",
    "one bare line feed": b"GET /v1/models HTTP/1.1\r\nHost: x\nX: y\r\n\r\n",
    "bare carriage return": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: a\rb\r\n\r\n",
    "zero byte": b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX: a\0b\r\n\r\n",
    "no colon": b"GET /v1/models HTTP/1.1\r\nHost: x\r\ngarbage\r\n\r\n",
    "empty name": b"GET /v1/models HTTP/1.1\r\nHost: x\r\n: v\r\n\r\n",
    "no host": b"GET /v1/models HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "two authorizations": b"GET /v1/models HTTP/1.1\r\nHost: a\r\nAuthorization: a\r\nAuthorization: b\r\n\r\n",
    "absolute target": b"GET http://other/v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
    "dot segments": b"GET /console/../internal/v1/snapshot HTTP/1.1\r\nHost: x\r\n\r\n",
    "encoded dot segments": b"GET /console/%2e%2e/internal/v1/snapshot HTTP/1.1\r\nHost: x\r\n\r\n",
    "backslash dot segments": b"GET /a\\..\\internal/v1/snapshot HTTP/1.1\r\nHost: x\r\n\r\n",
    "encoded zero": b"GET /a%00b HTTP/1.1\r\nHost: x\r\n\r\n",
    "invalid UTF-8 in the path": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "unknown method": b"FOO / HTTP/1.1\r\nHost: x\r\n\r\n",
    "lower-case method": b"get / HTTP/1.1\r\nHost: x\r\n\r\n",
    "connect": b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n",
    "HTTP/0.9": b"GET /\r\n\r\n",
    "HTTP/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": b"GET / HTTP/1.2\r\nHost: x\r\n\r\n",
    "TLS hello": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 40,
    "not HTTP": b"hello there\r\n\r\n",
    "other expectation": post(b"Expect: the-unexpected\r\nContent-Length: 1\r\n", b"x"),
}


async def test_malformed_and_smuggled_requests_are_refused_and_the_connection_closed(instance: GatewayInstance) -> None:
    worker = await instance.start()
    for name, wire in MALFORMED.items():
        connection = await Connection.open(worker.port)
        # What a smuggler would hide behind the first request must never be answered.
        await connection.send(wire + b"GET /gateway/health HTTP/1.1\r\nHost: smuggled\r\n\r\n")
        answer = await connection.answer()
        assert answer.status in (400, 405, 417, 505), name
        assert answer.headers["connection"] == "close", name
        assert answer.error()["type"] == "invalid_request_error", name
        assert await connection.at_end(), name
        await connection.close()
    assert (await fetch(worker.port, "POST", PATH, CHAT, key=instance.key)).status == 200


async def test_chunks_that_could_be_read_in_two_ways_are_refused(instance: GatewayInstance) -> None:
    worker = await instance.start()
    head = b"Transfer-Encoding: chunked\r\nAuthorization: Bearer %b\r\n" % instance.key.encode()
    for body in (b"3\nabc\r\n0\r\n\r\n", b"zz\r\n", b"3\r\nabcXX0\r\n\r\n", b"-1\r\n\r\n", b"1" * 400):
        connection = await Connection.open(worker.port)
        await connection.send(post(head, body))
        answer = await connection.answer()
        assert (answer.status, answer.error()["code"]) == (400, "malformed_http"), body
        assert await connection.at_end()
        await connection.close()


async def test_chunked_bodies_are_read(instance: GatewayInstance) -> None:
    worker = await instance.start()
    raw = msgspec.json.encode(CHAT)
    body = b"5;x=y\r\n%b\r\n%x\r\n%b\r\n0\r\nX-T: 1\r\n\r\n" % (raw[:5], len(raw) - 5, raw[5:])
    connection = await Connection.open(worker.port)
    head = b"Transfer-Encoding: chunked\r\nAuthorization: Bearer %b\r\n" % instance.key.encode()
    for cut in range(0, len(body), 7):
        await connection.send((post(head) if cut == 0 else b"") + body[cut : cut + 7])
    assert (await connection.answer()).status == 200
    await connection.close()


async def test_pipelined_requests_are_answered_in_order(instance: GatewayInstance) -> None:
    worker = await instance.start()
    connection = await Connection.open(worker.port)
    chat = request_bytes("POST", PATH, CHAT, key=instance.key)
    stream = request_bytes("POST", PATH, {**CHAT, "stream": True}, key=instance.key)
    models = request_bytes("GET", "/v1/models", key=instance.key)
    health = request_bytes("GET", "/gateway/health")
    relayed = request_bytes("GET", "/some/page")
    await connection.send(chat + health + stream + models + relayed + health)
    assert (await connection.answer()).json()["object"] == "chat.completion"
    assert "spool_pending" in (await connection.answer()).json()
    assert (await connection.answer()).events()[-1] == b"[DONE]"
    assert (await connection.answer()).json()["object"] == "list"
    assert (await connection.answer()).json()["path"] == "/some/page"
    assert "revision" in (await connection.answer()).json()
    await connection.close()


async def test_a_thousand_pipelined_requests_do_no_harm(instance: GatewayInstance) -> None:
    worker = await instance.start()
    connection = await Connection.open(worker.port)
    connection.writer.write(request_bytes("GET", "/gateway/health") * 1000)
    for _ in range(1000):
        assert (await connection.answer()).status == 200
    await connection.close()


async def test_too_many_or_too_large_headers_are_431(instance: GatewayInstance) -> None:
    worker = await instance.start()
    many = b"".join(b"X-%d: y\r\n" % n for n in range(10_000))
    for wire in (
        b"GET / HTTP/1.1\r\nHost: x\r\n" + many + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    ):
        connection = await Connection.open(worker.port)
        await connection.send(wire)
        answer = await connection.answer()
        assert answer.status in (414, 431)
        assert answer.error()["code"] in ("headers_too_large", "uri_too_long")
        await connection.close()


async def test_too_large_bodies_are_413_before_and_while_they_are_read(instance: GatewayInstance) -> None:
    worker = await instance.start("body_bytes_max=50000")
    authorization = b"Authorization: Bearer %b\r\n" % instance.key.encode()
    declared = await Connection.open(worker.port)
    await declared.send(post(authorization + b"Content-Length: 50001\r\nExpect: 100-continue\r\n"))
    answer = await declared.answer()
    assert (answer.status, answer.error()["code"]) == (413, "request_too_large")
    await declared.close()
    chunked = await Connection.open(worker.port)
    await chunked.send(post(authorization + b"Transfer-Encoding: chunked\r\n"))
    for _ in range(20):
        chunked.writer.write(b"2710\r\n" + b"x" * 10_000 + b"\r\n")
    answer = await chunked.answer()
    assert (answer.status, answer.error()["code"]) == (413, "request_too_large")
    await chunked.close()
    fits = {**CHAT, "messages": [{"role": "user", "content": "x" * 49_000}]}
    assert (await fetch(worker.port, "POST", PATH, fits, key=instance.key)).status == 200


async def test_expect_100_continue_is_answered_before_the_body(instance: GatewayInstance) -> None:
    worker = await instance.start()
    raw = msgspec.json.encode(CHAT)
    connection = await Connection.open(worker.port)
    authorization = b"Authorization: Bearer %b\r\nContent-Length: %d\r\nExpect: 100-continue\r\n"
    await connection.send(post(authorization % (instance.key.encode(), len(raw))))
    assert (await connection.head())[0] == 100
    await connection.send(raw)
    assert (await connection.answer()).status == 200
    await connection.close()


async def test_slow_senders_are_cut_off_with_408(instance: GatewayInstance) -> None:
    worker = await instance.start("head_timeout_s=0.3", "body_idle_timeout_s=0.3", "keepalive_idle_s=0.3")
    for wire in (
        b"GET / HTTP/1.1\r\nHost:",
        post(b"Content-Length: 10\r\nAuthorization: Bearer %b\r\n" % instance.key.encode(), b"{"),
    ):
        connection = await Connection.open(worker.port)
        await connection.send(wire)
        answer = await connection.answer()
        assert (answer.status, answer.error()["code"]) == (408, "request_timeout")
        assert await connection.at_end()
        await connection.close()
    idle = await Connection.open(worker.port)
    await idle.send(request_bytes("GET", "/gateway/health"))
    assert (await idle.answer()).status == 200
    assert await idle.at_end()
    await idle.close()


async def test_a_dripping_sender_cannot_stretch_the_time_for_its_head(instance: GatewayInstance) -> None:
    worker = await instance.start("head_timeout_s=0.5")
    connection = await Connection.open(worker.port)
    sent = b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: " + b"a" * 10_000
    task = asyncio.create_task(connection.answer())
    for byte in sent:
        if task.done():
            break
        connection.writer.write(bytes([byte]))
        await asyncio.sleep(0.02)
    assert (await task).status == 408
    await connection.close()


BODIES: list[tuple[bytes | dict[str, Any], str | None, str | None]] = [
    (b"", None, "invalid_json"),
    (b"{", None, "invalid_json"),
    (b"[]", None, "invalid_type"),
    (b"null", None, "invalid_type"),
    (b'{"model": NaN}', None, "invalid_json"),
    (b"[" * 100_000, None, "invalid_type"),
    (b'{"a":' * 100_000, None, "invalid_json"),
    (b'{"model":"\xff"}', None, "invalid_utf8"),
    (b'{"model":"\\ud800"}', None, "invalid_json"),
    ({}, "model", "missing_required_parameter"),
    ({"model": MODEL}, "messages", "missing_required_parameter"),
    ({**CHAT, "model": 5}, "model", "invalid_type"),
    ({**CHAT, "messages": "hi"}, "messages", "invalid_type"),
    ({**CHAT, "messages": []}, "messages", "invalid_value"),
    ({**CHAT, "messages": [{"content": "x"}]}, "messages[0].role", "missing_required_parameter"),
    ({**CHAT, "messages": [{"role": "king", "content": "x"}]}, "messages[0].role", "invalid_value"),
    ({**CHAT, "messages": [{"role": "user", "content": 5}]}, "messages[0].content", "invalid_type"),
    ({**CHAT, "messages": [{"role": "user"}]}, "messages[0].content", "invalid_type"),
    ({**CHAT, "max_tokens": "many"}, "max_tokens", "invalid_type"),
    ({**CHAT, "max_tokens": 0}, "max_tokens", "invalid_value"),
    ({**CHAT, "temperature": 5}, "temperature", "invalid_value"),
    ({**CHAT, "top_p": -1}, "top_p", "invalid_value"),
    ({**CHAT, "n": 1000}, "n", "invalid_value"),
    ({**CHAT, "stream": "yes"}, "stream", "invalid_type"),
    ({**CHAT, "stream_options": {"include_usage": True}}, "stream_options", None),
    ({**CHAT, "stream": True, "stream_options": {"include_usage": 1}}, "stream_options.include_usage", "invalid_type"),
    ({**CHAT, "stop": 5}, "stop", "invalid_type"),
    ({**CHAT, "tools": [{}]}, "tools[0].type", "missing_required_parameter"),
]


async def test_wrong_bodies_name_the_parameter_and_keep_the_connection(instance: GatewayInstance) -> None:
    worker = await instance.start()
    connection = await Connection.open(worker.port)
    for body, param, code in BODIES:
        await connection.send(request_bytes("POST", PATH, body, key=instance.key))
        answer = await connection.answer()
        shown = str(body)[:80]
        assert answer.status == 400, shown
        error = answer.error()
        assert (error["type"], error["param"], error["code"]) == ("invalid_request_error", param, code), shown
        assert set(error) == {"message", "type", "param", "code"}
    await connection.send(request_bytes("POST", PATH, CHAT, key=instance.key))
    assert (await connection.answer()).status == 200
    await connection.close()
    assert instance.engines[0].counters.requests == 1


async def test_unknown_paths_and_methods(instance: GatewayInstance) -> None:
    worker = await instance.start()
    for method, path, status in (
        ("GET", "/v1", 404),
        ("GET", "/v1/unknown", 404),
        ("POST", "/v1/chat/completions/", 404),
        ("GET", PATH, 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/gateway/health", 405),
        ("GET", "/internal/v1/snapshot", 404),
        ("GET", "//internal/v1/snapshot", 404),
        ("GET", "/%69nternal/v1/snapshot", 404),
        ("GET", "/INTERNAL/v1/snapshot", 404),
        ("GET", "/gateway/secrets", 404),
    ):
        answer = await fetch(worker.port, method, path, key=instance.key)
        assert answer.status == status, path
        assert answer.error()["type"] == "invalid_request_error"
    options = await fetch(worker.port, "OPTIONS", PATH)
    assert (options.status, options.headers["allow"]) == (200, "POST, OPTIONS")
    head = await fetch(worker.port, "HEAD", "/v1/models", key=instance.key)
    assert (head.status, head.body) == (200, b"")
    assert not instance.control.relayed


async def test_too_many_connections_are_refused_with_503(instance: GatewayInstance) -> None:
    worker = await instance.start("connections_max=3")
    kept = [await Connection.open(worker.port) for _ in range(3)]
    for connection in kept:
        await connection.send(request_bytes("GET", "/gateway/health"))
        assert (await connection.answer()).status == 200
    refused = await Connection.open(worker.port)
    answer = await refused.answer()
    assert (answer.status, answer.error()["code"]) == (503, "overloaded")
    await refused.close()
    await kept.pop().close()

    while (await fetch(worker.port, "GET", "/gateway/health")).status != 200:
        await asyncio.sleep(0.01)
    for connection in kept:
        await connection.close()
