"""The architectures that the package ships."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from msgspec import structs

from yunhe.catalogue.architecture import Architecture, ArchitectureFile
from yunhe.catalogue.architecture_catalogue import architectures, find, load, names_of, problems, shared_names
from yunhe.catalogue.parameters import parameter_problems, parameters_of
from yunhe.core.errors import NotFound

DATA = Path(__file__).resolve().parents[4] / "shared" / "data" / "adaptation"
#: Names of models in a published set of measurements of one planning tool.
MEASURED = [
    "deepseek-ai/DeepSeek-R1",
    "MiniMaxAI/MiniMax-M2.5",
    "deepseek-ai/DeepSeek-V3",
    "openai/gpt-oss-120b",
    "meta-llama/Llama-3.1-70B",
    "Qwen/Qwen3-32B",
    "Qwen/Qwen3.5-397B-A17B",
    "moonshotai/Kimi-K2.5",
    "meta-llama/Llama-3.1-8B-Instruct",
    "Qwen/Qwen3-235B-A22B-FP8",
    "zhipuai/GLM-5",
    "nvidia/Llama-3.1-8B-Instruct-FP8",
    "nvidia/DeepSeek-R1-NVFP4",
    "nvidia/Qwen3-32B-NVFP4",
    "nvidia/DeepSeek-V3.1-NVFP4",
]
#: A submitter cut layers out of it and does not publish which: no catalogue can know its shape.
UNPUBLISHED = {"llama3_1-405b_pruned"}
#: Per model: (kind, layers, heads, kv_heads, head_size, window or kv_rank or None) for each group.
ATTENTION = {
    "smollm2-135m": [("full", 30, 9, 3, 64, None)],
    "llama-2-7b": [("full", 32, 32, 32, 128, None)],
    "llama-3.1-8b": [("full", 32, 32, 8, 128, None)],
    "llama-3.1-405b": [("full", 126, 128, 8, 128, None)],
    "llama-4-scout-17b-16e": [("window", 36, 40, 8, 128, 8192), ("full", 12, 40, 8, 128, None)],
    "qwen3-32b": [("full", 64, 64, 8, 128, None)],
    "qwen3-235b-a22b": [("full", 94, 64, 4, 128, None)],
    "qwen3-next-80b-a3b": [("linear", 36, 32, 16, 128, None), ("full", 12, 16, 2, 256, None)],
    "deepseek-v3": [("mla", 61, 128, 1, 192, 512)],
    "kimi-k2": [("mla", 61, 64, 1, 192, 512)],
    "gpt-oss-120b": [("window", 18, 64, 8, 64, 128), ("full", 18, 64, 8, 64, None)],
    "gemma-3-27b": [("window", 52, 32, 16, 128, 1024), ("full", 10, 32, 16, 128, None)],
    "gemma-4-31b": [("window", 50, 32, 16, 256, 1024), ("full", 10, 32, 4, 512, None)],
    "minimax-m1": [("linear", 70, 64, 64, 128, None), ("full", 10, 64, 8, 128, None)],
    "mimo-v2-flash": [("full", 9, 64, 4, 192, None), ("window", 39, 64, 8, 192, 128)],
    "nemotron-3-nano-30b-a3b": [("linear", 23, 64, 8, 128, None), ("full", 6, 32, 2, 128, None)],
}
#: Per model: layers with experts, experts, used, size of one, shared size, plain layers, their size.
EXPERTS = {
    "deepseek-v3": (58, 256, 8, 2048, 2048, 3, 18432),
    "kimi-k2": (60, 384, 8, 2048, 2048, 1, 18432),
    "qwen3-235b-a22b": (94, 128, 8, 1536, 0, 0, 0),
    "gpt-oss-120b": (36, 128, 4, 2880, 0, 0, 0),
    "mixtral-8x7b": (32, 8, 2, 14336, 0, 0, 0),
    "llama-4-maverick-17b-128e": (24, 128, 1, 8192, 8192, 24, 16384),
    "glm-4.5-air": (45, 128, 8, 1408, 1408, 1, 10944),
    "gemma-4-26b-a4b": (30, 128, 8, 704, 0, 30, 2112),
}


def test_there_are_many_and_every_file_is_sound() -> None:
    assert len(architectures()) >= 65
    assert {name: problems(file) for name, file in load().items() if problems(file)} == {}
    assert {a.family for name, file in load().items() for a in file.architectures if a.family != name} == set()


def test_no_name_finds_two_architectures() -> None:
    assert shared_names() == []


@pytest.mark.parametrize("model", ATTENTION)
def test_attention_of_well_known_models(model: str) -> None:
    groups = [
        (g.kind, g.layers, g.heads, g.kv_heads, g.head_size, g.kv_rank if g.kind == "mla" else g.window)
        for g in find(model).attention
    ]
    assert groups == ATTENTION[model]


@pytest.mark.parametrize("model", EXPERTS)
def test_experts_of_well_known_models(model: str) -> None:
    found = find(model)
    assert found.experts is not None
    e = found.experts
    said = (e.layers, e.experts, e.used, e.intermediate_size, e.shared_intermediate_size)
    assert (*said, found.dense_layers, found.intermediate_size) == EXPERTS[model]


def test_latent_attention_says_what_a_cache_holds() -> None:
    (group,) = find("deepseek-v3").attention
    assert (group.kv_rank, group.rotary_size, group.query_rank, group.value_head_size) == (512, 64, 1536, 128)
    (sparse,) = find("deepseek-v3.2").attention
    assert (sparse.chosen_positions, sparse.indexer_heads, sparse.indexer_head_size) == (2048, 64, 128)
    (plain,) = find("deepseek-v2-lite").attention
    assert plain.query_rank is None


def test_layers_that_take_over_a_choice_have_no_indexer() -> None:
    groups = {group.indexer_heads: group.layers for group in find("glm-5.2").attention}
    assert groups == {32: 21, None: 57}


def test_compressed_caches_are_told_by_group() -> None:
    groups = [(g.kind, g.layers, g.compression, g.chosen_positions) for g in find("deepseek-v4-flash").attention]
    assert groups == [("window", 2, 1, None), ("mla", 21, 4, 512), ("mla", 20, 128, None)]


def test_experts_may_work_in_a_smaller_space() -> None:
    experts = find("nemotron-3-super-120b-a12b").experts
    assert experts is not None
    assert (experts.latent_size, experts.used, experts.experts) == (1024, 22, 512)


@pytest.mark.parametrize("name", MEASURED)
def test_names_of_measured_models_are_known(name: str) -> None:
    assert find(name).id


def test_names_in_published_results_are_known() -> None:
    path = DATA / "published_inference.csv"
    if not path.is_file():
        pytest.skip("the shared folder with published results is not here")
    with path.open(newline="", encoding="utf-8") as file:
        names = {row["model"] for row in csv.DictReader(file)}
    known = {name for architecture in architectures() for name in names_of(architecture)}
    assert {name for name in names if name.lower() not in known} == UNPUBLISHED


def test_find_knows_no_case_and_no_owner() -> None:
    assert find("QWEN3-32B").id == find("qwen/qwen3-32b").id == find(" Qwen/Qwen3-32B-FP8 ").id == "qwen3-32b"


def test_an_unknown_name_is_answered_with_close_ones() -> None:
    with pytest.raises(NotFound) as caught:
        find("qwen3-33b")
    assert "qwen3-32b" in caught.value.next_step
    with pytest.raises(NotFound) as caught:
        find("zzzzzzzzzzzzzz")
    assert caught.value.details["close"] == []


def test_published_counts_are_there_for_most() -> None:
    checked = [a for a in architectures() if a.parameters is not None]
    assert len(checked) >= 70
    assert [said for a in architectures() for said in parameter_problems(a)] == []


@pytest.mark.parametrize(
    ("model", "total", "active"),
    [
        ("smollm2-135m", 134_515_008, 134_515_008),
        ("llama-2-7b", 6_738_415_616, 6_738_415_616),
        ("deepseek-v3", 671_000_000_000, 37_500_000_000),
        ("qwen3-235b-a22b", 235_000_000_000, 22_200_000_000),
    ],
)
def test_counts_are_close_to_the_published_ones(model: str, total: int, active: int) -> None:
    counted = parameters_of(find(model))
    assert counted == (pytest.approx(total, rel=0.002), pytest.approx(active, rel=0.002))


def changed(**fields: object) -> ArchitectureFile:
    """The file of one family with its first architecture changed."""
    file = load()["deepseek"]
    first: Architecture = structs.replace(find("deepseek-v3"), **fields)
    return structs.replace(file, architectures=(first,), sources={key: file.sources[key] for key in first.sources})


def test_a_misread_shape_is_noticed() -> None:
    assert problems(changed()) == []
    assert any("parameters by its shape" in said for said in problems(changed(hidden_size=6144)))
    assert any("a token by its shape" in said for said in problems(changed(active_parameters=30_000_000_000)))


def test_a_count_too_far_from_the_published_one_is_noticed_at_three_per_cent() -> None:
    total, _ = parameters_of(find("deepseek-v3"))
    assert problems(changed(parameters=round(total / 1.029))) == []
    assert problems(changed(parameters=round(total / 1.031))) != []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kv_rank": None}, "mla attention without kv_rank"),
        ({"window": 128}, "mla attention with window"),
        ({"state_elements": 5}, "mla attention with state_elements"),
        ({"indexer_heads": 4}, "half an indexer"),
        ({"indexer_heads": 4, "indexer_head_size": 64}, "an indexer that chooses nothing"),
        ({"kind": "full"}, "full attention with kv_rank"),
    ],
)
def test_contradictions_inside_attention_are_noticed(fields: dict[str, object], said: str) -> None:
    (group,) = find("deepseek-v3").attention
    found = problems(changed(attention=(structs.replace(group, **fields),)))
    assert f"deepseek-v3: {said}" in found


def test_sources_must_be_in_the_file_and_used() -> None:
    file = load()["gpt-oss"]
    first, second = file.architectures
    stray = structs.replace(file, architectures=(structs.replace(first, sources=("nobody",)), second))
    assert "gpt-oss-120b: source nobody is not in the file" in problems(stray)
    unused = structs.replace(file, sources={**file.sources, "idle": next(iter(file.sources.values()))})
    assert problems(unused) == ["source idle: nothing is from it"]
    assert "gpt-oss-20b: more than one entry" in problems(structs.replace(file, architectures=(second, second)))
