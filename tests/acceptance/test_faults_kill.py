"""SIGKILL of each process under load: the others go on, and every request is billed once, for what was delivered.

Real processes, the real engine, an instance for each test. Nothing waits for a fixed time: each wait is for a fact.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

MODEL = "smollm2-135m-instruct"
#: Goes on for as long as it may, in plain ASCII: one token an event.
ENDLESS = "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20"
WAIT_S = 150.0
#: Tokens that the killed process may have counted for an event that was on its way when it died.
ON_THE_WAY = 3
ENGINE_COUNTERS = ("prompt_tokens_total", "prompt_tokens_cached_total", "tokens_predicted_total")

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
class Seen:
    """One request as its sender saw it."""

    stream: bool
    status: int = 0
    request_id: str = ""
    #: Events that held text.
    delivered: int = 0
    #: Token counts of the answer's own usage.
    usage: dict[str, int] | None = None
    error: str = ""
    #: whole, refused (a status), interrupted (an error event), broken (the connection ended)
    end: str = ""


@dataclass
class Traffic:
    """Clients that send one request after the other until told to stop."""

    base_url: str
    api_key: str
    seen: list[Seen] = field(default_factory=list)
    running: list[Seen] = field(default_factory=list)
    _stop: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, streams: int, whole: int) -> None:
        """So many senders of long streams, and of short whole answers."""
        for number in range(streams + whole):
            thread = threading.Thread(target=self._send_on, args=(number < streams,))
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
            if self.send(stream).end in ("refused", "broken"):
                # As a client does that was told to come back.
                self._stop.wait(0.2)

    def send(self, stream: bool, max_tokens: int | None = None) -> Seen:
        """One request, to its end."""
        seen = Seen(stream)
        self.running.append(seen)
        body: dict[str, Any] = {"model": MODEL, "prompt": ENDLESS, "temperature": 0, "stream": stream}
        body["max_tokens"] = max_tokens or (120 if stream else 6)
        if stream:
            body["stream_options"] = {"include_usage": True}
        headers = {"authorization": f"Bearer {self.api_key}"}
        try:
            with (
                httpx.Client(timeout=WAIT_S, trust_env=False) as client,
                client.stream("POST", f"{self.base_url}/completions", json=body, headers=headers) as answer,
            ):
                self._read(seen, answer)
        except httpx.TransportError as error:
            seen.end, seen.error = "broken", repr(error)
        self.running.remove(seen)
        self.seen.append(seen)
        return seen

    def _read(self, seen: Seen, answer: httpx.Response) -> None:
        seen.status = answer.status_code
        seen.request_id = answer.headers.get("x-yunhe-request-id", "")
        if answer.status_code != 200:
            seen.end, seen.error = "refused", answer.read().decode()
        elif not seen.stream:
            seen.usage, seen.end = json.loads(answer.read())["usage"], "whole"
        else:
            for line in answer.iter_lines():
                self._read_event(seen, line)

    def _read_event(self, seen: Seen, line: str) -> None:
        if line == "data: [DONE]":
            seen.end = seen.end or "whole"
        elif line.startswith("data: "):
            event = json.loads(line[6:])
            if "error" in event:
                seen.end, seen.error = "interrupted", event["error"]["message"]
            seen.usage = event.get("usage") or seen.usage
            seen.delivered += bool(event.get("choices") and event["choices"][0]["text"])

    def streams_flow(self, streams: int) -> bool:
        """Whether so many streams are delivering right now."""
        return sum(seen.stream and seen.delivered >= 3 for seen in list(self.running)) >= streams

    def ended(self, *ends: str) -> list[Seen]:
        """Requests that ended like this."""
        return [seen for seen in list(self.seen) if seen.end in ends]


@dataclass
class Rig:
    """A running instance of the test's own, with what the tests ask it."""

    shell: Any
    traffic: Traffic
    base_url: str
    engine_before: dict[str, int] = field(default_factory=dict)

    def pid(self, name: str) -> int:
        """A process of the launcher's."""
        processes = self.shell.json("status")["processes"]
        found: int = next((p["pid"] for p in processes if p["name"] == name), 0)
        return found

    def kill(self, pid: int) -> None:
        """As the kernel does when memory runs out."""
        os.kill(pid, signal.SIGKILL)

    def replicas(self) -> list[dict[str, Any]]:
        """Those that are ready."""
        done = self.shell.run("replica", "list", "--json")
        listed: list[dict[str, Any]] = json.loads(done.stdout) if done.returncode == 0 else []
        return [replica for replica in listed if replica["state"] == "ready"]

    def records(self) -> list[dict[str, Any]]:
        """Every usage record that the ledger holds."""
        found: list[dict[str, Any]] = self.shell.json("usage", "--records", "--limit", "10000")
        return found

    def engine_counters(self) -> dict[str, int]:
        """What the engines themselves count since their start, summed over the ready ones."""
        totals = dict.fromkeys(ENGINE_COUNTERS, 0)
        for replica in self.replicas():
            config = self.shell.home / "agent/workloads" / replica["id"] / "work/engine.json"
            request = urllib.request.Request(replica["url"] + "/metrics")
            request.add_header("Authorization", f"Bearer {json.loads(config.read_text())['api_key']}")
            with urllib.request.urlopen(request, timeout=30) as answer:
                lines = [line.split() for line in answer.read().decode().splitlines() if line[:1] != "#"]
            for name, value in lines:
                if name.partition(":")[2] in totals:
                    totals[name.partition(":")[2]] += int(float(value))
        return totals

    def settled(self) -> dict[str, dict[str, Any]]:
        """All records by request id, once every request that reached a replica has one; each has exactly one."""
        known = {seen.request_id for seen in self.traffic.seen if seen.request_id and seen.end != "refused"}
        eventually("every request is in usage", lambda: known <= {record["request_id"] for record in self.records()})
        records = self.records()
        by_id = {record["request_id"]: record for record in records}
        assert len(by_id) == len(records), "a request is in usage twice"
        return by_id

    def check_books(self) -> dict[str, dict[str, Any]]:
        """Whole answers are billed as they say, cut ones for what was delivered, and the ledger adds up."""
        by_id = self.settled()
        for seen in self.traffic.ended("whole"):
            record = by_id[seen.request_id]
            assert seen.usage is not None
            assert record["outcome"] == "ok", (seen, record)
            billed = (record["prompt_tokens"], record["completion_tokens"])
            assert billed == (seen.usage["prompt_tokens"], seen.usage["completion_tokens"])
        for seen in self.traffic.ended("interrupted", "broken"):
            if seen.request_id:
                record = by_id[seen.request_id]
                assert record["outcome"] in ("upstream_error", "gateway_crash"), (seen, record)
                assert seen.delivered <= record["completion_tokens"] <= seen.delivered + ON_THE_WAY, (seen, record)
        total = self.shell.json("usage")["total"]
        assert total["completion_tokens"] == sum(record["completion_tokens"] for record in by_id.values())
        assert total["prompt_tokens"] == sum(record["prompt_tokens"] for record in by_id.values())
        verdict = self.shell.json("ledger", "verify")
        assert verdict["ok"], verdict["problems"]
        assert verdict["usage_checked"] >= len(by_id)
        return by_id

    def check_engines(self) -> None:
        """What the engines say they served since the test began is what usage says; for tests that cut nothing off."""
        assert not self.traffic.ended("interrupted", "broken")

        def difference() -> list[int]:
            now = self.engine_counters()
            return [now[name] - self.engine_before[name] for name in ENGINE_COUNTERS]

        total = self.shell.json("usage")["total"]
        prompt, cached, completion = difference()
        assert (prompt + cached, completion) == (total["prompt_tokens"], total["completion_tokens"])


