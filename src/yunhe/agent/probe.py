"""Asking a replica: is it healthy, does it answer a known prompt sanely, how fast is it, what has it counted."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from yunhe.catalogue.model import Model
from yunhe.catalogue.ports import LaunchPlan

HEALTH_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 120.0
SPEED_TOKENS: Final = 24
#: Fewer say nothing of the speed, because reading the prompt takes time too.
SPEED_TOKENS_MIN: Final = 8
#: An answer with fewer different characters than this is degenerate ("!!!!!!!!").
DISTINCT_CHARS_MIN: Final = 3


class NotSane(Exception):
    """The replica answered, but not as a working model does."""


class NotReachable(Exception):
    """The replica did not answer, or not yet."""


@dataclass(frozen=True, slots=True)
class Counters:
    """Cumulative tokens that the engine says it served."""

    prompt_tokens: int | None
    completion_tokens: int | None


@dataclass(slots=True)
class Asker:
    """Asks one replica, and counts the tokens that this took."""

    client: httpx.AsyncClient = field(repr=False)
    base_url: str
    plan: LaunchPlan = field(repr=False)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    async def check_health(self) -> None:
        """Raises NotReachable with the reason unless the health page answers 200."""
        try:
            answer = await self.client.get(
                self.base_url + self.plan.health_path, headers=self._headers(), timeout=HEALTH_TIMEOUT_S
            )
        except httpx.HTTPError as error:
            raise NotReachable(f"{type(error).__name__} on {self.plan.health_path}") from error
        if answer.status_code != 200:
            raise NotReachable(f"{self.plan.health_path} answered {answer.status_code}")

    async def check_sanity(self, model: Model) -> float | None:
        """Ask the known prompt; decode speed at one request in tokens/s, None for a model that decodes nothing.

        Completions are preferred, because chat templates add their own words; a model without them is asked in a
        chat, and one with neither for an embedding. Raises NotSane with the answer, or NotReachable.
        """
        if "completions" not in model.capabilities and "chat" not in model.capabilities:
            await self._embed(model.probe.prompt)
            return None
        text, speed = await self._timed(model, model.probe.max_tokens)
        judge(model.probe.prompt, text, model.probe.expect)
        return speed or await self.measure_speed(model)

    async def measure_speed(self, model: Model) -> float | None:
        """Decode speed at one request in tokens/s; None when the answer is too short to tell."""
        return (await self._timed(model, SPEED_TOKENS))[1]

    async def _timed(self, model: Model, max_tokens: int) -> tuple[str, float | None]:
        begin = time.perf_counter()
        text, tokens = await self._complete(model.probe.prompt, max_tokens, "completions" in model.capabilities)
        return text, tokens / (time.perf_counter() - begin) if tokens >= SPEED_TOKENS_MIN else None

    async def read_counters(self) -> Counters | None:
        """The engine's own cumulative counts, where it has a metrics page that answers."""
        if self.plan.metrics_path is None:
            return None
        try:
            answer = await self.client.get(
                self.base_url + self.plan.metrics_path, headers=self._headers(), timeout=HEALTH_TIMEOUT_S
            )
        except httpx.HTTPError:
            return None
        return counters_of(answer.text, self.plan) if answer.status_code == 200 else None

    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.plan.api_key}"} if self.plan.api_key else {}

    async def _complete(self, prompt: str, max_tokens: int, plain: bool) -> tuple[str, int]:
        """The answer's text and how many tokens it has."""
        body: dict[str, Any] = {"model": self.plan.upstream_model, "max_tokens": max_tokens, "temperature": 0}
        body |= {"prompt": prompt} if plain else {"messages": [{"role": "user", "content": prompt}]}
        path = "/v1/completions" if plain else "/v1/chat/completions"
        answer = await self._post(path, body)
        try:
            choice = answer["choices"][0]
            text = choice["text"] if plain else choice["message"]["content"]
            return str(text or ""), self._count(answer)
        except (LookupError, TypeError, ValueError) as error:
            raise NotSane(f"{path} answered something that is not OpenAI's shape") from error

    async def _embed(self, text: str) -> None:
        answer = await self._post("/v1/embeddings", {"model": self.plan.upstream_model, "input": text})
        try:
            vector = [float(value) for value in answer["data"][0]["embedding"]]
            self._count(answer)
        except (LookupError, TypeError, ValueError) as error:
            raise NotSane("/v1/embeddings answered something that is not OpenAI's shape") from error
        if not any(vector) or not all(map(math.isfinite, vector)):
            raise NotSane("its embedding of the known text is empty, all zero or not finite")

    def _count(self, answer: dict[str, Any]) -> int:
        usage = answer.get("usage") or {}
        completion = int(usage.get("completion_tokens") or 0)
        self.prompt_tokens += int(usage.get("prompt_tokens") or 0)
        self.completion_tokens += completion
        return completion

    async def _post(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        try:
            answer = await self.client.post(
                self.base_url + path, json=body, headers=self._headers(), timeout=ANSWER_TIMEOUT_S
            )
        except httpx.HTTPError as error:
            raise NotReachable(f"{type(error).__name__} on {path}") from error
        if answer.status_code != 200:
            raise NotSane(f"{path} answered {answer.status_code}: {answer.text[:200]}")
        try:
            found = answer.json()
        except ValueError as error:
            raise NotSane(f"{path} answered no JSON: {answer.text[:200]}") from error
        if not isinstance(found, dict):
            raise NotSane(f"{path} answered something that is not OpenAI's shape")
        return found


def judge(prompt: str, text: str, expect: str | None) -> None:
    """Raises NotSane unless the answer is the expected one, or, where none is, at least no degenerate text."""
    if expect is not None:
        if not re.search(expect, text):
            raise NotSane(f"asked {prompt!r} it answered {text[:80]!r}, not {expect!r}")
    elif len(set(text.strip())) < DISTINCT_CHARS_MIN:
        raise NotSane(f"asked {prompt!r} it answered {text[:80]!r}, which is no language")


def counters_of(page: str, plan: LaunchPlan) -> Counters:
    """The plan's counters on a metrics page in Prometheus' text format; labelled series are added up."""
    found: dict[str, float] = {}
    for line in page.splitlines():
        series, _, value = line.rpartition(" ")
        name = series.partition("{")[0].strip()
        if name and name in (plan.prompt_counter, plan.cached_counter, plan.completion_counter):
            try:
                found[name] = found.get(name, 0.0) + float(value)
            except ValueError:
                continue
    prompt = found.get(plan.prompt_counter)
    if prompt is not None:
        prompt += found.get(plan.cached_counter, 0.0)
    completion = found.get(plan.completion_counter)
    return Counters(None if prompt is None else int(prompt), None if completion is None else int(completion))
