"""The one root of the project's errors.

A class's docstring is its default message, ``next_step`` is its remedy, and what happened lies in fields, so that
the API, the OpenAI routes, the CLI and the console can each say it in their own shape.
"""

from __future__ import annotations

from typing import ClassVar

Detail = str | int | float | bool | None | list[str]


class YunheError(Exception):
    """Something went wrong inside Yunhe."""

    #: Stable snake_case name; clients match on it, so it never changes once released.
    code: ClassVar[str] = "internal_error"
    http_status: ClassVar[int] = 500
    #: True when the same call may succeed later without any change by the caller.
    retryable: ClassVar[bool] = False
    #: What the reader should do next; an instance may say something more exact.
    default_next_step: ClassVar[str] = "Look at the log of the process that answered (yunhe logs)."

    def __init__(
        self,
        message: str | None = None,
        *,
        next_step: str | None = None,
        retry_after_s: float | None = None,
        **details: Detail,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.next_step = next_step or self.default_next_step
        self.retry_after_s = retry_after_s
        self.details = details
        super().__init__(self.message)


class InvalidRequest(YunheError):
    """The request is not valid."""

    code = "invalid_request"
    http_status = 400
    default_next_step = "Correct the field named in details and send it again."


class NotSignedIn(YunheError):
    """This needs a valid credential."""

    code = "not_signed_in"
    http_status = 401
    default_next_step = "Sign in with `yunhe login`, or send a valid key in the Authorization header."


class Forbidden(YunheError):
    """Your role does not allow this."""

    code = "forbidden"
    http_status = 403
    default_next_step = "Ask a project owner or platform admin for the role named in details."


class NotFound(YunheError):
    """There is no such thing."""

    code = "not_found"
    http_status = 404
    default_next_step = "List what exists and check the name."


class Conflict(YunheError):
    """That clashes with something that exists."""

    code = "conflict"
    http_status = 409
    default_next_step = "Choose another name, or change the existing one."


class TooLarge(YunheError):
    """The request is larger than the limit."""

    code = "too_large"
    http_status = 413
    default_next_step = "Send less; the limit is in details."


class QuotaExceeded(YunheError):
    """The limit is reached."""

    code = "quota_exceeded"
    http_status = 429
    retryable = True
    default_next_step = "Wait for the time given in retry_after, or ask for a higher limit."


class OutOfCredit(YunheError):
    """The project has no credit left."""

    code = "out_of_credit"
    http_status = 429
    default_next_step = "Add credit: yunhe balance add PROJECT CREDITS (platform admin)."


class Unavailable(YunheError):
    """The service cannot answer right now."""

    code = "unavailable"
    http_status = 503
    retryable = True
    default_next_step = "Try again shortly; `yunhe status` tells which part is down."
