"""Adaptations over real databases, with a scripted agent that keeps the journals."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
import pytest
from msgspec import structs

from yunhe.adapt.adaptation import (
    WORKLOADS,
    AdaptationSpec,
    Ended,
    Entry,
    Phase,
    TuningOrder,
    TuningReport,
    entry_text,
)
from yunhe.adapt.recipe_document import Recipe, recipe_json
from yunhe.adapt.trials import Resumed
from yunhe.control.adaptations import WAITING_MAX, AdaptationAsk, Adaptations, AdaptationView
from yunhe.control.models import Models
from yunhe.control.pool import Pool
from yunhe.control.recipe_keys import RecipeKeys
from yunhe.control.recipes import Recipes
from yunhe.control.state import ControlState
from yunhe.core.clock import ManualClock
from yunhe.core.errors import Conflict, InvalidRequest, NotFound
from yunhe.core.units import GIB
from yunhe.pool.model import Card, Inventory, Node
from yunhe.serve.sync import EngineInfo, SyncAnswer
from yunhe.store import models, serve
from yunhe.testing.recipes import sample_recipe

MODEL = "smollm2-135m-instruct"
CARD = Card("cpu0", "cpu-x", "maker", "cpu", "A CPU", 16 * GIB, cores=8, health="healthy")
SPEC = AdaptationSpec(MODEL, WORKLOADS["decode"], duration_s=120.0)
ASK = AdaptationAsk(SPEC, "local")


def inventory(card: Card = CARD) -> Inventory:
    return Inventory((Node("host", 16 * GIB, 8, "linux", (card,)),), taken_at=1_790_000_000.0)


@dataclass
class ScriptedTuner:
    """The agent's side of one adaptation: its journal, of which it reports what control does not have."""

    id: str
    journal: list[str] = field(default_factory=list)
    phase: Phase = "searching"
    activity: str = "window of threads=8"
    used_s: float = 12.5
    known: int = 0

    def report(self, since: int | None = None) -> str:
        """As the agent would write it."""
        start = self.known if since is None else since
        entries = tuple(self.journal[start:])
        told = TuningReport(self.id, self.phase, self.activity, start, entries, self.used_s)
        return msgspec.json.encode(told).decode()

    def write(self, *entries: Entry) -> None:
        self.journal += [entry_text(entry) for entry in entries]


class Scene:
    """A centre with its agent, and who asks for adaptations."""

    def __init__(self, state: ControlState, agent: Any, controllers: Any) -> None:
        self.state, self.agent, self.controllers = state, agent, controllers
        self.adaptations = Adaptations(state)
        self.orders: dict[str, TuningOrder] = {}

    async def sync(self, *reports: str, **changes: object) -> SyncAnswer:
        """One exchange; takes the orders."""
        answer: SyncAnswer = await self.agent.sync(inventory(), tunings=reports, **changes)
        found = [msgspec.json.decode(text, type=TuningOrder) for text in answer.tunings]
        self.orders = {order.adaptation_id: order for order in found}
        return answer

    async def begin(self, ask: AdaptationAsk = ASK) -> ScriptedTuner:
        """An adaptation that its agent has taken up."""
        made = await self.adaptations.create(ask)
        await self.sync()
        return ScriptedTuner(made.adaptation.id)

    async def entries(self, id: str) -> list[str]:
        return [one.document for one in (await self.adaptations.entries(id, 0, 500)).entries]

    async def now(self, id: str) -> AdaptationView:
        return await self.adaptations.get(id)

    async def events(self, id: str) -> list[str]:
        async with self.state.db.read() as tx:
            return [event.kind for event in reversed(await serve.list_events(tx, 200, subject=id))]

    async def recipe(self) -> Recipe:
        """A recipe of the default model for this centre's chip."""
        async with self.state.db.read() as tx:
            model = await models.model(tx, MODEL)
        assert model is not None
        sample = sample_recipe()
        return structs.replace(
            sample,
            model=structs.replace(sample.model, name=model.name, digest=model.weights.sha256 or ""),
            chip=structs.replace(sample.chip, chip_id=CARD.chip),
        )


@pytest.fixture
async def scene(state: ControlState, agent: Any, controllers: Any) -> Scene:
    made = Scene(state, agent, controllers)
    await made.sync()
    return made


