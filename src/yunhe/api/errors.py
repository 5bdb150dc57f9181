"""Every error in the one shape: our own, the framework's, and the unexpected."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence, Set
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.types import Scope

from yunhe.api.schemas.errors import ErrorBody, ErrorDetail
from yunhe.core.errors import Forbidden, InvalidRequest, NotFound, NotSignedIn, TooLarge, Unavailable, YunheError

log = logging.getLogger(__name__)

#: Everything else is the console's.
API_PATHS: Final = "/api/"
#: More faults than this in one request help nobody.
FIELDS_MAX: Final = 20

_MEANING: Final = {
    400: "The request is not valid; details.fields says where.",
    401: "This needs a valid credential.",
    403: "The caller's role, or the key's scopes or project, do not allow this.",
    404: "There is no such thing, or it is not yours to see.",
    409: "That clashes with something that exists.",
    413: "The request is larger than the limit.",
    415: "The body is not application/json.",
    429: "Too many attempts; the header retry-after says when to try again.",
    503: "A part that this needs does not answer right now.",
}


class MethodNotAllowed(YunheError):
    """This address does not take that method."""

    code = "method_not_allowed"
    http_status = 405
    default_next_step = "Use one of the methods in the header allow."


class UnsupportedMediaType(YunheError):
    """The body must be application/json."""

    code = "unsupported_media_type"
    http_status = 415
    default_next_step = "Send JSON with the header content-type: application/json."


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of an operation, for the OpenAPI document."""
    return {status: {"model": ErrorBody, "description": _MEANING[status]} for status in statuses}


def request_id_of(scope: Scope) -> str:
    """The id under which this request is logged and answered."""
    found: str = scope.get("state", {}).get("request_id", "")
    return found


def error_response(scope: Scope, error: YunheError, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer that says this error."""
    body = ErrorBody(
        error=ErrorDetail(
            code=error.code,
            message=error.message,
            next_step=error.next_step,
            request_id=request_id_of(scope),
            details={name: value for name, value in error.details.items()},
        )
    )
    answer = JSONResponse(body.model_dump(), status_code=error.http_status, headers=headers)
    if error.retry_after_s is not None:
        answer.headers["retry-after"] = str(max(1, round(error.retry_after_s + 0.5)))
    if isinstance(error, NotSignedIn):
        answer.headers["www-authenticate"] = "Bearer"
    return answer


def invalid_fields(errors: Sequence[Any]) -> InvalidRequest:
    """Pydantic's findings as one error with `details.fields`: "body.replicas: Input should be ..."."""
    fields = []
    for finding in errors[:FIELDS_MAX]:
        where = ".".join(str(part) for part in finding["loc"]) or "body"
        fields.append(f"{ascii_safe(where)[:200]}: {ascii_safe(str(finding['msg']))[:300]}")
    return InvalidRequest(fields=fields)


def ascii_safe(text: str) -> str:
    """The text with whatever cannot be encoded in UTF-8, or shown on a line, escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


async def _ours(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, YunheError)
    if error.http_status >= 500:
        log.warning("%s %s: %s: %s", request.method, request.url.path, error.code, error.message)
    return error_response(request.scope, error)


async def _invalid(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    return error_response(request.scope, invalid_fields(error.errors()))


async def _framework(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    headers = dict(error.headers or {})
    ours: YunheError
    match error.status_code:
        case 401:
            ours = NotSignedIn()
        case 403:
            ours = Forbidden()
        case 404:
            ours = _nothing_at(request)
        case 405:
            allowed = _methods_at(request)
            if allowed is None:
                ours, headers = _nothing_at(request), {}
            else:
                ours, headers = MethodNotAllowed(method=request.method[:20]), {"allow": ", ".join(sorted(allowed))}
        case 413:
            ours = TooLarge()
        case 503:
            ours = Unavailable()
        case status if status < 500:
            ours = InvalidRequest(fields=[f"body: {error.detail or HTTPStatus(status).phrase}"])
        case _:
            ours = YunheError()
    return error_response(request.scope, ours, headers)


def _nothing_at(request: Request) -> NotFound:
    return NotFound(
        f"There is nothing at {ascii_safe(request.url.path)[:200]}.",
        next_step="See /api/v1/openapi.json for what there is.",
    )


def _methods_at(request: Request) -> set[str] | None:
    """Every method that this address takes, over all its routes (the router tells those of one); None: no address."""
    table: Sequence[tuple[re.Pattern[str], Set[str]]] = getattr(request.app.state, "methods", ())
    path = request.url.path
    if not f"{path}/".startswith(API_PATHS):
        return {"GET", "HEAD"}
    found = {method for pattern, methods in table if pattern.match(path) for method in methods}
    return found or None


def install(app: FastAPI) -> None:
    """Make the app answer every error in our shape; what is unexpected is caught by the border."""
    app.add_exception_handler(YunheError, _ours)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _framework)
