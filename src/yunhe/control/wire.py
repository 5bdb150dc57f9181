"""How control's machine routes (agents, gateway workers) read and answer: JSON of the shared records, nothing else."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from yunhe.core.errors import InvalidRequest, NotSignedIn, TooLarge, Unavailable, YunheError

T = TypeVar("T")
Handler = Callable[[Request], Awaitable[Response]]

#: Without a declared greater one: joins, stats, leases.
BODY_BYTES_MAX: Final = 1 << 20
_LOG: Final = logging.getLogger(__name__)
_JSON: Final = "application/json"


def answer(record: Any, status: int = 200) -> Response:
    """A record as JSON."""
    return Response(msgspec.json.encode(record), status, media_type=_JSON)


async def read(request: Request, kind: type[T], bytes_max: int = BODY_BYTES_MAX) -> T:
    """The body as a record. Raises TooLarge, or InvalidRequest when it is not that record's JSON."""
    body = bytearray()
    async for piece in request.stream():
        body += piece
        if len(body) > bytes_max:
            raise TooLarge(f"the body is larger than {bytes_max} bytes", limit_bytes=bytes_max)
    try:
        return msgspec.json.decode(bytes(body), type=kind)
    except msgspec.DecodeError as error:
        raise InvalidRequest(str(error), fields=[f"body: {error}"]) from None


def number(request: Request, name: str, default: float, low: float, high: float) -> float:
    """A number of the query, brought into its range. Raises InvalidRequest when it is not one."""
    text = request.query_params.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if value != value:
        raise InvalidRequest(f"{name} is not a number", fields=[f"query.{name}: not a number"])
    return min(high, max(low, value))


def bearer(request: Request) -> str:
    """The credential that was sent; empty when none was."""
    scheme, _, credential = request.headers.get("authorization", "").partition(" ")
    return credential.strip() if scheme.lower() == "bearer" else ""


def check_internal(request: Request, internal_token: str) -> None:
    """Raises NotSignedIn unless the caller holds the instance's internal token."""
    if not hmac.compare_digest(bearer(request).encode(), internal_token.encode()):
        raise NotSignedIn("this needs the internal token", next_step="Only this instance's own processes call it.")


def guarded(handler: Handler) -> Handler:
    """A process edge: every error becomes a documented answer, an unexpected one is logged as well."""

    async def guard(request: Request) -> Response:
        try:
            return await handler(request)
        except YunheError as error:
            return refusal(error)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception:  # noqa: BLE001 - a process edge
            _LOG.exception("%s %s failed", request.method, request.url.path)
            return refusal(Unavailable("control failed to answer; its log has the cause"))

    return guard


def refusal(error: YunheError) -> Response:
    """An error as every route of ours tells it."""
    told = {
        "error": {
            "code": error.code,
            "message": error.message,
            "next_step": error.next_step,
            "request_id": None,
            "details": error.details,
        }
    }
    response = answer(told, error.http_status)
    if error.retry_after_s is not None:
        response.headers["retry-after"] = str(max(1, round(error.retry_after_s)))
    return response
