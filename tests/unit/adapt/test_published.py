"""What a row of published results is read as; what it does not say is inferred by rule, or refused."""

import pytest

from yunhe.adapt import published
from yunhe.adapt.calibration import shipped
from yunhe.adapt.predictor import Predictor
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
        ({"precision": "bf16 (checkpoint int4, see page)"}, "int4"),
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
    assert case(concurrency_or_batch="", output_tok_s="900").shape.situation == "offline"
    assert case(concurrency_or_batch="", conditions="requests=500; vllm serve x").shape.situation == "burst"
    flood = case(
        concurrency_or_batch="1000", conditions="requests=1000.0; --max-num-seqs 64", chip_count="1", parallelism="tp1"
    )
    assert flood.shape.situation == "burst"
    assert (flood.shape.in_flight, flood.shape.requests) == (1000, 1000)
    assert flood.point.concurrency <= 64


def test_a_prefix_that_is_cached_is_not_read_again_and_drafts_give_more_tokens() -> None:
    cached = case(scenario="prefix-hit 90%").point
    assert (cached.input_tokens, cached.cached_tokens) == (1000, pytest.approx(900))
    assert case().point.tokens_per_step == 1
    one, several = (
        case(conditions=f'--speculative-config={{"num_speculative_tokens":{drafts}}}').point for drafts in (1, 3)
    )
    assert (one.drafted_tokens, several.drafted_tokens) == (1, 3)
    assert 1 < one.tokens_per_step < several.tokens_per_step < 4
    assert case(conditions="speculative=yes").point.drafted_tokens == 3


@pytest.mark.parametrize(
    ("changes", "slots", "chunk"),
    [
        ({"conditions": "requests=1000; vllm serve Qwen/Qwen3-32B"}, 1024, 8192),
        ({"conditions": "requests=1000; vllm serve Qwen/Qwen3-32B", "chip": "NVIDIA A100 80GB"}, 256, 2048),
        ({"conditions": "vllm serve x --max-num-seqs 64 --max-num-batched-tokens 512"}, 64, 512),
        ({"engine": "SGLang", "conditions": "sglang.launch_server --speculative-algorithm EAGLE"}, 48, 8192),
    ],
)
def test_slots_and_steps_are_what_the_command_says_or_what_the_engine_starts_with(
    changes: dict[str, str], slots: int, chunk: int
) -> None:
    shape = case(parallelism="tp2", **changes).shape
    assert (shape.slots, shape.chunk_tokens) == (slots, chunk)
    assert shape.in_flight is None


def test_a_row_that_shows_a_command_is_of_one_instance_and_its_lengths_are_means() -> None:
    one = case(conditions="requests=1000; vllm serve Qwen/Qwen3-32B -tp 2", isl="217.4", osl="201.6")
    assert (one.instances, one.shape.lengths) == (1.0, "natural")
    assert case(conditions="vllm serve x", isl="3995.1", osl="200").shape.lengths == "fixed"
    assert case().shape.lengths == "uniform"


def test_a_time_that_no_memory_allows_is_doubted() -> None:
    doubted = case(tpot_ms="0.5", parallelism="tp8")
    assert doubted.published_tpot_s is None
    assert "bandwidth" in doubted.doubts[0]
    assert case(parallelism="tp8").doubts == ()


def test_what_was_seen_in_flight_is_not_what_was_set() -> None:
    command = "requests=1000.0; vllm serve Qwen/Qwen3-32B -tp 8"
    assert case(conditions=command, concurrency_or_batch="59").shape.situation == "open"
    for limit in ("2", "32", "100"):
        assert case(conditions=command, concurrency_or_batch=limit).shape.situation == "steady"
    assert case(concurrency_or_batch="59").shape.situation == "steady"


def test_arrivals_bound_a_load() -> None:
    slow = case(scenario="prompts=16 rate=0.02", output_tok_s="1")
    (said,) = Predictor(shipped()).predict([slow.point], [slow.shape])
    assert (
        slow.point.output_tokens * 0.02 / 4 * 0.8 < said.output_tokens_per_s.value <= slow.point.output_tokens * 0.006
    )
    assert case(scenario="prompts=16 rate=0.02").shape.rate_per_s == pytest.approx(0.02 / 4)
    assert case(scenario="prompts=16 rate=0").shape.rate_per_s is None


def test_what_cannot_be_known_is_refused_with_the_reason() -> None:
    assert "disaggregated" in refused(parallelism="2P1D: P DP2 TP8, D DP32 TP1")
    assert "no model architecture" in refused(model="nobody/knows")
    assert "no chip" in refused(chip="Abacus 9")
    assert "no engine" in refused(engine="Abacus")
    assert "how long" in refused(isl="", osl="")
    assert "at once" in refused(concurrency_or_batch="")
    assert "do not fit" in refused(model="DeepSeek-V3", chip_count="1", parallelism="tp1", chip="NVIDIA L40S")
