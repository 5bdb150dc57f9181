from typing import Any

import msgspec
import pytest

from yunhe.adapt.recipe_diff import Outcome, Verdict, Weight, applies, diff
from yunhe.adapt.recipe_document import LinkTopology, Parallelism, Recipe
from yunhe.adapt.recipe_evidence import Load
from yunhe.adapt.recipe_fields import Estimate
from yunhe.testing.recipes import BUILD, CHIP, estimate, sample_recipe

replace = msgspec.structs.replace
RECIPE = sample_recipe()


def lines(left: Recipe, right: Recipe) -> list[str]:
    return [change.line() for change in diff(left, right)]


def with_engine(**changes: Any) -> Recipe:
    return replace(RECIPE, engine=replace(RECIPE.engine, **changes))


def with_fidelity(**changes: Any) -> Recipe:
    return replace(RECIPE, fidelity=replace(RECIPE.fidelity, **changes))


def two_cards(**changes: Any) -> Recipe:
    chip = replace(CHIP, count=2, link_topology=LinkTopology(shape="switch", bandwidth_bytes_per_s=2e11))
    return replace(RECIPE, chip=replace(chip, **changes), parallelism=replace(RECIPE.parallelism, tensor=2))


def test_a_recipe_does_not_differ_from_itself() -> None:
    assert diff(RECIPE, sample_recipe()) == ()


def test_changed_numbers_come_with_their_relative_change_and_the_load_they_belong_to() -> None:
    faster = replace(RECIPE.measurements[0], tpot_p50_s=Estimate(value=0.0072, interval=None))
    assert lines(RECIPE, replace(RECIPE, measurements=(faster,))) == [
        "measurements[8 in flight].tpot_p50_s.value: 0.0096 -> 0.0072 (-25.0%)",
        "measurements[8 in flight].tpot_p50_s.interval: {low: 0.00912, high: 0.01008, confidence: 0.95} -> none",
    ]


def test_settings_are_shown_as_added_removed_and_changed() -> None:
    settings = {"threads": 12, "kv_type": "q8_0", "flash_attention": True, "slots": 16}
    assert lines(RECIPE, replace(RECIPE, settings=settings)) == [
        "settings.threads: 8 -> 12 (+50.0%)",
        "settings.kv_type: f16 -> q8_0",
        "settings.draft_share: - 0.5",
        "settings.slots: + 16",
    ]


def test_true_is_not_one() -> None:
    settings = {**RECIPE.settings, "flash_attention": 1}
    assert lines(RECIPE, replace(RECIPE, settings=settings)) == ["settings.flash_attention: true -> 1"]


def test_an_argument_put_in_between_does_not_make_all_later_ones_differ() -> None:
    argv = ("serve", "--mlock", "--threads", "16", "--api-key", "@ENGINE_KEY@")
    assert lines(RECIPE, with_engine(argv=argv)) == ["engine.argv[1]: + --mlock", "engine.argv[2]: 8 -> 16"]
    assert lines(with_engine(argv=argv), RECIPE) == ["engine.argv[1]: - --mlock", "engine.argv[3]: 16 -> 8"]


def test_measurements_are_compared_with_those_of_the_same_load_wherever_they_stand() -> None:
    more = Load(concurrency=16, requests_per_s=None)
    workload = replace(RECIPE.workload, concurrencies=(8, 16))
    first, second = RECIPE.measurements[0], replace(RECIPE.measurements[0], load=more)
    left = replace(RECIPE, workload=workload, measurements=(first, second))
    right = replace(left, measurements=(replace(second, repeats=9), first))
    assert lines(left, right) == ["measurements[16 in flight].repeats: 5 -> 9 (+80.0%)"]
    (removed,) = diff(left, replace(left, measurements=(second,)))
    assert (removed.path, removed.kind, removed.right) == ("measurements[8 in flight]", "removed", None)


def test_gains_of_one_load_are_told_apart_by_their_metric() -> None:
    assert RECIPE.baseline is not None
    gain = RECIPE.baseline.gains[0]
    latency = replace(gain, metric="tpot_p50_s", ratio=estimate(0.5))
    left = replace(RECIPE, baseline=replace(RECIPE.baseline, gains=(gain, latency)))
    right = replace(RECIPE, baseline=replace(RECIPE.baseline, gains=(replace(latency, pairs=6), gain)))
    assert lines(left, right) == ["baseline.gains[8 in flight, tpot_p50_s].pairs: 5 -> 6 (+20.0%)"]


def test_nothing_of_a_strangers_recipe_moves_the_cursor_or_turns_the_writing() -> None:
    env = {"\x1b[2J": "\x1b]0;owned\x07", "A": "\u202egnp.exe"}
    shown = lines(RECIPE, with_engine(env=env, argv=("a\nb" * 500,)))
    assert len(shown) == 4
    for line in shown:
        assert line.isprintable()
        assert len(line) < 1000


