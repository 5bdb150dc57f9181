"""What every engine driver owes the agent. Add a driver, with a case that it supports, to CASES."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from yunhe.catalogue.builtin import default_model
from yunhe.catalogue.model import ExternalServer, Model, Recipe
from yunhe.catalogue.ports import ENGINE_KEY, Engine, LaunchPlan
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines.external import ExternalEngine
from yunhe.drivers.engines.xllamacpp import XllamacppEngine
from yunhe.pool.model import Card

GIB = 1024**3
CARD = Card("cpu-1", "cpu-sample", "sample", "cpu", "Sample", 16 * GIB, 8, ("avx2",), "healthy")
MODEL = default_model("model_1", 1_790_000_000.0)
SERVER = ExternalServer("http://127.0.0.1:9/prefix/v1", "sk-there", "their-name", None, slots=3)


@dataclass(frozen=True)
class Case:
    engine: Engine
    card: Card | None
    weights: Path | None
    external: ExternalServer | None

    def launch(self, settings: dict[str, Any] | None = None, model: Model = MODEL) -> LaunchPlan:
        recipe = Recipe("recipe_1", "default", model.name, "any", self.engine.name, settings or {})
        return self.engine.launch(model, recipe, [self.card] if self.card else [], self.weights, self.external)


CASES = [
    Case(XllamacppEngine(), CARD, Path("/weights/model.gguf"), None),
    Case(ExternalEngine(), None, None, SERVER),
]


@pytest.fixture(params=CASES, ids=lambda case: case.engine.name)
def case(request: pytest.FixtureRequest) -> Case:
    assert isinstance(request.param, Case)
    return request.param


def test_it_has_a_name_and_a_version(case: Case) -> None:
    assert case.engine.name
    assert case.engine.version


def test_it_supports_its_case_and_gives_no_reason_against(case: Case) -> None:
    assert case.engine.supports(MODEL, case.card).supported


def test_it_says_why_when_it_does_not_support(case: Case) -> None:
    strange = replace(CARD, kind="npu", features=())
    verdicts = [case.engine.supports(MODEL, card) for card in (None, CARD, strange)]
    against = [verdict for verdict in verdicts if not verdict.supported]
    assert against
    assert all(verdict.reason for verdict in against)


def test_launching_is_pure(case: Case) -> None:
    assert case.launch() == case.launch()


def test_the_plan_tells_all_that_the_agent_needs(case: Case) -> None:
    plan = case.launch()
    assert plan.base_url.startswith("http://")
    assert not plan.base_url.endswith(("/", "/v1"))
    assert plan.health_path.startswith("/")
    assert plan.upstream_model
    assert plan.slots >= 1
    assert plan.attached is (plan.argv == ())
    assert (":0" in plan.base_url) is (plan.port_file is not None)


def test_secrets_are_neither_arguments_nor_environment(case: Case) -> None:
    plan = case.launch()
    assert plan.api_key
    assert all(plan.api_key not in text for text in (*plan.argv, *plan.env.values()))
    if plan.api_key == ENGINE_KEY:
        assert any(ENGINE_KEY in text for text in plan.files.values())


def test_unknown_settings_are_refused_by_name(case: Case) -> None:
    with pytest.raises(InvalidRequest) as caught:
        case.launch({"no_such_setting": 1})
    assert any("settings.no_such_setting" in str(field) for field in caught.value.details["fields"] or ())  # type: ignore[union-attr]


def test_every_setting_that_may_be_searched_can_be_launched(case: Case) -> None:
    for name, values in case.engine.settings(MODEL, case.card).choices.items():
        for value in values:
            assert case.launch({name: value}) is not None


def test_the_first_choice_of_each_setting_is_the_default(case: Case) -> None:
    defaults = {name: values[0] for name, values in case.engine.settings(MODEL, case.card).choices.items()}
    plain, spelled = case.launch(), case.launch(defaults)
    assert [json.loads(text) for text in plain.files.values()] == [json.loads(text) for text in spelled.files.values()]
    assert plain.slots == spelled.slots


def test_the_wrong_kind_of_source_is_refused(case: Case) -> None:
    other = Case(case.engine, case.card, None, None)
    with pytest.raises(InvalidRequest):
        other.launch()
