"""Whole answers of replicas brought into OpenAI's published shape."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from yunhe.gateway.refusal import INVALID, Refusal, upstream_failed

_CONTEXT: Final = re.compile(
    r"context[ _](?:length|size|window).{0,80}exceed|exceed.{0,80}context|maximum context length",
    re.IGNORECASE | re.DOTALL,
)
_MEMBERS: Final = {
    "chat.completions": frozenset(
        {"id", "choices", "created", "model", "service_tier", "system_fingerprint", "object", "usage", "metadata"}
    ),
    "completions": frozenset({"id", "choices", "created", "model", "system_fingerprint", "object", "usage"}),
    "embeddings": frozenset({"data", "model", "object", "usage"}),
}
_OBJECTS: Final = {"chat.completions": "chat.completion", "completions": "text_completion", "embeddings": "list"}
_FINISH: Final = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


class BadAnswer(ValueError):
    """The replica answered something that is not an answer of this endpoint."""


def normalised(endpoint: str, model: str, request_id: str, now_s: int, raw: bytes) -> tuple[bytes, dict[str, Any]]:
    """``(body for the client, usage object)``. Raises BadAnswer."""
    try:
        parsed = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadAnswer("not JSON") from None
    if not isinstance(parsed, dict):
        raise BadAnswer("not a JSON object")
    usage = parsed.get("usage")
    if not isinstance(usage, dict):
        usage = {}
    if endpoint == "embeddings":
        _embeddings(parsed, usage)
    else:
        _generation(endpoint, parsed, request_id, now_s)
        _usage_shape(usage)
    allowed = _MEMBERS[endpoint]
    if not allowed.issuperset(parsed):
        parsed = {name: value for name, value in parsed.items() if name in allowed}
    parsed["model"] = model
    parsed["object"] = _OBJECTS[endpoint]
    parsed["usage"] = usage
    return msgspec.json.encode(parsed), usage


def _generation(endpoint: str, parsed: dict[str, Any], request_id: str, now_s: int) -> None:
    choices = parsed.get("choices")
    if not isinstance(choices, list) or not choices:
        raise BadAnswer("no choices")
    chat = endpoint == "chat.completions"
    for index, choice in enumerate(choices):
        if not isinstance(choice, dict):
            raise BadAnswer("a choice is not an object")
        choice.setdefault("index", index)
        if choice.get("finish_reason") not in _FINISH:
            choice["finish_reason"] = "stop"
        if chat:
            _message(choice)
        else:
            choice.setdefault("text", "")
        logprobs = choice.setdefault("logprobs", None)
        if chat and isinstance(logprobs, dict):
            logprobs.setdefault("content", None)
            logprobs.setdefault("refusal", None)
    if not isinstance(parsed.get("id"), str):
        parsed["id"] = ("chatcmpl-" if chat else "cmpl-") + request_id
    if not isinstance(parsed.get("created"), int):
        parsed["created"] = now_s
    if parsed.get("system_fingerprint", "") is None:
        del parsed["system_fingerprint"]


def _message(choice: dict[str, Any]) -> None:
    message = choice.get("message")
    if not isinstance(message, dict):
        raise BadAnswer("a choice holds no message")
    message["role"] = "assistant"
    message.setdefault("content", None)
    message.setdefault("refusal", None)
    for name in ("tool_calls", "function_call", "audio", "annotations"):
        if name in message and not message[name]:
            del message[name]


def _embeddings(parsed: dict[str, Any], usage: dict[str, Any]) -> None:
    data = parsed.get("data")
    if not isinstance(data, list):
        raise BadAnswer("no data")
    for index, item in enumerate(data):
        if not isinstance(item, dict) or "embedding" not in item:
            raise BadAnswer("an item holds no embedding")
        item.setdefault("index", index)
        item["object"] = "embedding"
    usage.setdefault("prompt_tokens", 0)
    usage.setdefault("total_tokens", usage["prompt_tokens"])


def _usage_shape(usage: dict[str, Any]) -> None:
    prompt = usage.setdefault("prompt_tokens", 0)
    completion = usage.setdefault("completion_tokens", 0)
    usage.setdefault("total_tokens", prompt + completion)


def refused_by_replica(status: int, raw: bytes) -> Refusal:
    """A replica's 4xx in OpenAI's exact shape."""
    message, code, param = _error_of(raw)
    if _CONTEXT.search(f"{code or ''} {message}"):
        return Refusal(400, INVALID, "context_length_exceeded", message, param="messages")
    if status in (401, 403, 404, 405, 407):
        # Between gateway and replica, not the caller's doing: the replica's key, path or model name is wrong.
        return upstream_failed(f"The model's server refused the gateway (status {status}); its operator must look.")
    return Refusal(400 if status != 413 else 413, INVALID, code, message, param=param)


def _error_of(raw: bytes) -> tuple[str, str | None, str | None]:
    try:
        parsed = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        parsed = None
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    if isinstance(error, str):
        return error[:2000], None, None
    if not isinstance(error, dict):
        return "The model's server refused the request without saying why.", None, None
    message = error.get("message") or error.get("detail") or "The model's server refused the request."
    kind = error.get("type")
    code = error.get("code")
    code_text = code if isinstance(code, str) else kind if isinstance(kind, str) and kind != INVALID else None
    param = error.get("param")
    return str(message)[:2000], code_text, param if isinstance(param, str) else None


def stream_error(parsed: dict[str, Any] | None) -> tuple[int, str]:
    """``(status, message)`` of an error event inside a stream."""
    raw = msgspec.json.encode(parsed or {})
    message = _error_of(raw)[0]
    error = parsed.get("error") if parsed else None
    status = error.get("code") if isinstance(error, dict) else None
    return (status if isinstance(status, int) and 400 <= status < 600 else 500), message
