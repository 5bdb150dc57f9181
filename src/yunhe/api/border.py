"""The border: what every request passes before any route sees it (plain ASGI, outermost).

Gives the request its id, refuses what no part behind could handle (NUL bytes, bodies too large or not JSON), sets the
headers that every answer carries, and turns whatever was not expected into a 500 in our shape.
"""

from __future__ import annotations

import logging
import re
from typing import Final

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from yunhe.api.errors import UnsupportedMediaType, error_response
from yunhe.core.errors import InvalidRequest, TooLarge, YunheError
from yunhe.core.ids import new_id
from yunhe.core.units import MIB

log = logging.getLogger(__name__)

BODY_BYTES_MAX: Final = MIB
_REQUEST_ID: Final = re.compile(r"^[A-Za-z0-9_.-]{8,80}$")
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


class ClientGone(Exception):
    """The client closed the connection before its body was complete."""


class Border:
    """The ASGI middleware; wraps the whole app."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.match(given) else new_id("req")
        scope.setdefault("state", {})["request_id"] = request_id
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                _stamp(scope, MutableHeaders(scope=message), request_id)
            await send(message)

        try:
            _check_address(scope)
            body = await _whole_body(scope, headers, receive)
            await self.app(scope, _replay(body, receive), send_with_headers)
        except YunheError as error:
            await error_response(scope, error)(scope, receive, send_with_headers)
        except ClientGone:
            return
        except Exception:
            log.exception("request %s: %s failed", request_id, ascii(scope["path"]))
            if started:
                raise
            await error_response(scope, YunheError())(scope, receive, send_with_headers)


def _stamp(scope: Scope, headers: MutableHeaders, request_id: str) -> None:
    headers["x-request-id"] = request_id
    headers["x-content-type-options"] = "nosniff"
    if scope["path"].startswith("/api/"):
        headers.setdefault("cache-control", "no-store")


def _check_address(scope: Scope) -> None:
    if "\x00" in scope["path"]:
        raise InvalidRequest(fields=["path: must not hold NUL characters"])
    query = scope.get("query_string", b"")
    if b"%00" in query or b"\x00" in query:
        raise InvalidRequest(fields=["query: must not hold NUL characters"])


async def _whole_body(scope: Scope, headers: Headers, receive: Receive) -> bytes:
    """The body, complete. Raises TooLarge, UnsupportedMediaType, InvalidRequest; ClientGone when there is no more."""
    limit = BODY_BYTES_MAX
    declared = headers.get("content-length", "0")
    if not declared.isascii() or not declared.isdigit():
        raise InvalidRequest(fields=["header.content-length: must be a whole number"])
    # 20 digits are more than any number of bytes; int() of a longer text is refused by Python itself.
    if len(declared) > 20 or int(declared) > limit:
        raise TooLarge(limit_bytes=limit)
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise TooLarge(limit_bytes=limit)
        more = message.get("more_body", False)
    if size and scope["path"].startswith("/api/") and scope["method"] in _WITH_BODY:
        kind = headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise UnsupportedMediaType(content_type=kind[:80])
    return b"".join(parts)


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def replay() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
