"""Asking a server that already runs what it serves."""

from __future__ import annotations

from typing import Any, Final

import click
import httpx

#: Where servers put the context length into their /v1/models: vLLM and SGLang, llama.cpp.
_FIELDS: Final = (("max_model_len",), ("meta", "n_ctx"), ("meta", "n_ctx_train"), ("context_length",))


def context_length(base_url: str, key: str | None, upstream_model: str) -> int:
    """The context length that the server itself names for the model. Raises click.UsageError when it names none."""
    url = f"{base_url.rstrip('/').removesuffix('/v1')}/v1/models"
    try:
        answer = httpx.get(url, headers={"authorization": f"Bearer {key}"} if key else {}, timeout=10.0)
        listed: Any = answer.raise_for_status().json().get("data", [])
    except (httpx.HTTPError, ValueError, AttributeError) as error:
        raise click.UsageError(
            f"{url} does not answer ({error}); give --context-length if the instance can reach it"
        ) from None
    entries = [entry for entry in listed if isinstance(entry, dict)]
    chosen = [entry for entry in entries if entry.get("id") == upstream_model] or entries[:1]
    for path in _FIELDS:
        value: Any = chosen[0] if chosen else None
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if isinstance(value, int) and value > 0:
            return value
    raise click.UsageError(f"{url} does not tell the model's context length; give --context-length")
