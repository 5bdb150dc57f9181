import json
from importlib.resources import files
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.adapt.canonical import NotCanonical, canonical_bytes, is_content_id, read_canonical
from yunhe.adapt.recipe_document import BadRecipe, Recipe, read_recipe, recipe_id, recipe_json, schema_text
from yunhe.adapt.recipe_evidence import Load
from yunhe.adapt.recipe_fields import Estimate, Interval, secrets_in
from yunhe.testing.recipes import sample_recipe

replace = msgspec.structs.replace
RECIPE = sample_recipe()


def document(**changes: Any) -> Any:
    """The sample as JSON, with members of members put in: ``chip__count=2``."""
    value = json.loads(canonical_bytes(recipe_json(RECIPE)))
    for path, change in changes.items():
        *outer, name = path.split("__")
        part = value
        for step in outer:
            part = part[int(step) if step.isdigit() else step]
        part[name] = change
    return value


def test_a_recipe_reads_back_from_its_canonical_bytes() -> None:
    assert read_recipe(read_canonical(canonical_bytes(recipe_json(RECIPE)))) == RECIPE


def test_the_id_names_the_content() -> None:
    assert is_content_id(recipe_id(RECIPE))
    assert recipe_id(sample_recipe()) == recipe_id(RECIPE)
    assert recipe_id(replace(RECIPE, settings={**RECIPE.settings, "threads": 9})) != recipe_id(RECIPE)


@given(st.dictionaries(st.from_regex("[a-z_]{1,12}", fullmatch=True), st.booleans() | st.floats(-9, 9), max_size=5))
def test_the_id_does_not_depend_on_the_order_of_settings(settings: dict[str, bool | float]) -> None:
    settings = {name: value for name, value in settings.items() if not secrets_in((), {name: "x"})}
    backwards = dict(reversed(settings.items()))
    assert recipe_id(replace(RECIPE, settings=settings)) == recipe_id(replace(RECIPE, settings=backwards))


def test_the_schema_in_the_package_is_up_to_date() -> None:
    """Writes nothing: put the text of ``schema_text()`` into the file, after asking whether SCHEMA must count up."""
    kept = (files("yunhe.adapt") / "data" / "recipe.schema.json").read_text(encoding="utf-8")
    assert kept == schema_text()


def test_the_schema_asks_for_every_member_and_allows_no_other() -> None:
    schema = json.loads(schema_text())
    for part in schema["$defs"].values():
        assert part["additionalProperties"] is False
        assert set(part["required"]) == set(part["properties"])


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"chip__count": 0}, r"at `\$.chip.count`"),
        ({"chip__memory_bytes": 1.5}, r"at `\$.chip.memory_bytes`"),
        ({"chip__instruction_sets": ["avx2", "amx_bf16"]}, "not sorted"),
        ({"chip__instruction_sets": ["avx2", "avx2"]}, "comes twice"),
        ({"model__digest": "A" * 64}, r"at `\$.model.digest`"),
        ({"model__digest": "a" * 64 + "\n"}, r"at `\$.model.digest`"),
        ({"parent_recipe_id": "rcp_1"}, r"at `\$.parent_recipe_id`"),
        ({"made_by": "a\x1b[2Jb"}, r"at `\$.made_by`"),
        ({"made_by": "two\nlines"}, r"at `\$.made_by`"),
        ({"made_at_unix_s": 1e300}, r"at `\$.made_at_unix_s`"),
        ({"measurements": []}, r"at `\$.measurements`"),
        ({"fidelity__top1_share__interval__low": 0.99}, "is empty"),
        ({"fidelity__verdict": "fine"}, r"at `\$.fidelity.verdict`"),
        ({"workload__lengths__0__share": 0.9}, "sum to 0.9, not to 1"),
        ({"workload__concurrencies": [4]}, "the workload has no point of 8 in flight"),
        ({"measurements__0__load__requests_per_s": 2.0}, "either a concurrency or requests"),
        ({"parallelism__tensor": 2}, "takes 2 cards of 1"),
        ({"engine__env": {"HF_TOKEN": "t"}}, "HF_TOKEN would publish a secret"),
        ({"engine__argv": ["serve", "--api-key", "s3"]}, "--api-key would publish a secret"),
        ({"settings": {"api_key": "s3"}}, "api_key would publish a secret"),
        ({"baseline__settings": {"password": "s3"}}, "password would publish a secret"),
        ({"schema": "yunhe.recipe/2"}, r"at `\$.schema`"),
    ],
)
def test_a_document_out_of_its_bounds_is_refused_with_the_place(changes: dict[str, Any], why: str) -> None:
    read_recipe(document())
    with pytest.raises(BadRecipe, match=why):
        read_recipe(document(**changes))


