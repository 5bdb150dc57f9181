"""How many tokens a request used, and how sure that is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final, NamedTuple

import msgspec

from yunhe.catalogue.ports import UsageProbe
from yunhe.gateway.journal import Found
from yunhe.ledger.usage import TokenSource, UsageRecord

_TOKENS_MAX: Final = 1 << 40


class Tokens(NamedTuple):
    """Counts and where they come from."""

    prompt: int
    cached: int
    completion: int
    source: TokenSource


NONE: Final = Tokens(0, 0, 0, "none")


def _count(value: object) -> int:
    """A token count, or 0 for what is none (floats with a whole value are taken)."""
    if type(value) is int:
        return value if 0 <= value < _TOKENS_MAX else 0
    if isinstance(value, float) and value.is_integer() and 0 <= value < _TOKENS_MAX:
        return int(value)
    return 0


def from_usage(usage: dict[str, Any]) -> Tokens | None:
    """Of an engine's final usage object; None when it holds no counts."""
    if "prompt_tokens" not in usage and "completion_tokens" not in usage:
        return None
    prompt = _count(usage.get("prompt_tokens"))
    details = usage.get("prompt_tokens_details")
    cached = _count(details.get("cached_tokens")) if isinstance(details, dict) else 0
    return Tokens(prompt, min(cached, prompt), _count(usage.get("completion_tokens")), "engine")


def from_probe(probe: UsageProbe, counts: bytes) -> Tokens | None:
    """Of an engine's cumulative counts inside a stream (a JSON object); None when they cannot be read."""
    try:
        parsed = msgspec.json.decode(counts)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if not isinstance(parsed, dict) or probe.completion_field not in parsed:
        return None
    prompt = sum(_count(parsed.get(name)) for name in probe.prompt_fields)
    cached = _count(parsed.get(probe.cached_field)) if probe.cached_field else 0
    return Tokens(prompt, min(cached, prompt), _count(parsed[probe.completion_field]), "engine_partial")


def interrupted(probe: UsageProbe, counts: bytes, delivered: int, prompt_estimate: int) -> Tokens:
    """Of a stream that ended early: from the newest counts, else from the delivered events; nothing delivered, nothing
    used."""
    if counts:
        tokens = from_probe(probe, counts)
        if tokens is not None:
            return tokens
    if not delivered:
        return NONE
    return Tokens(prompt_estimate, 0, delivered, "delivered")


def estimated(prompt_estimate: int, answer_bytes: int) -> Tokens:
    """Of a whole answer whose engine told no usage: about four bytes a token."""
    return Tokens(prompt_estimate, 0, max(1, answer_bytes // 4), "delivered")


def crashed(found: Found) -> UsageRecord:
    """The record of a stream that its worker's death cut off."""
    stream = found.stream
    tokens = interrupted(stream.probe, found.counts, found.delivered, stream.prompt_estimate)
    return replace(
        msgspec.json.decode(stream.record, type=UsageRecord),
        outcome="gateway_crash",
        prompt_tokens=tokens.prompt,
        cached_tokens=tokens.cached,
        completion_tokens=tokens.completion,
        token_source=tokens.source,
    )
