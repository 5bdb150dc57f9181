"""The built console's files: one page for every path that is not the API's, and its hashed assets."""

from __future__ import annotations

import mimetypes
from pathlib import Path
from typing import Final

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

import yunhe.control
from yunhe.api.errors import API_PATHS

DIST: Final = Path(yunhe.control.__file__).parent / "console_dist"
#: Files below this folder carry a hash of their content in their name.
_ASSETS: Final = "assets/"
_NOT_OURS: Final = ("/internal/", "/v1/", "/gateway/")
_FILE_BYTES_MAX: Final = 32 * 1024 * 1024

#: Styles may be set by attribute (charts do); nothing else comes from anywhere but this server.
CONTENT_SECURITY_POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "img-src 'self' data: blob:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "manifest-src 'self'",
        "worker-src 'self' blob:",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
)
_HEADERS: Final = {
    "content-security-policy": CONTENT_SECURITY_POLICY,
    "referrer-policy": "no-referrer",
    "x-frame-options": "DENY",
    "permissions-policy": "camera=(), geolocation=(), microphone=()",
}

_NOT_BUILT: Final = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Yunhe</title></head>
<body><h1>The console is not built here</h1>
<p>Yunhe itself runs: its API answers at <code>/api/v1</code>, its models at <code>/v1</code>.</p>
<p>To build the console, run <code>make console</code> in the source tree and start Yunhe again;
an installed wheel holds it already.</p></body></html>
"""


def _found(dist: Path, path: str) -> Path | None:
    """The file of the console at this path, or None; never one outside of ``dist``, whatever the path says."""
    wanted = path.lstrip("/")
    if not wanted or "\\" in wanted or any(part in ("", ".", "..") for part in wanted.split("/")):
        return None
    try:
        file = (dist / wanted).resolve(strict=True)
    except (OSError, ValueError):
        return None
    inside = file.is_relative_to(dist.resolve()) and file.is_file()
    return file if inside and file.stat().st_size <= _FILE_BYTES_MAX else None


def _answer(dist: Path, path: str) -> Response:
    index = dist / "index.html"
    if not index.is_file():
        return HTMLResponse(_NOT_BUILT, headers={**_HEADERS, "cache-control": "no-store"})
    file = _found(dist, path)
    if file is None and path.lstrip("/").startswith(_ASSETS):
        raise HTTPException(404)
    hashed = file is not None and path.lstrip("/").startswith(_ASSETS)
    # Every other path is a page of the console, which routes in the browser.
    file = file or index
    kind = mimetypes.guess_type(file.name)[0] or "application/octet-stream"
    cache = "public, max-age=31536000, immutable" if hashed else "no-cache"
    return Response(file.read_bytes(), media_type=kind, headers={**_HEADERS, "cache-control": cache})


def install(app: FastAPI, dist: Path = DIST) -> None:
    """Serve the console on every GET path that is nobody else's; call it after all other routes are in."""

    async def console(request: Request) -> Response:
        path = request.url.path
        if f"{path}/".startswith(API_PATHS):
            # No route of the API took it: whether another method would do is found out by the handler of this.
            raise HTTPException(405)
        if f"{path}/".startswith(_NOT_OURS):
            raise HTTPException(404)
        return await run_in_threadpool(_answer, dist, path)

    app.router.routes.append(Route("/{path:path}", console, methods=["GET"], include_in_schema=False))
