"""What every engine driver owes the agent. Add a driver, with a case that it supports, to CASES."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from yunhe.catalogue.builtin import default_model
from yunhe.catalogue.model import ExternalServer, Model, Recipe, Weights
from yunhe.catalogue.ports import ENGINE_KEY, Engine, LaunchPlan
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines.external import ExternalEngine
from yunhe.drivers.engines.llamacpp import LlamacppEngine
from yunhe.drivers.engines.lmdeploy import LmdeployEngine
from yunhe.drivers.engines.mindie import MindieEngine
from yunhe.drivers.engines.openvino import OpenvinoEngine
from yunhe.drivers.engines.server_plan import Product
from yunhe.drivers.engines.sglang import SglangEngine
from yunhe.drivers.engines.vllm import VllmEngine
from yunhe.drivers.engines.xllamacpp import XllamacppEngine
from yunhe.pool.model import Card

GIB = 1024**3
CARD = Card("cpu-1", "cpu-sample", "sample", "cpu", "Sample", 16 * GIB, 8, ("avx2",), "healthy")
MODEL = default_model("model_1", 1_790_000_000.0)
GPU = Card("GPU-7c1f", "nvidia-h20", "nvidia", "gpu", "H20", 96 * GIB, health="healthy")
NPU = Card("npu-0", "ascend-910b3", "huawei", "npu", "910B3", 64 * GIB, health="healthy")
TENSORS = replace(
    MODEL,
    architecture="qwen3",
    quantisation="bf16",
    weights=Weights("safetensors", "0" * 64, 16 * GIB, "file:/weights/model"),
)
INTERMEDIATE = replace(TENSORS, weights=replace(TENSORS.weights, format="openvino"))
FOLDER = Path("/weights/model")
SERVER = ExternalServer("http://127.0.0.1:9/prefix/v1", "sk-there", "their-name", None, slots=3)


@dataclass(frozen=True)
class Case:
    engine: Engine
    card: Card | None
    weights: Path | None
    external: ExternalServer | None
    model: Model = MODEL
    #: Why the engine cannot ask for a key; then it must listen on this host only.
    no_key_because: str = ""

    def launch(self, settings: dict[str, Any] | None = None) -> LaunchPlan:
        recipe = Recipe("recipe_1", "default", self.model.name, "any", self.engine.name, settings or {})
        return self.engine.launch(self.model, recipe, [self.card] if self.card else [], self.weights, self.external)


CASES = [
    Case(XllamacppEngine(), CARD, Path("/weights/model.gguf"), None),
    Case(ExternalEngine(), None, None, SERVER),
    Case(VllmEngine(Product("0.33.0", "vllm")), GPU, FOLDER, None, TENSORS),
    Case(SglangEngine(Product("0.5.23", "sglang")), GPU, FOLDER, None, TENSORS),
    Case(LmdeployEngine(Product("0.18.0", "lmdeploy")), GPU, FOLDER, None, TENSORS, "it takes keys as arguments only"),
    Case(MindieEngine(Product("3.0.0", "mindie_llm_server")), NPU, FOLDER, None, TENSORS, "it has no keys"),
    Case(LlamacppEngine(Product("on the path", "llama-server")), CARD, Path("/weights/model.gguf"), None),
    Case(OpenvinoEngine(Product("2026.3", "ovms")), replace(CARD, maker="intel"), FOLDER, None, INTERMEDIATE),
]


@pytest.fixture(params=CASES, ids=lambda case: case.engine.name)
def case(request: pytest.FixtureRequest) -> Case:
    assert isinstance(request.param, Case)
    return request.param


def test_it_has_a_name_and_a_version(case: Case) -> None:
    assert case.engine.name
    assert case.engine.version


def test_it_supports_its_case_and_gives_no_reason_against(case: Case) -> None:
    assert case.engine.supports(case.model, case.card).supported


def test_it_says_why_when_it_does_not_support(case: Case) -> None:
    strange = replace(CARD, kind="npu", features=())
    verdicts = [case.engine.supports(case.model, card) for card in (None, CARD, strange)]
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
    if case.no_key_because:
        assert plan.api_key is None
        assert plan.base_url.startswith("http://127.0.0.1:")
        return
    assert plan.api_key
    assert all(plan.api_key not in text for text in (*plan.argv, *plan.env.values()))
    if plan.api_key == ENGINE_KEY:
        assert any(ENGINE_KEY in text for text in plan.files.values())


def test_unknown_settings_are_refused_by_name(case: Case) -> None:
    with pytest.raises(InvalidRequest) as caught:
        case.launch({"no_such_setting": 1})
    assert any("settings.no_such_setting" in str(field) for field in caught.value.details["fields"] or ())  # type: ignore[union-attr]


def test_every_setting_that_may_be_searched_can_be_launched(case: Case) -> None:
    for name, values in case.engine.settings(case.model, case.card).choices.items():
        for value in values:
            assert case.launch({name: value}) is not None


def test_the_first_choice_of_each_setting_is_the_default(case: Case) -> None:
    defaults = {name: values[0] for name, values in case.engine.settings(case.model, case.card).choices.items()}
    plain, spelled = case.launch(), case.launch(defaults)
    assert {name: _read(text) for name, text in plain.files.items()} == {
        name: _read(text) for name, text in spelled.files.items()
    }
    assert plain.argv == spelled.argv
    assert plain.slots == spelled.slots


def _read(text: str) -> Any:
    return json.loads(text) if text.startswith("{") else text


def test_the_wrong_kind_of_source_is_refused(case: Case) -> None:
    other = replace(case, weights=None, external=None)
    with pytest.raises(InvalidRequest):
        other.launch()
