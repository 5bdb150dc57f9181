"""The agent with the real engine and the real small model: ready, killed, adopted, refused."""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from yunhe.catalogue.model import Weights
from yunhe.serve.sync import LogAsk
from yunhe.testing.agent_instance import MODEL, AgentInstance, alive, processes_below
from yunhe.testing.fake_engine import FakeEngine
from yunhe.testing.gateway_instance import until


async def complete(url: str, key: str | None, tokens: int = 4) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"} if key else {}
    body = {"model": MODEL.name, "prompt": "The capital of France is", "max_tokens": tokens, "temperature": 0}
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        return await client.post(f"{url}/v1/completions", json=body, headers=headers)


async def test_a_replica_of_the_small_model_becomes_ready_and_answers_sanely(instance: AgentInstance) -> None:
    await instance.start_agent()
    instance.control.desire(await instance.desired())
    ready = await instance.until("rep_1", "ready")
    assert ready.url is not None
    assert alive(ready.pid)
    assert (ready.slots, ready.upstream_model) == (1, MODEL.name)
    assert (ready.tokens_per_s or 0) > 0
    phases = instance.control.phases("rep_1")
    assert phases == [phase for phase in ("starting", "probing", "ready") if phase in phases]
    answer = await complete(ready.url, ready.api_key)
    assert "Paris" in answer.json()["choices"][0]["text"]
    assert (await complete(ready.url, None)).status_code == 401
    assert instance.control.joins[0].driver == "local"


async def test_the_engine_s_key_stands_in_no_argument_and_no_environment(instance: AgentInstance) -> None:
    await instance.start_agent()
    instance.control.desire(await instance.desired())
    ready = await instance.until("rep_1", "ready")
    for name in ("cmdline", "environ"):
        assert (ready.api_key or "?").encode() not in Path(f"/proc/{ready.pid}/{name}").read_bytes()
    log = b"".join(path.read_bytes() for path in instance.home.agent.glob("workloads/rep_1/log/*"))
    assert (ready.api_key or "?").encode() not in log + (instance.home.root / "agent.log").read_bytes()


async def test_a_killed_engine_is_reported_with_its_end(instance: AgentInstance) -> None:
    await instance.start_agent()
    instance.control.desire(await instance.desired())
    ready = await instance.until("rep_1", "ready")
    os.kill(ready.pid or 0, signal.SIGKILL)
    gone = await instance.until("rep_1", "exited")
    assert (gone.reason, gone.exit_code) == ("killed by signal 9", -9)


async def test_a_killed_agent_leaves_its_replicas_and_the_next_adopts_them(instance: AgentInstance) -> None:
    await instance.start_agent()
    instance.control.desire(await instance.desired())
    before = await instance.until("rep_1", "ready")
    await instance.end_agent(signal.SIGKILL)
    assert (await complete(before.url or "", before.api_key)).status_code == 200
    syncs = len(instance.control.syncs)
    await instance.start_agent()
    await until(lambda: len(instance.control.syncs) > syncs, "the next agent's sync")
    after = await instance.until("rep_1", "ready")
    assert (after.pid, after.url, after.api_key, after.tokens_per_s) == (
        before.pid,
        before.url,
        before.api_key,
        before.tokens_per_s,
    )
    # Adopted, not proven again: the route need not close.
    assert "probing" not in [r.phase for s in list(instance.control.syncs)[syncs:] for r in s.replicas]


async def test_an_agent_without_control_runs_what_it_was_last_told(instance: AgentInstance) -> None:
    await instance.start_agent()
    instance.control.desire(await instance.desired())
    first = await instance.until("rep_1", "ready")
    assert await instance.end_agent() == 0
    assert alive(first.pid)
    assert await instance.stop_all() == 0
    port = await instance.control.stop()
    instance.control.syncs.clear()
    await instance.start_agent()
    launch = instance.home.agent / "launches" / "rep_1.json"
    await until(lambda: launch.exists() and '"proven":true' in launch.read_text(), "it is ready again", limit_s=120)
    await instance.control.start(port)
    again = await instance.until("rep_1", "ready")
    assert again.pid != first.pid
    assert "exited" not in instance.control.phases("rep_1")


async def test_stop_all_leaves_nothing(instance: AgentInstance) -> None:
    await instance.start_agent()
    instance.control.desire(await instance.desired("rep_1"), await instance.desired("rep_2"))
    pids = [(await instance.until(name, "ready")).pid for name in ("rep_1", "rep_2")]
    assert await instance.end_agent() == 0
    assert all(map(alive, pids))
    assert await instance.stop_all() == 0
    assert not any(map(alive, pids))
    await until(lambda: processes_below(instance.home) == [], "every process of it has gone")


async def test_an_interrupt_ends_the_agent_and_all_that_it_runs(instance: AgentInstance) -> None:
    await instance.start_agent()
    instance.control.desire(await instance.desired())
    pid = (await instance.until("rep_1", "ready")).pid
    assert await instance.end_agent(signal.SIGINT) == 0
    assert not alive(pid)
    await until(lambda: processes_below(instance.home) == [], "every process of it has gone")


async def test_a_second_agent_over_the_same_directory_is_refused(instance: AgentInstance) -> None:
    await instance.start_agent()
    await instance.cards()
    first = instance.agent
    second = await instance.start_agent()
    assert await asyncio.wait_for(second.wait(), 60) == 1
    assert "pid" in (instance.home.root / "agent.log").read_text()
    instance.agent = first


