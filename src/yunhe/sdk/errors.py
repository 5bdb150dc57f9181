"""What can go wrong when talking to a Yunhe instance, as exceptions that carry data and the next step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

Detail = str | int | float | bool | list[str] | None


class ApiError(Exception):
    """The instance answered with an error."""

    #: Shown when the answer names no next step itself (the OpenAI routes cannot).
    default_next_step: ClassVar[str] = "Look at the log of the process that answered: yunhe logs control."

    def __init__(
        self,
        message: str = "",
        *,
        code: str = "error",
        next_step: str = "",
        http_status: int | None = None,
        request_id: str | None = None,
        retry_after_s: float | None = None,
        details: Mapping[str, Detail] | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").splitlines()[0]
        #: Stable snake_case name.
        self.code = code
        self.next_step = next_step or self.default_next_step
        #: None when no answer came at all.
        self.http_status = http_status
        self.request_id = request_id
        #: Seconds, when the instance said how long to wait.
        self.retry_after_s = retry_after_s
        self.details: dict[str, Detail] = dict(details or {})
        super().__init__(self.message)


class InvalidRequest(ApiError):
    """The request is not valid."""

    default_next_step = "Correct what the message names and try again."


class NotSignedIn(ApiError):
    """This needs a valid credential."""

    default_next_step = "Sign in with `yunhe login`, or give a valid key (--key, YUNHE_API_KEY)."


class Forbidden(ApiError):
    """The credential does not allow this."""

    default_next_step = "Use a key with the right scope, or ask a project owner or platform admin."


class NotFound(ApiError):
    """There is no such thing."""

    default_next_step = "List what exists and check the name."


class Conflict(ApiError):
    """That clashes with something that exists."""

    default_next_step = "Choose another name, or change the existing one."


class TooLarge(ApiError):
    """The request is larger than the limit."""

    default_next_step = "Send less."


class LimitReached(ApiError):
    """A limit is reached, or the project has no credit."""

    default_next_step = "Wait and try again, or ask for a higher limit."


class Unavailable(ApiError):
    """The instance cannot answer right now."""

    default_next_step = "Try again shortly; `yunhe status` tells which part is down."


class Unreachable(ApiError):
    """Nobody answers at that address."""

    default_next_step = "Start it with `yunhe up`, or check the address (--url, YUNHE_URL)."


class UnexpectedAnswer(ApiError):
    """What answered does not speak Yunhe's API."""

    default_next_step = "Check the address (--url, YUNHE_URL): is it a Yunhe instance of the same version?"


class Interrupted(ApiError):
    """The stream ended before the answer did."""

    default_next_step = "Send the request again; `yunhe status` tells whether a part is down."


_BY_STATUS: Mapping[int, type[ApiError]] = {
    400: InvalidRequest,
    401: NotSignedIn,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: TooLarge,
    422: InvalidRequest,
    429: LimitReached,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def error_from_answer(
    status: int, body: object, *, request_id: str | None = None, retry_after_s: float | None = None
) -> ApiError:
    """The exception for an error answer, in our own shape or OpenAI's; ``body`` is its parsed JSON or its text."""
    kind = _BY_STATUS.get(status, ApiError)
    inner = body.get("error") if isinstance(body, dict) else None
    if not isinstance(inner, dict):
        if status in _BY_STATUS and status >= 500:
            return kind(f"the answer was HTTP {status}", code="unavailable", http_status=status)
        return UnexpectedAnswer(
            f"the answer was HTTP {status} without an error that we know", code="unexpected_answer", http_status=status
        )
    message = str(inner.get("message") or "")
    details = inner.get("details")
    fields = details.get("fields") if isinstance(details, dict) else None
    if isinstance(fields, list) and fields:
        message = f"{message} {'; '.join(str(field) for field in fields)}".strip()
    return kind(
        message,
        code=str(inner.get("code") or inner.get("type") or kind.__name__.lower()),
        next_step=str(inner.get("next_step") or ""),
        http_status=status,
        request_id=inner.get("request_id") or request_id,
        retry_after_s=retry_after_s,
        details=details if isinstance(details, dict) else None,
    )
