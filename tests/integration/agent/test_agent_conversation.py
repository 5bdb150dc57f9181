"""The agent and control over sockets: joining, absences, refusals, stale words."""

from __future__ import annotations

import signal

import msgspec

from yunhe.agent.files import Desired
from yunhe.testing.agent_instance import AgentInstance
from yunhe.testing.fake_engine import FakeEngine
from yunhe.testing.gateway_instance import until


async def test_a_join_whose_answer_is_lost_is_repeated_as_the_same(instance: AgentInstance) -> None:
    instance.control.faults.lose_join_answers = 2
    await instance.start_agent()
    await instance.cards()
    assert len(instance.control.joins) == 3
    assert len({join.nonce for join in instance.control.joins}) == 1


async def test_the_inventory_comes_first_without_speeds_then_with_measured_ones(instance: AgentInstance) -> None:
    await instance.start_agent()
    await instance.cards()

    def speeds() -> dict[str, str]:
        assert instance.control.inventory is not None
        (card,) = instance.control.inventory.nodes[0].cards
        return {name: measure.source for name, measure in card.speeds.items()}

    assert speeds() == {}
    await until(lambda: bool(speeds()), "measured speeds", limit_s=120)
    assert {"memory_bandwidth", "matmul_f32"} <= speeds().keys()
    assert set(speeds().values()) == {"measured"}


async def test_engines_are_reported_with_their_versions(instance: AgentInstance) -> None:
    await instance.start_agent()
    await instance.cards()
    engines = {engine.name: engine for engine in instance.control.syncs[-1].engines}
    assert {"xllamacpp", "external"} <= engines.keys()
    assert all(engine.version and not engine.error for engine in engines.values())


async def test_errors_of_control_are_waited_out(instance: AgentInstance) -> None:
    instance.control.faults.times = 3
    await instance.start_agent()
    await instance.cards()
    assert instance.control.faults.times == 0


async def test_replicas_go_on_while_control_is_away_and_what_changed_is_said_afterwards(
    instance: AgentInstance,
) -> None:
    engine = FakeEngine(tokens=12)
    await engine.start()
    await instance.start_agent()
    await instance.cards()
    instance.control.desire(instance.attached(engine.url))
    await instance.until("rep_1", "ready")
    port = await instance.control.stop()
    await engine.stop()
    instance.control.syncs.clear()
    await instance.control.start(port)
    await instance.until("rep_1", "unhealthy")


async def test_a_stale_answer_stops_nothing(instance: AgentInstance) -> None:
    engine = FakeEngine(tokens=12)
    await engine.start()
    await instance.start_agent()
    await instance.cards()
    instance.control.desire(instance.attached(engine.url))
    await instance.until("rep_1", "ready")
    instance.control.faults.stale_revision = 0
    instance.control.desire(instance.attached(engine.url), instance.attached(engine.url, "rep_2"))
    await instance.until("rep_2", "ready")
    assert instance.control.phases("rep_1") in (["starting", "probing", "ready"], ["probing", "ready"], ["ready"])
    saved = msgspec.json.decode((instance.home.agent / "desired.json").read_bytes(), type=Desired)
    assert (saved.revision, len(saved.replicas)) == (2, 2)
    await engine.stop()


async def test_an_agent_whose_token_is_void_keeps_its_replicas_and_joins_again(instance: AgentInstance) -> None:
    engine = FakeEngine(tokens=12)
    await engine.start()
    await instance.start_agent()
    await instance.cards()
    instance.control.desire(instance.attached(engine.url))
    await instance.until("rep_1", "ready")
    (instance.home.agent / "join_token").write_text("yj_simulated_join_token")
    instance.control.agent_token, instance.control.joins = "ya_simulated_2", []
    instance.control.revision = 0
    port = await instance.control.stop()
    instance.control.syncs.clear()
    await instance.control.start(port)
    instance.control.desire(instance.attached(engine.url))
    assert (await instance.until("rep_1", "ready")).url == engine.url
    assert instance.control.phases("rep_1") == ["ready"]
    await engine.stop()


async def test_a_token_that_lets_nobody_in_ends_the_agent_with_the_reason(instance: AgentInstance) -> None:
    (instance.home.agent / "join_token").unlink()
    agent = await instance.start_agent("--token", "yj_wrong")
    assert await agent.wait() == 1
    assert "this token is not good" in (instance.home.root / "agent.log").read_text()


async def test_a_request_to_end_is_obeyed_before_control_ever_answered(instance: AgentInstance) -> None:
    await instance.control.stop()
    await instance.start_agent()
    await until(lambda: "cannot join yet" in (instance.home.root / "agent.log").read_text(), "it tries to join")
    assert await instance.end_agent(signal.SIGTERM) == 0
    await instance.control.start()