@pytest.fixture
def rig(shell: Any) -> Iterator[Rig]:
    """An instance with its default model ready, and nothing sent yet."""
    told = shell.json("up", "--detach", "--port", "0", "--timeout", "180", timeout_s=300)
    traffic = Traffic(told["base_url"], told["api_key"])
    made = Rig(shell, traffic, told["base_url"])
    made.engine_before = made.engine_counters()
    try:
        yield made
    finally:
        traffic.stop()


def test_killed_engine_is_replaced_and_only_its_own_streams_end_with_an_error(rig: Rig) -> None:
    scaled = rig.shell.run("deployment", "scale", MODEL, "2")
    assert scaled.returncode == 0, scaled.stderr
    before = eventually("two replicas are ready", lambda: r if len(r := rig.replicas()) == 2 else None)
    traffic = rig.traffic
    traffic.start(streams=4, whole=2)
    eventually("four streams flow", lambda: traffic.streams_flow(4))
    # The faster one by its measure: it surely has streams, however unlike the two were when they were measured.
    victim = max(before, key=lambda replica: replica["tokens_per_s"] or 0.0)
    killed_at = time.monotonic()
    rig.kill(victim["pid"])
    eventually("the dead replica left the routes", lambda: all(r["id"] != victim["id"] for r in rig.replicas()))
    eventually("another took its place", lambda: len(rig.replicas()) == 2)
    print(f"the killed engine was replaced after {time.monotonic() - killed_at:.1f} s")
    eventually("new streams flow", lambda: traffic.streams_flow(4))
    traffic.stop()
    by_id = rig.check_books()
    interrupted = traffic.ended("interrupted")
    assert interrupted, "no stream ran on the killed engine"
    assert all(seen.error and seen.stream for seen in interrupted)
    assert {by_id[seen.request_id]["replica_id"] for seen in interrupted} == {victim["id"]}
    assert traffic.ended("refused", "broken", "") == [], "requests that had begun no answer must fail over"


