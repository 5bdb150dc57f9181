"""Bodies of requests."""

import msgspec
import pytest

from yunhe.gateway.refusal import Refusal
from yunhe.gateway.request_body import read_call, upstream_body

BASE = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
FIELDS = {"stream_options": {"include_usage": True}, "counts": True}
SUFFIX = b',"stream_options":{"include_usage":true},"counts":true}'
NEEDLES = (b'"stream_options"', b'"counts"')


def sent(body: dict[str, object], upstream: str = "m") -> dict[str, object]:
    raw = upstream_body(read_call("chat.completions", msgspec.json.encode(body)), upstream, FIELDS, SUFFIX, NEEDLES)
    parsed: dict[str, object] = msgspec.json.decode(raw)
    return parsed


def test_a_whole_answers_body_goes_on_as_it_came() -> None:
    raw = b' {"model" : "m", "messages":[{"role":"user","content":"hi"}], "unknown": [1.50] } '
    assert upstream_body(read_call("chat.completions", raw), "m", FIELDS, SUFFIX, NEEDLES) == raw


def test_streams_ask_for_usage_and_counts() -> None:
    assert sent({**BASE, "stream": True}) == {**BASE, "stream": True, **FIELDS}


@pytest.mark.parametrize("own", [{"stream_options": {"include_usage": False}}, {"stream_options": None}, {"counts": 5}])
def test_the_callers_own_words_cannot_turn_metering_off(own: dict[str, object]) -> None:
    body = sent({**BASE, "stream": True, **own})
    assert body["stream_options"] == {"include_usage": True}
    assert body["counts"] is True


def test_the_callers_other_stream_options_stay() -> None:
    options = {"include_usage": False, "include_obfuscation": False}
    body = sent({**BASE, "stream": True, "stream_options": options})
    assert body["stream_options"] == {"include_usage": True, "include_obfuscation": False}


def test_the_model_is_renamed() -> None:
    assert sent(BASE, "theirs")["model"] == "theirs"
    assert sent({**BASE, "stream": True}, "theirs")["model"] == "theirs"


def test_an_escaped_name_is_seen_too() -> None:
    raw = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"stream":true,"stream\\u005foptions":null}'
    assert read_call("chat.completions", raw).has_stream_options


def test_bounds_on_tokens() -> None:
    raw = msgspec.json.encode({**BASE, "max_tokens": 10, "n": 3})
    call = read_call("chat.completions", raw)
    assert call.completion_max(100) == 30
    assert call.completion_max(5) == 15
    assert call.prompt_bound >= len(raw)
    assert read_call("chat.completions", msgspec.json.encode(BASE)).completion_max(100) == 100
    newer = msgspec.json.encode({**BASE, "max_tokens": 10, "max_completion_tokens": 4})
    assert read_call("chat.completions", newer).completion_max(100) == 4
    endless = msgspec.json.encode({**BASE, "max_tokens": 10**15})
    assert read_call("chat.completions", endless).completion_max(100) == 100
    prompts = msgspec.json.encode({"model": "m", "prompt": ["a", "b"], "max_tokens": 10})
    assert read_call("completions", prompts).completion_max(100) == 20
    tokens = msgspec.json.encode({"model": "m", "prompt": [1, 2, 3], "max_tokens": 10})
    assert read_call("completions", tokens).completion_max(100) == 10


def test_nulls_are_taken_as_absent() -> None:
    call = read_call("chat.completions", msgspec.json.encode({**BASE, "max_tokens": None, "stream": None, "n": None}))
    assert (call.stream, call.choice_max, call.choices) == (False, None, 1)


def test_embeddings_take_texts_and_tokens() -> None:
    for given in ("a", ["a", "b"], [1, 2], [[1], [2]]):
        assert read_call("embeddings", msgspec.json.encode({"model": "m", "input": given})).completion_max(100) == 0
    with pytest.raises(Refusal):
        read_call("embeddings", b'{"model":"m","input":[]}')
