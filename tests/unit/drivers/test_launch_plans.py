"""Every flag of a plan is one that the engine documents; what a plan says is what the settings asked for."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from yunhe.catalogue.builtin import default_model
from yunhe.catalogue.model import Model, Recipe, SettingValue, Weights
from yunhe.catalogue.ports import Engine, LaunchPlan
from yunhe.core.errors import InvalidRequest
from yunhe.drivers.engines.llamacpp import LlamacppEngine
from yunhe.drivers.engines.lmdeploy import LmdeployEngine
from yunhe.drivers.engines.mindie import MindieEngine
from yunhe.drivers.engines.openvino import OpenvinoEngine
from yunhe.drivers.engines.server_plan import Product
from yunhe.drivers.engines.settings import Choice, Rule
from yunhe.drivers.engines.sglang import SglangEngine
from yunhe.drivers.engines.vllm import VllmEngine
from yunhe.drivers.engines.vllm.plugins import load
from yunhe.pool.model import Card

GIB = 1024**3
DOCUMENTED = Path(__file__).parent / "documented_flags"
GGUF = default_model("model_1", 1_790_000_000.0)
TENSORS = replace(
    GGUF,
    name="qwen/qwen3-8b",
    architecture="qwen3",
    quantisation="bf16",
    context_length=8192,
    weights=Weights("safetensors", "0" * 64, 16 * GIB, "file:/weights/model"),
)
EMBEDDER = replace(TENSORS, capabilities=("embeddings",))
ABSENT = Product("", "somewhere")


def cards_of(maker: str, kind: str, chip: str = "some-chip", number: int = 8) -> list[Card]:
    return [Card(f"card-{index}", chip, maker, kind, "Some", 64 * GIB, 16) for index in range(number)]


NVIDIA = cards_of("nvidia", "gpu", "nvidia-h20")
ASCEND = cards_of("huawei", "npu", "ascend-910b3")
CPU = cards_of("intel", "cpu", "cpu-intel-xeon", 1)


@dataclass(frozen=True)
class Subject:
    engine: Engine
    cards: list[Card]
    model: Model
    weights: Path
    rules: dict[str, Rule]

    def launch(self, settings: dict[str, SettingValue] | None = None) -> LaunchPlan:
        return plan_of(self.engine, self.cards, settings, self.model, self.weights)


def plan_of(
    engine: Engine,
    cards: list[Card],
    settings: dict[str, SettingValue] | None = None,
    model: Model = TENSORS,
    weights: Path = Path("/weights/model"),
) -> LaunchPlan:
    recipe = Recipe("recipe_1", "default", model.name, "any", engine.name, settings or {})
    return engine.launch(model, recipe, cards, weights, None)


def subjects() -> list[Subject]:
    from yunhe.drivers.engines import llamacpp, lmdeploy, mindie, openvino, sglang, vllm

    folder = Path("/weights/model")
    found = [Subject(LlamacppEngine(ABSENT), CPU, GGUF, Path("/weights/model.gguf"), llamacpp.RULES)]
    found += [Subject(OpenvinoEngine(ABSENT), CPU, model, folder, openvino.RULES) for model in (TENSORS, EMBEDDER)]
    found += [Subject(LmdeployEngine(ABSENT), cards, TENSORS, folder, lmdeploy.RULES) for cards in (NVIDIA, ASCEND)]
    found += [Subject(SglangEngine(ABSENT), cards, EMBEDDER, folder, sglang.RULES) for cards in (NVIDIA, ASCEND)]
    found += [Subject(MindieEngine(ABSENT), ASCEND, TENSORS, folder, mindie.RULES)]
    for plugin in load().plugins:
        cards = cards_of(plugin.makers[0], plugin.kinds[0])
        found.append(Subject(VllmEngine(ABSENT), cards, replace(EMBEDDER, quantisation="w8a8"), folder, vllm.RULES))
    return found


def variations(subject: Subject) -> list[dict[str, SettingValue]]:
    """Each setting alone at each of its choices or at a small number; refused ones are left out."""
    found: list[dict[str, SettingValue]] = [{}]
    for name, rule in subject.rules.items():
        values = rule.values if isinstance(rule, Choice) else (max(rule.least, 1), max(rule.least, 2))
        found += [{name: value, "speculative_model": "/weights/draft"} for value in values]
        found += [{name: value} for value in values]
    return found


def own_arguments(plan: LaunchPlan) -> list[str]:
    return list(plan.argv[plan.argv.index("--") + 1 :])


@pytest.mark.parametrize("subject", subjects(), ids=lambda one: f"{one.engine.name}-{one.cards[0].maker}")
def test_every_flag_is_one_that_the_engine_documents(subject: Subject) -> None:
    documented = json.loads((DOCUMENTED / f"{subject.engine.name}.json").read_text(encoding="utf-8"))
    assert documented["version"]
    assert documented["source"]
    launched = 0
    for settings in variations(subject):
        try:
            plan = subject.launch(settings)
        except InvalidRequest:
            continue
        launched += 1
        used = {argument for argument in own_arguments(plan) if argument.startswith("--")}
        assert used <= set(documented["flags"]), used - set(documented["flags"])
        for name in plan.files:
            if name.endswith(".yaml"):
                assert {f"--{key}" for key in json.loads(plan.files[name])} <= set(documented["flags"])
    assert launched > len(subject.rules) / 2


def test_the_check_of_flags_can_fail() -> None:
    documented = json.loads((DOCUMENTED / "vllm.json").read_text(encoding="utf-8"))["flags"]
    assert "--tensor-parallel-size" in documented
    assert "--tensor-parallel" not in documented
    assert "--disable-log-requests" not in documented


def fields_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(fields_of(inner) for inner in value.values()))
    if isinstance(value, list):
        return set().union(*(fields_of(inner) for inner in value))
    return set()


@pytest.mark.parametrize("speculative", ["none", "mtp", "lookahead", "memory"])
def test_mindie_writes_documented_fields_only(speculative: str) -> None:
    documented = json.loads((DOCUMENTED / "mindie.json").read_text(encoding="utf-8"))
    settings = {"speculative": speculative, "prefix_cache": True, "expert_parallel": 8, "tensor_parallel": 8}
    plan = plan_of(MindieEngine(ABSENT), ASCEND, settings)
    config = json.loads(plan.files["config.template.json"])
    assert fields_of(config) <= set(documented["fields"])
    model = config["BackendConfig"]["ModelDeployConfig"]["ModelConfig"][0]
    plugins = json.loads(model["plugin_params"])
    assert set(plugins) - {"plugin_type"} <= set(documented["fields"])
    assert "prefix_cache" in plugins["plugin_type"].split(",")
    environment = set(plan.env) | {"MIES_CONFIG_JSON_PATH"}
    assert environment <= set(documented["environment"]) | {"MINDIE_LOG_TO_STDOUT"}


def value_of(plan: LaunchPlan, flag: str) -> str:
    arguments = own_arguments(plan)
    return arguments[arguments.index(flag) + 1]


def test_open_parallel_sizes_become_tensor_parallelism_over_all_cards() -> None:
    assert value_of(plan_of(VllmEngine(ABSENT), NVIDIA), "--tensor-parallel-size") == "8"
    assert value_of(plan_of(SglangEngine(ABSENT), NVIDIA), "--tp-size") == "8"
    assert value_of(plan_of(LmdeployEngine(ABSENT), NVIDIA), "--tp") == "8"
    model = json.loads(plan_of(MindieEngine(ABSENT), ASCEND).files["config.template.json"])["BackendConfig"]
    assert model["npuDeviceIds"] == [list(range(8))]
    assert model["ModelDeployConfig"]["ModelConfig"][0]["worldSize"] == 8


def test_a_layout_that_needs_other_cards_than_those_placed_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        plan_of(VllmEngine(ABSENT), NVIDIA, {"tensor_parallel": 4})
    assert "4 cards, placed are 8" in str(caught.value.details["fields"])
    plan = plan_of(VllmEngine(ABSENT), NVIDIA, {"tensor_parallel": 4, "pipeline_parallel": 2})
    assert value_of(plan, "--pipeline-parallel-size") == "2"


def test_data_parallel_ranks_multiply_the_slots() -> None:
    plan = plan_of(VllmEngine(ABSENT), NVIDIA, {"data_parallel": 4, "max_num_seqs": 64})
    assert value_of(plan, "--tensor-parallel-size") == "2"
    assert plan.slots == 256


@pytest.mark.parametrize(
    ("maker", "kind", "variables"),
    [
        ("huawei", "npu", {"ASCEND_RT_VISIBLE_DEVICES"}),
        ("metax", "gpu", {"CUDA_VISIBLE_DEVICES"}),
        ("moore-threads", "gpu", {"MUSA_VISIBLE_DEVICES"}),
        ("kunlunxin", "gpu", {"XPU_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES"}),
        ("cambricon", "mlu", {"MLU_VISIBLE_DEVICES"}),
        ("hygon", "dcu", {"HIP_VISIBLE_DEVICES"}),
    ],
)
def test_each_plugin_shows_the_cards_by_its_own_variable(maker: str, kind: str, variables: set[str]) -> None:
    cards = cards_of(maker, kind, number=2)
    plan = plan_of(VllmEngine(ABSENT), cards, {"devices": "4,5"})
    assert {name for name, value in plan.env.items() if value == "4,5"} == variables
    without = plan_of(VllmEngine(ABSENT), cards)
    assert not variables & set(without.env)


def test_identities_stand_for_numbers_only_where_the_runtime_takes_them() -> None:
    known = [replace(card, uid=f"GPU-{card.uid}") for card in NVIDIA[:2]]
    assert plan_of(VllmEngine(ABSENT), known).env["CUDA_VISIBLE_DEVICES"] == "GPU-card-0,GPU-card-1"
    same = [replace(card, uid=f"GPU-{card.uid}") for card in ASCEND[:2]]
    assert "ASCEND_RT_VISIBLE_DEVICES" not in plan_of(VllmEngine(ABSENT), same).env


def test_kunlun_starts_without_chunked_prefill_and_prefix_cache() -> None:
    cards = cards_of("kunlunxin", "gpu")
    arguments = own_arguments(plan_of(VllmEngine(ABSENT), cards))
    assert {"--no-enable-chunked-prefill", "--no-enable-prefix-caching"} <= set(arguments)
    space = VllmEngine(ABSENT).settings(TENSORS, cards[0])
    assert space.choices["prefix_cache"][0] is False


def test_w8a8_weights_name_the_plugin_that_reads_them_on_ascend() -> None:
    model = replace(TENSORS, quantisation="w8a8")
    assert value_of(plan_of(VllmEngine(ABSENT), ASCEND, model=model), "--quantization") == "ascend"
    assert "--quantization" not in own_arguments(plan_of(VllmEngine(ABSENT), NVIDIA, model=model))


def test_vllm_speculates_by_a_documented_object() -> None:
    settings: dict[str, SettingValue] = {"speculative": "eagle3", "speculative_tokens": 3, "speculative_model": "/d"}
    spoken = json.loads(value_of(plan_of(VllmEngine(ABSENT), NVIDIA, settings), "--speculative-config"))
    assert spoken == {"method": "eagle3", "num_speculative_tokens": 3, "model": "/d"}
    with pytest.raises(InvalidRequest):
        plan_of(VllmEngine(ABSENT), NVIDIA, {"speculative": "eagle3"})


def test_sglang_on_ascend_names_device_and_attention() -> None:
    plan = plan_of(SglangEngine(ABSENT), ASCEND)
    assert value_of(plan, "--device") == "npu"
    assert value_of(plan, "--attention-backend") == "ascend"
    assert value_of(plan_of(SglangEngine(ABSENT), NVIDIA, {"chunked_prefill": False}), "--chunked-prefill-size") == "-1"


def test_lmdeploy_uses_pytorch_where_turbomind_does_not_run() -> None:
    assert value_of(plan_of(LmdeployEngine(ABSENT), NVIDIA), "--backend") == "turbomind"
    plan = plan_of(LmdeployEngine(ABSENT), ASCEND)
    assert value_of(plan, "--backend") == "pytorch"
    assert value_of(plan, "--device") == "ascend"
    with pytest.raises(InvalidRequest):
        plan_of(LmdeployEngine(ABSENT), ASCEND, {"backend": "turbomind"})


def test_mindie_fits_names_prompts_and_ports_to_its_rules() -> None:
    plan = plan_of(MindieEngine(ABSENT), ASCEND, {"chunked_prefill": True})
    config = json.loads(plan.files["config.template.json"])
    deployment, schedule = config["BackendConfig"]["ModelDeployConfig"], config["BackendConfig"]["ScheduleConfig"]
    assert plan.upstream_model == deployment["ModelConfig"][0]["modelName"] == "qwen-qwen3-8b"
    assert schedule["maxPrefillTokens"] >= deployment["maxInputTokenLen"]
    assert schedule["templateType"] == "Mix"
    assert config["ServerConfig"]["port"] == config["ServerConfig"]["metricsPort"] == "@PORT@"
    with pytest.raises(InvalidRequest):
        plan_of(MindieEngine(ABSENT), ASCEND, {"chunked_prefill": True, "speculative": "mtp"})


def test_llama_server_sums_the_context_over_its_slots_and_runs_the_named_build() -> None:
    settings: dict[str, SettingValue] = {
        "max_num_seqs": 3,
        "context_length": 1024,
        "executable": "/opt/amx/llama-server",
    }
    plan = plan_of(LlamacppEngine(ABSENT), CPU, settings, GGUF, Path("/weights/m.gguf"))
    assert own_arguments(plan)[0] == "/opt/amx/llama-server"
    assert value_of(plan, "--ctx-size") == "3072"
    assert value_of(plan, "--gpu-layers") == "0"
    assert value_of(plan, "--threads") == "16"


@pytest.mark.parametrize("executable", ["", "--help", "llama\nserver", 7, "x" * 5000])
def test_an_executable_that_could_be_taken_for_something_else_is_refused(executable: SettingValue) -> None:
    with pytest.raises(InvalidRequest) as caught:
        plan_of(LlamacppEngine(ABSENT), CPU, {"executable": executable}, GGUF, Path("/weights/m.gguf"))
    assert "settings.executable" in str(caught.value.details["fields"])


def test_devices_are_numbers_or_identifiers() -> None:
    with pytest.raises(InvalidRequest):
        plan_of(VllmEngine(ABSENT), NVIDIA, {"devices": "0;1"})


def test_cards_of_two_makers_are_refused() -> None:
    with pytest.raises(InvalidRequest):
        plan_of(VllmEngine(ABSENT), [NVIDIA[0], ASCEND[0]])


def test_a_fixed_port_goes_to_the_keeper() -> None:
    plan = plan_of(VllmEngine(ABSENT), NVIDIA, {"port": 8123})
    keeper = plan.argv[: plan.argv.index("--")]
    assert keeper[keeper.index("--port") + 1] == "8123"
    assert plan.port_file == "port"


ABSENT_ENGINES: list[tuple[Engine, Model, Card]] = [
    (VllmEngine(ABSENT), TENSORS, NVIDIA[0]),
    (VllmEngine(ABSENT), TENSORS, ASCEND[0]),
    (SglangEngine(ABSENT), TENSORS, NVIDIA[0]),
    (LmdeployEngine(ABSENT), TENSORS, NVIDIA[0]),
    (MindieEngine(ABSENT), TENSORS, ASCEND[0]),
    (LlamacppEngine(ABSENT), GGUF, CPU[0]),
    (OpenvinoEngine(ABSENT), replace(TENSORS, weights=replace(TENSORS.weights, format="openvino")), CPU[0]),
]


@pytest.mark.parametrize(("engine", "model", "card"), ABSENT_ENGINES, ids=lambda one: getattr(one, "name", ""))
def test_an_engine_that_is_not_here_says_so_and_what_to_do(engine: Engine, model: Model, card: Card) -> None:
    assert engine.version == "not installed"
    verdict = engine.supports(model, card)
    assert not verdict.supported
    assert "is not installed here" in verdict.reason
    assert f"YUNHE_ENGINE_{engine.name.upper()}" in verdict.reason


def test_the_missing_plugin_is_named() -> None:
    assert "vllm-ascend" in VllmEngine(ABSENT).supports(TENSORS, ASCEND[0]).reason


def test_the_published_no_comes_with_its_source() -> None:
    duo = replace(ASCEND[0], chip="ascend-310p3")
    verdict = VllmEngine(Product("0.23.0", "vllm")).supports(TENSORS, duo)
    assert not verdict.supported
    assert "vllm-ascend documentation" in verdict.reason


def test_what_no_table_speaks_of_is_left_to_a_trial() -> None:
    verdict = VllmEngine(Product("0.23.0", "vllm")).supports(replace(TENSORS, architecture="novel"), ASCEND[0])
    assert verdict.supported
    assert "a trial decides" in verdict.reason


def test_the_environment_names_a_command_that_is_not_on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("YUNHE_ENGINE_LLAMACPP", "/opt/amx/llama-server")
    engine = LlamacppEngine()
    assert engine.supports(GGUF, CPU[0]).supported
    assert own_arguments(plan_of(engine, CPU, model=GGUF, weights=Path("/w.gguf")))[0] == "/opt/amx/llama-server"


def test_every_entry_point_of_the_project_loads() -> None:
    import tomllib
    from importlib import import_module

    project = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8"))
    for name, target in project["project"]["entry-points"]["yunhe.engines"].items():
        module, _, attribute = target.partition(":")
        assert getattr(import_module(module), attribute)().name == name
