"""The console in a real Chromium: what a person does on each page, and that everybody can read it.

axe-core comes from tests/acceptance/clients; without it, or without Chromium, what needs them skips and says so.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = [pytest.mark.browser, pytest.mark.slow]

MODEL = "smollm2-135m-instruct"
AXE = Path(__file__).parent / "clients" / "node_modules" / "axe-core" / "axe.min.js"
CHROMIUM_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
CHROMIUM_OPTIONS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
STEP_MS = 20_000
ANSWER_MS = 120_000
PAGES = {
    "home": "",
    "playground": "playground",
    "deployments": "deployments",
    "details": f"deployments?open={MODEL}",
    "pool": "pool",
    "usage": "usage",
    "keys": "keys?all=1",
}
Open = Callable[..., Page]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for this file; it ends with it, because Playwright keeps an event loop meanwhile."""
    program = next((found for name in CHROMIUM_NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip("no Chromium here: install the package chromium")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=CHROMIUM_OPTIONS)
        yield started
        started.close()


@pytest.fixture(scope="module")
def signed_in(browser: Browser, instance: Any) -> Any:
    """The cookies of somebody who has signed in through the page."""
    context = browser.new_context(locale="en-GB")
    page = context.new_page()
    page.goto(instance.console_url)
    sign_in(page, instance.admin_user, instance.admin_password)
    expect(page.get_by_role("heading", name="Home")).to_be_visible(timeout=STEP_MS)
    state = context.storage_state()
    context.close()
    return state


@pytest.fixture
def open_page(browser: Browser, instance: Any, signed_in: Any) -> Iterator[Open]:
    """Open a path of the console as somebody signed in; no page may throw or overflow its window."""
    contexts, thrown = [], []

    def opened(path: str = "", **options: Any) -> Page:
        context = browser.new_context(**{"storage_state": signed_in, "locale": "en-GB", **options})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(STEP_MS)
        page.on("pageerror", lambda error: thrown.append(str(error)))
        page.goto(instance.console_url + path)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert thrown == []


def sign_in(page: Page, user: str, password: str) -> None:
    """Fill the sign-in page and send it."""
    page.get_by_label("User name").fill(user)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()


def settled(page: Page) -> None:
    """Wait until the page has its heading and shows no placeholder any more."""
    expect(page.locator("main h1")).to_be_visible(timeout=STEP_MS)
    expect(page.get_by_role("status")).to_have_count(0, timeout=STEP_MS)


def row(page: Page, text: str) -> Locator:
    """The table row that says so."""
    return page.get_by_role("row").filter(has_text=text)


def test_a_wrong_password_is_refused_with_words_and_a_right_one_lets_in_until_sign_out(
    open_page: Open, instance: Any
) -> None:
    page = open_page(storage_state=None)
    sign_in(page, instance.admin_user, "not-the-password")
    expect(page.get_by_role("alert")).to_contain_text("password")
    sign_in(page, instance.admin_user, instance.admin_password)
    expect(page.get_by_role("heading", name="Home")).to_be_visible()
    # Either word: other tests on this instance make centres that nobody joins.
    expect(page.get_by_text(re.compile("Everything runs|Something needs attention"))).to_be_visible()
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Password")).to_be_visible()


def test_the_playground_streams_an_answer_with_its_time_to_first_token_and_speed(open_page: Open) -> None:
    page = open_page("playground")
    page.get_by_label("Max. output tokens").fill("24")
    page.get_by_label("Message").fill("Name three rivers.")
    page.get_by_label("Message").press("Enter")
    answer = page.locator("article").last
    expect(answer.get_by_test_id("ttft")).to_have_text(re.compile(r"TTFT [\d.]+ m?s"), timeout=ANSWER_MS)
    expect(answer.get_by_test_id("speed")).to_have_text(re.compile(r"[\d.]+ tokens/s"), timeout=ANSWER_MS)
    expect(page.get_by_role("button", name="Send")).to_be_visible(timeout=ANSWER_MS)
    expect(answer.locator("p")).to_have_text(re.compile(r"\w{3}"))
    expect(page.get_by_role("alert")).to_have_count(0)


def test_an_answer_can_be_stopped(open_page: Open) -> None:
    page = open_page("playground")
    page.get_by_label("Max. output tokens").fill("2000")
    page.get_by_label("Message").fill("Tell a very long story.")
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_test_id("ttft")).to_be_visible(timeout=ANSWER_MS)
    page.get_by_role("button", name="Stop").click()
    expect(page.locator("article").last).to_contain_text("stopped")
    expect(page.get_by_role("button", name="Send")).to_be_visible()


