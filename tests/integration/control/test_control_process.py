"""Control as a real process on an inherited socket, killed and started again."""

from __future__ import annotations

import json
import random
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import msgspec
import pytest

from yunhe.core.home import Home
from yunhe.ledger.usage import UsageRecord

MODEL = "smollm2-135m-instruct"
BATCHES = 60
RECORDS = 20
KILLS = 4


class Process:
    """One control process after another on the same listening socket, as the launcher keeps it."""

    def __init__(self, root: Path) -> None:
        self.home = Home(root)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        self.child: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        fd = self.listener.fileno()
        argv = [sys.executable, "-m", "yunhe.control", "--home", str(self.home.root), "--fd", str(fd)]
        self.child = subprocess.Popen(argv, pass_fds=(fd,), stdin=subprocess.DEVNULL)

    def end(self, number: signal.Signals) -> int:
        assert self.child is not None
        self.child.send_signal(number)
        return self.child.wait(60)

    def await_health(self) -> None:
        # The socket queues the connection, so the answer comes when control is there: nothing is polled.
        assert httpx.get(f"{self.url}/healthz", timeout=60).json() == {"ok": True}

    def internal(self) -> dict[str, str]:
        return {"authorization": f"Bearer {(self.home.secrets / 'internal_token').read_text()}"}


@contextmanager
def control(root: Path) -> Iterator[Process]:
    process = Process(root)
    process.start()
    try:
        process.await_health()
        yield process
    finally:
        if process.child is not None and process.child.poll() is None:
            process.end(signal.SIGKILL)
        process.listener.close()


def record(number: int, project: str, price: str) -> UsageRecord:
    return UsageRecord(
        f"req_{number:08d}", project, "key_1", MODEL, "completions", False, "ok", 200, 100, 0, 50, "engine",
        1_790_000_000.0, 1.0, 0.1, price, None, "rep_1", "dep_1", "local; cpu; alpha; default", 1, "w0",
    )  # fmt: skip


def ship(process: Process, project: str, price: str, done: threading.Event) -> None:
    """Send every batch until control has confirmed it, like a worker's spool."""
    headers = process.internal()
    for batch in range(BATCHES):
        records = [record(batch * RECORDS + n, project, price) for n in range(RECORDS)]
        content = msgspec.json.encode({"worker": "w0", "records": records})
        while True:
            try:
                answer = httpx.post(f"{process.url}/internal/v1/usage", content=content, headers=headers, timeout=60)
            except httpx.TransportError:
                continue
            if answer.status_code == 200:
                break
    done.set()


@pytest.mark.slow
def test_usage_survives_sigkill_at_any_point_exactly_once(tmp_path: Path) -> None:
    chance = random.Random(20261123)
    with control(tmp_path / "home") as process:
        whole = httpx.get(f"{process.url}/internal/v1/snapshot?since=-1", headers=process.internal(), timeout=60).json()
        project, price = whole["projects"][0]["project_id"], whole["models"][0]["price"]["price_id"]
        done = threading.Event()
        worker = threading.Thread(target=ship, args=(process, project, price, done))
        worker.start()
        for _ in range(KILLS):
            if done.wait(chance.uniform(0.05, 0.4)):
                break
            process.end(signal.SIGKILL)
            process.start()
            process.await_health()
        worker.join(240)
        assert done.is_set()
        key = json.loads(process.home.credentials.read_text())["manage_key"]
        api = {"authorization": f"Bearer {key}"}
        verdict = httpx.post(f"{process.url}/api/v1/ledger/verify", headers=api, timeout=120).json()
        assert (verdict["ok"], verdict["problems"], verdict["usage_checked"]) == (True, [], BATCHES * RECORDS)
        balance = httpx.get(f"{process.url}/api/v1/balance", headers=api, timeout=60).json()
        # 100 prompt tokens at 0.1 and 50 completion tokens at 0.2 micro-credits.
        assert balance["spent_micro"] == BATCHES * RECORDS * 20


@pytest.mark.slow
def test_sigkill_during_the_first_start_leaves_nothing_half_done(tmp_path: Path) -> None:
    chance = random.Random(7)
    process = Process(tmp_path / "home")
    for _ in range(4):
        process.start()
        assert process.child is not None
        with suppress(subprocess.TimeoutExpired):
            process.child.wait(chance.uniform(0.5, 3.0))
        process.end(signal.SIGKILL)
    process.start()
    try:
        process.await_health()
        told = json.loads((process.home.run / "first_start.json").read_text())
        kept = json.loads(process.home.credentials.read_text())
        assert told["api_key"] == kept["api_key"]
        for key in kept.values():
            headers = {"authorization": f"Bearer {key}"}
            assert httpx.get(f"{process.url}/api/v1/me", headers=headers, timeout=60).status_code == 200
        sign_in = {"user": told["admin_user"], "password": told["admin_password"]}
        assert httpx.post(f"{process.url}/api/v1/sessions", json=sign_in, timeout=60).status_code == 201
        logs = "".join(path.read_text() for path in process.home.logs.iterdir())
        secrets = [told["admin_password"], *kept.values(), (process.home.agent / "join_token").read_text()]
        assert [secret for secret in secrets if secret in logs] == []
    finally:
        process.end(signal.SIGKILL)
        process.listener.close()


@pytest.mark.slow
def test_sigterm_ends_it_gracefully_in_the_middle_of_a_long_poll(tmp_path: Path) -> None:
    with control(tmp_path / "home") as process:
        headers = process.internal()
        revision = httpx.get(f"{process.url}/internal/v1/snapshot", headers=headers, timeout=60).json()["revision"]
        path = f"/internal/v1/snapshot?since={revision}&wait_s=20"
        with socket.create_connection(process.listener.getsockname(), timeout=60) as poll:
            poll.sendall(
                f"GET {path} HTTP/1.1\r\nhost: x\r\nauthorization: {headers['authorization']}\r\n\r\n".encode()
            )
            # Answered after the poll has been taken up: the process reads its connections in their order.
            process.await_health()
            assert process.end(signal.SIGTERM) == 0
            assert poll.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.slow
def test_a_start_that_cannot_work_says_why_and_what_to_do(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "yunhe.control", "--home", str(tmp_path / "home")]
    bad = subprocess.run(argv, env={"YUNHE_DATABASE_URL": "oracle://x"}, capture_output=True, timeout=60, check=False)
    assert bad.returncode == 1
    assert b"error[bad_database_url]" in bad.stderr
    assert b"hint: Use postgresql://" in bad.stderr
    assert b"Traceback" not in bad.stderr
