"""What is asked of each target, and how one sample of it is taken."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.machine import Cores, Meter, rss_bytes, tree
from bench.programs import Load
from bench.target import Target, request_file

#: A stream's token events, its usage event and [DONE].
TOKEN_EVENTS = 64
STREAM_EVENTS = TOKEN_EVENTS + 2


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of load."""

    name: str
    section: str
    title: str
    mode: str
    stream: bool
    #: Closed loop with so many connections, or else open loop at ``rate_per_s``.
    connections: int = 0
    rate_per_s: float = 0.0
    targets: tuple[str, ...] = ("nginx", "yunhe")
    #: Longer windows where few things happen a second.
    stretch: float = 1.0


_BESIDE_DIRECT = ("direct", "nginx", "yunhe")
_WITH_LITELLM = ("nginx", "yunhe", "litellm")

SCENARIOS = (
    Scenario("requests-32", "requests", "requests, 32 connections", "burst", False, 32, targets=_WITH_LITELLM),
    Scenario("requests-256", "requests", "requests, 256 connections", "burst", False, 256),
    Scenario("burst-64", "streams", "streams back to back, 64 at once", "burst", True, 64),
    Scenario("paced-256", "streams", "streams paced, 256 at once", "paced", True, 256),
    Scenario("counted-256", "streams", "paced, 256, engine counts on every event", "paced-counted", True, 256),
    Scenario("paced-16", "streams", "streams paced, 16 at once", "paced", True, 16, targets=_WITH_LITELLM),
    Scenario("ttft", "latency", "streams, 20/s open loop", "paced", True, 0, 20, _BESIDE_DIRECT, 2),
    Scenario("latency", "latency", "requests, 100/s open loop", "burst", False, 0, 100, _BESIDE_DIRECT, 1.5),
)
SECTIONS = ("requests", "streams", "latency")


@dataclass(frozen=True, slots=True)
class Sample:
    """One measured window."""

    scenario: str
    target: str
    round: int
    #: Requests or, for streams, events completed in the window.
    work: int
    seconds: float
    cpu_us_per_work: float | None
    #: Share of the measured core that others took, and that the hypervisor took.
    foreign: float
    stolen: float
    errors: int
    note: str
    latency_ms: dict[str, float]
    ttft_ms: dict[str, float]
    #: Of its largest process, when the window began.
    rss_mb: float | None
    noisy: bool = False


def _note(result: dict[str, Any]) -> str:
    wrong = {name: count for name, count in result["errors"].items() if count}
    if result["unfinished"]:
        wrong["unfinished"] = result["unfinished"]
    words = ", ".join(f"{count} {name}" for name, count in wrong.items())
    return f"{words} (last: {result['bad_status']} {result['bad_body'][:120]})" if result["bad_status"] else words


def take(
    scenario: Scenario, target: Target, others: list[int], cores: Cores, seconds: float, warmup_s: float, number: int
) -> Sample:
    """Run the load once and read the CPU time around its window."""
    options: dict[str, float] = {"seconds": seconds * scenario.stretch, "warmup": warmup_s}
    if scenario.rate_per_s:
        options["rate"] = scenario.rate_per_s
    else:
        options["connections"] = scenario.connections
    if scenario.stream:
        options["stream"] = STREAM_EVENTS if target.passes_events else 1
    pid = target.pid()
    with tempfile.NamedTemporaryFile(prefix="yunhe-bench-") as request:
        request.write(request_file(target, scenario.mode, scenario.stream))
        request.flush()
        load = Load(cores.rest, target.port(scenario.mode), Path(request.name), options)
        meter = Meter(cores.gateway, pid or load.process.pid, others)
        load.window()
        begun, before = time.monotonic(), meter.read()
        rss = max(rss_bytes(p) for p in tree(pid)) / 1e6 if pid else None
        result = load.result()
        after, took = meter.read(), time.monotonic() - begun
    work = result["events"] if scenario.stream else result["done"]
    spent = after.measured_s - before.measured_s
    busy, own = after.busy_s - before.busy_s, after.own_s - before.own_s
    return Sample(
        scenario=scenario.name,
        target=target.name,
        round=number,
        work=work,
        seconds=result["seconds"],
        cpu_us_per_work=spent / work * 1e6 if pid and work and not scenario.rate_per_s else None,
        foreign=max(0.0, busy - (own if pid else 0.0)) / took,
        stolen=(after.steal_s - before.steal_s) / took,
        errors=sum(result["errors"].values()) + result["unfinished"],
        note=_note(result),
        latency_ms=result["latency_ms"],
        ttft_ms=result["ttft_ms"],
        rss_mb=rss,
    )
