"""An adaptation as a user starts it, with its agent killed: it goes on, is cancelled, and keeps what it measured."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.acceptance.conftest import Shell, start

MODEL = "smollm2-135m-instruct"
WAIT_S = 120.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def eventually(what: str, fact: Callable[[], Any]) -> Any:
    """The fact, as soon as it is true; fails the test when it never is."""
    until = time.monotonic() + WAIT_S
    pause = threading.Event()
    while not (found := fact()):
        assert time.monotonic() < until, f"never came true: {what}"
        pause.wait(0.2)
    return found


def agent_of(user: Shell) -> int | None:
    return next((pid for pid, command in user.processes().items() if "yunhe.agent " in command), None)


def journals(user: Shell) -> list[str]:
    found = (user.home / "agent" / "tunings").glob("adp_*/journal.jsonl")
    return [line for path in found for line in path.read_text(encoding="utf-8").splitlines()]


def test_an_adaptation_outlives_its_agent_and_can_be_cancelled(shell: Shell) -> None:
    start(shell)
    begun = shell.json("adapt", MODEL, "--on", "local", "--engine", "xllamacpp", "--budget", "10m", "--detach")
    assert begun["state"] in ("waiting", "starting") and begun["baseline_engine"] == "xllamacpp"
    eventually("the journal begins", lambda: journals(shell))
    killed = agent_of(shell)
    assert killed is not None
    with contextlib.suppress(ProcessLookupError):
        os.kill(killed, signal.SIGKILL)
    eventually("another agent goes on", lambda: any('"type":"resumed"' in line for line in journals(shell)))
    assert agent_of(shell) not in (None, killed)
    eventually(
        "the reference is asked", lambda: "reference" in shell.json("adaptation", "show", begun["id"])["activity"]
    )

    shell.json("adaptation", "cancel", begun["id"])
    ended = eventually("it ends", lambda: _ended(shell, begun["id"]))
    assert ended["state"] == "cancelled" and ended["recipe_id"] is None and ended["entries"] >= 3
    eventually("no candidate is left", lambda: not _trials(shell))
    deployment = shell.json("deployment", "list")[0]
    assert (deployment["state"], deployment["ready_replicas"]) == ("ready", 1)


def _ended(user: Shell, adaptation: str) -> dict[str, Any] | None:
    found: dict[str, Any] = user.json("adaptation", "show", adaptation)
    return found if found["state"] in ("finished", "failed", "cancelled") else None


def _trials(user: Shell) -> list[str]:
    """Candidates that still run, by the directory that they run in."""
    found = []
    for pid in user.processes():
        with contextlib.suppress(OSError):
            found.append(str(Path(f"/proc/{pid}/cwd").readlink()))
    return [place for place in found if "/trial-" in place]


def test_an_impossible_adaptation_says_what_to_do(shell: Shell) -> None:
    start(shell)
    for arguments, said in (
        (("adapt", "no-such-model"), "no model"),
        (("adapt", MODEL, "--on", "no-such-centre"), "centre"),
        (("adapt", MODEL, "--engine", "no-such-engine"), "engine"),
        (("adapt", MODEL, "--budget", "soon"), "14m"),
        (("adapt", MODEL, "--workload", "/no/such/file.json"), "workload"),
    ):
        done = shell.run(*arguments, "--detach")
        assert done.returncode != 0 and said in done.stderr, (arguments, done.stderr)
