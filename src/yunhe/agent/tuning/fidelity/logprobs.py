"""How servers are asked for log-probabilities and greedy answers, by token id.

Two dialects are spoken; ``speech`` picks the one of a server.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final, Protocol

import msgspec

from yunhe.adapt.fidelity import InvalidEvidence
from yunhe.agent.tuning.fidelity.server import Exchange, Server

#: Natural log-probabilities of the likeliest tokens, by id.
Logprobs = dict[int, float]
#: Texts of which one is a single token in about every vocabulary. All ASCII, see ``StepwiseSpeech``.
_PLAIN_TEXTS: Final = ("a", " a", "the", " the", "1", ".", "A")
#: Added to the logit of the token that is to be sampled; logits stay far below.
_BIAS: Final = 1000.0
#: With the bias in them, listed log-probabilities would give that token all but this.
_BIASED_LOGPROB: Final = -1e-4


class SpeaksLogprobs(Protocol):
    """What a server must be able to say. All methods raise as ``Exchange.post`` does."""

    async def tokens(self, text: str) -> list[int]:
        """The text as the model reads it, with what the model puts before a text."""
        ...

    def logprobs(self, tokens: Sequence[int], first: int, k: int, slot: int) -> AsyncIterator[Logprobs | None]:
        """The K likeliest tokens for each place from ``first`` (at least 1) to the end, given all tokens before it.

        None where the server lists nothing for a place.
        """
        ...

    async def greedy(self, tokens: Sequence[int], count: int, slot: int) -> tuple[int, ...]:
        """The likeliest continuation by so many tokens, past any end of text; fewer where the server stops."""
        ...


def speech(server: Server, exchange: Exchange) -> SpeaksLogprobs:
    """The dialect of this server."""
    if server.dialect == "whole_prompt":
        return WholePromptSpeech(exchange, server.upstream_model)
    return StepwiseSpeech(exchange)


class _Listed(msgspec.Struct):
    id: int
    logprob: float


class _Step(msgspec.Struct):
    top_logprobs: list[_Listed]


class _Completion(msgspec.Struct):
    completion_probabilities: list[_Step] = []


class _Generated(msgspec.Struct):
    tokens: list[int]


class _Tokens(msgspec.Struct):
    tokens: list[int]


class StepwiseSpeech:
    """One request for each next token; the slot keeps the prefix, so each costs one token.

    A server of this kind lists nothing when the token that it sampled is an incomplete character, which in Chinese
    text many tokens are, or ends the text. What it samples does not matter here, so a plain token is forced by a bias.
    The listed log-probabilities are those of the model, before any bias; that this is so is looked at once.
    """

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._forced: dict[str, list[list[float]]] | None = None

    async def tokens(self, text: str) -> list[int]:
        """As in SpeaksLogprobs."""
        return await self._tokenise(text, special=True)

    async def _tokenise(self, text: str, *, special: bool) -> list[int]:
        body = {"content": text, "add_special": special, "parse_special": False}
        return (await self._exchange.post("/tokenize", body, _Tokens)).tokens

    async def logprobs(self, tokens: Sequence[int], first: int, k: int, slot: int) -> AsyncIterator[Logprobs | None]:
        """As in SpeaksLogprobs."""
        if self._forced is None:
            self._forced = await self._forcing(tokens, first, slot)
        for place in range(first, len(tokens)):
            yield await self._next(tokens[:place], k, slot, self._forced)

    async def _next(
        self, prompt: Sequence[int], k: int, slot: int, forced: dict[str, list[list[float]]]
    ) -> Logprobs | None:
        body = {
            "prompt": list(prompt),
            "n_predict": 1,
            "n_probs": k,
            "temperature": 0.0,
            # Some versions list what their samplers left over, so these must leave everything.
            "top_k": 0,
            "top_p": 1.0,
            "min_p": 0.0,
            "cache_prompt": True,
            "id_slot": slot,
            "response_fields": ["completion_probabilities"],
            **forced,
        }
        steps = (await self._exchange.post("/completion", body, _Completion)).completion_probabilities
        return {entry.id: entry.logprob for entry in steps[0].top_logprobs} or None if steps else None

    async def _forcing(self, tokens: Sequence[int], first: int, slot: int) -> dict[str, list[list[float]]]:
        """What makes the server sample a plain token; empty where no way is known that leaves what is listed alone."""
        for text in _PLAIN_TEXTS:
            found = await self._tokenise(text, special=False)
            if len(found) != 1:
                continue
            forced = {"logit_bias": [[found[0], _BIAS]]}
            for place in (first, first + 1):
                listed = await self._next(tokens[:place], 1, slot, forced)
                if listed and listed.get(found[0], -1.0) < _BIASED_LOGPROB:
                    return forced
        return {}

    async def greedy(self, tokens: Sequence[int], count: int, slot: int) -> tuple[int, ...]:
        """As in SpeaksLogprobs."""
        body = {
            "prompt": list(tokens),
            "n_predict": count,
            "temperature": 0.0,
            "ignore_eos": True,
            "return_tokens": True,
            # The whole prompt is computed each time: a kept prefix was computed in another batch.
            "cache_prompt": False,
            "id_slot": slot,
            "response_fields": ["tokens"],
        }
        return tuple((await self._exchange.post("/completion", body, _Generated)).tokens)


class _Ranked(msgspec.Struct):
    logprob: float
    rank: int | None = None


class _Choice(msgspec.Struct):
    prompt_logprobs: list[dict[int, _Ranked] | None] | None = None
    token_ids: list[int] | None = None


class _Choices(msgspec.Struct):
    choices: list[_Choice]
    #: Some versions put it beside the choices.
    prompt_logprobs: list[dict[int, _Ranked] | None] | None = None


class WholePromptSpeech:
    """One request for all tokens of a text: ``/v1/completions`` with ``prompt_logprobs`` and ``return_token_ids``.

    The server must allow K (its limit may be 20 until told otherwise).
    """

    def __init__(self, exchange: Exchange, model: str) -> None:
        self._exchange, self._model = exchange, model

    async def tokens(self, text: str) -> list[int]:
        """As in SpeaksLogprobs."""
        body = {"model": self._model, "prompt": text, "add_special_tokens": True}
        return (await self._exchange.post("/tokenize", body, _Tokens)).tokens

    async def _complete(self, tokens: Sequence[int], count: int, more: dict[str, object]) -> _Choices:
        body = {"model": self._model, "prompt": list(tokens), "max_tokens": count, "temperature": 0.0, **more}
        answer = await self._exchange.post("/v1/completions", body, _Choices)
        if not answer.choices:
            raise InvalidEvidence("/v1/completions: the answer has no choice")
        return answer

    async def logprobs(self, tokens: Sequence[int], first: int, k: int, slot: int) -> AsyncIterator[Logprobs | None]:
        """As in SpeaksLogprobs."""
        answer = await self._complete(tokens, 1, {"prompt_logprobs": k})
        listed = answer.choices[0].prompt_logprobs or answer.prompt_logprobs
        if listed is None or len(listed) != len(tokens):
            raise InvalidEvidence(
                f"/v1/completions: prompt_logprobs for {len(listed or ())} of {len(tokens)} tokens", tokens=len(tokens)
            )
        for entries in listed[first:]:
            # The text's own token is listed too, whatever its rank; a list of the K likeliest must not hold it then.
            found = {token: entry.logprob for token, entry in (entries or {}).items() if (entry.rank or 1) <= k}
            yield found or None

    async def greedy(self, tokens: Sequence[int], count: int, slot: int) -> tuple[int, ...]:
        """As in SpeaksLogprobs."""
        answer = await self._complete(tokens, count, {"ignore_eos": True, "return_token_ids": True})
        if answer.choices[0].token_ids is None:
            raise InvalidEvidence("/v1/completions: the answer has no token_ids")
        return tuple(answer.choices[0].token_ids)
