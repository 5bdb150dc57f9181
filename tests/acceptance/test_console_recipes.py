"""Recipes, the chip by model matrix and roll-outs in the console; and every page of adapting, for all readers."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest
from playwright.sync_api import expect
from tests.acceptance import test_console_adaptations as adapting
from tests.acceptance import test_console_browser as console
from tests.acceptance.conftest import Instance

from yunhe.testing.adaptations import CARD

pytestmark = [pytest.mark.browser, pytest.mark.slow]

browser, signed_in, open_page = console.browser, console.signed_in, console.open_page
instance, api, seeded = adapting.instance, adapting.api, adapting.seeded
Open, Seeded = console.Open, adapting.Seeded
MODEL, listed, panel = adapting.MODEL, adapting.listed, adapting.panel


def paths(seeded: Seeded) -> dict[str, str]:
    """Every page that this file is about."""
    a, b = seeded.recipes
    return {
        "adaptations": "adaptations",
        "new adaptation": "adaptations?new=1",
        "running": f"adaptations/{seeded.running}",
        "finished": f"adaptations/{seeded.finished}",
        "failed": f"adaptations/{seeded.failed}",
        "recipes": "recipes",
        "recipe": f"recipes/{a}",
        "diff": f"recipes/diff?a={a}&b={b}",
        "matrix": "matrix",
        "deployment": f"deployments?open={MODEL}",
    }


def test_an_empty_cell_orders_an_adaptation_that_opens(open_page: Open, seeded: Seeded, api: httpx.Client) -> None:
    page = open_page("matrix")
    page.get_by_role("button", name=f"Adapt {MODEL} to {CARD.chip}").click()
    form = page.get_by_role("dialog", name="New adaptation")
    expect(form).to_contain_text(f"No centre that is online has {CARD.chip}")
    expect(form.get_by_label("Model")).to_have_value(MODEL)
    form.get_by_label("Workload").select_option("prefill")
    form.get_by_label("Use class").select_option("code")
    form.get_by_label("Budget, minutes").fill("2")
    form.get_by_role("button", name="Start").click()
    expect(page).to_have_url(re.compile(r"adaptations/adp_\w+$"))
    expect(page.get_by_role("heading", name=MODEL, level=1)).to_be_visible()
    one = api.get(f"/adaptations/{page.url.rpartition('/')[2]}").json()
    spec = one["spec"]
    assert (one["centre"], spec["model"], spec["workload"]["name"]) == ("local", MODEL, "prefill")
    assert (spec["use_class"], spec["duration_s"]) == ("code", 120.0)
    page.get_by_role("button", name="Cancel adaptation").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel adaptation").click()
    expect(page.get_by_role("list", name="Phases")).to_contain_text("cancelled", timeout=console.ANSWER_MS)


def test_a_recipe_tells_how_it_is_started_and_is_exported_byte_for_byte(
    open_page: Open, seeded: Seeded, api: httpx.Client
) -> None:
    page = open_page("recipes")
    page.get_by_role("combobox", name="Model").select_option("simulated-135m")
    rows = page.locator("tbody tr")
    expect(rows).to_have_count(2)
    rows.first.get_by_role("link").click()
    recipe = api.get(f"/recipes/{seeded.recipes[0]}").json()
    argv = " ".join(page.get_by_test_id("argv").inner_text().split())
    assert argv == " ".join(recipe["document"]["engine"]["argv"])
    expect(panel(page, "Signature")).to_contain_text(recipe["key_id"])
    expect(panel(page, "Signature")).to_contain_text("this instance's key")
    expect(panel(page, "Gain over the baseline").locator("tbody tr")).to_have_count(len(recipe["gains"]))
    expect(panel(page, "Fidelity certificate")).to_contain_text("40 / 80")
    with page.expect_download() as download:
        page.get_by_role("link", name="Export").click()
    assert download.value.path().read_bytes() == api.get(f"/recipes/{recipe['id']}/envelope").content


def test_two_recipes_are_compared(open_page: Open, seeded: Seeded, api: httpx.Client) -> None:
    a, b = seeded.recipes
    changes = api.get("/recipes/diff", params={"a": a, "b": b}).json()["changes"]
    page = open_page(f"recipes/{a}")
    page.get_by_role("combobox", name="Compare with").select_option(b)
    rows = page.locator("tbody tr")
    expect(rows.filter(has_text="settings.slots")).to_contain_text("8")
    expect(rows.filter(has_text="measurements")).to_have_count(0)
    page.get_by_label("Also measurements").check()
    expect(rows).to_have_count(len(changes))


def test_the_matrix_opens_the_recipe_and_the_recipe_is_rolled_out_and_taken_back(
    open_page: Open, seeded: Seeded, api: httpx.Client
) -> None:
    page = open_page("matrix")
    cell = page.get_by_role("link", name=re.compile(f"^{MODEL} on .*: open the recipe"))
    expect(cell).to_contain_text("tuned, not rolled out")
    expect(cell).to_contain_text("2.25×")
    expect(cell).to_contain_text("Fidelity: passed")
    cell.click()
    expect(page).to_have_url(re.compile(f"recipes/{seeded.usable}$"))
    page.get_by_role("button", name="Roll out").click()
    form = page.get_by_role("dialog")
    form.get_by_label("Share of the requests, %").fill("10")
    form.get_by_label("Shortest canary, s").fill("3600")
    form.get_by_role("button", name="Start roll-out").click()
    dialog = page.get_by_role("dialog", name=MODEL)
    rollout = dialog.get_by_role("region", name="Roll-outs").get_by_role("row").filter(has_text="before: default")
    expect(rollout).to_contain_text("canary")
    expect(rollout).to_contain_text("10%")
    deployment = next(one for one in listed(api, "/deployments") if one["model"] == MODEL)
    begun = listed(api, f"/deployments/{deployment['id']}/rollouts")[0]
    assert (begun["recipe_id"], begun["share"], begun["policy"]["canary_s"]) == (seeded.usable, 0.1, 3600.0)
    rollout.get_by_role("button", name="Take back").click()
    page.get_by_role("dialog", name="Take back").get_by_role("button", name="Take back").click()
    expect(rollout).to_contain_text("taken back")
    expect(rollout.get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize("width", [390, 1280])
def test_no_page_is_wider_than_its_window(open_page: Open, seeded: Seeded, instance: Instance, width: int) -> None:
    page = open_page(viewport={"width": width, "height": 844})
    wide = {}
    for name, path in paths(seeded).items():
        page.goto(instance.console_url + path)
        console.settled(page)
        wide[name] = page.evaluate("document.documentElement.scrollWidth")
    assert {name: one for name, one in wide.items() if one > width} == {}


@pytest.mark.skipif(not console.AXE.exists(), reason="axe-core is missing: python tests/acceptance/clients/install.py")
@pytest.mark.parametrize(
    ("scheme", "language", "width"),
    [("light", "en", 1280), ("dark", "zh-CN", 1280), ("dark", "en", 390), ("light", "zh-CN", 390)],
)
def test_axe_finds_nothing_serious(
    open_page: Open, signed_in: Any, seeded: Seeded, instance: Instance, scheme: str, language: str, width: int
) -> None:
    # The sign-in's own local storage would bring its language along.
    page = open_page(
        color_scheme=scheme,
        locale=language,
        viewport={"width": width, "height": 844},
        storage_state={**signed_in, "origins": []},
    )
    expect(page.locator("html")).to_have_attribute("lang", language)
    found = {}
    for name, path in paths(seeded).items():
        page.goto(instance.console_url + path)
        console.settled(page)
        found[name] = console.violations(page)
    assert {name: what for name, what in found.items() if what} == {}


def test_a_revoked_recipe_is_not_rolled_out(open_page: Open, seeded: Seeded, api: httpx.Client) -> None:
    page = open_page(f"recipes/{seeded.recipes[1]}")
    expect(page.get_by_role("button", name="Roll out")).to_be_enabled()
    api.post(f"/recipes/{seeded.recipes[1]}/revoke", json={"why": "made on a bent card"}).raise_for_status()
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("made on a bent card")
    expect(page.get_by_role("button", name="Roll out")).to_be_disabled()
