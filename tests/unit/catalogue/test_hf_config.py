"""Reading architectures out of config.json."""

from __future__ import annotations

import pytest

from yunhe.catalogue.architecture import Architecture
from yunhe.catalogue.errors import BadModelConfig, UnknownModelType
from yunhe.catalogue.hf_config import architecture_of, model_types, parameters_of

LLAMA: dict[str, object] = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "vocab_size": 1000,
    "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}
MLA: dict[str, object] = {
    "kv_lora_rank": 32,
    "q_lora_rank": None,
    "qk_nope_head_dim": 16,
    "qk_rope_head_dim": 8,
    "v_head_dim": 16,
}


def read(**fields: object) -> Architecture:
    return architecture_of({**LLAMA, **fields}, id="tiny", name="us/tiny", sources=("here",))


def kinds(architecture: Architecture) -> list[tuple[str, int]]:
    return [(group.kind, group.layers) for group in architecture.attention]


def test_a_plain_model_is_read_and_counted_by_hand() -> None:
    found = read()
    (group,) = found.attention
    assert (group.kind, group.layers, group.heads, group.kv_heads, group.head_size) == ("full", 4, 8, 2, 8)
    assert (found.dense_layers, found.intermediate_size, found.experts) == (4, 160, None)
    assert found.published_dtypes == ("bf16",)
    attention = 64 * 64 + 2 * 64 * 16 + 64 * 64
    assert parameters_of(found) == (2 * 64_000 + 4 * (attention + 3 * 64 * 160),) * 2


def test_tied_embeddings_count_once() -> None:
    assert parameters_of(read())[0] - parameters_of(read(tie_word_embeddings=True))[0] == 64_000


def test_a_silent_field_means_what_its_model_type_means() -> None:
    assert not read().tied_embeddings
    assert read(model_type="gemma").tied_embeddings


def test_the_text_part_of_a_multimodal_model_is_read() -> None:
    config = {"model_type": "qwen3_vl", "text_config": {**LLAMA, "model_type": "qwen3_vl_text"}, "vision_config": {}}
    found = architecture_of(config, id="tiny", name="us/tiny", sources=("here",))
    assert found.family == "qwen"
    assert found.hidden_size == 64


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"model_type": "mistral", "sliding_window": 512}, [("window", 4)]),
        ({"model_type": "mistral", "sliding_window": None}, [("full", 4)]),
        ({"model_type": "mistral", "sliding_window": 4096}, [("full", 4)]),
        ({"model_type": "qwen2", "sliding_window": 512, "use_sliding_window": False}, [("full", 4)]),
        ({"model_type": "gemma2", "sliding_window": 512}, [("window", 2), ("full", 2)]),
        (
            {"model_type": "gemma3_text", "sliding_window": 512, "sliding_window_pattern": 4},
            [("window", 3), ("full", 1)],
        ),
        ({"model_type": "gpt_oss", "sliding_window": 128}, [("window", 2), ("full", 2)]),
        (
            {"sliding_window": 9, "layer_types": ["full_attention"] + ["sliding_attention"] * 4},
            [("full", 1), ("window", 3)],
        ),
        ({"sliding_window": 9, "hybrid_layer_pattern": [0, 1, 1, 0]}, [("full", 2), ("window", 2)]),
        ({"model_type": "minimax_m1", "attn_type_list": [0, 0, 0, 1]}, [("linear", 3), ("full", 1)]),
    ],
)
def test_kinds_of_layers(fields: dict[str, object], expected: list[tuple[str, int]]) -> None:
    assert kinds(read(**fields)) == expected


def test_a_delta_rule_state_and_gated_full_layers() -> None:
    found = read(
        model_type="qwen3_next",
        full_attention_interval=4,
        linear_num_value_heads=8,
        linear_num_key_heads=4,
        linear_key_head_dim=16,
        linear_value_head_dim=32,
        linear_conv_kernel_dim=4,
    )
    linear, full = found.attention
    assert (linear.layers, linear.state_elements) == (3, 8 * 16 * 32 + 3 * (2 * 4 * 16 + 8 * 32))
    assert full.parameters == 64 * 64 * 3 + 2 * 64 * 16


def test_latent_attention_without_compressed_queries() -> None:
    (group,) = read(model_type="deepseek_v2", **MLA).attention
    assert (group.kind, group.head_size, group.query_rank, group.kv_heads) == ("mla", 24, None, 1)
    assert group.parameters is None
    counted = 64 * 8 * 24 + 64 * 40 + 32 * 8 * 32 + 8 * 16 * 64
    assert parameters_of(read(model_type="deepseek_v2", **MLA))[0] == 128_000 + 4 * (counted + 3 * 64 * 160)


def test_an_indexer_is_counted_where_a_layer_has_its_own() -> None:
    sparse = {"index_topk": 64, "index_n_heads": 2, "index_head_dim": 16}
    groups = read(
        model_type="deepseek_v32", **MLA, **sparse, indexer_types=["full", "shared", "shared", "full"]
    ).attention
    assert [(g.layers, g.chosen_positions, g.indexer_heads) for g in groups] == [(2, 64, 2), (2, 64, None)]
    plain = 64 * 8 * 24 + 64 * 40 + 32 * 8 * 32 + 8 * 16 * 64
    assert [g.parameters for g in groups] == [plain + 64 * 32 + 64 * 18, None]