def test_loads_are_measured_once() -> None:
    with pytest.raises(BadRecipe, match="measured twice"):
        read_recipe(document(measurements=document()["measurements"] * 2))


def test_an_open_loop_names_its_rate() -> None:
    rate = Load(concurrency=None, requests_per_s=2.5)
    workload = replace(RECIPE.workload, concurrencies=(8,), request_rates_per_s=(2.5,), arrival="closed and poisson")
    measurements = (*RECIPE.measurements, replace(RECIPE.measurements[0], load=rate))
    both = replace(RECIPE, workload=workload, measurements=measurements)
    assert read_recipe(recipe_json(both)) == both
    assert rate.label == "2.5 requests/s"
    with pytest.raises(ValueError, match="either"):
        Load(concurrency=None, requests_per_s=None)


def broken(value: Any) -> Recipe:
    return replace(RECIPE, settings={"share": value})


def test_what_was_built_in_memory_is_checked_before_it_is_written() -> None:
    with pytest.raises(BadRecipe, match="made_by"):
        recipe_json(replace(RECIPE, made_by=""))
    with pytest.raises(BadRecipe, match="no type of JSON"):
        recipe_json(broken(np.float64(0.5)))
    with pytest.raises(NotCanonical, match="nan"):
        recipe_id(broken(float("nan")))


def test_an_interval_that_is_not_a_number_is_empty() -> None:
    with pytest.raises(ValueError, match="is empty"):
        Estimate(value=1.0, interval=Interval(low=float("nan"), high=1.0, confidence=0.95))


@pytest.mark.parametrize(
    ("argv", "env", "held"),
    [
        (["--api-key", "x"], {}, ("--api-key",)),
        (["--api-key=x"], {}, ("--api-key",)),
        (["--hf-token", "x"], {}, ("--hf-token",)),
        (["--base", "http://user:pass@host/v1"], {}, ("--base", "an argument")),
        (["--header", "Authorization: Bearer abc"], {}, ("--header", "an argument")),
        ([], {"MY_SECRET": "x"}, ("MY_SECRET",)),
        ([], {"ACCESS_KEY": "x", "dbPassword": "x"}, ("ACCESS_KEY", "dbPassword")),
        ([], {"KEY_FILE": "-----BEGIN PRIVATE KEY-----"}, ("KEY_FILE",)),
        (["--api-key", "@ENGINE_KEY@"], {"API_KEY": "@ENGINE_KEY@"}, ()),
        (["--api-key"], {"API_KEY": ""}, ()),
        (["--max-num-batched-tokens", "8192", "--eos-token", "</s>"], {"TOKENIZERS_PARALLELISM": "false"}, ()),
        (["--url", "http://127.0.0.1:8000/v1", "--cache-key", "k"], {"OMP_NUM_THREADS": "8"}, ()),
    ],
)
def test_secrets_are_found_by_their_names_and_shapes(
    argv: list[str], env: dict[str, str], held: tuple[str, ...]
) -> None:
    assert secrets_in(argv, env) == held
