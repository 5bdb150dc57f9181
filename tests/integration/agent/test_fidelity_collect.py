from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from yunhe.adapt.fidelity import InvalidEvidence
from yunhe.adapt.fidelity_texts import reference_texts
from yunhe.agent.tuning.fidelity.collect import LEAD_TOKENS, TextRecord, collect, missing, paired
from yunhe.agent.tuning.fidelity.logprobs import speech
from yunhe.agent.tuning.fidelity.server import (
    MeasurementFailed,
    MeasurementRefused,
    MeasurementTooSlow,
    Server,
    connected,
)
from yunhe.core.errors import YunheError
from yunhe.testing.fake_language_model import FakeLanguageModel

PLACES = 12
K = 6
TEXTS = [text for text in reference_texts() if text.entry.id in {"prose-boat", "zh-kitchen", "code-gcra"}]


@pytest.fixture
async def model() -> AsyncIterator[FakeLanguageModel]:
    model = FakeLanguageModel()
    await model.start()
    yield model
    await model.stop()


def server_of(model: FakeLanguageModel, slots: int = 2) -> Server:
    return Server(model.url, "sk-x", "fake", slots, 512)


async def collected(server: Server, **options: Any) -> tuple[TextRecord, ...]:
    async with connected(server) as exchange:
        said = speech(server, exchange)
        return await collect(said, server.slots, k=K, texts=TEXTS, places_per_text=PLACES, **options)


def assert_is_what_the_model_says(model: FakeLanguageModel, records: tuple[TextRecord, ...]) -> None:
    assert [record.text_id for record in records] == [text.entry.id for text in TEXTS]
    for record in records:
        assert record.ids.shape == (PLACES, K)
        for row in range(PLACES):
            expected = dict(model.top(list(record.tokens[: record.first + row]), K))
            assert record.listed(row) == pytest.approx(expected, abs=1e-6)


async def test_all_places_of_all_texts_are_listed_also_where_characters_are_incomplete(
    model: FakeLanguageModel,
) -> None:
    records = await collected(server_of(model))
    assert_is_what_the_model_says(model, records)
    # Without a forced token the server would have said nothing at some of them.
    likeliest = [
        model.top(list(record.tokens[: record.first + row]), 1)[0][0] for record in records for row in range(PLACES)
    ]
    assert any(token >= 0x80 for token in likeliest)


async def test_each_step_adds_one_token_to_what_its_slot_holds(model: FakeLanguageModel) -> None:
    seen: list[tuple[int, int]] = []
    await collected(server_of(model), progress=lambda done, total: seen.append((done, total)))
    slots: dict[int, list[list[int]]] = defaultdict(list)
    for slot, prompt in model.prompts:
        if len(prompt) >= LEAD_TOKENS:
            slots[slot].append(prompt)
    assert set(slots) == {0, 1}
    steps = [later[:-1] == earlier for prompts in slots.values() for earlier, later in pairwise(prompts)]
    # All but the changes of text, and the look at the bias before the first.
    assert sum(steps) >= len(TEXTS) * (PLACES - 1)
    assert seen[-1] == (len(TEXTS) * PLACES, len(TEXTS) * PLACES)


async def test_a_bias_that_shows_is_not_used_and_what_is_missing_is_counted(model: FakeLanguageModel) -> None:
    model.bias_shows = True
    records = await collected(server_of(model))
    silent = sum(
        model.top(list(record.tokens[: record.first + row]), 1)[0][0] >= 0x80
        for record in records
        for row in range(PLACES)
    )
    assert silent > 0
    assert sum(record.missing for record in records) == silent
    assert missing(records, records).candidate == silent
    assert len(list(paired(records, records))) == len(TEXTS) * PLACES - silent


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((200, {"completion_probabilities": "many"}), InvalidEvidence),
        ((200, {"completion_probabilities": [{"top_logprobs": [{"id": "a"}]}]}), InvalidEvidence),
        ((200, b"<html>"), InvalidEvidence),
        ((500, {"error": "broken"}), MeasurementFailed),
        ((401, {"error": "no key"}), MeasurementRefused),
    ],
)
async def test_wrong_answers_are_typed_errors(
    model: FakeLanguageModel, answer: tuple[int, Any], error: type[YunheError]
) -> None:
    model.answer = answer
    with pytest.raises(error) as caught:
        await collected(server_of(model))
    assert "/completion" in caught.value.message


async def test_a_server_that_dies_midway_is_a_typed_error(model: FakeLanguageModel) -> None:
    model.dies_after = 20
    with pytest.raises(MeasurementFailed):
        await collected(server_of(model))
    assert model.requests["/completion"] > 5


async def test_a_server_that_is_not_there_is_a_typed_error(model: FakeLanguageModel) -> None:
    await model.stop()
    with pytest.raises(MeasurementFailed):
        await collected(server_of(model))


async def test_a_collection_has_a_limit(model: FakeLanguageModel) -> None:
    model.stalls = True
    with pytest.raises(MeasurementTooSlow, match="log-probabilities"):
        await collected(server_of(model), limit_s=0.2)


async def test_other_tokens_of_the_same_text_cannot_be_compared(model: FakeLanguageModel) -> None:
    reference = await collected(server_of(model))
    model.other_tokens = True
    with pytest.raises(InvalidEvidence, match="other tokens"):
        list(paired(reference, await collected(server_of(model))))
    with pytest.raises(InvalidEvidence, match="no record"):
        list(paired(reference, reference[1:]))


async def test_the_other_dialect_says_the_same(model: FakeLanguageModel) -> None:
    stepwise = await collected(server_of(model))
    whole = await collected(replace(server_of(model), dialect="whole_prompt"))
    # The text's own token comes with every place; where it is not among the K likeliest it must not be listed.
    assert_is_what_the_model_says(model, whole)
    assert [record.tokens for record in whole] == [record.tokens for record in stepwise]
    assert model.requests["/v1/completions"] == len(TEXTS)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"choices": []}, InvalidEvidence),
        ({"choices": [{"text": ""}]}, InvalidEvidence),
        ({"choices": [{"prompt_logprobs": [None, {"1": {"logprob": -1.0}}]}]}, InvalidEvidence),
        ({"choices": [{"prompt_logprobs": [None, {"x": {"logprob": -1.0}}]}]}, InvalidEvidence),
    ],
)
async def test_wrong_answers_of_the_other_dialect_are_typed_errors(
    model: FakeLanguageModel, answer: dict[str, Any], error: type[YunheError]
) -> None:
    model.answer = (200, answer)
    with pytest.raises(error):
        await collected(replace(server_of(model), dialect="whole_prompt"))


async def test_places_without_a_list_are_counted_in_the_other_dialect(model: FakeLanguageModel) -> None:
    length = LEAD_TOKENS + PLACES
    model.answer = (
        200,
        {"choices": [{"prompt_logprobs": [None, *([{"7": {"logprob": 0.0, "rank": 1}}, None] * 14)][:length]}]},
    )
    records = await collected(replace(server_of(model), dialect="whole_prompt"))
    assert [record.missing for record in records] == [PLACES // 2] * len(TEXTS)