@pytest.mark.parametrize(
    ("fields", "layers", "dense"),
    [
        ({}, 4, 0),
        ({"first_k_dense_replace": 1}, 3, 1),
        ({"decoder_sparse_step": 2}, 2, 2),
        ({"mlp_only_layers": [0, 3]}, 2, 2),
        ({"moe_layer_freq": [0, 1, 1, 1]}, 3, 1),
        ({"mlp_layer_types": ["dense", "dense", "sparse", "sparse"]}, 2, 2),
        ({"enable_moe_block": True}, 4, 4),
    ],
)
def test_which_layers_have_experts(fields: dict[str, object], layers: int, dense: int) -> None:
    found = read(num_experts=16, num_experts_per_tok=2, moe_intermediate_size=32, n_shared_experts=1, **fields)
    assert found.experts is not None
    assert (found.experts.layers, found.dense_layers) == (layers, dense)
    assert (found.experts.experts, found.experts.used, found.experts.shared_intermediate_size) == (16, 2, 32)


def test_only_chosen_experts_are_active() -> None:
    found = read(num_experts=16, num_experts_per_tok=2, moe_intermediate_size=32)
    total, active = parameters_of(found)
    assert total - active == 4 * 14 * 3 * 64 * 32


def test_blocks_of_a_hybrid_are_layers_of_their_own() -> None:
    hybrid = {"mamba_num_heads": 4, "mamba_head_dim": 16, "n_groups": 2, "ssm_state_size": 8, "conv_kernel": 4}
    experts = {"n_routed_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
    found = read(model_type="nemotron_h", hybrid_override_pattern="MEM*-E", **hybrid, **experts)
    assert kinds(found) == [("linear", 2), ("full", 1)]
    assert found.experts is not None
    assert (found.experts.layers, found.dense_layers, found.feed_forward_matrices) == (2, 1, 2)
    assert found.attention[0].state_elements == 4 * 16 * 8 + 3 * (2 * 2 * 8 + 4 * 16)


def test_a_searched_model_has_its_own_sizes_in_each_layer() -> None:
    def block(group: int | None, multiple: float) -> dict[str, object]:
        return {
            "attention": {"no_op": group is None, "n_heads_in_group": group},
            "ffn": {"no_op": False, "ffn_mult": multiple},
        }

    blocks = [block(4, 6.0), block(None, 12.0), block(8, 6.0), block(4, 12.0)]
    found = read(model_type="nemotron-nas", block_configs=blocks, num_key_value_heads=None, intermediate_size=None)
    assert [(group.layers, group.kv_heads) for group in found.attention] == [(2, 2), (1, 1)]
    assert (found.dense_layers, found.intermediate_size) == (4, (256 + 512 + 256 + 512) // 4)


def test_an_unknown_type_says_what_to_do() -> None:
    with pytest.raises(UnknownModelType) as caught:
        read(model_type="qwen9")
    assert "qwen9" in caught.value.message
    assert caught.value.details["known"]
    assert "by hand" in caught.value.next_step
    with pytest.raises(UnknownModelType):
        read(model_type=None)


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"hidden_size": None}, "hidden_size"),
        ({"vocab_size": "many"}, "vocab_size"),
        ({"num_hidden_layers": -3}, "num_hidden_layers"),
        ({"num_hidden_layers": 0}, "num_hidden_layers"),
        ({"num_attention_heads": 2.5}, "num_attention_heads"),
        ({"num_attention_heads": True}, "num_attention_heads"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings"),
        ({"intermediate_size": None}, "intermediate_size"),
        ({"max_position_embeddings": None}, "max_position_embeddings"),
        ({"layer_types": ["full_attention"]}, "layer_types"),
        ({"layer_types": ["telepathy"] * 4}, "layer_types"),
        ({"layer_types": "full"}, "layer_types"),
        ({"layer_types": ["sliding_attention"] * 4}, "sliding_window"),
        ({"text_config": "other"}, "text_config"),
        ({"num_experts": 4, "num_experts_per_tok": 5, "moe_intermediate_size": 8}, "num_experts_per_tok"),
        ({"num_experts": 4, "moe_intermediate_size": 8}, "num_experts_per_tok"),
        ({"hidden_size_per_layer_input": 256}, "hidden_size_per_layer_input"),
        ({"kv_lora_rank": 32}, "qk_rope_head_dim"),
        ({"model_type": "deepseek_v4", "head_dim": 8}, "compress_ratios"),
        ({"hybrid_override_pattern": "----"}, "num_hidden_layers"),
    ],
)
def test_a_bad_field_is_named(fields: dict[str, object], named: str) -> None:
    with pytest.raises(BadModelConfig) as caught:
        read(**fields)
    said = caught.value.details["fields"]
    assert isinstance(said, list)
    assert any(entry.startswith(named) for entry in said)
    assert caught.value.next_step


def test_the_families_asked_for_are_known() -> None:
    asked = (
        "llama llama4 mistral mixtral qwen2 qwen2_moe qwen3 qwen3_moe qwen3_next qwen3_5 qwen3_5_moe qwen3_vl "
        "deepseek_v2 deepseek_v3 deepseek_v32 kimi_k2 glm4 glm4_moe glm_moe_dsa gpt_oss minimax_m1 minimax_m2 gemma2 "
        "gemma3 gemma4 phi3 internlm2 nemotron_h mimo step3p5 granite olmo2 smollm3"
    )
    assert set(asked.split()) <= set(model_types())
