"""Adaptations, recipes, the matrix and roll-outs in the console, on an instance of this file's own.

What is shown was made on a simulated machine and stored through control's own intake, as a centre's agent would have
it: the search, the statistics, the signatures and the pages are the real ones.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest
from msgspec.structs import replace
from playwright.sync_api import Page, expect
from tests.acceptance import test_console_browser as console
from tests.acceptance.conftest import Instance, new_shell, start

from yunhe.adapt.adaptation import TuningReport, entry_text
from yunhe.adapt.recipe_document import Recipe
from yunhe.adapt.report_records import AdaptationView
from yunhe.control.effects import Effects
from yunhe.control.recipes import keep_signed
from yunhe.control.secret_files import ensure_secrets
from yunhe.control.state import ControlState, build_state
from yunhe.control.tunings import TuningIntake
from yunhe.core.clock import SystemClock
from yunhe.core.home import Home
from yunhe.core.ids import new_id
from yunhe.pool.model import Inventory, Node
from yunhe.store import adaptations, pool
from yunhe.store.adaptations import Adaptation, Assignment
from yunhe.store.database import Database
from yunhe.testing.adaptations import CARD, SimulatedAdaptation, SimulatedMachine, simulated_adaptation
from yunhe.testing.recipes import sample_recipe

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = [pytest.mark.browser, pytest.mark.slow]

browser, signed_in, open_page = console.browser, console.signed_in, console.open_page
Open = console.Open

CENTRE = "tide"
MODEL = "smollm2-135m-instruct"
CONSOLE = Path(__file__).resolve().parents[2] / "console"


#: Entries of the running adaptation that are there at first.
BEGUN = 60


@dataclass(frozen=True)
class Seeded:
    """Ids of what the instance holds."""

    running: str
    finished: str
    failed: str
    #: Of the simulated model, on the simulated chip; newest first.
    recipes: tuple[str, str]
    #: Of the model that the instance serves, for this machine's chip.
    usable: str


async def as_control(home: Path, work: Callable[[ControlState], Coroutine[Any, Any, Any]]) -> Any:
    """Do something in the database as one more control process of the instance would."""
    place = Home(home)
    database = Database(f"sqlite:///{home}/yunhe.db")
    state = build_state(place, database, SystemClock(), ensure_secrets(place))
    try:
        return await work(state)
    finally:
        state.hub.close()
        await database.dispose()


def run(home: Path, work: Callable[[ControlState], Coroutine[Any, Any, Any]]) -> Any:
    """The same from a test; in a thread, because Playwright holds this one's event loop."""
    with ThreadPoolExecutor(1) as pool_of_one:
        return pool_of_one.submit(lambda: asyncio.run(as_control(home, work))).result()


async def seed(state: ControlState, card: dict[str, Any], model: dict[str, Any]) -> Seeded:
    """Four adaptations of a centre whose agent never joined, so that nobody carries them out."""
    async with state.db.write() as tx:
        centre = await pool.centre(tx, CENTRE)
        assert centre is not None
        nodes = (Node("quay", CARD.memory_bytes, 8, "linux", (CARD,)),)
        await pool.take_inventory(tx, centre.id, Inventory(nodes, state.clock.unix_s()))
    first = await store(state, centre.id, simulated_adaptation())
    other = await store(state, centre.id, simulated_adaptation(machine=SimulatedMachine(seed=3)))
    failed = await store(state, centre.id, simulated_adaptation(entries_max=30, end="failed"))
    running = await store(state, centre.id, simulated_adaptation(entries_max=BEGUN, end=""))
    assert first.recipe_id and other.recipe_id and first.recipe_id != other.recipe_id
    async with state.db.write() as tx:
        usable = await keep_signed(tx, state, recipe_for(card, model))
    return Seeded(running.id, first.id, failed.id, (other.recipe_id, first.recipe_id), usable)


async def store(state: ControlState, centre_id: str, made: SimulatedAdaptation) -> Adaptation:
    """Order it, and take in what its tuner wrote."""
    now, order = state.clock.unix_s(), made.order
    given = Assignment(order.model, order.cards, CARD.chip, order.baseline)
    one = Adaptation(new_id("adp"), None, centre_id, order.spec, given, "waiting", "waits", now, now)
    async with state.db.write() as tx:
        await adaptations.add_adaptation(tx, one)
    return await report(state, one, made, 0)