def test_gateway_goes_on_while_control_is_dead_and_usage_is_stored_once(rig: Rig) -> None:
    traffic = rig.traffic
    traffic.start(streams=2, whole=2)
    eventually("two streams flow", lambda: traffic.streams_flow(2))
    control = rig.pid("control")
    rig.kill(control)
    assert traffic.send(stream=False).end == "whole", "control is down, the gateway must not be"
    eventually("control is back", lambda: rig.pid("control") not in (0, control))
    eventually("control answers", lambda: rig.shell.run("usage", "--json").returncode == 0)
    rig.kill(rig.pid("control"))
    assert traffic.send(stream=True, max_tokens=5).end == "whole"
    eventually("control answers again", lambda: rig.shell.run("usage", "--json").returncode == 0)
    traffic.stop()
    assert traffic.ended("refused", "broken", "interrupted", "") == []
    rig.check_books()
    rig.check_engines()


def test_killed_gateway_worker_takes_nobody_else_down_and_its_spool_is_stored_once(rig: Rig) -> None:
    traffic = rig.traffic
    traffic.start(streams=4, whole=2)
    eventually("four streams flow", lambda: traffic.streams_flow(4))
    victim, other = rig.pid("gateway-0"), rig.pid("gateway-1")
    rig.kill(victim)
    eventually("the worker is replaced", lambda: rig.pid("gateway-0") not in (0, victim))
    assert rig.pid("gateway-1") == other
    eventually("four streams flow again", lambda: traffic.streams_flow(4))
    traffic.stop()
    by_id = rig.check_books()
    for seen in traffic.ended("broken"):
        if seen.request_id:
            assert by_id[seen.request_id]["worker"] == "gateway-0"
    assert traffic.ended("interrupted", "refused", "") == []


def test_killed_agent_comes_back_to_the_same_engine_and_no_request_notices(rig: Rig) -> None:
    traffic = rig.traffic
    (replica,) = rig.replicas()
    traffic.start(streams=2, whole=2)
    eventually("two streams flow", lambda: traffic.streams_flow(2))
    agent = rig.pid("agent")
    rig.kill(agent)
    eventually("the agent is back", lambda: rig.pid("agent") not in (0, agent))
    eventually("it syncs", lambda: any(c["state"] == "online" for c in rig.shell.json("centre", "list")))
    sent = len(traffic.seen)
    eventually("requests go on", lambda: len(traffic.seen) >= sent + 4)
    traffic.stop()
    (adopted,) = rig.replicas()
    assert (adopted["id"], adopted["pid"]) == (replica["id"], replica["pid"])
    os.kill(replica["pid"], 0)
    assert "replica_failed" not in {event["kind"] for event in rig.shell.json("event", "list")}
    assert traffic.ended("interrupted", "broken", "refused", "") == []
    rig.check_books()
    rig.check_engines()
