from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from yunhe.agent.probe import Asker, NotReachable, NotSane, counters_of, judge
from yunhe.catalogue.model import Model, Probe
from yunhe.catalogue.ports import LaunchPlan, UsageProbe
from yunhe.testing import samples

PLAN = LaunchPlan(
    argv=("x",), env={}, files={}, base_url="http://engine", port_file=None, health_path="/health",
    metrics_path="/metrics", upstream_model="there", slots=1, usage_probe=UsageProbe(), memory_bytes=None,
    cpu_cores=None, api_key="secret", prompt_counter="e:prompt_total", cached_counter="e:cached_total",
    completion_counter="e:made_total",
)  # fmt: skip
MODEL = replace(samples.model(), probe=Probe("One and one is", "two", max_tokens=16))

Handler = Callable[[httpx.Request], httpx.Response]


def asker(handle: Handler, plan: LaunchPlan = PLAN) -> Asker:
    return Asker(httpx.AsyncClient(transport=httpx.MockTransport(handle)), "http://engine", plan)


def completing(text: str, tokens: int = 16) -> Handler:
    def handle(request: httpx.Request) -> httpx.Response:
        chat = request.url.path.endswith("/chat/completions")
        choice: dict[str, Any] = {"message": {"content": text}} if chat else {"text": text}
        return httpx.Response(
            200, json={"choices": [choice], "usage": {"prompt_tokens": 4, "completion_tokens": tokens}}
        )

    return handle


async def test_the_expected_answer_is_sane_and_its_tokens_are_counted() -> None:
    one = asker(completing(" two."))
    speed = await one.check_sanity(MODEL)
    assert speed is not None
    assert speed > 0
    assert (one.prompt_tokens, one.completion_tokens) == (4, 16)


async def test_a_short_answer_is_followed_by_a_measurement() -> None:
    seen: list[dict[str, Any]] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(json.loads(request.content))
        return completing(" two.", 1 if len(seen) == 1 else 24)(request)

    one = asker(handle)
    assert await one.check_sanity(MODEL) is not None
    assert [body["max_tokens"] for body in seen] == [16, 24]
    assert one.completion_tokens == 25


async def test_the_replica_is_asked_by_its_own_name_and_with_its_key() -> None:
    seen: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return completing("two")(request)

    await asker(handle).check_sanity(MODEL)
    assert seen[0].url.path == "/v1/completions"
    assert seen[0].headers["authorization"] == "Bearer secret"
    assert json.loads(seen[0].content)["model"] == "there"


async def test_a_model_that_only_chats_is_asked_in_a_chat() -> None:
    paths: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.path)
        return completing("two")(request)

    await asker(handle).check_sanity(replace(MODEL, capabilities=("chat",)))
    assert set(paths) == {"/v1/chat/completions"}


@pytest.mark.parametrize(("vector", "sane"), [([0.5, -1.0], True), ([0.0, 0.0], False), ([], False)])
async def test_a_model_of_embeddings_must_answer_a_vector_that_says_something(vector: list[float], sane: bool) -> None:
    one = asker(lambda _: httpx.Response(200, json={"data": [{"embedding": vector}], "usage": {"prompt_tokens": 3}}))
    embedder: Model = replace(MODEL, capabilities=("embeddings",))
    if sane:
        assert await one.check_sanity(embedder) is None
        assert one.prompt_tokens == 3
    else:
        with pytest.raises(NotSane):
            await one.check_sanity(embedder)


@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(500, text="broken"),
        httpx.Response(200, text="no json"),
        httpx.Response(200, json=[]),
        httpx.Response(200, json={"choices": []}),
        httpx.Response(200, json={"choices": [{"text": "three"}]}),
    ],
    ids=["status", "text", "list", "no choice", "wrong answer"],
)
async def test_any_other_answer_is_not_sane(answer: httpx.Response) -> None:
    with pytest.raises(NotSane):
        await asker(lambda _: answer).check_sanity(MODEL)


async def test_silence_is_told_from_nonsense() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(NotReachable, match="ConnectError on /health"):
        await asker(handle).check_health()
    with pytest.raises(NotReachable):
        await asker(handle).check_sanity(MODEL)
    assert await asker(handle).read_counters() is None


async def test_health_is_200_and_nothing_else() -> None:
    await asker(lambda _: httpx.Response(200)).check_health()
    with pytest.raises(NotReachable, match="503"):
        await asker(lambda _: httpx.Response(503)).check_health()


@pytest.mark.parametrize("text", ["", "   ", "!!!!!!!!", "ababab"])
def test_degenerate_text_is_not_sane(text: str) -> None:
    with pytest.raises(NotSane):
        judge("prompt", text, None)


def test_any_language_passes_where_no_answer_is_known() -> None:
    judge("prompt", "运河连接各地", None)


def test_counters_add_the_cached_and_the_labelled() -> None:
    page = '# HELP x\ne:prompt_total{slot="0"} 10\ne:prompt_total{slot="1"} 5\ne:cached_total 3\ne:made_total 2.5e1\n'
    found = counters_of(page, PLAN)
    assert (found.prompt_tokens, found.completion_tokens) == (18, 25)


def test_a_page_without_the_counters_counts_nothing() -> None:
    found = counters_of("other 1\ne:made_total broken\n\n", PLAN)
    assert (found.prompt_tokens, found.completion_tokens) == (None, None)
