"""Chat over ``/v1``: the answer as it comes. Any OpenAI client does the same; this one needs no second library."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import httpx

from yunhe.sdk.errors import Interrupted, UnexpectedAnswer, error_from_answer
from yunhe.sdk.records import Record, Time
from yunhe.sdk.transport import Transport, read

#: Seconds without a single byte after which a stream counts as dead.
SILENCE_S_MAX: Final = 120.0
Message = Mapping[str, str]


class TokenCount(Record):
    """Tokens of one answer, counted by the engine."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class ServedModel(Record):
    """A model that this key may call now."""

    id: str
    owned_by: str
    created: Time


class ChatStream:
    """Iterate it for pieces of text; afterwards it knows how the answer ended."""

    def __init__(self, answer: httpx.Response) -> None:
        self._answer = answer
        self.request_id: str | None = answer.headers.get("x-request-id")
        #: "centre; chip; engine; recipe" that answered.
        self.served_by: str | None = answer.headers.get("x-yunhe-served-by")
        #: stop, length ...: None until the end.
        self.finish_reason: str | None = None
        self.usage: TokenCount | None = None

    def __iter__(self) -> Iterator[str]:
        """Pieces of text. Raises Interrupted when the stream breaks off, ApiError for an error event."""
        for line in self._answer.iter_lines():
            if not line.startswith("data:"):
                continue
            data = line[5:].strip()
            if data == "[DONE]":
                return
            if text := self._take(data):
                yield text
        raise Interrupted("the stream ended before the answer did", code="interrupted", request_id=self.request_id)

    def _take(self, data: str) -> str:
        try:
            event: Any = json.loads(data)
        except ValueError as error:
            raise UnexpectedAnswer("the stream holds an event that is no JSON", code="unexpected_answer") from error
        if "error" in event:
            raise error_from_answer(503, event, request_id=self.request_id)
        if event.get("usage"):
            self.usage = read(TokenCount, event["usage"])
        choice = next(iter(event.get("choices") or ()), None)
        if choice is None:
            return ""
        self.finish_reason = choice.get("finish_reason") or self.finish_reason
        return str((choice.get("delta") or {}).get("content") or "")


class Chat:
    """/v1/chat/completions and /v1/models."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    @contextmanager
    def stream(
        self,
        model: str,
        messages: Sequence[Message],
        *,
        max_tokens: int | None = None,
        temperature: float | None = None,
        seed: int | None = None,
    ) -> Iterator[ChatStream]:
        """Ask and read the answer as it comes; leaving the block early stops the model. Raises ApiError."""
        body: dict[str, object] = {
            "model": model,
            "messages": [dict(message) for message in messages],
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        optional = {"max_tokens": max_tokens, "temperature": temperature, "seed": seed}
        body.update({field: value for field, value in optional.items() if value is not None})
        with self._transport.stream("/v1/chat/completions", body, timeout_s=SILENCE_S_MAX) as answer:
            yield ChatStream(answer)

    def models(self) -> list[ServedModel]:
        """The models that this key may call. Raises ApiError."""
        answer = self._transport.get("/v1/models")
        if not isinstance(answer, dict) or not isinstance(answer.get("data"), list):
            raise UnexpectedAnswer("/v1/models answered no list", code="unexpected_answer")
        return [read(ServedModel, item) for item in answer["data"]]