async def test_bad_weights_end_with_the_engine_s_own_reason(instance: AgentInstance, tmp_path: Path) -> None:
    bad = tmp_path / "bad.gguf"
    bad.write_bytes(b"this is no model")
    model = replace(MODEL, weights=Weights("gguf", None, bad.stat().st_size, f"file:{bad}"))
    await instance.start_agent()
    instance.control.desire(await instance.desired(model=model))
    gone = await instance.until("rep_1", "exited")
    assert gone.exit_code == 3
    assert "invalid magic" in gone.reason


async def test_altered_weights_never_start(instance: AgentInstance) -> None:
    model = replace(MODEL, weights=replace(MODEL.weights, sha256="00" * 32))
    await instance.start_agent()
    instance.control.desire(await instance.desired(model=model))
    gone = await instance.until("rep_1", "exited")
    assert "SHA-256" in gone.reason
    assert gone.pid is None


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cards": ("no-such-card",)}, "no card 'no-such-card'"),
        ({"recipe": "no-such-engine"}, "no engine 'no-such-engine'"),
        ({"settings": {"slots": 0}}, "The settings do not suit"),
    ],
    ids=["card", "engine", "settings"],
)
async def test_what_this_centre_cannot_run_says_why(
    instance: AgentInstance, change: dict[str, object], words: str
) -> None:
    await instance.start_agent()
    wish = await instance.desired()
    if "recipe" in change:
        wish = replace(wish, recipe=replace(wish.recipe, engine="no-such-engine"))
    elif "settings" in change:
        wish = replace(wish, recipe=replace(wish.recipe, settings={"slots": 0}))
    else:
        wish = replace(wish, cards=("no-such-card",))
    instance.control.desire(wish)
    assert words in (await instance.until("rep_1", "exited")).reason


async def test_a_replica_that_answers_nonsense_is_given_up_and_stopped(instance: AgentInstance) -> None:
    model = replace(MODEL, probe=replace(MODEL.probe, expect="a word that it never says"))
    await instance.start_agent()
    instance.control.desire(await instance.desired(model=model))
    gone = await instance.until("rep_1", "exited")
    assert "a word that it never says" in gone.reason
    await until(lambda: not alive(gone.pid), "its process is stopped", limit_s=60)


async def test_a_replica_that_shall_stop_stops_and_its_log_can_still_be_read(instance: AgentInstance) -> None:
    await instance.start_agent()
    wish = await instance.desired()
    instance.control.desire(wish)
    pid = (await instance.until("rep_1", "ready")).pid
    instance.control.desire(replace(wish, run=False, grace_s=5.0))
    assert (await instance.until("rep_1", "exited")).reason == "stopped"
    assert not alive(pid)
    instance.control.desire()
    await until(lambda: instance.control.replica("rep_1") is None, "it is no longer reported")
    instance.control.ask_log(LogAsk("ask_1", "rep_1", 0, 100_000))
    await until(lambda: "ask_1" in instance.control.answers, "the log")
    assert "listening" in instance.control.answers["ask_1"].text


async def test_the_engine_s_counters_are_reported_without_the_agent_s_own_questions(instance: AgentInstance) -> None:
    await instance.start_agent()
    instance.control.desire(wish := await instance.desired())
    ready = await instance.until("rep_1", "ready")
    answer = await complete(ready.url or "", ready.api_key, tokens=9)
    usage = answer.json()["usage"]
    instance.control.desire(replace(wish, run=False))
    gone = await instance.until("rep_1", "exited")
    assert (gone.prompt_tokens_total, gone.completion_tokens_total) == (usage["prompt_tokens"], 9)


async def test_a_server_that_runs_already_is_attached_watched_and_let_go(instance: AgentInstance) -> None:
    engine = FakeEngine(tokens=12)
    await engine.start()
    port = int(engine.url.rpartition(":")[2])
    await instance.start_agent()
    instance.control.desire(wish := instance.attached(engine.url))
    ready = await instance.until("rep_1", "ready")
    assert (ready.url, ready.upstream_model, ready.pid, ready.slots) == (engine.url, "fake-model", None, 8)
    assert (ready.tokens_per_s or 0) > 0
    await engine.stop()
    assert "/v1/models" in (await instance.until("rep_1", "unhealthy")).reason
    await engine.start(port)
    await instance.until("rep_1", "ready")
    instance.control.desire(replace(wish, run=False))
    assert (await instance.until("rep_1", "exited")).reason == "detached"
    assert engine.counters.requests >= 1
    await engine.stop()


async def test_a_declared_speed_is_believed(instance: AgentInstance) -> None:
    engine = FakeEngine(tokens=12)
    await engine.start()
    await instance.start_agent()
    wish = instance.attached(engine.url)
    assert wish.external is not None
    instance.control.desire(replace(wish, external=replace(wish.external, tokens_per_s=321.0, slots=2)))
    ready = await instance.until("rep_1", "ready")
    assert (ready.tokens_per_s, ready.slots) == (321.0, 2)
    await engine.stop()


async def test_a_server_that_is_not_there_yet_is_waited_for(instance: AgentInstance) -> None:
    engine = FakeEngine(tokens=12)
    await engine.start()
    port = int(engine.url.rpartition(":")[2])
    await engine.stop()
    await instance.start_agent()
    instance.control.desire(instance.attached(f"http://127.0.0.1:{port}"))
    assert (await instance.until("rep_1", "starting")).reason
    await engine.start(port)
    await instance.until("rep_1", "ready")
    await engine.stop()
