"""HTTP to one instance: credentials, time-outs, bounded retries, pages, and errors as exceptions."""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlsplit

import httpx
from pydantic import ValidationError

from yunhe.sdk.errors import ApiError, UnexpectedAnswer, Unreachable, error_from_answer
from yunhe.sdk.records import Record

RecordT = TypeVar("RecordT", bound=Record)
#: Values of query parameters; None is left out.
Params = Mapping[str, str | int | float | bool | None]

PAGE_SIZE: Final = 200
#: A retry never waits longer than this, whatever Retry-After says; longer waits are the caller's decision.
RETRY_WAIT_S_MAX: Final = 5.0
RETRY_STATUSES: Final = frozenset({429, 502, 503, 504})


def segment(text: str) -> str:
    """``text`` as one segment of a path."""
    return quote(text, safe="")


def root_of(url: str) -> str:
    """An instance's root: without ``/v1`` and slashes at the end. Raises ValueError when it is no http(s) address."""
    text = url.strip().rstrip("/").removesuffix("/v1").rstrip("/")
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"not an http(s) address: {url!r}")
    return text


def _is_loopback(host: str | None) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


class Transport:
    """One connection pool to one instance. Not for use from several threads at once."""

    def __init__(self, base_url: str, key: str | None, *, timeout_s: float, retries: int) -> None:
        self.root = root_of(base_url)
        self._retries = retries
        headers = {"accept": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        self._http = httpx.Client(
            base_url=self.root,
            headers=headers,
            timeout=timeout_s,
            # A proxy from the environment must not see what goes to this machine itself.
            trust_env=not _is_loopback(urlsplit(self.root).hostname),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def call(self, method: str, path: str, *, params: Params | None = None, body: object = None) -> Any:
        """Call ``/api/v1`` + path; the parsed JSON, None for an empty answer. A body of bytes is JSON sent as it is.

        GET is repeated at most ``retries`` times where repeating can help; a write only when it was never sent.
        Raises ApiError.
        """
        url = f"/api/v1{path}"
        query = {name: value for name, value in (params or {}).items() if value is not None}
        sent: dict[str, Any] = {"json": body}
        if isinstance(body, bytes):
            sent = {"content": body, "headers": {"content-type": "application/json"}}
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                answer = self._http.request(method, url, params=query, **sent)
            except httpx.ConnectError as error:
                if last:
                    raise self._unreachable(error) from error
                wait_s = 0.2 * 2**attempt
            except httpx.HTTPError as error:
                if last or method != "GET":
                    raise self._unreachable(error) from error
                wait_s = 0.2 * 2**attempt
            else:
                retryable = method == "GET" and answer.status_code in RETRY_STATUSES
                wait_s = retry_after_s(answer) or 0.2 * 2**attempt
                if not retryable or last or wait_s > RETRY_WAIT_S_MAX:
                    return parsed(answer)
            time.sleep(wait_s)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def one(
        self, record: type[RecordT], method: str, path: str, *, params: Params | None = None, body: object = None
    ) -> RecordT:
        """Call and read one record. Raises ApiError, UnexpectedAnswer when it has another shape."""
        return read(record, self.call(method, path, params=params, body=body))

    def pages(self, record: type[RecordT], path: str, params: Params | None = None) -> Iterator[RecordT]:
        """Every item of a list, fetching page after page as the caller goes on. Raises ApiError."""
        after: str | None = None
        while True:
            page = self.call("GET", path, params={"limit": PAGE_SIZE, **(params or {}), "after": after})
            if not isinstance(page, dict) or not isinstance(page.get("data"), list):
                raise UnexpectedAnswer(f"{path} answered no list", code="unexpected_answer")
            for item in page["data"]:
                yield read(record, item)
            following = page.get("next")
            if not following or following == after:
                return
            after = str(following)

    @contextmanager
    def stream(self, path: str, body: object, *, timeout_s: float) -> Iterator[httpx.Response]:
        """POST and hand out the answer as it comes; ``timeout_s`` bounds the wait for each piece. Raises ApiError."""
        try:
            with self._http.stream("POST", path, json=body, timeout=httpx.Timeout(timeout_s, connect=10.0)) as answer:
                if answer.status_code >= 400:
                    answer.read()
                    parsed(answer)
                yield answer
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def content(self, path: str) -> bytes:
        """GET ``/api/v1`` + path; the answer's bytes as they are. Raises ApiError."""
        try:
            answer = self._http.get(f"/api/v1{path}")
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error
        if not answer.is_success:
            parsed(answer)
        return answer.content

    def get(self, path: str) -> Any:
        """GET outside ``/api/v1``; the parsed JSON. Raises ApiError."""
        try:
            return parsed(self._http.get(path))
        except httpx.HTTPError as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: httpx.HTTPError) -> ApiError:
        if isinstance(error, httpx.TimeoutException) and not isinstance(error, httpx.ConnectTimeout):
            return Unreachable(f"{self.root} did not answer in time", code="timeout")
        reason = str(error) or type(error).__name__
        return Unreachable(f"nobody answers at {self.root} ({reason})", code="unreachable")


def read(record: type[RecordT], value: object) -> RecordT:
    """A record from parsed JSON. Raises UnexpectedAnswer."""
    try:
        return record.model_validate(value)
    except ValidationError as error:
        where = "; ".join(".".join(str(part) for part in problem["loc"]) for problem in error.errors()[:5])
        raise UnexpectedAnswer(
            f"the answer is no {record.__name__} (look at {where or 'the whole'})", code="unexpected_answer"
        ) from error


def retry_after_s(answer: httpx.Response) -> float | None:
    """Seconds from a Retry-After header; None without one or when it holds a date."""
    try:
        return max(0.0, float(answer.headers.get("retry-after", "")))
    except ValueError:
        return None


def parsed(answer: httpx.Response) -> Any:
    """The JSON of a good answer, None when it is empty. Raises ApiError for everything else."""
    if answer.status_code == 204 or (answer.is_success and not answer.content):
        return None
    try:
        body = answer.json()
    except ValueError:
        body = None
    if answer.is_success and body is not None:
        return body
    raise error_from_answer(
        answer.status_code,
        body,
        request_id=answer.headers.get("x-request-id"),
        retry_after_s=retry_after_s(answer),
    )