async def report(state: ControlState, one: Adaptation, made: SimulatedAdaptation, since: int) -> Adaptation:
    """What the centre's agent says with its next sync: the entries from a number on."""
    used_s = made.entries[-1].at_s - made.entries[0].at_s
    texts = tuple(entry_text(entry) for entry in made.entries[since:])
    told = TuningReport(one.id, "searching", f"simulated: entry {len(made.entries)}", since, texts, used_s)
    effects = Effects(state.clock.unix_s())
    async with state.db.write() as tx:
        intake = TuningIntake(tx, state, one.centre_id, state.clock.unix_s(), effects)
        await intake.take([msgspec.json.encode(told).decode()], up_to_date=True)
        await effects.write(tx)
        after = await adaptations.adaptation(tx, one.id)
    assert after is not None
    return after


def recipe_for(card: dict[str, Any], model: dict[str, Any]) -> Recipe:
    """One that this machine may use; its evidence is made up."""
    plain = sample_recipe()
    return replace(
        plain,
        model=replace(plain.model, name=model["name"], digest=model["sha256"]),
        chip=replace(
            plain.chip,
            chip_id=card["chip"],
            model_name=card["model_name"],
            core_count=card["cores"],
            memory_bytes=card["memory_bytes"],
            instruction_sets=tuple(sorted(card["features"])),
            firmware_version=None,
        ),
        engine=replace(plain.engine, build=replace(plain.engine.build, name="xllamacpp")),
        settings={"slots": 6},
    )


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Instance]:
    """An instance of this file's own: others expect no card but this machine's."""
    user = new_shell(tmp_path_factory.mktemp("console"))
    try:
        told = start(user)
        told.pop("data_dir")
        yield Instance(home=user.home, work=user.work, **told)
    finally:
        done = user.run("down")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def api(instance: Instance) -> Iterator[httpx.Client]:
    """The REST API as the first user."""
    with httpx.Client(base_url=f"{instance.console_url}api/v1", timeout=60) as client:
        sign_in = {"user": instance.admin_user, "password": instance.admin_password}
        token = client.post("/sessions", json=sign_in).raise_for_status().json()["token"]
        client.cookies.clear()
        client.headers["authorization"] = f"Bearer {token}"
        yield client


@pytest.fixture(scope="module")
def seeded(instance: Instance, api: httpx.Client) -> Seeded:
    """What the pages show."""
    api.post("/centres", json={"name": CENTRE, "driver": "local"}).raise_for_status()
    card = next(one for one in listed(api, "/cards") if one["centre"] == "local")
    model = next(one for one in listed(api, "/models") if one["name"] == MODEL)
    found: Seeded = run(instance.home, lambda state: seed(state, card, model))
    return found