def verdict(recipe: Recipe = RECIPE, **here: Any) -> Verdict:
    """Of the sample on its own chip, model and build, but for what is named."""
    model = here.pop("model_digest", recipe.model.digest)
    build = replace(BUILD, **{name: here.pop(name) for name in ("name", "version", "build_digest") if name in here})
    return applies(recipe, replace(recipe.chip, **here), model, build)


def test_a_recipe_applies_without_a_word_where_it_was_measured() -> None:
    assert verdict() == Verdict("applies", ())
    assert verdict().allowed(force=False)
    assert verdict(two_cards()) == Verdict("applies", ())


LINKS = LinkTopology(shape="ring", bandwidth_bytes_per_s=1e11)


@pytest.mark.parametrize(
    ("here", "field", "weight"),
    [
        ({"chip_id": "cpu-test-two"}, "chip", "never"),
        ({"model_digest": "e" * 64}, "model digest", "never"),
        ({"name": "other"}, "engine", "never"),
        ({"instruction_sets": ("avx2",)}, "instruction sets", "never"),
        ({"memory_bytes": 400_000_000}, "memory", "never"),
        ({"memory_bytes": 17_179_869_184}, "memory", "force"),
        ({"memory_bytes": None}, "memory", "force"),
        ({"model_name": "Test One 8-Core Special"}, "model name", "force"),
        ({"core_count": 16}, "cores", "force"),
        ({"core_count": None}, "cores", "force"),
        ({"firmware_version": "0x2"}, "firmware version", "force"),
        ({"driver_version": "550"}, "driver version", "force"),
        ({"version": "1.2.1"}, "engine version", "force"),
        ({"build_digest": "d" * 64}, "engine build", "force"),
        ({"memory_bytes": 68_719_476_736}, "memory", "allowed"),
        ({"instruction_sets": ("amx_bf16", "avx2", "avx512f")}, "instruction sets", "allowed"),
        ({"count": 4}, "cards", "allowed"),
    ],
)
def test_each_difference_has_its_weight(here: dict[str, Any], field: str, weight: Weight) -> None:
    outcomes: dict[Weight, Outcome] = {"never": "never", "force": "needs force", "allowed": "applies"}
    found = verdict(**here)
    assert [(difference.field, difference.weight) for difference in found.differences] == [(field, weight)]
    assert found.outcome == outcomes[weight]
    assert found.allowed(force=False) == (weight == "allowed")
    assert found.allowed(force=True) == (weight != "never")


def test_links_count_only_where_the_recipe_uses_more_than_one_card() -> None:
    assert verdict(link_topology=LINKS).outcome == "applies"
    found = verdict(two_cards(), link_topology=LINKS)
    assert [d.field for d in found.differences] == ["links", "link bandwidth in bytes/s"]
    assert found.outcome == "needs force"


def test_fewer_cards_than_the_recipe_uses_are_never_enough() -> None:
    found = verdict(two_cards(), count=1)
    assert found.outcome == "never"
    assert found.reasons() == ("cards: the recipe has 2, here is 1: it needs more cards",)


def test_memory_is_counted_over_all_cards() -> None:
    peak = replace(RECIPE.measurements[0], memory_peak_bytes=Estimate(value=3e10, interval=None))
    recipe = replace(two_cards(), measurements=(peak,))
    assert verdict(recipe, memory_bytes=20_000_000_000).outcome == "needs force"
    assert verdict(recipe, memory_bytes=14_000_000_000).outcome == "never"


@pytest.mark.parametrize(("said", "outcome"), [("failed", "never"), ("insufficient", "needs force")])
def test_a_recipe_outside_the_fidelity_gate_is_not_used(said: str, outcome: str) -> None:
    found = verdict(with_fidelity(verdict=said))
    assert (found.outcome, [difference.field for difference in found.differences]) == (outcome, ["fidelity"])


def test_the_heaviest_difference_decides_and_all_are_named_by_their_weight() -> None:
    found = verdict(count=2, version="1.3.0", chip_id="cpu-test-two", core_count=4)
    assert found.outcome == "never"
    assert [d.field for d in found.differences] == ["chip", "cores", "engine version", "cards"]
    assert found.reasons()[0].startswith("chip: the recipe has cpu-test-one, here is cpu-test-two: it was measured on")


def test_a_recipe_that_spreads_over_copies_needs_all_its_cards() -> None:
    spread = replace(two_cards(), parallelism=Parallelism(tensor=1, pipeline=1, expert=1, data=2))
    assert verdict(spread, count=1).outcome == "never"
