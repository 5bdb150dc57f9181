"""The tuner on a simulated stage: what it writes down, what it survives, what it concludes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from msgspec.structs import replace

from yunhe.adapt.adaptation import (
    WORKLOADS,
    AdaptationSpec,
    Confirmed,
    Ended,
    EngineSettings,
    Judged,
    TuningOrder,
    resumptions,
    trial_count,
)
from yunhe.adapt.candidates import Candidate
from yunhe.adapt.recipe_document import read_recipe
from yunhe.adapt.recipe_evidence import FidelityPart
from yunhe.adapt.samples import Sample
from yunhe.adapt.trials import Crashed, Resumed, Windowed
from yunhe.agent.drivers import Engines
from yunhe.agent.tuning.journal import Journal
from yunhe.agent.tuning.place import Place
from yunhe.agent.tuning.stage import CandidateFailed, Running
from yunhe.agent.tuning.tuner import Tuner
from yunhe.catalogue.model import Model, Recipe, SettingValue
from yunhe.catalogue.ports import LaunchPlan, SettingsSpace, UsageProbe, Verdict
from yunhe.core.errors import InvalidRequest
from yunhe.pool.model import Card
from yunhe.testing import samples
from yunhe.testing.recipes import sample_recipe

PLAN = LaunchPlan(("serve",), {}, {}, "http://127.0.0.1:1", None, "/health", None, "m", 4, UsageProbe(), None, None)
CARD = Card("cpu-0", "cpu-test-one", "test", "cpu", "Test One", 1 << 34, 2, ("avx2",))


class Engine:
    """Simulated: its settings are a speed and whether it dies."""

    name, version = "simulated", "1"

    def supports(self, model: Model, card: Card | None) -> Verdict:
        return Verdict(card is not None, "it needs a card")

    def settings(self, model: Model, card: Card | None) -> SettingsSpace:
        return SettingsSpace({"speed": (1, 2, 3), "kv_type": ("f16", "q8_0"), "dies": (False, True)})

    def launch(self, model: Model, recipe: Recipe, *_: object) -> LaunchPlan:
        if recipe.settings.get("speed") == 3 and recipe.settings.get("kv_type") == "q8_0":
            raise InvalidRequest("they do not go together")
        return PLAN


class SimulatedStage:
    """Candidates that only pretend to run."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.alive: set[str] = set()

    async def ready(self, candidate: Candidate) -> Running:
        self.started.append(candidate.id)
        if candidate.settings.get("dies"):
            raise CandidateFailed("signal", "killed by signal 4")
        self.alive.add(candidate.id)
        return Running(f"trial-{candidate.id}", "http://127.0.0.1:1", None, "m", 4, None, PLAN)

    async def drop(self, candidate_id: str) -> None:
        self.alive.discard(candidate_id)

    async def clear(self) -> None:
        self.alive.clear()

    def failure(self, candidate: Candidate) -> CandidateFailed | None:
        return None


class Judge:
    def __init__(self, refused: str = "q8_0") -> None:
        self.asked: list[str] = []
        self._refused = refused

    async def prepare(self) -> None:
        return None

    async def judge(self, candidate: Candidate, running: Running, build_digest: str) -> FidelityPart:
        assert len(build_digest) == 64
        self.asked.append(candidate.numerics)
        passed = self._refused not in candidate.numerics
        return replace(sample_recipe().fidelity, verdict="passed" if passed else "failed")


def simulated(speeds: dict[str, float], kill_at: int | None = None):  # type: ignore[no-untyped-def]
    """Measures by a candidate's speed; the ``kill_at``-th window is cut off as a kill would."""
    count = 0

    async def measure(
        running: Running,
        workload: object,
        *,
        candidate: str,
        round: int,
        seed: int,
        concurrency: int | None = None,
        requests_per_s: float | None = None,
    ) -> Sample:
        nonlocal count
        count += 1
        if count == kill_at:
            raise asyncio.CancelledError
        token_s = 0.01 / speeds[candidate] * (1 + 0.01 * (seed % 3))
        return Sample(
            candidate=candidate,
            round=round,
            duration_s=10 * 100 * token_s,
            completed=10,
            input_tokens=100,
            output_tokens=1000,
            output_tokens_due=1000,
            ttft_s=(token_s,) * 10,
            tpot_s=(token_s,) * 10,
            foreign_cpu_share=0.01,
            owns_port=True,
        )

    return measure