def listed(api: httpx.Client, path: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.get(path).raise_for_status().json()["data"]
    return found


def panel(page: Page, name: str) -> Locator:
    """A panel by its title."""
    return page.locator("section", has=page.get_by_role("heading", name=name, exact=True))


def test_the_pages_are_typed_against_the_present_records() -> None:
    """Every field of every record stands in the generated types, and none beside."""
    _, parts = msgspec.json.schema_components([AdaptationView, Recipe])
    typed = (CONSOLE / "src" / "api" / "records.d.ts").read_text(encoding="utf-8")
    found = {
        name: set(re.findall(r"^            \"?(\w+)\"?:", body, re.M))
        for name, body in re.findall(r"^        (\w+): \{\n(.*?)^        \};", typed, re.M | re.S)
    }
    assert found == {name: set(one.get("properties", {})) for name, one in parts.items()}, (
        "records.d.ts is stale: make it anew from console/record_types.py (docs/console.md)"
    )


def test_the_list_tells_state_gain_with_interval_and_used_budget(
    open_page: Open, seeded: Seeded, api: httpx.Client
) -> None:
    page = open_page("adaptations")
    rows = page.get_by_role("row").filter(has_text=CENTRE)
    expect(rows).to_have_count(4)
    expect(rows.nth(0)).to_contain_text("searching")
    expect(rows.nth(1)).to_contain_text("failed")
    ratio = api.get(f"/recipes/{seeded.recipes[1]}").json()["gains"][0]["ratio"]
    oldest = rows.nth(3)
    expect(oldest).to_contain_text(f"{ratio['value']:.2f}×")
    expect(oldest).to_contain_text(f"[{ratio['low']:.2f}× – {ratio['high']:.2f}×]")
    expect(oldest.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "100")
    oldest.get_by_role("link").click()
    expect(page).to_have_url(re.compile(f"adaptations/{seeded.finished}$"))


def test_a_finished_adaptation_shows_its_proof(open_page: Open, seeded: Seeded, api: httpx.Client) -> None:
    view = api.get(f"/adaptations/{seeded.finished}/view").json()
    page = open_page(f"adaptations/{seeded.finished}")
    console.settled(page)
    expect(page.get_by_text("no number on this page was measured on real hardware")).to_be_visible()
    chart = page.get_by_test_id("frontier")
    expect(chart.get_by_text("CHOSEN")).to_be_visible()
    expect(chart.get_by_text("Baseline")).to_be_visible()
    crosses = [one for one in view["frontier"] if one["refused"]]
    assert crosses
    expect(chart.locator("path[class*=cross]")).to_have_count(len(crosses))
    with_ends = sum(
        one[axis]["basis"] != "single" for one in view["frontier"] for axis in ("tpot_s", "output_tokens_per_s")
    )
    expect(chart.locator("path[class*=whisker]")).to_have_count(with_ends)
    compared = panel(page, "Before and after").locator("tbody tr")
    expect(compared).to_have_count(sum(len(load["gains"]) for load in view["loads"]))
    gain = view["loads"][0]["gains"][0]
    expect(compared.first).to_contain_text(f"[{gain['low']:.2f}× – {gain['high']:.2f}×]")
    refused = panel(page, "Fidelity").locator("tr", has_text="q4_0").first
    expect(refused).to_contain_text("refused")
    expect(refused).to_contain_text("KL may be 0.2964")
    expect(panel(page, "Findings")).to_contain_text("SIGILL")


def test_rejected_windows_stay_in_the_log_with_their_reasons(
    open_page: Open, seeded: Seeded, api: httpx.Client
) -> None:
    view = api.get(f"/adaptations/{seeded.finished}/view").json()
    rejected = view["counts"]["windows_rejected"]
    assert rejected > 0
    page = open_page(f"adaptations/{seeded.finished}")
    page.get_by_role("combobox", name="Trial log").select_option("rejected")
    rows = panel(page, "Trial log").locator("tbody tr")
    expect(rows).to_have_count(rejected)
    for row in rows.all():
        expect(row).to_contain_text("rejected")
        expect(row).to_contain_text("foreign CPU 31.0%, at most 5% may be")


@pytest.mark.parametrize(("locale", "title"), [("en-GB", "Throughput against TPOT"), ("zh-CN", "吞吐与 TPOT")])
def test_the_report_opens_in_the_chosen_language(
    open_page: Open, signed_in: Any, seeded: Seeded, locale: str, title: str
) -> None:
    page = open_page(f"adaptations/{seeded.finished}", locale=locale, storage_state={**signed_in, "origins": []})
    with page.expect_popup() as opened:
        page.locator("a[href*='/report?']").click()
    expect(opened.value.get_by_role("heading", name=title)).to_be_visible()


def test_a_running_adaptation_follows_its_journal_and_is_cancelled(
    open_page: Open, seeded: Seeded, api: httpx.Client, instance: Instance
) -> None:
    page = open_page(f"adaptations/{seeded.running}")
    expect(page.get_by_text(f"simulated: entry {BEGUN}")).to_be_visible()
    more = simulated_adaptation(entries_max=BEGUN + 30, end="")

    async def go_on(state: ControlState) -> None:
        async with state.db.read() as tx:
            one = await adaptations.adaptation(tx, seeded.running)
        assert one is not None
        await report(state, one, more, BEGUN)

    before = api.get(f"/adaptations/{seeded.running}/view").json()["counts"]["windows_accepted"]
    run(instance.home, go_on)
    view = api.get(f"/adaptations/{seeded.running}/view").json()
    assert view["counts"]["windows_accepted"] > before
    expect(page.get_by_text(f"simulated: entry {BEGUN + 30}")).to_be_visible()
    expect(page.get_by_test_id("frontier").locator("path[class*=cross]")).to_have_count(
        sum(one["refused"] for one in view["frontier"])
    )
    page.get_by_role("button", name="Cancel adaptation").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel adaptation").click()
    expect(page.get_by_role("list", name="Phases")).to_contain_text("cancelled")
    expect(page.get_by_role("button", name="Cancel adaptation")).to_have_count(0)
    assert api.get(f"/adaptations/{seeded.running}").json()["state"] == "cancelled"


def test_only_operators_are_offered_to_start_and_to_cancel(
    open_page: Open, seeded: Seeded, api: httpx.Client, instance: Instance
) -> None:
    api.post("/users", json={"name": "mia", "password": "a-long-password-of-mia"}).raise_for_status()
    page = open_page(storage_state=None)
    console.sign_in(page, "mia", "a-long-password-of-mia")
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    page.goto(f"{instance.console_url}adaptations?new=1")
    expect(page.get_by_role("row").filter(has_text=CENTRE)).to_have_count(4)
    expect(page.get_by_role("button", name="New adaptation")).to_have_count(0)
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.goto(f"{instance.console_url}matrix")
    expect(page.get_by_text("not adapted").first).to_be_visible()
    expect(page.get_by_role("button", name="Adapt")).to_have_count(0)
