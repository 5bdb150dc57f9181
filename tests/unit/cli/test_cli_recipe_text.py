"""A recipe as a page to read."""

from __future__ import annotations

import json

from msgspec import structs

from yunhe.adapt.recipe_diff import Difference
from yunhe.adapt.recipe_diff import Verdict as Fitness
from yunhe.adapt.recipe_document import Recipe
from yunhe.adapt.signing import Envelope, SigningKey, Verdict, sign
from yunhe.api.schemas.recipes import RecipeDetail as Shape
from yunhe.cli.recipe_text import page_of, safe
from yunhe.control.recipes import CheckedRecipe, Fit, RecipeView
from yunhe.sdk.recipes import RecipeDetail
from yunhe.store.recipes import KeptRecipe
from yunhe.testing.recipes import sample_recipe

GOOD = Verdict(None, "signed by partner, unaltered", "", signed_by="partner")


def shown(recipe: Recipe, verdict: Verdict = GOOD, *fits: Fit) -> str:
    """The page, after everything between the recipe and the command line."""
    data = sign(recipe, SigningKey(b"k" * 32))
    envelope = Envelope(**{**json.loads(data), "recipe": recipe})
    kept = KeptRecipe(
        envelope.recipe_id, recipe.model.name, recipe.chip.chip_id, recipe.engine.build.name, "128+64 tokens",
        data.decode(), envelope.key_id, "imported", 1.0,
    )  # fmt: skip
    answer = Shape.of_checked(CheckedRecipe(RecipeView(kept, envelope), verdict, fits)).model_dump_json()
    return "\n".join(page_of(RecipeDetail.model_validate_json(answer)))


def test_the_page_says_what_where_how_much_better_how_faithful_and_how() -> None:
    page = shown(sample_recipe())
    for line in (
        "model         tiny, weights aaaaaaaaaaaa",
        "chip          1 x cpu-test-one (Test One 8-Core, 8 cores, 32.0 GiB)",
        "believed      yes: signed by partner, unaltered",
        "gain over the engine's defaults",
        "  8 in flight       output_tokens_per_s     2.25 x (2.14 to 2.36), 5 pairs by turns",
        "  passed for chat, against tiny at bf16 over 2,400 positions",
        "  not measured: task",
        "  OMP_NUM_THREADS=8 serve --threads 8 --api-key @ENGINE_KEY@",
        "  crashes beyond 64 slots",
        "  no centre has cards",
    ):
        assert line in page.split("\n"), page
    assert "KL 0.0026 (0.0025 to 0.0027) nats, top-1 agreement 95.0 (94.0 to 96.0) %" in page
    assert "8 in flight       655.5 (622.7 to 688.3) tokens/s; TTFT p50 180.0 " in page


def test_a_refusal_and_a_place_where_it_does_not_fit_are_plain() -> None:
    refused = Verdict("unknown_key", "the key is not in the trust list", "Ask the maker for the public key.")
    never = Fitness("never", (Difference("chip", "cpu-test-one", "npu-y", "never", "another chip"),))
    page = shown(sample_recipe(), refused, Fit("local", "host", "npu-y", never))
    assert "believed      NO (unknown_key): the key is not in the trust list" in page
    assert "              Ask the maker for the public key." in page
    assert "local/host, npu-y: no; chip: the recipe has cpu-test-one, here is npu-y: another chip" in page


def test_a_recipe_without_a_baseline_or_intervals_is_shown_too() -> None:
    sample = sample_recipe()
    bare = structs.replace(sample.measurements[0], output_tokens_per_s=structs.replace(
        sample.measurements[0].output_tokens_per_s, interval=None
    ))  # fmt: skip
    page = shown(structs.replace(sample, baseline=None, measurements=(bare,), known_limits=(), settings={}))
    assert "nothing was compared" in page
    assert "655.5 tokens/s" in page
    assert "known limits" not in page
    assert "the engine's own" in page


def test_a_strangers_words_cannot_move_the_cursor() -> None:
    sample = sample_recipe()
    page = shown(structs.replace(sample, made_by="evil\u009b2J\u202e", known_limits=("a\u2028b",)))
    assert all(line.isprintable() for line in page.split("\n"))
    assert "\\x9b2J" in page
    assert safe("plain 中文") == "plain 中文"
