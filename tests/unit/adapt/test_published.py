"""What a row of published results is read as; what it does not say is inferred by rule, or refused."""

import pytest

from yunhe.adapt import published
from yunhe.adapt.published import Case, Refused
from yunhe.catalogue import architecture_catalogue, chip_catalogue

ROW = {
    "row_id": "1",
    "source_group": "mine",
    "model": "Qwen/Qwen3-32B",
    "chip": "NVIDIA H100 80GB",
    "chip_count": "8",
    "engine": "vLLM 0.9.0, PyTorch 2.7.0",
    "isl": "1000",
    "osl": "100",
    "concurrency_or_batch": "32",
    "tpot_ms": "20",
}


def case(**changes: str) -> Case:
    read = published.read({**ROW, **changes}, architecture_catalogue.find, chip_catalogue.find)
    assert isinstance(read, Case), read
    return read


def refused(**changes: str) -> str:
    read = published.read({**ROW, **changes}, architecture_catalogue.find, chip_catalogue.find)
    assert isinstance(read, Refused), read
    return read.reason


@pytest.mark.parametrize(
    ("text", "engine"),
    [
        ("TensorRT 10.11, CUDA 12.9", "trtllm"),
        ("vLLM v0.9.2", "vllm"),
        ("vllm-ascend", "vllm-ascend"),
        ("SGLang", "sglang"),
    ],
)
def test_engines_are_known_by_their_many_names(text: str, engine: str) -> None:
    assert case(engine=text).point.engine == engine


@pytest.mark.parametrize(
    ("changes", "precision"),
    [
        ({"precision": "fp8"}, "fp8"),
        ({"precision": "w8a8"}, "int8"),
        ({"model": "nvidia/Qwen3-32B-NVFP4", "precision": ""}, "fp4"),
        ({"precision": "bf16 (checkpoint int4, see page)"}, "bf16"),
        ({"precision": ""}, "bf16"),
        ({"model": "openai/gpt-oss-120b", "precision": ""}, "mxfp4-experts"),
        ({"model": "deepseek-ai/DeepSeek-R1", "precision": "fp4"}, "fp4-ffn"),
        ({"model": "DeepSeek-V3", "precision": "fp8 attention + nvfp4 MoE"}, "fp4-ffn"),
        ({"conditions": "vllm serve Qwen/Qwen3-32B-FP8"}, "fp8"),
    ],
)
def test_formats_are_said_or_follow_from_names_and_from_what_is_published(
    changes: dict[str, str], precision: str
) -> None:
    assert case(**changes).point.precision.name == precision


@pytest.mark.parametrize(
    ("parallelism", "sizes"),
    [
        ("tp8", (8, 1, 1.0)),
        ("tp=2 dp=1 ", (2, 1, 4.0)),
        ("tp4 pp1 dp2 moe_tp1 moe_ep8", (4, 2, 1.0)),
        # Counted twice: eight cards.
        ("tp64 pp1 dp1 moe_tp8 moe_ep8", (8, 1, 1.0)),
        ("tp4 pp1 dp4 moe_tp1 moe_ep16", (1, 4, 1.0)),
        ("", (2, 1, 4.0)),
    ],
)
def test_sizes_of_parallelism(parallelism: str, sizes: tuple[int, int, float]) -> None:
    found = case(parallelism=parallelism)
    assert (found.point.tensor_parallel, found.point.data_parallel, found.instances) == sizes


def test_loads_are_told_apart() -> None:
    assert case().shape.situation == "steady"
    assert case(concurrency_or_batch="").shape.situation == "offline"
    flood = case(
        concurrency_or_batch="1000", conditions="requests=1000.0; --max-num-seqs 64", chip_count="1", parallelism="tp1"
    )
    assert flood.shape.situation == "burst"
    assert (flood.shape.in_flight, flood.shape.requests) == (1000, 1000)
    assert flood.point.concurrency <= 64


def test_a_prefix_that_is_cached_is_not_read_again_and_drafts_give_more_tokens() -> None:
    assert case(scenario="prefix-hit 90%").point.input_tokens == pytest.approx(100)
    assert case().point.tokens_per_step == 1
    assert 1 < case(conditions="speculative=yes").point.tokens_per_step < 2
    many = case(conditions='--speculative-config={"num_speculative_tokens":3}').point.tokens_per_step
    assert 2 < many < 4


def test_what_cannot_be_known_is_refused_with_the_reason() -> None:
    assert "disaggregated" in refused(parallelism="2P1D: P DP2 TP8, D DP32 TP1")
    assert "no model architecture" in refused(model="nobody/knows")
    assert "no chip" in refused(chip="Abacus 9")
    assert "no engine" in refused(engine="Abacus")
    assert "how long" in refused(isl="", osl="")
    assert "do not fit" in refused(model="DeepSeek-V3", chip_count="1", parallelism="tp1", chip="NVIDIA L40S")