async def calm() -> float:
    return 0.0


class Speeds(dict[str, float]):
    """By candidate id, filled by the journal's problem."""

    def __missing__(self, name: str) -> float:
        return 1.0


def order(trials: int = 60, **settings: SettingValue) -> TuningOrder:
    spec = AdaptationSpec("sample", workload=WORKLOADS["decode"], duration_s=3600.0, trials=trials)
    return TuningOrder(
        "adp_1", spec, samples.model(), ("cpu-0",), Recipe("r", "default", "m", "any", "simulated", settings)
    )


def tuner(directory: Path, judge: Judge | None = None, kill_at: int | None = None) -> Tuner:
    speeds = Speeds()
    place = Place(Engines({"simulated": Engine()}), (CARD,), None, "a test", directory)  # type: ignore[dict-item]
    made = Tuner(order(), place, SimulatedStage(), judge or Judge(), lambda: None, simulated(speeds, kill_at), calm)
    propose = made._problem

    def problem():  # type: ignore[no-untyped-def]
        found = propose()
        speeds.update({one.id: float(one.settings["speed"]) for one in found.candidates})
        return found

    made._problem = problem  # type: ignore[method-assign]
    for entry in made.journal.entries[:1]:
        speeds.update({c.id: float(c.settings["speed"]) for c in entry.problem.candidates})  # type: ignore[union-attr]
    return made


def ended(made: Tuner) -> Ended:
    last = made.journal.entries[-1]
    assert isinstance(last, Ended)
    return last


def test_the_fastest_faithful_candidate_is_confirmed_and_written_as_a_recipe(tmp_path: Path) -> None:
    made = tuner(tmp_path)
    asyncio.run(made.run())
    end = ended(made)
    assert end.phase == "finished" and end.chosen is not None
    recipe = read_recipe(end.recipe)
    assert recipe.settings["speed"] == 3 and recipe.settings["kv_type"] == "f16"
    gains = {(g.load.label, g.metric): g.ratio.value for g in recipe.baseline.gains}  # type: ignore[union-attr]
    assert gains["8 in flight", "output_tokens_per_s"] == pytest.approx(3.0, rel=0.02)
    assert gains["1 in flight", "tpot_p50_s"] == pytest.approx(1 / 3, rel=0.02)
    loads = {(e.concurrency, e.requests_per_s is None) for e in made.journal.entries if isinstance(e, Confirmed)}
    assert loads == {(8, True), (1, True), (None, False)}


def test_crashing_candidates_are_findings_and_what_the_driver_refuses_is_never_tried(tmp_path: Path) -> None:
    made = tuner(tmp_path)
    asyncio.run(made.run())
    crashes = [entry for entry in made.journal.entries if isinstance(entry, Crashed)]
    assert crashes and all(entry.cause == "signal" for entry in crashes)
    assert len({entry.trial.candidate for entry in crashes}) == len(crashes)
    problem = made.journal.entries[0].problem  # type: ignore[union-attr]
    assert not any(c.settings["speed"] == 3 and c.settings["kv_type"] == "q8_0" for c in problem.candidates)


def test_each_numerics_is_judged_once_and_a_refused_one_is_never_chosen(tmp_path: Path) -> None:
    judge = Judge(refused="f16")
    made = tuner(tmp_path, judge)
    asyncio.run(made.run())
    assert len(judge.asked) == len(set(judge.asked))
    chosen = ended(made).chosen
    assert chosen is None or "q8_0" in made.journal.entries[0].problem.candidate(chosen).numerics  # type: ignore[union-attr]


