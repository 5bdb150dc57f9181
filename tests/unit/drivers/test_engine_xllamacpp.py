from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from yunhe.catalogue.builtin import default_model
from yunhe.catalogue.model import Model, Recipe
from yunhe.catalogue.ports import LaunchPlan
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines.xllamacpp import SLOTS_DEFAULT, XllamacppEngine
from yunhe.pool.model import Card

GIB = 1024**3
MODEL = default_model("model_1", 0.0)
CARD = Card("cpu-1", "cpu-sample", "sample", "cpu", "Sample", 16 * GIB, 8, ("avx2",), "healthy")
ENGINE = XllamacppEngine()


def launch(settings: dict[str, Any] | None = None, card: Card = CARD, model: Model = MODEL) -> LaunchPlan:
    recipe = Recipe("recipe_1", "default", model.name, "any", "xllamacpp", settings or {})
    return ENGINE.launch(model, recipe, [card], Path("/weights/model.gguf"), None)


def config(plan: LaunchPlan) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(plan.files["engine.json"])
    return found


def test_defaults_give_each_slot_the_whole_context_and_use_all_cores() -> None:
    made = config(launch())
    assert (made["slots"], made["context_length"], made["threads"]) == (SLOTS_DEFAULT, 8192, 8)
    assert made["alias"] == MODEL.name
    assert launch().cpu_cores == 8


def test_a_small_card_gets_fewer_slots() -> None:
    assert config(launch(card=replace(CARD, memory_bytes=2 * GIB)))["slots"] == 1


def test_slots_that_never_fit_are_refused_with_both_sizes() -> None:
    with pytest.raises(InvalidRequest, match=r"needs .* the card has 2\.0 GiB"):
        launch({"slots": 64}, card=replace(CARD, memory_bytes=2 * GIB))


def test_the_memory_limit_lies_above_the_need_and_within_the_card() -> None:
    assert launch().memory_bytes is not None
    assert GIB < (launch().memory_bytes or 0) <= 16 * GIB
    assert launch(card=replace(CARD, memory_bytes=2 * GIB)).memory_bytes == 2 * GIB


def test_a_model_of_unknown_shape_has_no_memory_limit() -> None:
    assert launch(model=replace(MODEL, shape={})).memory_bytes is None


def test_threads_spin_only_briefly_while_they_wait_unless_told_otherwise() -> None:
    assert launch().env == {"GOMP_SPINCOUNT": "300"}
    assert launch({"thread_wait": "active"}).env == {"OMP_WAIT_POLICY": "active"}


@pytest.mark.parametrize(
    ("settings", "field"),
    [
        ({"slots": 0}, "settings.slots"),
        ({"slots": True}, "settings.slots"),
        ({"threads": "all"}, "settings.threads"),
        ({"kv_type": "q2"}, "settings.kv_type"),
        ({"context_length": 100_000}, "settings.context_length"),
        ({"batch": 128, "ubatch": 256}, "settings.ubatch"),
        ({"kv_type": "q8_0", "flash_attention": "off"}, "settings.kv_type"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(settings: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        launch(settings)
    fields = caught.value.details["fields"]
    assert isinstance(fields, list)
    assert fields[0].startswith(field)


def test_all_wrong_settings_are_named_at_once() -> None:
    with pytest.raises(InvalidRequest) as caught:
        launch({"slots": 0, "nonsense": 1})
    assert len(caught.value.details["fields"]) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("model", "card"),
    [
        (replace(MODEL, weights=replace(MODEL.weights, format="safetensors")), CARD),
        (MODEL, replace(CARD, kind="npu")),
        (MODEL, replace(CARD, features=("sse2",))),
        (MODEL, replace(CARD, memory_bytes=GIB // 4)),
        (MODEL, None),
    ],
)
def test_what_it_cannot_run_it_says(model: Model, card: Card | None) -> None:
    verdict = ENGINE.supports(model, card)
    assert (verdict.supported, bool(verdict.reason)) == (False, True)


def test_embedding_models_are_started_as_such() -> None:
    assert config(launch())["embeddings"] is False
    assert config(launch(model=replace(MODEL, capabilities=("embeddings",))))["embeddings"] is True
