"""The console's files, over a folder that the test fills."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from yunhe.api import console_files, errors
from yunhe.api.border import Border


def app_over(dist: Path) -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    errors.install(app)
    console_files.install(app, dist)
    app.add_middleware(Border)
    return app


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    folder = tmp_path / "console_dist"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<!doctype html><title>console</title>")
    (folder / "assets" / "main-a1b2c3.js").write_text("export {};")
    (folder / "favicon.svg").write_text("<svg/>")
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "link.txt").symlink_to(tmp_path / "secret.txt")
    return folder


@pytest.fixture
async def browser(dist: Path) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app_over(dist))
    async with httpx.AsyncClient(transport=transport, base_url="http://yunhe") as client:
        yield client


@pytest.mark.parametrize("path", ["/", "/deployments", "/keys/new", "/index.html"])
async def test_every_page_of_the_console_is_the_index(browser: httpx.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert answer.status_code == 200
    assert "console" in answer.text
    assert answer.headers["cache-control"] == "no-cache"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"


async def test_hashed_assets_are_kept_for_good(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/assets/main-a1b2c3.js")
    assert answer.status_code == 200
    assert "javascript" in answer.headers["content-type"]
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"


async def test_a_missing_asset_is_not_found(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/assets/gone-000000.js")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


@pytest.mark.parametrize(
    "path",
    ["/../secret.txt", "/%2e%2e/secret.txt", "/assets/%2e%2e/%2e%2e/secret.txt", "/link.txt", "/..%5csecret.txt"],
)
async def test_no_path_leads_out_of_the_folder(browser: httpx.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert "secret" not in answer.text or answer.status_code == 404


@pytest.mark.parametrize("path", ["/api", "/api/v1/nothing", "/internal/x", "/v1/models", "/gateway/health"])
async def test_addresses_of_others_are_not_pages(browser: httpx.AsyncClient, path: str) -> None:
    answer = await browser.get(path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "not_found"


async def test_a_page_answers_head_and_refuses_post(browser: httpx.AsyncClient) -> None:
    head = await browser.head("/")
    assert (head.status_code, head.content) == (200, b"")
    post = await browser.post("/")
    assert post.status_code == 405
    assert post.json()["error"]["code"] == "method_not_allowed"
    assert "GET" in post.headers["allow"]


async def test_a_console_that_is_not_built_says_so(tmp_path: Path) -> None:
    transport = httpx.ASGITransport(app=app_over(tmp_path / "nothing"))
    async with httpx.AsyncClient(transport=transport, base_url="http://yunhe") as client:
        answer = await client.get("/")
    assert answer.status_code == 200
    assert "make console" in answer.text
