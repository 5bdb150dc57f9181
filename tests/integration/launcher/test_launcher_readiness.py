"""When an instance counts as ready: only by what its parts show since this start."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from yunhe.catalogue.builtin import DEFAULT_MODEL
from yunhe.core.home import Home
from yunhe.launcher.progress import Progress
from yunhe.launcher.readiness import Readiness
from yunhe.launcher.run_files import gateway_path


class Parts:
    """A scripted control and gateway behind one port; answers by path."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.key_is_good = True
        self.deployment = {"id": "dep_1", "name": DEFAULT_MODEL, "model": DEFAULT_MODEL, "replicas": 1}
        self.deployment |= {"ready_replicas": 1, "state": "ready", "reason": ""}
        self.centre = {"name": "local", "state": "online", "cards": 1}
        self.centre["last_sync_at"] = datetime.fromtimestamp(time.time() + 60, UTC).isoformat()
        self.replica = {"state": "ready", "url": f"http://127.0.0.1:{port}"}
        self.health = {"worker": 0, "control_connected": True, "models": {DEFAULT_MODEL: 1}}

    def answer(self, path: str) -> tuple[int, Any]:
        if path == "/healthz":
            return 200, {"ok": True}
        if path == "/gateway/health":
            return 200, self.health
        if not self.key_is_good:
            return 401, {"error": {"code": "not_signed_in"}}
        name = path.removeprefix("/api/v1/").partition("?")[0]
        return 200, {"data": [getattr(self, name.removesuffix("s"))], "next": None}


@pytest.fixture
def parts() -> Iterator[Parts]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = made.answer(self.path)
            raw = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made = Parts(server.server_port)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield made
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def readiness(parts: Parts, tmp_path: Path) -> Readiness:
    home = Home(tmp_path / "home")
    home.make()
    home.credentials.write_text('{"manage_key": "yh_m"}')
    gateway_path(home, 0).write_text("{}")
    seen: list[Progress] = []
    return Readiness(
        home=home,
        host="127.0.0.1",
        port=parts.port,
        control_port=parts.port,
        workers=1,
        watch=seen.append,
        started_at=time.time(),
    )


def test_all_parts_together_are_ready(readiness: Readiness) -> None:
    assert readiness.check() is True
    assert readiness.missing() == ""


def test_worker_that_does_not_accept_yet_is_waited_for(readiness: Readiness) -> None:
    gateway_path(readiness.home, 0).unlink()
    assert readiness.check() is False
    assert "gateway: 0 of 1 workers accept" in readiness.missing()


def test_sync_from_before_this_start_proves_nothing(readiness: Readiness, parts: Parts) -> None:
    parts.centre["last_sync_at"] = "2026-01-01T00:00:00Z"
    assert readiness.check() is False
    assert "agent" in readiness.missing()


def test_replica_that_control_remembers_but_nobody_runs_is_not_ready(readiness: Readiness, parts: Parts) -> None:
    parts.replica["url"] = "http://127.0.0.1:9"
    assert readiness.check() is False
    assert "does not accept connections" in readiness.missing()


def test_deployment_that_is_not_ready_says_why(readiness: Readiness, parts: Parts) -> None:
    parts.deployment |= {"ready_replicas": 0, "state": "down", "reason": "out of memory"}
    assert readiness.check() is False
    assert "out of memory" in readiness.missing()


def test_route_must_be_in_a_gateway_that_hears_control(readiness: Readiness, parts: Parts) -> None:
    parts.health["control_connected"] = False
    assert readiness.check() is False
    assert "0 of 1 gateway workers route" in readiness.missing()


def test_default_model_is_not_waited_for_when_nobody_wants_it(readiness: Readiness, parts: Parts) -> None:
    parts.deployment["replicas"] = 0
    assert readiness.check() is True


def test_revoked_key_leaves_the_agents_own_identity_as_proof(readiness: Readiness, parts: Parts) -> None:
    parts.key_is_good = False
    assert readiness.check() is False
    (readiness.home.agent / "identity.json").write_text("{}")
    assert readiness.check() is True
