"""What teacher forcing cannot show, seen by generating: greedy answers, full batches, edge prompts, and the task.

The reference answers prompts once; each candidate answers the same ones, by token ids.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import cycle, islice
from typing import Final

import msgspec

from yunhe.adapt.fidelity import InvalidEvidence
from yunhe.adapt.fidelity_tasks import TaskItem, correct, task_items
from yunhe.agent.tuning.fidelity.collect import TextRecord
from yunhe.agent.tuning.fidelity.logprobs import Logprobs, SpeaksLogprobs
from yunhe.agent.tuning.fidelity.server import Exchange, MeasurementRefused, MeasurementTooSlow, Server, over_slots

Tokens = tuple[int, ...]
#: Greedy answers: their number, the prompt's and the answer's length in tokens.
GREEDY_PROMPTS: Final = 12
GREEDY_PROMPT_TOKENS: Final = 48
GREEDY_TOKENS: Final = 24
#: Answers to edge prompts are short: a kernel that fails there fails at once.
EDGE_TOKENS: Final = 8
#: Prompts of one, two and three tokens: so many of each are tried, and so many kept, see ``decisive``.
SHORT_LENGTHS: Final = (1, 2, 3)
SHORT_PROMPTS_TRIED: Final = 10
SHORT_PROMPTS_KEPT: Final = 4
LONG_PROMPTS: Final = 2
#: Nearly a whole context, but not of contexts so long that one prompt takes longer than everything else.
LONG_PROMPT_TOKENS_MAX: Final = 1_536
#: Answers of a full batch are at most so many, however many slots there are.
BATCH_ANSWERS_MAX: Final = 128
#: The task's answers are a word, a number or a line.
TASK_TOKENS: Final = 32
#: Bounds of each part.
GREEDY_LIMIT_S: Final = 300.0
EDGES_LIMIT_S: Final = 600.0
TASK_LIMIT_S: Final = 600.0


class Answered(msgspec.Struct, frozen=True):
    """A prompt and its greedy answer, both as token ids."""

    prompt: Tokens
    answer: Tokens


class Prompts(msgspec.Struct, frozen=True):
    """What is asked of the reference and of every candidate."""

    greedy: tuple[Tokens, ...]
    short: tuple[Tokens, ...]
    long: tuple[Tokens, ...]


def prompts_from(records: Sequence[TextRecord], whole_texts: Sequence[Sequence[int]], context_length: int) -> Prompts:
    """Prompts from the texts that were measured; ``whole_texts`` are all their tokens.

    Long prompts fill a context but for their answer. Raises InvalidEvidence when there is no text.
    """
    if not records or not any(whole_texts):
        raise InvalidEvidence("there are no texts to make prompts from")
    spread = [records[index * len(records) // GREEDY_PROMPTS] for index in range(GREEDY_PROMPTS)]
    greedy = dict.fromkeys(record.tokens[:GREEDY_PROMPT_TOKENS] for record in spread)
    starts = [records[index % len(records)].tokens for index in range(SHORT_PROMPTS_TRIED)]
    short = dict.fromkeys(tokens[:length] for length in SHORT_LENGTHS for tokens in starts)
    length = min(context_length, LONG_PROMPT_TOKENS_MAX) - EDGE_TOKENS - 1
    long = dict.fromkeys(_repeated(text, length) for text in _first_and_last(whole_texts)) if length > 3 else {}
    return Prompts(tuple(greedy), tuple(short), tuple(long))


def _first_and_last(texts: Sequence[Sequence[int]]) -> list[Sequence[int]]:
    """Of different classes, because texts of one class stand together."""
    return [text for text in (texts[0], texts[-1]) if text]


def _repeated(text: Sequence[int], length: int) -> Tokens:
    """One text over and over, so many tokens: what comes next was read before, so that sound answers go on alike."""
    return tuple(islice(cycle(text), length))


async def decisive(speech: SpeaksLogprobs, slots: int, prompts: Sequence[Tokens], kept: int) -> tuple[Answered, ...]:
    """Answers to those prompts of which the reference is surest, ``kept`` of each length.

    After one or two tokens nearly anything may follow; answers part at near ties, and that says nothing of a
    candidate. An answer is as sure as its least sure token is, by the distance of the two likeliest tokens in nats.
    Raises as ``Exchange.post`` does.
    """

    async def one(prompt: Tokens, slot: int) -> tuple[float, Answered]:
        answer = await speech.greedy(prompt, EDGE_TOKENS, slot)
        distances = [_distance(listed) async for listed in speech.logprobs([*prompt, *answer], len(prompt), 2, slot)]
        return min(distances, default=0.0), Answered(prompt, answer)

    found = await over_slots(slots, prompts, one, limit_s=EDGES_LIMIT_S, what="answers to short prompts")
    by_length: dict[int, list[tuple[float, Answered]]] = {}
    for distance, answered in sorted(found, key=lambda entry: -entry[0]):
        by_length.setdefault(len(answered.prompt), []).append((distance, answered))
    return tuple(answered for length in sorted(by_length) for _, answered in by_length[length][:kept])


def _distance(listed: Logprobs | None) -> float:
    likeliest = sorted((listed or {}).values(), reverse=True)[:2]
    return likeliest[0] - likeliest[1] if len(likeliest) == 2 else 0.0


async def alone(speech: SpeaksLogprobs, prompts: Sequence[Tokens], count: int) -> tuple[Answered, ...]:
    """Answers of ``count`` tokens, one at a time on an idle server. Raises as ``Exchange.post`` does."""
    return await _answers(speech, 1, prompts, count, GREEDY_LIMIT_S, "greedy answers")


async def in_full_batches(
    speech: SpeaksLogprobs, slots: int, prompts: Sequence[Tokens], count: int
) -> tuple[Answered, ...]:
    """The same with all slots busy; prompts come again until every slot has one. Raises as ``Exchange.post`` does."""
    enough = min(BATCH_ANSWERS_MAX, max(len(prompts), slots))
    repeated = list(islice(cycle(prompts), enough))
    return await _answers(speech, slots, repeated, count, GREEDY_LIMIT_S, "answers in full batches")


async def at_the_edges(speech: SpeaksLogprobs, slots: int, prompts: Sequence[Tokens]) -> tuple[Answered, ...] | None:
    """Answers to edge prompts; None when they take too long. Raises as ``Exchange.post`` does."""
    try:
        return await _answers(speech, slots, prompts, EDGE_TOKENS, EDGES_LIMIT_S, "answers at the edges")
    except MeasurementTooSlow:
        return None


async def _answers(
    speech: SpeaksLogprobs, slots: int, prompts: Sequence[Tokens], count: int, limit_s: float, what: str
) -> tuple[Answered, ...]:
    async def one(prompt: Tokens, slot: int) -> Answered:
        return Answered(prompt, await speech.greedy(prompt, count, slot))

    return tuple(await over_slots(slots, prompts, one, limit_s=limit_s, what=what))


def answer_pairs(expected: Iterable[Answered], seen: Iterable[Answered]) -> list[tuple[Tokens, Tokens]]:
    """(expected, seen) answers to the same prompts. Raises InvalidEvidence for a prompt that only one side answered."""
    known = {answered.prompt: answered.answer for answered in expected}
    pairs = []
    for answered in seen:
        if answered.prompt not in known:
            raise InvalidEvidence("an answer has no counterpart: the prompts differ")
        pairs.append((known[answered.prompt], answered.answer))
    return pairs


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message


class _Chat(msgspec.Struct):
    choices: list[_Choice]


async def task_results(
    server: Server, exchange: Exchange, items: Sequence[TaskItem] | None = None
) -> tuple[bool, ...] | None:
    """Which items of the task (all when None) are answered rightly, in their order.

    None where the server has no chat or takes too long: then the task is not measured. Raises MeasurementFailed when
    the server goes away, and InvalidEvidence when it answers something else.
    """

    async def one(item: TaskItem, slot: int) -> bool:
        body = {
            "model": server.upstream_model,
            "messages": [{"role": "user", "content": item.prompt}],
            "temperature": 0.0,
            "max_tokens": TASK_TOKENS,
        }
        chat = await exchange.post("/v1/chat/completions", body, _Chat)
        return bool(chat.choices) and correct(item, chat.choices[0].message.content or "")

    asked = task_items() if items is None else items
    try:
        return tuple(await over_slots(server.slots, asked, one, limit_s=TASK_LIMIT_S, what="task"))
    except (MeasurementRefused, MeasurementTooSlow):
        return None
