"""Answers in OpenAI's published shape."""

import msgspec
import pytest

from yunhe.gateway.answer import BadAnswer, normalised, refused_by_replica, stream_error


def done(endpoint: str, document: object) -> dict[str, object]:
    body, _ = normalised(endpoint, "m", "req_1", 7, msgspec.json.encode(document))
    parsed: dict[str, object] = msgspec.json.decode(body)
    return parsed


def test_what_the_published_shape_requires_is_filled_in_and_private_members_are_dropped() -> None:
    choice = {"message": {"role": "assistant", "content": "x", "tool_calls": []}, "finish_reason": "eos"}
    document = done("chat.completions", {"choices": [choice], "timings": {}, "__verbose": 1, "model": "theirs"})
    assert document == {
        "choices": [
            {
                "message": {"role": "assistant", "content": "x", "refusal": None},
                "finish_reason": "stop",
                "index": 0,
                "logprobs": None,
            }
        ],
        "id": "chatcmpl-req_1",
        "created": 7,
        "model": "m",
        "object": "chat.completion",
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def test_what_is_right_already_stays() -> None:
    logprobs = {"content": [{"token": "x", "logprob": -0.5, "bytes": None, "top_logprobs": []}], "refusal": None}
    message = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [{"id": "1"}]}
    document = {
        "id": "a",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 3, "message": message, "logprobs": logprobs, "finish_reason": "tool_calls"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
    }
    assert done("chat.completions", document) == document


def test_text_completions_and_embeddings_have_their_shapes() -> None:
    text = done("completions", {"choices": [{"text": "x", "finish_reason": "length"}]})
    assert text["object"] == "text_completion"
    assert text["choices"] == [{"text": "x", "finish_reason": "length", "index": 0, "logprobs": None}]
    vectors = done("embeddings", {"data": [{"embedding": [1.0]}], "usage": {"prompt_tokens": 3}})
    assert vectors["data"] == [{"embedding": [1.0], "index": 0, "object": "embedding"}]
    assert vectors["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


@pytest.mark.parametrize(
    "raw",
    [b"", b"[]", b"null", b"{", b"{}", b'{"choices":[]}', b'{"choices":[5]}', b'{"choices":[{}]}', b"\xff", b"<html>",
     b"[" * 100_000],
)  # fmt: skip
def test_what_is_no_answer_is_said_to_be_none(raw: bytes) -> None:
    with pytest.raises(BadAnswer):
        normalised("chat.completions", "m", "req_1", 7, raw)


@pytest.mark.parametrize(
    ("status", "raw", "expected"),
    [
        (
            400,
            b'{"error":{"code":400,"message":"the request exceeds the available context size. try again","type":"x"}}',
            (400, "context_length_exceeded"),
        ),
        (
            400,
            b'{"object":"error","message":"This model\'s maximum context length is 8 tokens.","code":400}',
            (400, "context_length_exceeded"),
        ),
        (422, b'{"error":{"message":"bad grammar","type":"invalid_request_error"}}', (400, None)),
        (400, b'{"error":"plain words"}', (400, None)),
        (413, b"", (413, None)),
        (401, b'{"error":{"message":"bad key"}}', (502, "upstream_error")),
        (404, b"<html>", (502, "upstream_error")),
    ],
)
def test_a_replicas_refusal_is_translated(status: int, raw: bytes, expected: tuple[int, str | None]) -> None:
    refusal = refused_by_replica(status, raw)
    assert (refusal.status, refusal.openai_code) == expected
    assert set(msgspec.json.decode(refusal.body())["error"]) == {"message", "type", "param", "code"}


def test_errors_inside_streams_are_understood() -> None:
    assert stream_error({"error": {"code": 400, "message": "no"}}) == (400, "no")
    assert stream_error({"error": {"message": "no"}})[0] == 500
    assert stream_error(None)[0] == 500
