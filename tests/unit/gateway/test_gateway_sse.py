"""Events as bytes."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.gateway import sse

KEY = b'"timings":'


@pytest.mark.parametrize(
    ("event", "left", "value"),
    [
        (b'data: {"a":1,"timings":{"n":2}}\n\n', b'data: {"a":1}\n\n', b'{"n":2}'),
        (b'data: {"timings":{"n":2},"a":1}\n\n', b'data: {"a":1}\n\n', b'{"n":2}'),
        (b'data: {"timings":{"n":2}}\n\n', b"data: {}\n\n", b'{"n":2}'),
        (b'data: {"a": 1, "timings": {"n": 2}, "b": 3}\n\n', b'data: {"a": 1, "b": 3}\n\n', b' {"n": 2}'),
        (b'data: {"timings": {"n": 2}, "a": 1}\n\n', b'data: { "a": 1}\n\n', b' {"n": 2}'),
        (b'data: {"a":"timings"}\n\n', b'data: {"a":"timings"}\n\n', b""),
        (b'data: {"a":"\\"timings\\":{}"}\n\n', b'data: {"a":"\\"timings\\":{}"}\n\n', b""),
        (b"data: [DONE]\n\n", b"data: [DONE]\n\n", b""),
    ],
)
def test_a_member_is_cut_out(event: bytes, left: bytes, value: bytes) -> None:
    assert sse.cut_member(event, KEY) == (left, value)


TEXT = st.text(max_size=30)
NUMBERS = st.dictionaries(st.sampled_from(["prompt_n", "cache_n", "predicted_n", "ms"]), st.integers(0, 10**6))


@given(st.dictionaries(TEXT.filter(lambda t: t != "timings"), TEXT, max_size=4), NUMBERS, st.integers(0, 4))
def test_cutting_is_the_same_as_parsing_and_deleting(others: dict[str, str], counts: dict[str, int], at: int) -> None:
    items = list(others.items())
    items.insert(min(at, len(items)), ("timings", counts))  # type: ignore[arg-type]
    event = b"data: " + msgspec.json.encode(dict(items)) + b"\n\n"
    left, value = sse.cut_member(event, KEY)
    assert msgspec.json.decode(left[6:-2]) == others
    assert msgspec.json.decode(value) == counts


def test_usage_is_told_from_words_about_it() -> None:
    assert sse.has_usage(b'data: {"usage":{"prompt_tokens":1}}')
    assert sse.has_usage(b'data: {"usage": {"prompt_tokens": 1}}')
    assert not sse.has_usage(b'data: {"usage":null}')
    assert not sse.has_usage(b'data: {"a":"\\"usage\\":{"}')
    assert not sse.has_usage(b'data: {"delta":{"content":"usage"}}')


def test_only_generated_text_counts_as_delivered() -> None:
    assert not sse.carries_text({"choices": [{"delta": {"role": "assistant", "content": None}}]})
    assert not sse.carries_text({"choices": [{"delta": {"role": "assistant", "content": ""}}]})
    assert not sse.carries_text({"choices": [{"delta": {}}]})
    assert not sse.carries_text({"choices": []})
    assert sse.carries_text({"choices": [{"delta": {"content": "a"}}]})
    assert sse.carries_text({"choices": [{"delta": {"tool_calls": [{}]}}]})
    assert sse.carries_text({"choices": [{"text": "a"}]})


def test_documents_of_odd_events() -> None:
    assert sse.document(b'data: {"a":1}\n\n') == {"a": 1}
    assert sse.document(b'event: error\ndata: {"a":1}\n\n') == {"a": 1}
    assert sse.document(b'error: {"a":1}\n\n') == {"a": 1}
    assert sse.document(b"data: [DONE]\n\n") is None
    assert sse.document(b"data: {nonsense\n\n") is None
