"""What every request passes before a route sees it, over a route of the test's own."""

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from yunhe.api import errors
from yunhe.api.border import BODY_BYTES_MAX, Border
from yunhe.api.schemas.fields import Input, Name


class Thing(Input):
    name: Name
    tags: dict[str, list[str]] | None = None


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    errors.install(app)

    @app.post("/api/v1/things")
    async def make(body: Thing) -> dict[str, str]:
        return {"name": body.name}

    @app.get("/api/v1/broken")
    async def broken() -> None:
        raise ZeroDivisionError("the secret inner state")

    app.state.methods = [(re.compile("^/api/v1/things$"), {"POST"})]
    app.add_middleware(Border)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://yunhe") as client:
        yield client


def error_of(answer: httpx.Response) -> dict[str, object]:
    body = answer.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"code", "message", "next_step", "request_id", "details"}
    assert body["error"]["request_id"] == answer.headers["x-request-id"]
    found: dict[str, object] = body["error"]
    return found


async def test_a_request_gets_an_id_and_keeps_a_sound_one(client: httpx.AsyncClient) -> None:
    made = await client.post("/api/v1/things", json={"name": "a"})
    assert made.headers["x-request-id"].startswith("req_")
    kept = await client.post("/api/v1/things", json={"name": "a"}, headers={"x-request-id": "req_12345678"})
    assert kept.headers["x-request-id"] == "req_12345678"
    odd = await client.post("/api/v1/things", json={"name": "a"}, headers={"x-request-id": "a b<script>"})
    assert odd.headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize(
    "body",
    [
        b'{"name": "a\\u0000b"}',
        b'{"name": "\\ud800"}',
        b'{"name": "a", "tags": {"\\u0000": []}}',
        b'{"name": "a", "tags": {"x": ["\\udfff"]}}',
        b'{"name": "a", "surplus": 1}',
        b'{"name": " a"}',
        b'{"name": "a\\u202eb"}',
        b'{"name": 1}',
        b'{"name": "a"',
        b"[1, 2]",
        b"null",
        b'{"name": "\xff"}',
        b"[" * 100_000,
        b"9" * 10_000,
        b'{"name": ' + b"9" * 10_000 + b"}",
        b'{"name": "a", "tags": ' + b'{"a":' * 900 + b"1" + b"}" * 900 + b"}",
        b"",
    ],
)
async def test_bodies_that_make_no_sense_are_invalid_requests(client: httpx.AsyncClient, body: bytes) -> None:
    answer = await client.post("/api/v1/things", content=body, headers={"content-type": "application/json"})
    assert answer.status_code == 400
    error = error_of(answer)
    assert error["code"] == "invalid_request"
    assert isinstance(error["details"], dict)
    assert error["details"]["fields"]


async def test_a_body_over_the_limit_is_too_large_whether_declared_or_not(client: httpx.AsyncClient) -> None:
    big = b'{"name": "' + b"a" * BODY_BYTES_MAX + b'"}'

    async def in_parts() -> AsyncIterator[bytes]:
        for start in range(0, len(big), 65_536):
            yield big[start : start + 65_536]

    for content in (big, in_parts()):
        answer = await client.post("/api/v1/things", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 413
        assert error_of(answer)["details"] == {"limit_bytes": BODY_BYTES_MAX}


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data; boundary=x", "application/jsonp", ""])
async def test_only_json_is_taken(client: httpx.AsyncClient, kind: str) -> None:
    answer = await client.post("/api/v1/things", content=b'{"name": "a"}', headers={"content-type": kind})
    assert answer.status_code == 415
    assert error_of(answer)["code"] == "unsupported_media_type"


@pytest.mark.parametrize("length", ["-1", "1e3", "9" * 30, "0x10"])
async def test_an_odd_content_length_never_breaks_it(client: httpx.AsyncClient, length: str) -> None:
    answer = await client.post("/api/v1/things", content=b"{}", headers={"content-length": length})
    assert answer.status_code in (400, 413)


async def test_nul_bytes_in_an_address_are_refused(client: httpx.AsyncClient) -> None:
    for address in ("/api/v1/a%00b", "/api/v1/broken?x=%00"):
        answer = await client.get(address)
        assert answer.status_code == 400
        assert error_of(answer)["code"] == "invalid_request"


async def test_what_nobody_expected_is_told_without_its_inner_state(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/v1/broken")
    assert answer.status_code == 500
    assert error_of(answer)["code"] == "internal_error"
    assert "secret" not in answer.text


async def test_a_wrong_method_names_the_right_ones(client: httpx.AsyncClient) -> None:
    answer = await client.put("/api/v1/things", json={})
    assert answer.status_code == 405
    assert error_of(answer)["code"] == "method_not_allowed"
    assert answer.headers["allow"] == "POST"


async def test_head_of_a_wrong_method_has_no_body(client: httpx.AsyncClient) -> None:
    answer = await client.head("/api/v1/things")
    assert answer.status_code == 405
    assert answer.headers["x-request-id"]
