"""A recipe is rolled out under load, with real processes and the real engine: no request may notice.

Nothing waits for a fixed time: each wait is for a fact.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

MODEL = "smollm2-135m-instruct"
WAIT_S = 150.0

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def eventually(what: str, fact: Callable[[], Any]) -> Any:
    """The fact, as soon as it is true; fails the test when it never is."""
    until = time.monotonic() + WAIT_S
    pause = threading.Event()
    while not (found := fact()):
        assert time.monotonic() < until, f"never came true: {what}"
        pause.wait(0.1)
    return found


@dataclass
class Traffic:
    """Clients that send one request after the other until told to stop, half of them streams."""

    base_url: str
    api_key: str
    #: The recipe that served each answer, in the order of their ends.
    served: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, clients: int) -> None:
        """So many clients."""
        for number in range(clients):
            thread = threading.Thread(target=self._send_on, args=(number % 2 == 0,))
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Finish what runs."""
        self._stop.set()
        for thread in self._threads:
            thread.join(WAIT_S)
            assert not thread.is_alive(), "a request hangs"

    def _send_on(self, stream: bool) -> None:
        while not self._stop.is_set():
            self.send(stream)

    def send(self, stream: bool) -> str:
        """One request, to its end; the name of the recipe that served it."""
        body = {"model": MODEL, "prompt": "1 2 3 4 5 6", "max_tokens": 24, "temperature": 0, "stream": stream}
        headers = {"authorization": f"Bearer {self.api_key}"}
        try:
            with httpx.Client(timeout=WAIT_S, trust_env=False) as client:
                answer = client.post(f"{self.base_url}/completions", json=body, headers=headers)
        except httpx.TransportError as error:
            self.failed.append(repr(error))
            return ""
        whole = not stream or (answer.text.rstrip().endswith("data: [DONE]") and '"error"' not in answer.text)
        if answer.status_code != 200 or not whole:
            self.failed.append(f"{answer.status_code}: {answer.text[-500:]}")
            return ""
        recipe: str = answer.headers["x-yunhe-served-by"].rpartition("; ")[2]
        self.served.append(recipe)
        return recipe

    def more(self, count: int) -> None:
        """Wait for so many answers more."""
        there = len(self.served)
        eventually(f"{count} answers more", lambda: len(self.served) >= there + count)


@pytest.fixture
def traffic(shell: Any) -> Iterator[Traffic]:
    """Clients of an instance of the test's own, whose default model is ready."""
    told = shell.json("up", "--detach", "--port", "0", "--timeout", "180", timeout_s=300)
    made = Traffic(told["base_url"], told["api_key"])
    try:
        yield made
    finally:
        made.stop()


def replicas(shell: Any) -> dict[str, tuple[str, str]]:
    """id -> state and recipe."""
    return {one["id"]: (one["state"], one["recipe"]) for one in shell.json("replica", "list")}


def test_a_recipe_is_rolled_out_under_load_without_a_failed_request(shell: Any, traffic: Traffic) -> None:
    (old,) = replicas(shell)
    traffic.start(4)
    traffic.more(4)
    options = ("--share", "0.5", "--canary", "2", "--requests", "8", "--max-ttft", "60", "--max-tpot", "10")
    ended = shell.json("rollout", "start", MODEL, "--set", "slots=8", "--name", "eight", *options, timeout_s=300)
    assert (ended["stage"], ended["recipe"]["settings"], ended["figures"]["errors"]) == ("default", {"slots": 8}, 0)
    assert ended["figures"]["requests"] >= 8
    (new,) = eventually("the old replica is gone", lambda: [*found] if old not in (found := replicas(shell)) else None)
    traffic.more(4)
    assert replicas(shell) == {new: ("ready", "eight")}
    assert traffic.send(stream=True) == traffic.send(stream=False) == "eight"
    served = Counter(traffic.served)
    print(f"served: {dict(served)}, canary: {ended['figures']}")
    assert set(served) == {"default", "eight"}
    assert shell.json("deployment", "show", MODEL)["recipe"]["name"] == "eight"

    refused_at_launch = ("--set", "kv_type=q8_0", "--set", "flash_attention=off")
    bad = shell.run("rollout", "start", MODEL, *refused_at_launch, "--name", "bad", timeout_s=300)
    assert bad.returncode == 1
    assert "bad was taken back: its replica" in bad.stderr
    traffic.more(4)
    traffic.stop()
    assert traffic.failed == []
    assert replicas(shell) == {new: ("ready", "eight")}
    assert [one["stage"] for one in shell.json("rollout", "list", MODEL)] == ["rolled_back", "default"]
    records = shell.json("usage", "--records", "--limit", "10000")
    assert {record["outcome"] for record in records} == {"ok"}
    kinds = Counter(event["kind"] for event in shell.json("deployment", "events", MODEL, "--limit", "1000"))
    assert (kinds["rollout_started"], kinds["rollout_default"], kinds["rollout_rolled_back"]) == (2, 1, 1)
