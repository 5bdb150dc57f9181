"""The load of a window against a fake engine: what is counted, what is refused, whose port and CPU time it was."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys

import pytest

from yunhe.adapt.adaptation import RequestShape, Workload
from yunhe.adapt.samples import SampleRules, judge_sample
from yunhe.agent.tuning import host, windows
from yunhe.agent.tuning.client import Ask, Connection, RequestFailed
from yunhe.agent.tuning.stage import Running
from yunhe.agent.tuning.windows import NotLoaded
from yunhe.catalogue.ports import LaunchPlan, UsageProbe
from yunhe.testing.fake_engine import FakeEngine, Fault

PLAN = LaunchPlan((), {}, {}, "", None, "/health", None, "m", 4, UsageProbe(), None, None)
WORKLOAD = Workload("own", (RequestShape(20, 6, 0.5), RequestShape(40, 3, 0.5)), (3,))


def running(engine: FakeEngine, pid: int | None) -> Running:
    return Running("trial-x", engine.url, None, "fake", 4, pid, PLAN)


def measured(engine: FakeEngine, pid: int | None, **load: float):  # type: ignore[no-untyped-def]
    load = load or {"concurrency": 3}
    return windows.measure(
        running(engine, pid),
        WORKLOAD,
        candidate="c",
        round=2,
        seed=5,
        window_s=0.5,
        **load,  # type: ignore[arg-type]
    )


async def with_engine(work, **kinds: object):  # type: ignore[no-untyped-def]
    engine = FakeEngine(**kinds)  # type: ignore[arg-type]
    await engine.start()
    try:
        return await work(engine)
    finally:
        await engine.stop()


def test_a_closed_loop_counts_every_token_and_owns_its_port() -> None:
    sample = asyncio.run(with_engine(lambda engine: measured(engine, os.getpid())))
    assert (sample.candidate, sample.round, sample.errors) == ("c", 2, 0)
    assert sample.completed > 6 and len(sample.ttft_s) == sample.completed
    assert sample.output_tokens == sample.output_tokens_due
    assert sample.owns_port
    assert 0.0 <= sample.foreign_cpu_share <= 1.0
    assert all(ttft > 0 for ttft in sample.ttft_s) and all(tpot is not None and tpot >= 0 for tpot in sample.tpot_s)


def test_an_open_loop_arrives_at_its_rate() -> None:
    sample = asyncio.run(with_engine(lambda engine: measured(engine, os.getpid(), requests_per_s=60.0)))
    assert 10 <= sample.completed <= 60


def test_a_server_of_somebody_else_is_not_taken_for_the_measured_one() -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        sample = asyncio.run(with_engine(lambda engine: measured(engine, stranger.pid)))
    finally:
        stranger.communicate()
    assert not sample.owns_port
    assert any("own the port" in reason for reason in judge_sample(sample, SampleRules(1.0, 0.0, 1)).reasons)


def test_answers_that_are_cut_off_are_errors_and_the_window_does_not_count() -> None:
    async def work(engine: FakeEngine):  # type: ignore[no-untyped-def]
        # The first few are the fitting and the warm-up.
        engine.faults.extend([Fault(), Fault(), Fault(), Fault(), Fault(drop_after=1)])
        return await measured(engine, os.getpid())

    sample = asyncio.run(with_engine(work))
    assert sample.errors == 1
    assert any("failed" in reason for reason in judge_sample(sample, SampleRules(1.0, 0.0, 1)).reasons)


def test_a_server_that_refuses_the_first_request_is_not_loaded() -> None:
    async def work(engine: FakeEngine) -> None:
        engine.faults.append(Fault(status=503))
        await measured(engine, os.getpid())

    with pytest.raises(NotLoaded, match="503"):
        asyncio.run(with_engine(work))


def test_nobody_listening_is_not_loaded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]

    async def work() -> None:
        await Connection(f"http://127.0.0.1:{port}", None, "m").ask(Ask("x", 1))

    with pytest.raises(RequestFailed):
        asyncio.run(work())


@pytest.mark.parametrize("raw", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}", b""])
def test_an_answer_that_is_no_stream_of_events_is_refused(raw: bytes) -> None:
    async def work(engine: FakeEngine) -> None:
        engine.faults.append(Fault(raw=raw) if raw else Fault(drop=True))
        await Connection(engine.url, None, "m").ask(Ask("x", 1))

    with pytest.raises(RequestFailed):
        asyncio.run(with_engine(work))


def test_work_of_others_is_seen_as_foreign() -> None:
    script = "import time\nend = time.process_time() + 1.0\nwhile time.process_time() < end: pass\nprint('done')"
    other = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE)
    before = host.cpu_clock((os.getpid(),))
    other.communicate()
    after = host.cpu_clock((os.getpid(),))
    assert host.foreign_share(before, after) > 0.05
    assert after.busy_s - before.busy_s >= 0.9


def test_own_children_are_not_foreign() -> None:
    script = "\n".join(
        (
            "import sys, time",
            "sys.stdin.readline()",
            "end = time.process_time() + 1.0",
            "while time.process_time() < end: pass",
            "print('done', flush=True)",
            "sys.stdin.readline()",
        )
    )
    own = subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert own.stdin is not None and own.stdout is not None
    before = host.cpu_clock((own.pid,))
    own.stdin.write("go\n")
    own.stdin.flush()
    own.stdout.readline()
    after = host.cpu_clock((own.pid,))
    own.communicate("end\n")
    assert after.own_s - before.own_s >= 0.9
