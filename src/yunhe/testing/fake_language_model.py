"""A fake language model behind the two ways in which servers give log-probabilities. Deterministic, never a model.

Its tokens are the bytes of UTF-8. What comes next depends on the last two tokens only, so tests can compute it.
"""

from __future__ import annotations

import asyncio
import math
import random
from collections import Counter
from functools import cache
from typing import Any

from yunhe.testing.http_server import Request, ScriptedServer, write_json

VOCABULARY = 256
#: Of the event loop, within which a request sent at the same time arrives.
_TURNS = 50


@cache
def distribution(before: tuple[int, ...], seed: int, noise: float) -> tuple[float, ...]:
    """Natural log-probabilities of all tokens after these two, most of them improbable."""
    drawn = random.Random(f"{before[-2:]}")
    logits = [drawn.gauss(0.0, 3.0) for _ in range(VOCABULARY)]
    if noise:
        other = random.Random(f"{before[-2:]} {seed}")
        logits = [logit + noise * other.gauss(0.0, 1.0) for logit in logits]
    total = math.log(math.fsum(map(math.exp, logits)))
    return tuple(logit - total for logit in logits)


class FakeLanguageModel:
    """A server of this model; attributes script its faults."""

    def __init__(self, *, noise: float = 0.0, seed: int = 0) -> None:
        self.noise, self.seed = noise, seed
        self._server = ScriptedServer(self._handle)
        #: Every completion that was asked for: (slot, prompt).
        self.prompts: list[tuple[int, list[int]]] = []
        self.requests: Counter[str] = Counter()
        #: List nothing when the sampled token is no whole character.
        self.silent_at_incomplete = True
        #: List log-probabilities with the bias in them.
        self.bias_shows = False
        #: Answer so many completions, then cut every connection.
        self.dies_after: int | None = None
        #: Answer all but /tokenize with this.
        self.answer: tuple[int, Any] | None = None
        #: Answer no completion.
        self.stalls = False
        #: Read texts one token off.
        self.other_tokens = False
        #: Continue otherwise while another request is under way.
        self.depends_on_batch = False
        self._under_way = 0

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._server.url

    async def start(self) -> None:
        """Begin to listen."""
        await self._server.start()

    async def stop(self) -> None:
        """Cut every connection."""
        await self._server.stop()

    def next_logprobs(self, before: list[int]) -> tuple[float, ...]:
        """Of all tokens."""
        return distribution(tuple(before[-2:]), self.seed, self.noise)

    def top(self, before: list[int], k: int) -> list[tuple[int, float]]:
        """The K likeliest."""
        return sorted(enumerate(self.next_logprobs(before)), key=lambda entry: -entry[1])[:k]

    def greedy(self, before: list[int], count: int, shift: int = 0) -> list[int]:
        """The likeliest continuation; ``shift`` alters it."""
        tokens = list(before)
        for _ in range(count):
            tokens.append((self.top(tokens, 1)[0][0] + shift) % VOCABULARY)
        return tokens[len(before) :]

    async def _handle(self, request: Request, writer: asyncio.StreamWriter) -> bool:
        self.requests[request.path] += 1
        body = request.json()
        if request.path == "/tokenize":
            tokens = list((body.get("content") or body.get("prompt")).encode())
            write_json(writer, 200, {"tokens": tokens[1:] if self.other_tokens else tokens})
            return True
        if self.answer is not None:
            write_json(writer, *self.answer)
            return True
        if self.stalls:
            await asyncio.Event().wait()
        if self.dies_after is not None and self.requests.total() > self.dies_after:
            writer.transport.abort()
            return False
        self._under_way += 1
        try:
            # Others that were sent at the same time are read before this one is answered.
            for _ in range(_TURNS if self.depends_on_batch else 0):
                await asyncio.sleep(0)
            write_json(writer, 200, self._answer(request.path, body))
        finally:
            self._under_way -= 1
        return True

    def _answer(self, path: str, body: dict[str, Any]) -> dict[str, Any]:
        if path == "/completion":
            return self._completion(body)
        if path == "/v1/completions":
            return {"choices": [self._choice(body)]}
        return {"choices": [{"message": {"content": "4"}}]}

    def _completion(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["prompt"]
        self.prompts.append((body["id_slot"], prompt))
        shift = int(self.depends_on_batch and self._under_way > 1)
        if not body.get("n_probs"):
            return {"tokens": self.greedy(prompt, body["n_predict"], shift)}
        bias = dict(map(tuple, body.get("logit_bias") or []))
        listed = self.top(prompt, body["n_probs"])
        sampled = next(iter(bias), listed[0][0])
        if self.bias_shows and bias:
            listed = [(sampled, 0.0), *((token, -1000.0) for token, _ in listed if token != sampled)]
        if sampled >= 0x80 and self.silent_at_incomplete:
            return {"content": "\ufffd"}
        entries = [{"id": token, "token": "?", "bytes": [token], "logprob": value} for token, value in listed]
        return {"completion_probabilities": [{"id": sampled, "top_logprobs": entries[: body["n_probs"]]}]}

    def _choice(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = body["prompt"]
        found: dict[str, Any] = {}
        if "prompt_logprobs" in body:
            places = range(1, len(prompt))
            found["prompt_logprobs"] = [None, *(self._place(prompt, at, body["prompt_logprobs"]) for at in places)]
        if body.get("return_token_ids"):
            shift = int(self.depends_on_batch and self._under_way > 1)
            found["token_ids"] = self.greedy(prompt, body["max_tokens"], shift)
        return {"text": "", **found}

    def _place(self, prompt: list[int], at: int, k: int) -> dict[str, Any]:
        values = self.next_logprobs(prompt[:at])
        listed = {token: rank for rank, (token, _) in enumerate(self.top(prompt[:at], k), 1)}
        own = prompt[at]
        if own not in listed:
            listed[own] = 1 + sum(value > values[own] for value in values)
        return {str(token): {"logprob": values[token], "rank": rank} for token, rank in listed.items()}
