"""Bodies of /v1 requests: checked against OpenAI's types, then sent on as they came where nothing must change."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from yunhe.gateway.refusal import Refusal, bad_request

Positive = Annotated[int, Meta(ge=1)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Stop = str | Annotated[list[str], Meta(max_length=16)] | None
Role = Literal["system", "developer", "user", "assistant", "tool", "function"]


class ContentPart(Struct):
    """A piece of a message."""

    type: str
    text: str | None = None


class Message(Struct):
    """A chat message."""

    role: Role
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None


class StreamOptions(Struct):
    """What a stream carries besides the answer."""

    include_usage: bool | None = None


class Tool(Struct):
    """Something that the model may call."""

    type: str
    function: dict[str, Any] | None = None


class Generation(Struct):
    """What chat and text completions have in common."""

    model: str
    stream: bool | None = None
    stream_options: StreamOptions | UnsetType | None = UNSET
    max_tokens: Positive | None = None
    n: Annotated[int, Meta(ge=1, le=16)] | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    stop: Stop = None
    seed: int | None = None
    user: str | None = None
    logit_bias: dict[str, float] | None = None


class ChatBody(Generation, kw_only=True):
    """POST /v1/chat/completions."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_completion_tokens: Positive | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    response_format: dict[str, Any] | None = None
    reasoning_effort: str | None = None


class CompletionBody(Generation, kw_only=True):
    """POST /v1/completions."""

    prompt: str | list[str | int | list[int]]
    suffix: str | None = None
    logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    echo: bool | None = None
    best_of: Annotated[int, Meta(ge=1, le=16)] | None = None


class EmbeddingBody(Struct):
    """POST /v1/embeddings."""

    model: str
    input: str | Annotated[list[str | int | list[int]], Meta(min_length=1)]
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: Positive | None = None
    user: str | None = None


class Call(Struct):
    """A checked request."""

    #: chat.completions, completions or embeddings
    endpoint: str
    model: str
    body: bytes
    stream: bool
    #: The client asked for the usage chunk itself.
    include_usage: bool
    #: ``stream_options`` occurs in the body, so it cannot simply be appended.
    has_stream_options: bool
    #: Estimate of the prompt's tokens (a token is about four bytes), for limits and balancing.
    prompt_estimate: int
    #: No tokenizer makes more tokens of the body than this.
    prompt_bound: int
    #: Bound on one choice's tokens; None when the client gave none.
    choice_max: int | None
    #: Answers asked for at once.
    choices: int

    def completion_max(self, context_length: int) -> int:
        """Answer tokens that all choices together can have, each within the model's context."""
        one = context_length if self.choice_max is None or self.choice_max > context_length else self.choice_max
        return one * self.choices


_CHAT: Final = msgspec.json.Decoder(ChatBody)
_COMPLETION: Final = msgspec.json.Decoder(CompletionBody)
_EMBEDDING: Final = msgspec.json.Decoder(EmbeddingBody)
#: Tokens that a chat template may add beyond the JSON's own overhead, which is counted as prompt.
_TEMPLATE_TOKENS: Final = 64
_AT: Final = re.compile(r" - at `\$\.?([^`]*)`$")
_MISSING: Final = re.compile(r"missing required field `([^`]+)`")
_EXPECTED: Final = re.compile(r"Expected `([^`]+)`, got `([^`]+)`")
_WORDS: Final = {
    "int": "an integer",
    "float": "a number",
    "str": "a string",
    "bool": "a boolean",
    "array": "an array",
    "object": "an object",
    "null": "null",
}


