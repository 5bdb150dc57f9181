"""The conversation over an in-memory control; the one over sockets is in tests/integration/agent."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.agent import files
from yunhe.agent.control_client import Control, Refused, Unanswered
from yunhe.agent.drivers import Engines
from yunhe.agent.files import Desired, Identity, Layout
from yunhe.agent.identity import Joiner
from yunhe.agent.supervisor import Supervisor
from yunhe.agent.sync import SyncLoop
from yunhe.core.units import MIB
from yunhe.pool.model import Inventory, Node
from yunhe.pool.workload import LogChunk, WorkloadStatus
from yunhe.serve.sync import DesiredReplica, JoinAnswer, JoinRequest, LogAsk, SyncAnswer, SyncRequest
from yunhe.testing import samples

IDENTITY = Identity("centre_1", "sample", "agent_1", "ya_sample")


class EmptyCentre:
    """Runs nothing, keeps one log."""

    def observe(self) -> Sequence[WorkloadStatus]:
        return []

    def logs(self, workload_id: str, offset: int, limit_bytes: int) -> LogChunk:
        if workload_id != "rep_1":
            raise KeyError(workload_id)
        return LogChunk("text", offset, offset + 4, True)


def desired(number: int) -> DesiredReplica:
    return DesiredReplica(f"rep_{number}", "sample", samples.model(), samples.recipe(), ())


def answer(revision: int, *replicas: DesiredReplica, asks: tuple[LogAsk, ...] = (), known: bool = True) -> SyncAnswer:
    return SyncAnswer(revision, replicas, asks, 0.0, known)


class Script:
    """Answers in turn, then refuses; remembers what was asked."""

    def __init__(self, *answers: SyncAnswer | Exception) -> None:
        self.answers = list(answers)
        self.seen: list[SyncRequest] = []

    async def sync(self, request: SyncRequest, token: str) -> SyncAnswer:
        assert token == IDENTITY.agent_token
        self.seen.append(request)
        if not self.answers:
            raise Refused("the script is over")
        following = self.answers.pop(0)
        if isinstance(following, Exception):
            raise following
        return following


def layout_at(path: Path) -> Layout:
    layout = Layout(path / "agent")
    layout.make()
    return layout


def loop_over(script: Any, layout: Layout, revision: int = -1) -> tuple[SyncLoop, Supervisor]:
    supervisor = Supervisor(EmptyCentre(), Engines({}), layout, httpx.AsyncClient())
    return SyncLoop(script, IDENTITY, supervisor, Engines({}), layout, revision), supervisor


async def run_out(loop: SyncLoop) -> None:
    with pytest.raises(Refused):
        await asyncio.wait_for(loop.run(), 30)


async def test_what_control_desires_is_written_down_and_wanted(tmp_path: Path) -> None:
    layout = layout_at(tmp_path)
    loop, _ = loop_over(Script(answer(3, desired(1))), layout)
    await run_out(loop)
    assert files.load(layout.desired, Desired) == Desired(3, (desired(1),))
    assert layout.desired.stat().st_mode & 0o077 == 0
    assert loop.revision == 3


@given(st.lists(st.integers(0, 6), max_size=12))
async def test_stale_and_repeated_answers_never_lead_back(revisions: list[int]) -> None:
    with tempfile.TemporaryDirectory() as place:
        layout = layout_at(Path(place))
        loop, supervisor = loop_over(Script(), layout)
        newest = -1
        for revision in revisions:
            await loop.take(answer(revision, desired(revision)))
            newest = max(newest, revision)
            assert loop.revision == newest
            assert supervisor._desired == (desired(newest),)
        saved = files.load(layout.desired, Desired)
        assert saved == (Desired(newest, (desired(newest),)) if revisions else None)


async def test_the_revision_that_was_taken_is_acknowledged(tmp_path: Path) -> None:
    script = Script(answer(3), answer(5))
    loop, _ = loop_over(script, layout_at(tmp_path), revision=2)
    await run_out(loop)
    assert [request.desired_revision for request in script.seen] == [2, 3, 5]
    assert [request.sequence for request in script.seen] == [1, 2, 3]
    assert len({request.boot_id for request in script.seen}) == 1


async def test_the_inventory_is_sent_until_control_has_it_and_not_again(tmp_path: Path) -> None:
    script = Script(Unanswered("away"), answer(0), answer(0), answer(0, known=False), answer(0))
    loop, supervisor = loop_over(script, layout_at(tmp_path))
    supervisor.inventory = Inventory((Node("host", MIB, 1, "os", ()),), 0.0)
    await run_out(loop)
    assert [request.inventory is not None for request in script.seen] == [True, True, False, False, True, False]


async def test_an_absence_of_control_is_waited_out_at_growing_distances(tmp_path: Path) -> None:
    script = Script(*[Unanswered("away")] * 3, answer(1, desired(1)))
    loop, _ = loop_over(script, layout_at(tmp_path))
    await run_out(loop)
    assert loop.revision == 1


async def test_pieces_of_logs_travel_with_the_next_sync_at_once(tmp_path: Path) -> None:
    asks = (LogAsk("ask_1", "rep_1", 7, 100), LogAsk("ask_2", "rep_other", 0, 100))
    script = Script(answer(0, asks=asks), answer(0))
    loop, _ = loop_over(script, layout_at(tmp_path))
    await run_out(loop)
    first, second = script.seen[1].logs
    assert (first.ask_id, first.text, first.next_offset, first.error) == ("ask_1", "text", 11, "")
    assert second.error
    assert script.seen[1].wait_s == 0.0
    assert script.seen[2].logs == ()


async def test_a_change_ends_a_long_wait_and_is_said_at_once(tmp_path: Path) -> None:
    waiting = asyncio.Event()

    class Waits(Script):
        async def sync(self, request: SyncRequest, token: str) -> SyncAnswer:
            if request.wait_s > 0 and len(self.seen) == 1:
                self.seen.append(request)
                waiting.set()
                await asyncio.Event().wait()
            return await super().sync(request, token)

    script = Waits(answer(0))
    loop, supervisor = loop_over(script, layout_at(tmp_path))
    task = asyncio.create_task(run_out(loop))
    await waiting.wait()
    supervisor.changed.set()
    await asyncio.wait_for(task, 10)
    assert [request.sequence for request in script.seen] == [1, 2, 3]


async def test_a_full_disk_does_not_keep_it_from_acting(tmp_path: Path) -> None:
    layout = layout_at(tmp_path)
    layout.desired.mkdir()
    loop, supervisor = loop_over(Script(), layout)
    await loop.take(answer(1, desired(1)))
    assert supervisor._desired == (desired(1),)


async def test_an_id_that_could_leave_the_directory_is_not_taken(tmp_path: Path) -> None:
    loop, supervisor = loop_over(Script(), layout_at(tmp_path))
    outside = DesiredReplica("../../outside", "sample", samples.model(), samples.recipe(), ())
    await loop.take(answer(1, outside, desired(1)))
    assert supervisor._desired == (desired(1),)


class JoinScript:
    def __init__(self, *answers: JoinAnswer | Exception) -> None:
        self.answers = list(answers)
        self.seen: list[JoinRequest] = []

    async def join(self, request: JoinRequest) -> JoinAnswer:
        self.seen.append(request)
        following = self.answers.pop(0)
        if isinstance(following, Exception):
            raise following
        return following


WELCOME = JoinAnswer("centre_1", "sample", "agent_1", "ya_sample")


async def test_a_lost_join_is_repeated_with_the_same_nonce_and_the_identity_kept(tmp_path: Path) -> None:
    layout = layout_at(tmp_path)
    layout.join_token.write_text("yj_sample\n")
    script = JoinScript(Unanswered("lost"), WELCOME)
    assert await Joiner(script, layout, "local").obtain() == (IDENTITY, True)
    assert script.seen[0] == script.seen[1]
    assert script.seen[0].nonce
    assert not layout.join_token.exists()
    assert layout.identity.stat().st_mode & 0o077 == 0
    assert await Joiner(JoinScript(), layout, "local").obtain() == (IDENTITY, False)


async def test_a_bad_token_is_said_and_not_repeated(tmp_path: Path) -> None:
    layout = layout_at(tmp_path)
    with pytest.raises(Refused):
        await Joiner(JoinScript(Refused("bad token")), layout, "local", "yj_bad").obtain()


async def test_an_agent_whom_control_forgot_joins_again_with_a_new_token_only(tmp_path: Path) -> None:
    layout = layout_at(tmp_path)
    files.save(layout.identity, IDENTITY)
    joiner = Joiner(JoinScript(JoinAnswer("centre_2", "new", "agent_2", "ya_new")), layout, "local")
    assert await joiner.renew() is None
    layout.join_token.write_text("yj_new")
    renewed = await joiner.renew()
    assert renewed is not None
    assert files.load(layout.identity, Identity) == renewed


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, '{"error": {"message": "who are you"}}', Refused, "who are you"),
        (403, "", Refused, "403"),
        (400, '{"error": {"message": "version 2 only"}}', Unanswered, "version 2 only"),
        (503, "busy", Unanswered, "503"),
        (200, '{"what": 1}', Unanswered, "another protocol"),
    ],
)
async def test_control_s_answers_are_told_apart(status: int, body: str, kind: type[Exception], words: str) -> None:
    client = httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(status, text=body)))
    with pytest.raises(kind, match=words):
        await Control(client, "http://control/").join(JoinRequest("t", "local", "h"))


async def test_an_address_that_is_none_is_waited_out_with_its_reason() -> None:
    with pytest.raises(Unanswered):
        await Control(httpx.AsyncClient(), "http://[broken").join(JoinRequest("t", "local", "h"))
