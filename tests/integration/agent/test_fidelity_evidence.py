from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from yunhe.adapt.fidelity_texts import reference_texts
from yunhe.adapt.recipe_evidence import FidelityReference
from yunhe.agent.tuning.fidelity import generate
from yunhe.agent.tuning.fidelity.evidence import gather, judged, measure, record_reference
from yunhe.agent.tuning.fidelity.generate import EDGE_TOKENS
from yunhe.agent.tuning.fidelity.records import ReferenceRecords
from yunhe.agent.tuning.fidelity.server import MeasurementFailed, MeasurementTooSlow, Server, connected
from yunhe.testing.fake_language_model import FakeLanguageModel

REFERENCE = FidelityReference(name="fake-model", digest="0" * 64, precision="F16")
CONTEXT = 200
K = 60


@pytest.fixture
async def model() -> AsyncIterator[FakeLanguageModel]:
    model = FakeLanguageModel()
    await model.start()
    yield model
    await model.stop()


def server_of(model: FakeLanguageModel, *, slots: int = 3, context_length: int = CONTEXT) -> Server:
    return Server(model.url, None, "fake", slots, context_length, "whole_prompt")


async def recorded(model: FakeLanguageModel, directory: Path, **options: Any) -> ReferenceRecords:
    return await record_reference(server_of(model), directory, REFERENCE, "fake 1 build x", **{"k": K, **options})


async def test_the_same_model_passes_with_every_part_measured(model: FakeLanguageModel, tmp_path: Path) -> None:
    reference = await recorded(model, tmp_path)
    part = await measure(server_of(model), reference, "exact")
    assert part.verdict == "passed", part.reasons
    assert part.unmeasured == ()
    assert part.positions == 2_052
    assert part.kl_nats.value == pytest.approx(0.0, abs=1e-6)
    assert part.top1_share.value == 1.0
    assert part.greedy_agreement_tokens is not None
    assert part.greedy_agreement_tokens.value == generate.GREEDY_TOKENS
    assert part.task is not None
    assert (part.task.items, part.task.p_value) == (77, 1.0)
    assert part.text_digests.keys() == {text.entry.id for text in reference_texts()}


async def test_long_prompts_fill_the_context_and_short_ones_have_one_to_three_tokens(
    model: FakeLanguageModel, tmp_path: Path
) -> None:
    answers = (await recorded(model, tmp_path)).answers
    assert {len(answered.prompt) + EDGE_TOKENS + 1 for answered in answers.long_prompt} == {CONTEXT}
    assert [len(answered.prompt) for answered in answers.short_prompt] == sorted([1, 2, 3] * 4)
    assert all(list(a.answer) == model.greedy(list(a.prompt), EDGE_TOKENS) for a in answers.short_prompt)


async def test_a_noisy_candidate_fails_and_is_asked_for_no_answers(model: FakeLanguageModel, tmp_path: Path) -> None:
    reference = await recorded(model, tmp_path)
    noisy = FakeLanguageModel(noise=1.5, seed=1)
    await noisy.start()
    part = await measure(server_of(noisy), reference, "chat")
    everything = await gather(server_of(noisy), reference)
    await noisy.stop()
    assert part.verdict == "failed"
    assert any(reason.startswith("KL may be") for reason in part.reasons)
    assert part.task is None
    assert everything.evidence.task is not None
    short = next(found for found in everything.evidence.sequences if found.kind == "short_prompt")
    assert short.agreeing_share(4) < 0.5


async def test_answers_that_change_with_the_batch_fail(model: FakeLanguageModel, tmp_path: Path) -> None:
    reference = await recorded(model, tmp_path)
    model.depends_on_batch = True
    part = await measure(server_of(model), reference, "chat")
    assert part.verdict == "failed"
    assert any(reason.startswith("batch:") for reason in part.reasons)
    alone = await measure(server_of(model, slots=1), reference, "chat")
    assert alone.verdict == "passed", alone.reasons
    assert "batch" in alone.unmeasured


async def test_the_reference_is_collected_once(model: FakeLanguageModel, tmp_path: Path) -> None:
    first = await recorded(model, tmp_path, parts=())
    asked = model.requests.total()
    again = await recorded(model, tmp_path, parts=())
    assert model.requests.total() == asked
    assert again.key == first.key
    assert all(
        (a.ids == b.ids).all() and (a.logprobs == b.logprobs).all()
        for a, b in zip(first.texts, again.texts, strict=True)
    )
    await recorded(model, tmp_path, parts=(), k=K + 1)
    assert model.requests.total() == 2 * asked
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("kept_bytes", [0, 100, 100_000])
async def test_damaged_records_are_collected_again(model: FakeLanguageModel, tmp_path: Path, kept_bytes: int) -> None:
    await recorded(model, tmp_path, parts=())
    (path,) = tmp_path.iterdir()
    whole = path.read_bytes()
    path.write_bytes(whole[:kept_bytes])
    again = await recorded(model, tmp_path, parts=())
    assert len(again.texts) == 18
    assert path.read_bytes()[:4] == whole[:4]
    assert path.stat().st_size == len(whole)


async def test_a_smaller_context_leaves_long_prompts_unmeasured(model: FakeLanguageModel, tmp_path: Path) -> None:
    reference = await recorded(model, tmp_path, parts=("sequences",))
    part = await measure(server_of(model, context_length=CONTEXT - 1), reference, "chat")
    assert part.verdict == "passed", part.reasons
    assert set(part.unmeasured) == {"task", "long_prompt"}


async def test_missing_places_are_told_and_too_many_are_no_evidence(model: FakeLanguageModel, tmp_path: Path) -> None:
    stepwise = Server(model.url, None, "fake", 3, CONTEXT)
    reference = await record_reference(stepwise, tmp_path, REFERENCE, "x", k=K, parts=())
    # Without a way to force plain tokens, this server says nothing where characters are incomplete.
    model.bias_shows = True
    measured = await gather(stepwise, reference)
    part = judged(measured, reference, "chat")
    assert part.verdict == "insufficient"
    lost = 2_052 - part.positions
    assert f"{lost} places for which the candidate listed no log-probabilities" in part.unmeasured


async def test_a_server_that_dies_is_no_verdict(model: FakeLanguageModel, tmp_path: Path) -> None:
    reference = await recorded(model, tmp_path, parts=())
    model.dies_after = model.requests.total() + 20
    with pytest.raises(MeasurementFailed):
        await measure(server_of(model), reference, "chat")


async def test_what_takes_too_long_at_the_edges_is_not_measured(
    model: FakeLanguageModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = await recorded(model, tmp_path, parts=("sequences",))
    asked = generate.over_slots

    async def limited(*arguments: Any, what: str, **options: Any) -> Any:
        if what == "answers at the edges":
            raise MeasurementTooSlow(what)
        return await asked(*arguments, what=what, **options)

    monkeypatch.setattr(generate, "over_slots", limited)
    part = await measure(server_of(model), reference, "chat")
    assert part.verdict == "passed", part.reasons
    assert {"short_prompt", "long_prompt"} <= set(part.unmeasured)


async def test_a_server_without_chat_has_no_task(model: FakeLanguageModel, tmp_path: Path) -> None:
    reference = await recorded(model, tmp_path, parts=("task",))
    assert reference.answers.task is not None
    model.answer = (404, {"error": "no such path"})
    async with connected(server_of(model)) as exchange:
        assert await generate.task_results(server_of(model), exchange) is None