def read_call(endpoint: str, body: bytes) -> Call:
    """Check a body. Raises Refusal 400 that names the parameter."""
    try:
        str(body, "utf-8")
        if endpoint == "chat.completions":
            return _chat(body)
        if endpoint == "completions":
            return _completion(body)
        embedding = _EMBEDDING.decode(body)
        return Call(endpoint, embedding.model, body, False, False, False, len(body) // 4 or 1, len(body), 0, 1)
    except UnicodeDecodeError:
        raise bad_request("The request body is not valid UTF-8.", code="invalid_utf8") from None
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from None
    except msgspec.DecodeError as error:
        raise bad_request(
            f"We could not parse the JSON body of your request: {error}. The body must be one JSON object.",
            code="invalid_json",
        ) from None
    except RecursionError:
        raise bad_request("The JSON body is nested too deeply.", code="invalid_json") from None


def _chat(body: bytes) -> Call:
    chat = _CHAT.decode(body)
    limit = chat.max_completion_tokens or chat.max_tokens
    for index, message in enumerate(chat.messages):
        if message.content is None and message.role in ("user", "system", "developer", "tool"):
            raise bad_request(
                f"Invalid value for 'messages[{index}].content': expected a string or an array, got null.",
                code="invalid_type",
                param=f"messages[{index}].content",
            )
    return _generation("chat.completions", chat, body, limit, chat.n or 1)


def _completion(body: bytes) -> Call:
    completion = _COMPLETION.decode(body)
    prompt = completion.prompt
    count = 1
    if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        count = len(prompt)
    choices = max(completion.n or 1, completion.best_of or 1) * count
    return _generation("completions", completion, body, completion.max_tokens, choices)


def _generation(endpoint: str, parsed: Generation, body: bytes, limit: int | None, choices: int) -> Call:
    options = parsed.stream_options
    stream = parsed.stream is True
    if isinstance(options, StreamOptions) and not stream:
        raise bad_request(
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.", param="stream_options"
        )
    size = len(body)
    return Call(
        endpoint,
        parsed.model,
        body,
        stream,
        isinstance(options, StreamOptions) and options.include_usage is True,
        options is not UNSET,
        size // 4 or 1,
        size + _TEMPLATE_TOKENS,
        limit,
        choices,
    )


def _invalid(text: str) -> Refusal:
    """OpenAI's words for what the decoder found."""
    at = _AT.search(text)
    path = at[1] if at else ""
    missing = _MISSING.search(text)
    if missing:
        name = f"{path}.{missing[1]}" if path else missing[1]
        return bad_request(f"Missing required parameter: '{name}'.", code="missing_required_parameter", param=name)
    found = text[: at.start()] if at else text
    expected = _EXPECTED.match(found)
    if expected:
        wanted = " or ".join(_WORDS.get(kind.strip(), kind.strip()) for kind in expected[1].split("|"))
        got = _WORDS.get(expected[2], expected[2])
        what = f"Invalid type for '{path}'" if path else "Invalid type for the request body"
        return bad_request(
            f"{what}: expected {wanted}, but got {got} instead.", code="invalid_type", param=path or None
        )
    return bad_request(f"Invalid value for '{path}': {found}.", code="invalid_value", param=path or None)


def upstream_body(
    call: Call, upstream_model: str, fields: dict[str, Any], suffix: bytes, needles: tuple[bytes, ...]
) -> bytes:
    """The body for a replica.

    ``fields`` are added to a stream (usage wanted, the engine's probe fields) and ``suffix`` is the same as JSON text,
    ``,"a":1}``, and ``needles`` their quoted names. The common case appends the text; only a clash of names costs a
    decode and an encode.
    """
    rename = upstream_model != call.model
    if not call.stream:
        if not rename:
            return call.body
        return _rewritten(call.body, {"model": upstream_model})
    body = call.body
    if rename or call.has_stream_options:
        return _rewritten(body, {**fields, "model": upstream_model})
    for needle in needles:
        if needle in body:
            return _rewritten(body, {**fields, "model": upstream_model})
    return body.rstrip()[:-1] + suffix


def _rewritten(body: bytes, changes: dict[str, Any]) -> bytes:
    document = msgspec.json.decode(body)
    own = document.get("stream_options")
    document.update(changes)
    if isinstance(own, dict) and "stream_options" in changes:
        document["stream_options"] = {**own, **changes["stream_options"]}
    try:
        return msgspec.json.encode(document)
    except OverflowError:
        raise bad_request("A number in the request body is out of range.", code="invalid_value") from None