async def test_an_order_says_all_that_the_centre_needs(scene: Scene) -> None:
    view = await scene.adaptations.create(replace(ASK, centre=scene.agent.identity.centre_id))
    made = view.adaptation
    assert (made.state, view.activity, view.centre) == ("waiting", "waits for the agent of centre local", "local")
    await scene.sync()
    order = scene.orders[made.id]
    assert (order.spec, order.cards, order.run, order.entries_known) == (SPEC, ("cpu0",), True, 0)
    assert (order.model.name, order.model.weights.sha256) == (MODEL, made.assignment.model.weights.sha256)
    assert (order.baseline.name, order.baseline.engine, order.baseline.settings) == ("default", "alpha", {})
    assert await scene.events(made.id) == ["adaptation_waiting"]


async def test_the_baseline_is_how_the_model_is_served_there(scene: Scene) -> None:
    scene.agent.engines = (EngineInfo("beta", "1"), EngineInfo("external", "external"))
    await scene.sync()
    await scene.controllers.settle()
    await scene.sync()
    scene.agent.run_all()
    # Another engine has come since, which would be the broker's choice today.
    scene.agent.engines = (EngineInfo("alpha", "1"), EngineInfo("beta", "1"))
    await scene.sync()
    await scene.begin()
    (order,) = scene.orders.values()
    assert order.baseline.engine == "beta"


async def test_a_long_poll_ends_with_a_new_order_and_with_its_cancelling(scene: Scene) -> None:
    waiting = asyncio.create_task(scene.sync(wait_s=20.0))
    await asyncio.sleep(0)
    made = (await scene.adaptations.create(ASK)).adaptation
    await asyncio.wait_for(waiting, 15)
    assert list(scene.orders) == [made.id]
    waiting = asyncio.create_task(scene.sync(ScriptedTuner(made.id).report(), wait_s=20.0))
    while (await scene.now(made.id)).adaptation.state == "waiting":
        await asyncio.sleep(0)
    await scene.adaptations.cancel(made.id)
    await asyncio.wait_for(waiting, 15)
    assert not scene.orders[made.id].run


async def test_entries_are_stored_once_whatever_is_repeated_reordered_or_missing(scene: Scene) -> None:
    tuner = await scene.begin()
    tuner.write(Resumed(1.0), Resumed(2.0))
    answer = await scene.sync(tuner.report(), wait_s=20.0)
    # At once, though nothing else is new: the agent has to learn what is stored.
    assert answer.desired_revision == scene.agent.revision
    assert scene.orders[tuner.id].entries_known == 2
    tuner.write(Resumed(3.0), Resumed(4.0), Resumed(5.0))
    late = tuner.report(since=0)
    await scene.sync(tuner.report(since=3))
    assert await scene.entries(tuner.id) == tuner.journal[:2]
    for text in (late, tuner.report(since=1), late, tuner.report(since=4)):
        await scene.sync(text)
    assert await scene.entries(tuner.id) == tuner.journal
    assert (await scene.now(tuner.id)).entries == 5
    page = await scene.adaptations.entries(tuner.id, 3, 1)
    assert ([one.number for one in page.entries], page.entries[0].at, page.next, page.ended) == ([3], 4.0, 4, False)


async def test_states_are_told_as_events_and_time_never_runs_back(scene: Scene) -> None:
    tuner = await scene.begin()
    for phase, used_s in (("starting", 1.0), ("searching", 5.0), ("searching", 4.0), ("confirming", 9.0)):
        tuner.phase, tuner.used_s = phase, used_s  # type: ignore[assignment]
        await scene.sync(tuner.report())
    view = await scene.now(tuner.id)
    assert (view.adaptation.state, view.activity, view.adaptation.used_s) == ("confirming", "window of threads=8", 9.0)
    assert await scene.events(tuner.id) == [
        "adaptation_waiting",
        "adaptation_starting",
        "adaptation_searching",
        "adaptation_confirming",
    ]


