"""Error answers become exceptions that say what to do."""

from __future__ import annotations

import pytest

from yunhe.sdk import ApiError, Conflict, Forbidden, InvalidRequest, LimitReached, NotFound, NotSignedIn, Unavailable
from yunhe.sdk.errors import UnexpectedAnswer, error_from_answer
from yunhe.sdk.transport import root_of, segment


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequest),
        (401, NotSignedIn),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (429, LimitReached),
        (503, Unavailable),
        (500, ApiError),
    ],
)
def test_status_chooses_the_class_and_the_answer_fills_it(status: int, kind: type[ApiError]) -> None:
    body = {
        "error": {
            "code": "some_code",
            "message": "It is so.",
            "next_step": "Do this.",
            "request_id": "req_1",
            "details": {"limit": 5},
        }
    }
    error = error_from_answer(status, body, retry_after_s=2.0)
    assert type(error) is kind
    assert (error.code, error.message, error.next_step) == ("some_code", "It is so.", "Do this.")
    assert (error.request_id, error.http_status, error.retry_after_s) == ("req_1", status, 2.0)
    assert error.details == {"limit": 5}


def test_openai_shape_is_understood_and_gets_a_next_step() -> None:
    body = {"error": {"message": "No such model.", "type": "invalid_request_error", "param": None, "code": "x"}}
    error = error_from_answer(404, body, request_id="req_2")
    assert isinstance(error, NotFound)
    assert (error.code, error.request_id) == ("x", "req_2")
    assert error.next_step


def test_fields_that_are_wrong_stand_in_the_message() -> None:
    body = {"error": {"code": "invalid_request", "message": "Invalid.", "details": {"fields": ["body.replicas: >= 0"]}}}
    assert "body.replicas: >= 0" in error_from_answer(400, body).message


@pytest.mark.parametrize("body", [None, [], {}, {"error": "text"}, {"detail": "Not Found"}, "<html>"])
def test_stranger_s_answer_is_told_apart(body: object) -> None:
    assert isinstance(error_from_answer(418, body), UnexpectedAnswer)
    assert isinstance(error_from_answer(404, body), UnexpectedAnswer)
    assert isinstance(error_from_answer(502, body), Unavailable)


@pytest.mark.parametrize("url", ["http://h:1", "http://h:1/", "http://h:1/v1", "http://h:1/v1/", " http://h:1/v1 "])
def test_base_url_is_accepted_with_and_without_v1(url: str) -> None:
    assert root_of(url) == "http://h:1"


@pytest.mark.parametrize("url", ["", "h:1", "ftp://h", "http://", "file:///etc/passwd"])
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="not an http"):
        root_of(url)


def test_name_cannot_leave_its_place_in_a_path() -> None:
    assert segment("../users?x=1#y") == "..%2Fusers%3Fx%3D1%23y"
