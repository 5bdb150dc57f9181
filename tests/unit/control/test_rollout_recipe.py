"""What a roll-out takes from a signed recipe."""

import msgspec
import pytest
from msgspec.structs import replace

from yunhe.adapt.recipe_document import Recipe
from yunhe.adapt.recipe_evidence import Load
from yunhe.adapt.recipe_fields import Estimate
from yunhe.adapt.signing import Envelope, SigningKey, sign
from yunhe.catalogue.model import Weights
from yunhe.control.rollout_recipe import promised, serving_recipe
from yunhe.core.errors import Conflict
from yunhe.testing import samples
from yunhe.testing.recipes import estimate, sample_recipe

MODEL = samples.model("tiny", weights=Weights("gguf", "a" * 64, 2000, "file:/nowhere/tiny.gguf"))


def signed(recipe: Recipe) -> Envelope:
    return msgspec.json.decode(sign(recipe, SigningKey(b"s" * 32)), type=Envelope)


def test_a_signed_recipe_says_engine_settings_and_the_chip_it_is_for() -> None:
    envelope = signed(sample_recipe())
    made = serving_recipe(envelope, MODEL)
    assert (made.id, made.name) == (envelope.recipe_id, envelope.recipe_id[:16])
    assert (made.model, made.chip, made.engine) == ("tiny", "cpu-test-one", "fake")
    assert made.settings == {"threads": 8, "kv_type": "f16", "flash_attention": True, "draft_share": 0.5}


def test_a_recipe_of_other_weights_is_refused() -> None:
    other = samples.model("tiny", weights=Weights("gguf", "d" * 64, 2000, "file:/nowhere/tiny.gguf"))
    with pytest.raises(Conflict, match="weights aaaaaaaaaaaa, not of tiny with weights dddddddddddd"):
        serving_recipe(signed(sample_recipe()), other)


def test_a_recipe_that_its_gate_refused_is_never_rolled_out() -> None:
    recipe = sample_recipe()
    failed = replace(recipe, fidelity=replace(recipe.fidelity, verdict="failed", reasons=("KL is at least 0.2",)))
    with pytest.raises(Conflict, match="gate says failed: KL is at least"):
        serving_recipe(signed(failed), MODEL)


def test_bounds_are_the_slowest_loads_upper_ends_with_slack() -> None:
    recipe = sample_recipe()
    (one,) = recipe.measurements
    slower = replace(
        one, load=Load(concurrency=1, requests_per_s=None), ttft_p99_s=Estimate(value=0.4, interval=None),
        tpot_p90_s=estimate(0.02, 0.1),
    )  # fmt: skip
    both = replace(recipe, measurements=(one, slower), workload=replace(recipe.workload, concurrencies=(8, 1)))
    bounds = promised(both, 2.0)
    assert (bounds.ttft_p95_s, bounds.tpot_p50_s) == (0.8, pytest.approx(0.044))
    silent = replace(one, tpot_p90_s=Estimate(value=0.0, interval=None))
    assert promised(replace(recipe, measurements=(silent,))).tpot_p50_s is None
