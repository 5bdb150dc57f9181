"""Events of a stream, handled as bytes: nothing is parsed that need not be."""

from __future__ import annotations

from typing import Any, Final

import msgspec

_USAGE: Final = b'"usage":'
_SPACE: Final = 32
_COMMA: Final = 44
ERROR_STARTS: Final = (b'data: {"error"', b'data:{"error"', b"error:", b"event: error", b"event:error")


def cut_member(event: bytes, key: bytes) -> tuple[bytes, bytes]:
    """``(event without the member, the member's value)``; the value is empty when there is no such member.

    ``key`` is ``"name":`` with its quotes: inside a JSON string quotes are escaped, so it can only be a member. Its
    value must be an object without objects or braces in it.
    """
    at = event.find(key)
    if at < 0:
        return event, b""
    end = event.find(b"}", at) + 1
    if end == 0:
        return event, b""
    value = event[at + len(key) : end]
    start = at
    while event[start - 1] == _SPACE:
        start -= 1
    if event[start - 1] == _COMMA:
        return event[: start - 1] + event[end:], value
    while event[end : end + 1] == b" ":
        end += 1
    if event[end : end + 1] == b",":
        end += 1
    return event[:start] + event[end:], value


def has_usage(event: bytes) -> bool:
    """Whether the event holds token counts (``"usage": null`` is none)."""
    at = event.find(_USAGE)
    if at < 0:
        return False
    at += len(_USAGE)
    while event[at : at + 1] == b" ":
        at += 1
    return event[at : at + 1] == b"{"


def document(event: bytes) -> dict[str, Any] | None:
    """The JSON object of an event's data lines, None when it holds none."""
    data = b"".join(line[5:].strip() for line in event.split(b"\n") if line.startswith(b"data:"))
    if not data:
        # Some servers send ``error: {...}`` as a field of its own.
        data = event.partition(b":")[2].strip()
    try:
        parsed = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    return parsed if isinstance(parsed, dict) else None


def event_of(parsed: dict[str, Any]) -> bytes:
    """An event with its ending blank line."""
    return b"data: " + msgspec.json.encode(parsed) + b"\n\n"


def carries_text(parsed: dict[str, Any]) -> bool:
    """Whether a parsed chunk holds generated text (the first chunk of a chat usually holds only the role)."""
    for choice in parsed.get("choices") or ():
        if not isinstance(choice, dict):
            continue
        if choice.get("text"):
            return True
        delta = choice.get("delta")
        if isinstance(delta, dict) and any(value for name, value in delta.items() if name != "role"):
            return True
    return False
