"""Asking a replica: is it healthy, does it answer a known prompt sanely, how fast is it, what has it counted."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from typing import Any, Final

import httpx

from yunhe.catalogue.model import Model, Probe
from yunhe.catalogue.ports import LaunchPlan

HEALTH_TIMEOUT_S: Final = 5.0
ANSWER_TIMEOUT_S: Final = 120.0
SPEED_TOKENS: Final = 24
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


def headers(plan: LaunchPlan) -> dict[str, str]:
    """What the engine wants to see of a caller."""
    return {"authorization": f"Bearer {plan.api_key}"} if plan.api_key else {}


async def check_health(client: httpx.AsyncClient, base_url: str, plan: LaunchPlan) -> None:
    """Raises NotReachable with the reason unless the health page answers 200."""
    try:
        answer = await client.get(base_url + plan.health_path, headers=headers(plan), timeout=HEALTH_TIMEOUT_S)
    except httpx.HTTPError as error:
        raise NotReachable(f"{type(error).__name__} on {plan.health_path}") from error
    if answer.status_code != 200:
        raise NotReachable(f"{plan.health_path} answered {answer.status_code}")


async def check_sanity(client: httpx.AsyncClient, base_url: str, plan: LaunchPlan, model: Model) -> float | None:
    """Ask the known prompt, then measure decode speed at one request, tokens/s (None when it cannot be told).

    Raises NotSane with the answer, or NotReachable. Completions are preferred, because chat templates add their own
    words; a model without them is asked in a chat.
    """
    if "completions" not in model.capabilities and "chat" not in model.capabilities:
        return None
    text, _ = await _ask(client, base_url, plan, model, model.probe, model.probe.max_tokens)
    if model.probe.expect is not None:
        if not re.search(model.probe.expect, text):
            raise NotSane(f"asked {model.probe.prompt!r} it answered {text[:80]!r}, not {model.probe.expect!r}")
    elif len(set(text.strip())) < DISTINCT_CHARS_MIN:
        raise NotSane(f"asked {model.probe.prompt!r} it answered {text[:80]!r}, which is no language")
    begin = time.perf_counter()
    _, tokens = await _ask(client, base_url, plan, model, model.probe, SPEED_TOKENS)
    return tokens / (time.perf_counter() - begin) if tokens else None


async def _ask(
    client: httpx.AsyncClient, base_url: str, plan: LaunchPlan, model: Model, probe: Probe, max_tokens: int
) -> tuple[str, int]:
    body: dict[str, Any] = {"model": plan.upstream_model, "max_tokens": max_tokens, "temperature": 0}
    plain = "completions" in model.capabilities
    body |= {"prompt": probe.prompt} if plain else {"messages": [{"role": "user", "content": probe.prompt}]}
    path = "/v1/completions" if plain else "/v1/chat/completions"
    try:
        answer = await client.post(base_url + path, json=body, headers=headers(plan), timeout=ANSWER_TIMEOUT_S)
    except httpx.HTTPError as error:
        raise NotReachable(f"{type(error).__name__} on {path}") from error
    if answer.status_code != 200:
        raise NotSane(f"{path} answered {answer.status_code}: {answer.text[:200]}")
    try:
        found = answer.json()
        choice = found["choices"][0]
        text = choice["text"] if plain else choice["message"]["content"]
        return str(text or ""), int((found.get("usage") or {}).get("completion_tokens") or 0)
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise NotSane(f"{path} answered something that is not OpenAI's shape: {answer.text[:200]}") from error


async def read_counters(client: httpx.AsyncClient, base_url: str, plan: LaunchPlan) -> Counters | None:
    """The engine's own cumulative counts, where it has a metrics page that answers."""
    if plan.metrics_path is None:
        return None
    try:
        answer = await client.get(base_url + plan.metrics_path, headers=headers(plan), timeout=HEALTH_TIMEOUT_S)
    except httpx.HTTPError:
        return None
    if answer.status_code != 200:
        return None
    found: dict[str, int] = {}
    for line in answer.text.splitlines():
        name, _, value = line.partition(" ")
        if name in (plan.prompt_counter, plan.cached_counter, plan.completion_counter):
            found[name] = int(float(value))
    prompt = found.get(plan.prompt_counter)
    if prompt is not None:
        prompt += found.get(plan.cached_counter, 0)
    return Counters(prompt, found.get(plan.completion_counter))