async def test_the_end_brings_a_signed_recipe(scene: Scene, clock: ManualClock) -> None:
    tuner = await scene.begin()
    document = await scene.recipe()
    clock.advance(document.made_at_unix_s - clock.unix_s())
    await scene.sync()
    tuner.write(Ended("finished", "c7", "2.25 times", recipe_json(document), at_s=5.0))
    await scene.sync(tuner.report())
    made = (await scene.now(tuner.id)).adaptation
    assert (made.state, made.activity, made.finished_at) == ("finished", "2.25 times", clock.unix_s())
    assert made.recipe_id is not None
    checked = await Recipes(scene.state).get(made.recipe_id)
    assert checked.verdict.accepted, checked.verdict
    assert (checked.verdict.signed_by, checked.view.kept.origin) == ("this instance", "local")
    assert checked.view.document == document
    assert scene.orders == {}
    assert (await scene.adaptations.entries(tuner.id, 0, 10)).ended
    # What was said again is stored no second time.
    await scene.sync(tuner.report(since=0))
    assert (await scene.now(tuner.id)).entries == 1
    with pytest.raises(Conflict, match="has ended"):
        await scene.adaptations.cancel(tuner.id)


async def test_nothing_better_is_an_end_too(scene: Scene) -> None:
    tuner = await scene.begin()
    tuner.write(Ended("finished", None, "nothing was shown to be better", at_s=5.0))
    await scene.sync(tuner.report())
    made = (await scene.now(tuner.id)).adaptation
    assert (made.state, made.recipe_id) == ("finished", None)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"schema": "yunhe.recipe/9"}, "schema"),
        ({"model": None}, "model"),
        ({"other": 1}, "other"),
    ],
)
async def test_a_recipe_that_is_none_is_not_signed(scene: Scene, change: dict[str, Any], words: str) -> None:
    tuner = await scene.begin()
    document = msgspec.to_builtins(await scene.recipe()) | change
    tuner.write(Ended("finished", "c7", "2.25 times", document, at_s=5.0))
    await scene.sync(tuner.report())
    made = (await scene.now(tuner.id)).adaptation
    assert (made.state, made.recipe_id) == ("failed", None)
    assert made.activity.startswith("its recipe was not signed: ")
    assert words in made.activity
    assert (await scene.events(tuner.id))[-1] == "adaptation_failed"


@pytest.mark.parametrize("part", ["model", "chip"])
async def test_a_recipe_of_another_model_or_chip_is_not_signed(scene: Scene, part: str) -> None:
    tuner = await scene.begin()
    document = await scene.recipe()
    if part == "model":
        document = structs.replace(document, model=structs.replace(document.model, digest="e" * 64))
    else:
        document = structs.replace(document, chip=structs.replace(document.chip, chip_id="npu-y"))
    tuner.write(Ended("finished", "c7", "2.25 times", recipe_json(document), at_s=5.0))
    await scene.sync(tuner.report())
    made = (await scene.now(tuner.id)).adaptation
    assert (made.state, made.recipe_id) == ("failed", None)
    assert (await Recipes(scene.state).list(9, None)).items == ()


async def test_a_revoked_key_signs_nothing(scene: Scene) -> None:
    await RecipeKeys(scene.state).revoke(scene.state.secrets.signing_key.id, "stolen")
    tuner = await scene.begin()
    tuner.write(Ended("finished", "c7", "2.25 times", recipe_json(await scene.recipe()), at_s=5.0))
    await scene.sync(tuner.report())
    made = (await scene.now(tuner.id)).adaptation
    assert (made.state, "stolen" in made.activity) == ("failed", True)


