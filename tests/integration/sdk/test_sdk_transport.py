"""The client against a scripted HTTP server: pages, retries, streams that end well and badly."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from yunhe.sdk import Client, Conflict, Interrupted, LimitReached, Unavailable, Unreachable
from yunhe.sdk.errors import UnexpectedAnswer

Answer = tuple[int, dict[str, str], bytes]


class Script:
    """Answers to give, in order, and the requests that came."""

    def __init__(self) -> None:
        self.answers: list[Answer] = []
        self.seen: list[tuple[str, str, str | None, Any]] = []
        self.url = ""

    def say(self, status: int, body: Any, **headers: str) -> None:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.answers.append((status, {name.replace("_", "-"): value for name, value in headers.items()}, raw))


@pytest.fixture
def script() -> Iterator[Script]:
    made = Script()

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = json.loads(self.rfile.read(length)) if length else None
            made.seen.append((self.command, self.path, self.headers.get("authorization"), body))
            status, headers, raw = made.answers.pop(0)
            self.send_response(status)
            for name, value in {"content-length": str(len(raw)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(raw)

        do_GET = do_POST = do_DELETE = do_PATCH = answer

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    made.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


ERROR = {"error": {"code": "unavailable", "message": "Not now.", "next_step": "Wait.", "details": {}}}
USER = {"id": "user_1", "name": "mei", "roles": [], "created_at": "2026-11-23T16:30:00Z", "disabled": False}


def test_pages_are_fetched_as_the_caller_goes_on(script: Script) -> None:
    script.say(200, {"data": [USER, USER], "next": "c1"})
    script.say(200, {"data": [USER], "next": None})
    with Client(script.url, "yh_key") as client:
        users = client.users.list()
        assert next(users).name == "mei"
        assert len(script.seen) == 1
        assert len([*users]) == 2
    assert script.seen[1][:3] == ("GET", "/api/v1/users?limit=200&after=c1", "Bearer yh_key")


def test_cursor_that_does_not_move_ends_the_list(script: Script) -> None:
    for _ in range(2):
        script.say(200, {"data": [USER], "next": "same"})
    with Client(script.url) as client:
        assert len([*client.users.list()]) == 2


def test_reading_is_repeated_where_that_can_help(script: Script) -> None:
    script.say(503, ERROR, retry_after="0.01")
    script.say(200, {**USER, "name": "late", "projects": [], "scopes": []})
    with Client(script.url) as client:
        assert client.sessions.me().name == "late"


def test_repeats_are_bounded(script: Script) -> None:
    for _ in range(3):
        script.say(503, ERROR, retry_after="0.01")
    with Client(script.url) as client, pytest.raises(Unavailable, match="Not now"):
        client.sessions.me()
    assert len(script.seen) == 3


def test_writing_is_never_repeated(script: Script) -> None:
    script.say(503, ERROR, retry_after="0.01")
    with Client(script.url) as client, pytest.raises(Unavailable):
        client.keys.revoke("abc")
    assert len(script.seen) == 1


def test_long_wait_is_left_to_the_caller(script: Script) -> None:
    script.say(429, ERROR, retry_after="60")
    with Client(script.url) as client, pytest.raises(LimitReached) as raised:
        client.sessions.me()
    assert raised.value.retry_after_s == 60.0
    assert len(script.seen) == 1


def test_conflict_carries_its_next_step(script: Script) -> None:
    script.say(409, {"error": {"code": "conflict", "message": "Taken.", "next_step": "Rename.", "details": {}}})
    with Client(script.url) as client, pytest.raises(Conflict) as raised:
        client.projects.create("lab")
    assert raised.value.next_step == "Rename."


@pytest.mark.parametrize("body", [b"<html>hello</html>", b"[]", b'{"data": 5}'])
def test_server_of_another_kind_is_told_apart(script: Script, body: bytes) -> None:
    script.say(200, body)
    with Client(script.url) as client, pytest.raises(UnexpectedAnswer):
        next(client.users.list())


def test_nobody_there_is_unreachable() -> None:
    with Client("http://127.0.0.1:9", retries=0) as client, pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        client.sessions.me()


def events(*texts: str, end: bytes = b"data: [DONE]\n\n") -> bytes:
    lines = [
        f"data: {json.dumps({'choices': [{'delta': {'content': text}, 'finish_reason': None}]})}\n\n" for text in texts
    ]
    return b": a comment\n\n" + "".join(lines).encode() + end


def ask(client: Client) -> tuple[str, Any]:
    with client.chat.stream("m", [{"role": "user", "content": "hi"}], max_tokens=3) as stream:
        return "".join(stream), stream


def test_chat_streams_text_then_knows_how_it_ended(script: Script) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    end = f"data: {json.dumps({'choices': [{'delta': {}, 'finish_reason': 'stop'}]})}\n\n"
    end += f"data: {json.dumps({'choices': [], 'usage': usage})}\n\ndata: [DONE]\n\n"
    body = events("Hel", "lo 运河", end=end.encode())
    script.say(200, body, content_type="text/event-stream", x_yunhe_served_by="local; cpu; e; default")
    with Client(script.url, "yh_key") as client:
        text, stream = ask(client)
    assert text == "Hello 运河"
    assert (stream.finish_reason, stream.usage.completion_tokens) == ("stop", 2)
    assert stream.served_by == "local; cpu; e; default"
    sent = script.seen[0][3]
    assert sent["stream"] is True
    assert sent["max_tokens"] == 3
    assert "temperature" not in sent


def test_stream_that_breaks_off_is_an_error_and_never_silent(script: Script) -> None:
    script.say(200, events("Hel", end=b""), content_type="text/event-stream")
    with Client(script.url) as client, pytest.raises(Interrupted):
        ask(client)


def test_error_event_in_a_stream_is_raised(script: Script) -> None:
    end = f"data: {json.dumps({'error': {'message': 'The replica died.', 'code': 'upstream_error'}})}\n\n"
    script.say(200, events("Hel", end=end.encode()), content_type="text/event-stream")
    with Client(script.url) as client, pytest.raises(Unavailable, match="replica died"):
        ask(client)


def test_refused_chat_raises_before_any_text(script: Script) -> None:
    script.say(429, {"error": {"message": "Too many.", "code": "quota_exceeded"}}, retry_after="3")
    with Client(script.url) as client, pytest.raises(LimitReached) as raised:
        ask(client)
    assert raised.value.retry_after_s == 3.0