@pytest.mark.parametrize("kill_at", [1, 2, 7, 20, 30, 45])
def test_a_kill_at_any_window_loses_no_finished_trial(tmp_path: Path, kill_at: int) -> None:
    first = tuner(tmp_path, kill_at=kill_at)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(first.run())
    finished = list(first.journal.texts)
    second = tuner(tmp_path)
    asyncio.run(second.run())
    assert second.journal.texts[: len(finished)] == finished
    assert resumptions(second.journal.entries) == 1
    assert ended(second).chosen is not None
    done = [e.trial.number for e in second.journal.entries if isinstance(e, Windowed | Crashed)]
    assert len(done) == len(set(done))


def test_an_ended_adaptation_stays_ended(tmp_path: Path) -> None:
    made = tuner(tmp_path)
    asyncio.run(made.run())
    texts = list(made.journal.texts)
    again = tuner(tmp_path)
    asyncio.run(again.run())
    assert again.journal.texts == texts and again.phase == "finished"
    assert not any(isinstance(entry, Resumed) for entry in again.journal.entries)


def test_cancelling_keeps_what_was_measured(tmp_path: Path) -> None:
    made = tuner(tmp_path, kill_at=6)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(made.run())
    before = trial_count(made.journal.entries)
    asyncio.run(made.cancel())
    assert ended(made).phase == "cancelled" and trial_count(made.journal.entries) == before


def test_nothing_better_is_said_so(tmp_path: Path) -> None:
    made = tuner(tmp_path)
    made._measure = simulated(Speeds())
    asyncio.run(made.run())
    assert ended(made).chosen is None and "baseline" in ended(made).reason


def test_an_engine_that_is_not_here_fails_with_the_next_step(tmp_path: Path) -> None:
    made = tuner(tmp_path)
    made.order = replace(made.order, spec=replace(made.order.spec, engines=("absent",)))
    asyncio.run(made.run())
    assert ended(made).phase == "failed" and "yunhe engine install" in ended(made).reason


def test_a_torn_line_is_cut_off_and_a_damaged_one_is_refused(tmp_path: Path) -> None:
    made = tuner(tmp_path)
    asyncio.run(made.run())
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'{"type":"win')
    assert Journal(path).texts == made.journal.texts
    assert path.read_bytes() == whole
    path.write_bytes(whole.replace(b'"type"', b'"tipe"', 1))
    with pytest.raises(InvalidRequest, match="cannot be read"):
        Journal(path)


def test_evidence_is_kept_with_the_journal(tmp_path: Path) -> None:
    made = tuner(tmp_path)
    asyncio.run(made.run())
    judged: Sequence[Judged] = [entry for entry in made.journal.entries if isinstance(entry, Judged)]
    assert judged and all(entry.evidence.positions >= 2000 for entry in judged)


def test_a_named_candidate_is_judged_and_measured_without_a_search(tmp_path: Path) -> None:
    made = tuner(tmp_path)
    only = EngineSettings("simulated", {"speed": 2, "kv_type": "f16", "dies": False})
    made.order = replace(made.order, spec=replace(made.order.spec, only=only))
    asyncio.run(made.run())
    end = ended(made)
    assert end.chosen == "named" and read_recipe(end.recipe).settings == only.settings
    assert trial_count(made.journal.entries) == 0


@pytest.mark.parametrize(
    ("settings", "why"), [({"dies": True, "speed": 1}, "signal 4"), ({"kv_type": "q8_0", "speed": 1}, "not faithful")]
)
def test_a_named_candidate_that_does_not_hold_says_why(
    tmp_path: Path, settings: dict[str, SettingValue], why: str
) -> None:
    made = tuner(tmp_path)
    only = EngineSettings("simulated", settings)
    made.order = replace(made.order, spec=replace(made.order.spec, only=only))
    asyncio.run(made.run())
    assert ended(made).chosen is None and why in ended(made).reason
