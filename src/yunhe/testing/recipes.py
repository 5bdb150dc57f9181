"""A recipe's document as tests need it: complete, small, of a chip that does not exist."""

from __future__ import annotations

from yunhe.adapt.recipe_document import (
    SCHEMA,
    ChipFingerprint,
    EnginePart,
    HostPart,
    LengthShare,
    LinkTopology,
    ModelPart,
    Parallelism,
    Recipe,
    Workload,
)
from yunhe.adapt.recipe_evidence import (
    Baseline,
    FidelityPart,
    FidelityReference,
    Gain,
    Load,
    Measurement,
    PredictedPoint,
    PredictionPart,
    RejectedSample,
)
from yunhe.adapt.recipe_fields import EngineBuild, Estimate, Interval

MADE_AT_UNIX_S = 1_790_000_000.0
LOAD = Load(concurrency=8, requests_per_s=None)
BUILD = EngineBuild(name="fake", version="1.2.0", build_digest="b" * 64)
CHIP = ChipFingerprint(
    chip_id="cpu-test-one",
    model_name="Test One 8-Core",
    core_count=8,
    memory_bytes=34_359_738_368,
    instruction_sets=("amx_bf16", "avx2"),
    firmware_version="0x1",
    driver_version=None,
    count=1,
    link_topology=LinkTopology(shape="none", bandwidth_bytes_per_s=None),
)


def estimate(value: float, spread: float = 0.05) -> Estimate:
    """A value within an interval of ``spread`` to both sides, as a share of it."""
    low, high = sorted(float(f"{value * factor:.6g}") for factor in (1 - spread, 1 + spread))
    return Estimate(value=value, interval=Interval(low=low, high=high, confidence=0.95))


def sample_recipe() -> Recipe:
    """A chosen recipe of one measured load; vary it with ``msgspec.structs.replace``."""
    return Recipe(
        schema=SCHEMA,
        model=ModelPart(name="tiny", digest="a" * 64, architecture="llama", source="made for tests", quantisation=None),
        chip=CHIP,
        host=HostPart(
            cpu_model_name="Test One 8-Core",
            cpu_cores=8,
            memory_bytes=68_719_476_736,
            numa_nodes=1,
            os="linux",
            kernel=None,
            governor=None,
        ),
        engine=EnginePart(
            build=BUILD, argv=("serve", "--threads", "8", "--api-key", "@ENGINE_KEY@"), env={"OMP_NUM_THREADS": "8"}
        ),
        settings={"threads": 8, "kv_type": "f16", "flash_attention": True, "draft_share": 0.5},
        parallelism=Parallelism(tensor=1, pipeline=1, expert=1, data=1),
        workload=Workload(
            lengths=(LengthShare(input_tokens=128, output_tokens=64, share=1.0),),
            concurrencies=(8,),
            request_rates_per_s=(),
            arrival="closed",
            seed=7,
            prompts_digest=None,
            objectives=None,
        ),
        prediction=_prediction(),
        measurements=(_measurement(),),
        baseline=Baseline(
            description="the engine's defaults",
            recipe_id=None,
            build=BUILD,
            settings={"threads": 4},
            gains=(Gain(load=LOAD, metric="output_tokens_per_s", ratio=estimate(2.25), pairs=5),),
        ),
        fidelity=_fidelity(),
        known_limits=("crashes beyond 64 slots",),
        made_by="Centre of tests",
        made_at_unix_s=MADE_AT_UNIX_S,
        parent_recipe_id=None,
        reproductions=(),
    )


def _prediction() -> PredictionPart:
    point = PredictedPoint(
        load=LOAD,
        ttft_s=estimate(0.2),
        tpot_s=estimate(0.01),
        output_tokens_per_s=estimate(640.0),
        ttft_error_share=-0.11,
        tpot_error_share=0.04,
        output_tokens_per_s_error_share=None,
    )
    return PredictionPart(
        predictor_version="1", calibration_level="engine and chip seen", binding="compute", points=(point,)
    )


def _measurement() -> Measurement:
    return Measurement(
        load=LOAD,
        ttft_p50_s=estimate(0.18),
        ttft_p90_s=estimate(0.21),
        ttft_p99_s=estimate(0.3),
        tpot_p50_s=estimate(0.0096),
        tpot_p90_s=estimate(0.011),
        tpot_p99_s=estimate(0.013),
        output_tokens_per_s=estimate(655.5),
        goodput_requests_per_s=None,
        memory_peak_bytes=Estimate(value=412_000_000.0, interval=None),
        energy_per_output_token_j=None,
        repeats=5,
        rejected=(
            RejectedSample(repeat=2, reason="other processes", output_tokens_per_s=401.0, foreign_cpu_share=0.4),
        ),
        foreign_cpu_share=0.01,
    )


def _fidelity() -> FidelityPart:
    return FidelityPart(
        reference=FidelityReference(name="tiny", digest="a" * 64, precision="bf16"),
        use_class="chat",
        verdict="passed",
        reasons=("KL is at most 0.004, the limit is 0.02",),
        unmeasured=("task",),
        positions=2400,
        kl_nats=estimate(0.0026),
        top1_share=estimate(0.95, 0.01),
        perplexity_ratio=estimate(1.01, 0.01),
        greedy_agreement_tokens=None,
        task=None,
        text_digests={"prose-boat": "c" * 64},
    )
