"""Refusals and failures in OpenAI's shape: ``{"error": {"message", "type", "param", "code"}}``."""

from __future__ import annotations

import math
from typing import Final

import msgspec

from yunhe.core.errors import YunheError

INVALID: Final = "invalid_request_error"
PERMISSION: Final = "permission_error"
SERVER: Final = "server_error"


class Refusal(YunheError):
    """The gateway does not carry this request out."""

    def __init__(
        self,
        status: int,
        kind: str,
        code: str | None,
        message: str,
        *,
        param: str | None = None,
        retry_after_s: float | None = None,
        headers: bytes = b"",
    ) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.status = status
        self.kind = kind
        self.openai_code = code
        self.param = param
        #: Further header lines, each ended by CRLF.
        self.headers = headers

    def body(self) -> bytes:
        """The JSON body."""
        return error_body(self.message, self.kind, self.openai_code, self.param)

    def header_lines(self) -> bytes:
        """``Retry-After`` (whole seconds, as SDKs expect) and the further lines."""
        if self.retry_after_s is None:
            return self.headers
        seconds = max(1, math.ceil(self.retry_after_s))
        return b"%bretry-after: %d\r\nretry-after-ms: %d\r\n" % (
            self.headers,
            seconds,
            max(1, math.ceil(self.retry_after_s * 1000)),
        )


def error_body(message: str, kind: str, code: str | None, param: str | None = None) -> bytes:
    """OpenAI's error object as JSON."""
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


def bad_request(message: str, *, code: str | None = None, param: str | None = None) -> Refusal:
    """400."""
    return Refusal(400, INVALID, code, message, param=param)


def malformed_http(message: str, status: int = 400, code: str = "malformed_http") -> Refusal:
    """The request is not HTTP/1.1 that we accept; the connection is closed after it."""
    return Refusal(status, INVALID, code, message)


def missing_key() -> Refusal:
    """401 without any credential."""
    return Refusal(
        401,
        INVALID,
        "invalid_api_key",
        "You didn't provide an API key. Send it in the Authorization header: 'Authorization: Bearer yh_...'. "
        "Make one with `yunhe key create NAME` or on the console's Keys page.",
        headers=b"www-authenticate: Bearer\r\n",
    )


def wrong_key(shown: str, why: str = "Incorrect API key provided") -> Refusal:
    """401; ``shown`` is the public prefix at most."""
    return Refusal(
        401,
        INVALID,
        "invalid_api_key",
        f"{why}: {shown}. Make another with `yunhe key create NAME` or on the console's Keys page.",
        headers=b"www-authenticate: Bearer\r\n",
    )


def forbidden(message: str, code: str, param: str | None = None) -> Refusal:
    """403."""
    return Refusal(403, PERMISSION, code, message, param=param)


def unknown_model(name: str) -> Refusal:
    """404 for a model that nobody deployed."""
    shown = name if len(name) <= 120 else name[:117] + "..."
    return Refusal(
        404,
        INVALID,
        "model_not_found",
        f"The model `{shown}` does not exist or you do not have access to it. "
        "GET /v1/models lists those that you can call.",
        param="model",
    )


def unknown_path(method: str, path: str) -> Refusal:
    """404 for a /v1 path that does not exist."""
    return Refusal(
        404,
        INVALID,
        "unknown_url",
        f"Unknown request URL: {method} {path[:200]}. Please check the URL for typos.",
    )


def wrong_method(method: str, path: str, allowed: bytes) -> Refusal:
    """405 with ``Allow``."""
    return Refusal(
        405,
        INVALID,
        "method_not_allowed",
        f"Not allowed to {method} on {path[:200]}; use {allowed.decode()}.",
        headers=b"allow: %b\r\n" % allowed,
    )


def too_large(limit_bytes: int) -> Refusal:
    """413."""
    return Refusal(
        413, INVALID, "request_too_large", f"The request body is larger than the limit of {limit_bytes} bytes."
    )


def rate_limited(kind: str, limit: int, whose: str, retry_after_s: float, headers: bytes) -> Refusal:
    """429 by a limit. ``kind`` is requests or tokens."""
    unit = "RPM" if kind == "requests" else "TPM"
    return Refusal(
        429,
        kind,
        "rate_limit_exceeded",
        f"Rate limit reached for this {whose} on {kind} per min ({unit}): Limit {limit}. "
        f"Please try again in {retry_after_s:.3g}s.",
        retry_after_s=retry_after_s,
        headers=headers,
    )


def out_of_credit(reason: str) -> Refusal:
    """429 without Retry-After: waiting does not help."""
    return Refusal(
        429,
        "insufficient_quota",
        "insufficient_quota",
        f"You exceeded your current quota: {reason}. Add credit to the project (`yunhe balance add`, platform admin).",
    )


def unavailable(message: str, code: str, retry_after_s: float = 1.0) -> Refusal:
    """503."""
    return Refusal(503, SERVER, code, message, retry_after_s=retry_after_s)


def upstream_failed(message: str, status: int = 502, code: str = "upstream_error") -> Refusal:
    """The replica failed and no other could take over."""
    return Refusal(status, SERVER, code, message)


def internal_error() -> Refusal:
    """500: a fault of ours, logged."""
    return Refusal(500, SERVER, "internal_error", "The gateway failed on this request; its log has the cause.")