def test_a_key_is_made_used_seen_in_the_usage_and_revoked(open_page: Open, instance: Any) -> None:
    page = open_page("keys")
    page.get_by_role("button", name="New key").click()
    page.get_by_label("Name").fill("browser-test")
    page.get_by_role("button", name="Create key").click()
    secret = page.get_by_test_id("secret").inner_text()
    page.get_by_role("button", name="Done").click()
    expect(row(page, "browser-test")).to_contain_text("active")

    assert chat_status(instance, secret, until=200) == 200
    page.goto(f"{instance.console_url}usage?by=key")
    expect(row(page, "browser-test").get_by_role("cell").nth(1)).to_have_text("1", timeout=ANSWER_MS)
    expect(page.get_by_role("img", name="Tokens over time")).to_be_visible()

    page.goto(f"{instance.console_url}keys")
    page.get_by_role("button", name="Revoke browser-test").click()
    page.get_by_role("dialog").get_by_role("button", name="Revoke").click()
    expect(row(page, "browser-test")).to_have_count(0)
    page.get_by_label("Show revoked and expired").check()
    expect(row(page, "browser-test")).to_contain_text("revoked")
    assert chat_status(instance, secret, until=401) == 401


def chat_status(instance: Any, key: str, until: int) -> int:
    """Status of a short chat; asked again, a bounded number of times, while workers learn of a changed key."""
    body = {"model": MODEL, "max_tokens": 4, "messages": [{"role": "user", "content": "Hello"}]}
    answer = 0
    with httpx.Client(base_url=instance.base_url, timeout=120, headers={"authorization": f"Bearer {key}"}) as client:
        for _ in range(200):
            answer = client.post("/chat/completions", json=body).status_code
            if answer == until:
                break
    return answer


def test_a_deployment_shows_that_it_is_ready_and_its_replicas_log(open_page: Open) -> None:
    page = open_page("deployments")
    expect(row(page, MODEL)).to_contain_text("ready")
    expect(row(page, MODEL)).to_contain_text("1 / 1")
    row(page, MODEL).get_by_role("button", name="Details").click()
    dialog = page.get_by_role("dialog", name=MODEL)
    expect(dialog).to_contain_text("1 of 1 replicas ready")
    dialog.get_by_role("button", name="Log").click()
    expect(dialog.locator("pre")).to_contain_text("model loaded")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)


def test_the_pool_shows_this_machine_with_speeds_that_were_measured(open_page: Open) -> None:
    page = open_page("pool")
    cards = page.get_by_role("region", name="Cards").last
    expect(cards).to_contain_text("healthy")
    expect(cards).to_contain_text("memory bandwidth · measured")
    expect(cards).to_contain_text(re.compile(r"[\d.]+ GB/s"))
    expect(cards).not_to_contain_text("simulated")


def test_language_and_theme_are_chosen_and_kept(open_page: Open) -> None:
    page = open_page(color_scheme="light")
    root = page.locator("html")
    expect(root).to_have_attribute("data-theme", "light")
    page.get_by_label("Theme").select_option("dark")
    page.get_by_label("Language").select_option("zh-CN")
    expect(page.get_by_role("heading", name="总览")).to_be_visible()
    page.reload()
    expect(root).to_have_attribute("data-theme", "dark")
    expect(root).to_have_attribute("lang", "zh-CN")
    expect(page.get_by_role("link", name="算力池")).to_be_visible()


@pytest.mark.parametrize("name", PAGES)
def test_no_page_is_wider_than_a_telephone(open_page: Open, name: str) -> None:
    page = open_page(PAGES[name], viewport={"width": 390, "height": 844})
    settled(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


@pytest.mark.skipif(not AXE.exists(), reason="axe-core is missing: python tests/acceptance/clients/install.py")
@pytest.mark.parametrize("language", ["en", "zh-CN"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_on_any_page(open_page: Open, instance: Any, scheme: str, language: str) -> None:
    found = {}
    page = open_page(color_scheme=scheme, locale=language, storage_state=None)
    expect(page.locator("input[type=password]")).to_be_visible()
    found["sign-in"] = violations(page)
    page.locator("input").first.fill(instance.admin_user)
    page.locator("input[type=password]").fill(instance.admin_password)
    page.locator("form button").click()
    expect(page.locator("aside nav")).to_be_visible()
    for name, path in PAGES.items():
        page.goto(instance.console_url + path)
        expect(page.locator("aside nav")).to_be_visible()
        settled(page)
        found[name] = violations(page)
    assert {name: what for name, what in found.items() if what} == {}


def violations(page: Page) -> list[str]:
    """What axe calls serious or critical here, each with the first place where it is so."""
    page.evaluate(AXE.read_text(encoding="utf-8"))
    told = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        f"{one['id']}: {one['nodes'][0]['html'][:200]} {one['nodes'][0]['failureSummary'][:300]}"
        for one in told["violations"]
        if one["impact"] in ("serious", "critical")
    ]