async def test_an_agent_that_talks_nonsense_is_logged_and_loses_nothing_else(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    tuner = await scene.begin()
    tuner.write(Resumed(1.0))
    deep = '{"type": "ended", "phase": "failed", "chosen": null, "reason": "", "recipe": ' + "[" * 50_000 + "]" * 50_000
    nonsense = [
        "", "{", "[]", '{"adaptation_id": 5}', "\u0000",
        msgspec.json.encode(TuningReport("adp_\u0000", "searching", "x")).decode(),
        msgspec.json.encode(TuningReport("of nobody", "finished", "x")).decode(),
    ]  # fmt: skip
    with caplog.at_level(logging.ERROR, "yunhe.control.tunings"):
        await scene.sync(*nonsense, tuner.report())
    assert len([record for record in caplog.records if "cannot be read" in record.message]) == 5
    assert await scene.entries(tuner.id) == tuner.journal
    scene.agent.report("rep_unknown", "ready")
    good = list(tuner.journal)
    for bad in ('{"type": "other"}', "nonsense", deep + "}", '{"type": "resumed", "at_s": 1e999}'):
        caplog.clear()
        tuner.journal = [*good, bad]
        tuner.activity = "with\x00a\nNUL"
        await scene.sync(tuner.report(since=0))
        assert "entry 1" in caplog.text
        assert await scene.entries(tuner.id) == good
        assert (await scene.now(tuner.id)).activity == "with a NUL"
    # A word alone is no end.
    tuner.journal, tuner.phase = good, "finished"
    await scene.sync(tuner.report())
    assert (await scene.now(tuner.id)).adaptation.state == "searching"


async def test_cancelling_what_waits_ends_it_at_once_and_what_runs_through_its_agent(scene: Scene) -> None:
    running = await scene.begin()
    await scene.sync(running.report())
    waiting = (await scene.adaptations.create(ASK)).adaptation
    assert (await scene.now(waiting.id)).activity == f"waits until {running.id} (of {MODEL}) has ended"
    assert (await scene.adaptations.cancel(waiting.id)).adaptation.state == "cancelled"
    await scene.sync(running.report())
    assert list(scene.orders) == [running.id]
    asked = await scene.adaptations.cancel(running.id)
    assert (asked.adaptation.state, asked.adaptation.cancel_asked) == ("searching", True)
    again = await scene.adaptations.cancel(running.id)
    assert again.adaptation == asked.adaptation
    await scene.sync(running.report())
    assert not scene.orders[running.id].run
    running.write(Resumed(1.0), Ended("cancelled", None, "somebody cancelled it", at_s=5.0))
    await scene.sync(running.report())
    made = (await scene.now(running.id)).adaptation
    assert (made.state, made.cancel_asked) == ("cancelled", True)
    assert scene.orders == {}


async def test_what_is_cancelled_ends_when_its_agent_is_away_or_has_nothing_of_it(
    scene: Scene, clock: ManualClock
) -> None:
    forgotten = await scene.begin()
    await scene.sync(forgotten.report())
    await scene.adaptations.cancel(forgotten.id)
    await scene.sync(forgotten.report())
    await scene.sync()
    assert (await scene.now(forgotten.id)).adaptation.state == "cancelled"
    other = await scene.begin()
    await scene.sync(other.report())
    clock.advance(60.0)
    ended = await scene.adaptations.cancel(other.id)
    assert (ended.adaptation.state, ended.activity) == ("cancelled", "somebody cancelled it while its centre was away")


async def test_orders_come_in_the_order_of_their_making_and_survive_the_agents_restart(scene: Scene) -> None:
    first = await scene.begin()
    second = await scene.begin()
    first.write(Resumed(1.0))
    await scene.sync(first.report())
    scene.agent.boot_id, scene.agent.revision = "boot-2", -1
    await scene.sync()
    assert [(order.adaptation_id, order.entries_known) for order in scene.orders.values()] == [
        (first.id, 1),
        (second.id, 0),
    ]


async def test_what_cannot_be_adapted_is_refused_with_its_reason(scene: Scene, clock: ManualClock) -> None:
    refuse: list[tuple[AdaptationAsk, type[Exception], str]] = [
        (replace(ASK, spec=structs.replace(SPEC, model="none")), NotFound, "model"),
        (replace(ASK, centre="nowhere"), NotFound, "centre"),
        (replace(ASK, chip="npu-y"), Conflict, "npu-y"),
        (replace(ASK, spec=structs.replace(SPEC, engines=("gamma",))), InvalidRequest, "no engine gamma; it has alpha"),
    ]
    await Models(scene.state).add_external("outside", 4096, None, None, None)
    refuse.append((replace(ASK, spec=structs.replace(SPEC, model="outside")), InvalidRequest, "no weights"))
    await Pool(scene.state).create_centre("far", "local")
    refuse.append((replace(ASK, centre="far"), Conflict, "away"))
    for ask, kind, words in refuse:
        with pytest.raises(kind, match=words):
            await scene.adaptations.create(ask)
    for _ in range(WAITING_MAX):
        await scene.adaptations.create(ASK)
    with pytest.raises(Conflict, match="wait in centre local already"):
        await scene.adaptations.create(ASK)
    clock.advance(60.0)
    with pytest.raises(Conflict, match="away"):
        await scene.adaptations.create(ASK)


async def test_a_full_card_is_said_so(scene: Scene) -> None:
    scene.agent.engines = (EngineInfo("alpha", "1"),)
    small = replace(CARD, memory_bytes=int(0.01 * GIB))
    await scene.agent.sync(inventory(small))
    with pytest.raises(Conflict, match="no place fits") as refusal:
        await scene.adaptations.create(ASK)
    assert "yunhe card list" in refusal.value.next_step
