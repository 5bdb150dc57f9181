"""What config.json, tokenizer and card say of a model."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from yunhe.catalogue.errors import BadModelConfig, BadWeights, UnknownModelType
from yunhe.catalogue.hf_model import Beside, config_of, facts_of_config, facts_of_weights
from yunhe.catalogue.safetensors import TensorTotals

QWEN: dict[str, object] = {
    "architectures": ["Qwen3ForCausalLM"],
    "model_type": "qwen3",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 1000,
    "max_position_embeddings": 2048,
    "torch_dtype": "bfloat16",
}
PARAMETERS = 2 * 64_000 + 4 * (64 * 128 + 2 * 64 * 32 + 128 * 64 + 3 * 64 * 160)


def totals(dtype: str, elements: int = 300_000) -> TensorTotals:
    return TensorTotals(10, elements, Counter({dtype: 600_000, "F32": 8}))


def test_a_configuration_alone_tells_sizes_and_what_a_plan_needs() -> None:
    facts = facts_of_config(QWEN, "Tiny Model", Beside())
    assert (facts.architecture, facts.context_length, facts.quantisation) == ("qwen3", 2048, "bf16")
    assert facts.parameters == PARAMETERS
    assert facts.structure is not None
    assert (facts.structure.id, facts.structure.layers) == ("tiny-model", 4)
    assert facts.shape == {
        "layers": 4, "hidden_size": 64, "feed_forward": 160, "heads": 8, "kv_heads": 2, "head_size": 16,
        "vocabulary": 1000,
    }  # fmt: skip
    assert (facts.licence, facts.chat_template, facts.capabilities) == ("", None, ("completions",))


def test_compressed_attention_caches_one_vector_for_all_heads() -> None:
    latent = {"kv_lora_rank": 32, "q_lora_rank": None, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 16}
    facts = facts_of_config({**QWEN, **latent, "model_type": "deepseek_v3"}, "tiny", Beside())
    assert (facts.shape["kv_heads"], facts.shape["head_size"]) == (1, 40)


@pytest.mark.parametrize(
    ("dtype", "config", "quantisation", "parameters"),
    [
        ("BF16", {}, "bf16", 300_000),
        ("F16", {"torch_dtype": "bfloat16"}, "f16", 300_000),
        ("F8_E4M3", {"quantization_config": {"quant_method": "fp8"}}, "f8_e4m3", 300_000),
        ("I8", {"quantization_config": {"quant_method": "compressed-tensors"}}, "int8", 300_000),
        ("I32", {"quantization_config": {"quant_method": "awq"}}, "awq", PARAMETERS),
        ("U8", {"quantization_config": {"quant_method": "mxfp4"}}, "mxfp4", PARAMETERS),
        ("I32", {"quantization_config": {"quant_method": "gptq"}, "model_type": "brandnew"}, "gptq", None),
        ("I32", {}, "bf16", PARAMETERS),
    ],
)
def test_the_format_is_that_of_the_tensors_and_packed_ones_are_named_by_the_configuration(
    dtype: str, config: dict[str, object], quantisation: str, parameters: int | None
) -> None:
    facts = facts_of_weights({**QWEN, **config}, "tiny", Beside(), totals(dtype))
    assert (facts.quantisation, facts.parameters) == (quantisation, parameters)


def test_a_kind_that_is_not_known_is_served_from_weights_and_not_planned() -> None:
    config = {**QWEN, "model_type": "brandnew", "head_dim": None}
    facts = facts_of_weights(config, "tiny", Beside(), totals("BF16"))
    assert (facts.architecture, facts.structure) == ("brandnew", None)
    assert (facts.shape["layers"], facts.shape["head_size"]) == (4, 8)
    with pytest.raises(UnknownModelType, match="brandnew"):
        facts_of_config(config, "tiny", Beside())


def tokenizer(template: object) -> str:
    return json.dumps({"chat_template": template, "model_max_length": 10**30})


@pytest.mark.parametrize(
    ("beside", "template"),
    [
        (Beside(tokenizer_config=tokenizer("{{ a }}")), "{{ a }}"),
        (Beside(tokenizer_config=tokenizer("{{ a }}"), template="{{ file }}"), "{{ file }}"),
        (
            Beside(
                tokenizer_config=tokenizer(
                    [{"name": "tool_use", "template": "{{ t }}"}, {"name": "default", "template": "{{ d }}"}]
                )
            ),
            "{{ d }}",
        ),
        (Beside(tokenizer_config=tokenizer(None)), None),
        (Beside(tokenizer_config=tokenizer(7)), None),
        (Beside(), None),
    ],
)
def test_the_template_is_the_file_s_or_the_tokenizer_s(beside: Beside, template: str | None) -> None:
    facts = facts_of_config(QWEN, "tiny", beside)
    assert facts.chat_template == template
    assert facts.capabilities == (("chat", "completions") if template else ("completions",))


@pytest.mark.parametrize(
    ("card", "config", "licence"),
    [
        ("---\nlibrary_name: x\nlicense: apache-2.0\ntags:\n- a\n---\n# Model\nlicense: mit\n", {}, "apache-2.0"),
        ("---\nlicense: 'mit' # ours\n---\n", {"license": "gpl"}, "mit"),
        ("---\nlicense:\n- cc-by-4.0\n- mit\n---\n", {}, "cc-by-4.0"),
        ("---\r\nlicense: mit\r\n---\r\n", {}, "mit"),
        ("---\nlicense: other\nlicense_name: llama3.1\n---\n", {}, "llama3.1"),
        ("---\nlicense: other\n---\n", {}, "other"),
        ("# Model\nlicense: mit\n", {}, ""),
        ("# Model\n", {"license": "mit"}, "mit"),
        ("---\nlicense: mit\nno end", {}, ""),
        ("", {"license": 7}, ""),
    ],
)
def test_the_licence_is_the_card_s_then_the_configuration_s(card: str, config: dict[str, object], licence: str) -> None:
    assert facts_of_config({**QWEN, **config}, "tiny", Beside(card=card)).licence == licence


@pytest.mark.parametrize(
    ("fields", "beside", "capabilities"),
    [
        ({"architectures": ["Qwen3Model"]}, Beside(), ("embeddings",)),
        ({}, Beside(pooled=True), ("embeddings",)),
        ({"architectures": None}, Beside(), ("completions",)),
        (
            {"architectures": ["ChatGLMModel"], "auto_map": {"AutoModelForCausalLM": "x.y"}},
            Beside(),
            ("completions",),
        ),
    ],
)
def test_what_it_can_do_follows_the_class_that_reads_it(
    fields: dict[str, object], beside: Beside, capabilities: tuple[str, ...]
) -> None:
    assert facts_of_config({**QWEN, **fields}, "tiny", beside).capabilities == capabilities


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"architectures": ["Qwen3ForSequenceClassification"]}, "writes no text"),
        ({"architectures": "Qwen3"}, "not a list of strings"),
        ({"vocab_size": None}, "does not say vocab_size"),
        ({"max_position_embeddings": 10**10}, "out of range"),
        ({"hidden_size": 10**300}, "in a model's range"),
        ({"hidden_size": 2**39, "vocab_size": 2**39}, "more than 1e\\+16 parameters"),
        ({"num_hidden_layers": 10**9}, "describes 1,000,000,000 layers"),
        ({"num_attention_heads": "8"}, "num_attention_heads"),
    ],
)
def test_a_wrong_field_is_named(fields: dict[str, object], words: str) -> None:
    with pytest.raises(BadModelConfig, match=words) as caught:
        facts_of_config({**QWEN, **fields}, "tiny", Beside())
    assert caught.value.next_step


def test_weights_need_plain_sizes_and_tensors() -> None:
    with pytest.raises(BadModelConfig, match="hidden_size"):
        facts_of_weights({**QWEN, "model_type": "brandnew", "hidden_size": None}, "tiny", Beside(), totals("BF16"))
    with pytest.raises(BadWeights, match="no tensors"):
        facts_of_weights(QWEN, "tiny", Beside(), TensorTotals())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ('{"model_type": ', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[1]", "holds no object"),
        ('{"name": "web"}', "names neither model_type nor architectures"),
        ('{"peft_type": "LORA"}', "an adapter's"),
    ],
)
def test_a_file_that_is_no_configuration_is_refused(text: str, words: str) -> None:
    with pytest.raises(BadModelConfig, match=words):
        config_of(text)
