"""The search on a simulated machine that drifts, jitters and is disturbed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yunhe.adapt.candidates import Candidate
from yunhe.adapt.samples import Sample, Slo
from yunhe.adapt.search import ATTEMPTS, HEAT, Done, next_trial
from yunhe.adapt.trials import (
    DECODE_HEAVY,
    PREFILL_HEAVY,
    Begun,
    Budget,
    CrashCause,
    Crashed,
    Event,
    Gated,
    Objective,
    Problem,
    Resumed,
    State,
    Trial,
    Windowed,
    apply,
    replay,
)

WINDOW_S, GATE_S = 12.0, 30.0


def candidate(name: str, numerics: str = "", score: float | None = None) -> Candidate:
    return Candidate(name, "engine", {"name": name}, numerics or name, score)


@dataclass
class Machine:
    """What is true, and how it is disturbed. Everything else is drawn from the seed, number by number of a trial."""

    #: Seconds of an output token and of an input token, by candidate.
    decode_s: dict[str, float]
    prefill_s: dict[str, float] = field(default_factory=dict)
    input_tokens: int = 100
    output_tokens: int = 100
    noise: float = 0.03
    disturbed_share: float = 0.05
    crashes: dict[str, CrashCause] = field(default_factory=dict)
    #: Crashes of these kinds and rungs only.
    crash_kinds: tuple[str, ...] = ("window", "fidelity")
    crash_rung: int = 0
    gate: dict[str, str] = field(default_factory=dict)
    seed: int = 0

    def request_s(self, name: str) -> float:
        return self.input_tokens * self.prefill_s.get(name, 1e-4) + self.output_tokens * self.decode_s[name]

    def run(self, problem: Problem, trial: Trial, now_s: float) -> Event:
        doomed = trial.kind in self.crash_kinds and trial.rung >= self.crash_rung
        if doomed and trial.candidate in self.crashes:
            return Crashed(trial, self.crashes[trial.candidate], "it said so", 4.0, now_s + 4.0)
        if trial.kind == "fidelity":
            outcome = self.gate.get(problem.candidate(trial.candidate).numerics, "passed")
            return Gated(trial, outcome, ("KL",), GATE_S, now_s + GATE_S)  # type: ignore[arg-type]
        return Windowed(trial, self.sample(trial), WINDOW_S, now_s + WINDOW_S)

    def sample(self, trial: Trial) -> Sample:
        drift = np.random.default_rng([self.seed, 1, trial.round]).normal(0, 0.1)
        rng = np.random.default_rng([self.seed, 2, trial.number])
        slow = math.exp(drift + self.noise * rng.standard_t(4))
        disturbed = rng.random() < self.disturbed_share
        slow *= 1.5 if disturbed else 1.0
        one_s = self.request_s(trial.candidate) * slow
        requests = max(4, math.ceil(10.0 / one_s))
        return Sample(
            candidate=trial.candidate,
            round=trial.round,
            duration_s=requests * one_s,
            completed=requests,
            input_tokens=requests * self.input_tokens,
            output_tokens=requests * self.output_tokens,
            output_tokens_due=requests * self.output_tokens,
            ttft_s=(slow * self.input_tokens * self.prefill_s.get(trial.candidate, 1e-4),) * requests,
            tpot_s=(slow * self.decode_s[trial.candidate],) * requests,
            foreign_cpu_share=0.3 if disturbed else 0.01,
            owns_port=True,
        )


def search(problem: Problem, machine: Machine, events_max: int = 2000) -> tuple[list[Event], Done]:
    """A whole search, as a tuner carries it out."""
    events: list[Event] = [Begun(problem, 1000.0)]
    state, now_s = replay(events), 1000.0
    for _ in range(events_max):
        step = next_trial(state, now_s)
        if isinstance(step, Done):
            return events, step
        event = machine.run(problem, step, now_s)
        assert not isinstance(event, Begun)
        now_s = event.at_s
        events.append(event)
        state = apply(state, event)
    raise AssertionError("the search does not end")


def problem_of(names: Sequence[Candidate], budget: Budget, objective: Objective = DECODE_HEAVY) -> Problem:
    return Problem(candidate("baseline", "base"), tuple(names), objective, budget)


def forty(seed: int) -> Machine:
    """Forty candidates whose speeds differ by a third; the baseline is middling."""
    rng = np.random.default_rng([seed, 3])
    decode = {f"c{n}": 0.01 * float(rng.lognormal(0, 0.3)) for n in range(40)}
    return Machine({"baseline": 0.01, **decode}, seed=seed)


def regret(machine: Machine, done: Done) -> float:
    best = min(machine.request_s(name) for name in machine.decode_s)
    return 1.0 - best / machine.request_s(done.chosen or "baseline")


def trials_of(events: Sequence[Event], kind: str = "window") -> list[Trial]:
    return [event.trial for event in events if not isinstance(event, Begun | Resumed) and event.trial.kind == kind]


@pytest.fixture(scope="module")
def fifty() -> list[tuple[Machine, list[Event], Done]]:
    """Fifty whole searches over forty candidates of three numerics."""
    names = [candidate(f"c{n}", f"format{n % 3}") for n in range(40)]
    return [(machine, *search(problem_of(names, Budget(trials=150)), machine)) for machine in map(forty, range(50))]


def test_the_best_of_forty_is_found_within_five_percent_in_nine_of_ten_seeded_runs(
    fifty: list[tuple[Machine, list[Event], Done]],
) -> None:
    assert sum(regret(machine, done) <= 0.05 for machine, _, done in fifty) >= 45
    assert max(len(trials_of(events)) + len(trials_of(events, "fidelity")) for _, events, _ in fifty) <= 150


def test_the_gain_that_is_claimed_covers_the_truth_in_nine_of_ten_seeded_runs(
    fifty: list[tuple[Machine, list[Event], Done]],
) -> None:
    covered = 0
    for machine, _, done in fifty:
        assert done.chosen is not None
        assert done.comparison is not None
        assert done.comparison.interval is not None
        truth = machine.request_s("baseline") / machine.request_s(done.chosen)
        covered += done.comparison.interval.low <= truth <= done.comparison.interval.high
    assert covered >= 45


def test_a_rough_prediction_finds_the_best_in_a_quarter_of_an_hour() -> None:
    good = 0
    for seed in range(50):
        machine = forty(seed)
        rng = np.random.default_rng(seed)
        guessed = {f"c{n}": rng.lognormal(0, 0.2) / machine.request_s(f"c{n}") for n in range(40)}
        names = [candidate(name, "format", guessed[name]) for name in sorted(guessed, key=lambda name: -guessed[name])]
        events, done = search(problem_of(names, Budget(duration_s=900.0)), machine)
        assert done.reason in ("budget", "decided")
        assert events[-1].at_s - 1000.0 <= 900.0
        good += regret(machine, done) <= 0.05
    assert good >= 45


def test_the_baseline_is_in_every_round_of_every_rung(fifty: list[tuple[Machine, list[Event], Done]]) -> None:
    for _, events, _ in fifty[:10]:
        rounds: dict[int, set[str]] = {}
        rungs: dict[int, set[int]] = {}
        for trial in trials_of(events):
            rounds.setdefault(trial.round, set()).add(trial.candidate)
            rungs.setdefault(trial.round, set()).add(trial.rung)
        last = max(rounds)
        assert all("baseline" in names for number, names in rounds.items() if number != last)
        assert all(len(names) <= HEAT + 1 for names in rounds.values())
        assert all(len(found) == 1 for found in rungs.values())


def test_each_rung_is_narrower_and_of_the_one_before(fifty: list[tuple[Machine, list[Event], Done]]) -> None:
    for _, events, _ in fifty[:10]:
        entered: dict[int, set[str]] = {}
        for trial in trials_of(events):
            entered.setdefault(trial.rung, set()).add(trial.candidate)
        for rung in range(1, max(entered) + 1):
            assert entered[rung] < entered[rung - 1]
        assert len(entered[0]) == 41
        assert len(entered[max(entered)]) <= 4


def test_a_journal_replayed_after_a_kill_at_any_event_gives_the_same_next_trial() -> None:
    machine = forty(7)
    machine.crashes = {"c3": "signal", "c9": "out_of_memory"}
    machine.gate = {"format2": "failed"}
    names = [candidate(f"c{n}", f"format{n % 3}") for n in range(20)]
    events, done = search(problem_of(names, Budget(trials=100, duration_s=3000.0)), machine)
    state = replay(events[:1])
    for number in range(1, len(events)):
        event = events[number]
        assert not isinstance(event, Begun | Resumed)
        journal = msgspec.json.decode(msgspec.json.encode(events[:number]), type=list[Event])
        again = replay(journal)
        assert again == state
        assert msgspec.json.decode(msgspec.json.encode(state), type=State) == state
        step = next_trial(again, again.at_s)
        assert step == event.trial
        state = apply(state, event)
    assert next_trial(replay(events), state.at_s) == done


def test_a_crashed_candidate_is_a_finding_and_never_tried_again() -> None:
    machine = forty(1)
    best = min((f"c{n}" for n in range(12)), key=machine.request_s)
    machine.crashes = {best: "out_of_memory", "c5" if best != "c5" else "c6": "signal"}
    events, done = search(problem_of([candidate(f"c{n}") for n in range(12)], Budget(trials=120)), machine)
    state = replay(events)
    for name, cause in machine.crashes.items():
        assert [trial.candidate for trial in trials_of(events)].count(name) == 1
        assert [(f.cause, f.detail) for f in state.findings if f.candidate == name] == [(cause, "it said so")]
        assert name not in [point.candidate for point in done.frontier]
    assert done.chosen not in (None, "baseline", *machine.crashes)


@pytest.mark.parametrize("kinds", [("window",), ("fidelity",)])
def test_a_candidate_that_crashes_late_is_never_tried_again_and_not_chosen(kinds: tuple[str, ...]) -> None:
    machine = forty(1)
    best = min((f"c{n}" for n in range(12)), key=machine.request_s)
    machine.crashes, machine.crash_kinds, machine.crash_rung = {best: "signal"}, kinds, 1
    events, done = search(problem_of([candidate(f"c{n}", "plain") for n in range(12)], Budget(trials=120)), machine)
    (ended,) = [n for n, event in enumerate(events) if isinstance(event, Crashed)]
    after = events[1 + ended :]
    assert best not in [trial.candidate for trial in (*trials_of(after), *trials_of(after, "fidelity"))]
    assert done.chosen not in (None, "baseline", best)
    assert best in [point.candidate for point in done.frontier]


def test_a_verdict_that_comes_later_takes_the_choice_away_from_all_of_its_numerics() -> None:
    machine = Machine({"baseline": 0.01, "a": 0.005, "b": 0.006, "c": 0.008}, disturbed_share=0.0)
    problem = problem_of([candidate("a", "f"), candidate("b", "f"), candidate("c", "g")], Budget(duration_s=5000.0))
    events, done = search(problem, machine)
    assert done.chosen == "a"
    state = replay(events)
    again = apply(state, Gated(Trial(state.trials, "fidelity", "b", 1), "failed", ("KL",), GATE_S, state.at_s))
    step = next_trial(again, 1e6)
    assert isinstance(step, Done)
    assert step.chosen == "c"


def test_finalists_are_measured_until_decided_and_only_their_own_rounds_make_the_claim() -> None:
    rounds = {}
    for noise in (0.002, 0.06):
        machine = Machine({"baseline": 0.01, "a": 0.005, "b": 0.009, "c": 0.02}, noise=noise, disturbed_share=0.0)
        names = [candidate(name, "plain") for name in ("a", "b", "c")]
        events, done = search(problem_of(names, Budget(trials=200)), machine)
        assert done.comparison is not None
        last = {trial.round for trial in trials_of(events) if trial.rung == 1}
        assert done.comparison.rounds == len(last)
        rounds[noise] = len(last)
    assert rounds[0.002] == 5 < rounds[0.06] <= 15


def test_an_unfaithful_candidate_is_on_the_picture_but_never_chosen_nor_measured_on() -> None:
    machine = Machine({"baseline": 0.01, "sound": 0.008, "slow": 0.02, "broken": 0.002, "broken too": 0.003})
    machine.gate = {"requantised": "failed"}
    names = [candidate("broken", "requantised"), candidate("broken too", "requantised")]
    names += [candidate("sound", "plain"), candidate("slow", "plain")]
    events, done = search(problem_of(names, Budget(trials=80)), machine)
    assert done.chosen == "sound"
    points = {point.candidate: point for point in done.frontier}
    assert (points["broken"].gate, points["broken"].on_frontier) == ("failed", True)
    assert (points["sound"].gate, points["sound"].on_frontier) == ("passed", True)
    assert not points["slow"].on_frontier
    assert [trial.candidate for trial in trials_of(events, "fidelity")] == ["broken", "sound", "baseline"]
    assert {trial.candidate for trial in trials_of(events) if trial.rung} == {"baseline", "sound", "slow"}
    assert [finding.cause for finding in replay(events).findings] == ["fidelity"]


@pytest.mark.parametrize(("gate", "chosen"), [({}, "baseline"), ({"base": "failed"}, None)])
def test_with_nothing_better_the_baseline_stays_if_it_is_faithful(gate: dict[str, str], chosen: str | None) -> None:
    machine = Machine({"baseline": 0.01, "slow": 0.02, "slower": 0.03}, gate=gate)
    _, done = search(problem_of([candidate("slow"), candidate("slower")], Budget(trials=80)), machine)
    assert (done.reason, done.chosen, done.comparison) == ("decided", chosen, None)


def test_no_gain_is_claimed_from_fewer_rounds_than_decide() -> None:
    machine = Machine({"baseline": 0.01, "fast": 0.002})
    _, done = search(problem_of([candidate("fast")], Budget(trials=11)), machine)
    assert (done.reason, done.chosen) == ("budget", "baseline")


def test_candidates_that_cannot_be_told_apart_are_named_with_the_chosen() -> None:
    machine = Machine({"baseline": 0.01, "a": 0.005, "b": 0.005, "c": 0.02}, disturbed_share=0.0)
    _, done = search(problem_of([candidate("a"), candidate("b"), candidate("c")], Budget(trials=200)), machine)
    assert {done.chosen, *done.tied} == {"a", "b"}


def prefill_and_decode(input_tokens: int, output_tokens: int) -> Machine:
    return Machine(
        {"baseline": 0.01, "fast decode": 0.005, "fast prefill": 0.012},
        {"baseline": 1e-3, "fast decode": 1e-3, "fast prefill": 4e-4},
        input_tokens,
        output_tokens,
    )


@pytest.mark.parametrize(
    ("objective", "input_tokens", "output_tokens", "chosen"),
    [(DECODE_HEAVY, 100, 400, "fast decode"), (PREFILL_HEAVY, 2000, 20, "fast prefill")],
)
def test_prefill_heavy_work_chooses_otherwise_than_decode_heavy_work(
    objective: Objective, input_tokens: int, output_tokens: int, chosen: str
) -> None:
    names = [candidate("fast decode"), candidate("fast prefill")]
    machine = prefill_and_decode(input_tokens, output_tokens)
    assert search(problem_of(names, Budget(trials=80), objective), machine)[1].chosen == chosen


def test_throughput_that_is_bought_with_waiting_is_not_chosen_however_many_offer_it() -> None:
    greedy = {f"greedy{n}": 0.003 for n in range(8)}
    machine = Machine({"baseline": 0.01, "sound": 0.008, **greedy}, {name: 3e-3 for name in greedy}, output_tokens=200)
    names = [candidate(name, "plain") for name in (*greedy, "sound")]
    _, done = search(problem_of(names, Budget(trials=120)), machine)
    assert done.chosen == "sound"
    assert done.guards["ttft_s"].outcome != "worse"


def test_goodput_is_maximised_though_the_baseline_keeps_no_slo() -> None:
    machine = Machine({"baseline": 0.02, "good": 0.005, "late": 0.019}, disturbed_share=0.0)
    objective = Objective("goodput_per_s", slo=Slo(tpot_s=0.01))
    _, done = search(problem_of([candidate("late"), candidate("good")], Budget(trials=80), objective), machine)
    assert done.chosen == "good"


def test_rejected_windows_are_kept_shown_and_tried_again() -> None:
    machine = forty(3)
    machine.disturbed_share = 0.3
    events, _ = search(problem_of([candidate(f"c{n}") for n in range(10)], Budget(trials=150)), machine)
    windows = replay(events).windows
    rejected = [window for window in windows if window.reasons]
    assert len(rejected) > 10
    assert all("foreign CPU" in window.reasons[0] and not window.values for window in rejected)
    places = [(window.sample.candidate, window.sample.round) for window in windows]
    assert max(places.count(place) for place in places) <= ATTEMPTS


def test_a_machine_that_is_never_quiet_ends_the_search_soon() -> None:
    machine = forty(3)
    machine.disturbed_share = 1.0
    events, done = search(problem_of([candidate("c1")], Budget(trials=500)), machine)
    assert (done.reason, done.chosen) == ("unmeasurable", None)
    assert len(events) - 1 == 2 * ATTEMPTS


@pytest.mark.parametrize(
    ("crashes", "reason"),
    [({"baseline": "signal"}, "baseline_failed"), ({"c1": "signal", "c2": "wrong_answer"}, "no_candidate_left")],
)
def test_the_search_ends_when_nothing_is_left_to_compare(crashes: dict[str, CrashCause], reason: str) -> None:
    machine = forty(3)
    machine.crashes = crashes
    events, done = search(problem_of([candidate("c1"), candidate("c2")], Budget(trials=500)), machine)
    assert done.reason == reason
    assert len(events) <= 4


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_search_keeps_its_budget_and_chooses_only_what_passed(data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 12), label="candidates")
    seed = data.draw(st.integers(0, 1000), label="seed")
    machine = forty(seed)
    machine.disturbed_share = data.draw(st.sampled_from([0.0, 0.1, 0.5]))
    names = [candidate(f"c{n}", f"format{data.draw(st.integers(0, 3))}") for n in range(count)]
    causes: st.SearchStrategy[CrashCause] = st.sampled_from(["signal", "out_of_memory", "wrong_answer"])
    machine.crashes = data.draw(st.dictionaries(st.sampled_from([f"c{n}" for n in range(12)]), causes, max_size=4))
    outcomes = st.sampled_from(["passed", "failed", "insufficient"])
    machine.gate = data.draw(st.dictionaries(st.sampled_from(["base", *(f"format{n}" for n in range(4))]), outcomes))
    budget = Budget(data.draw(st.one_of(st.none(), st.floats(0, 2000))), data.draw(st.integers(0, 120)))
    events, done = search(problem_of(names, budget), machine)
    assert len(events) - 1 <= (budget.trials or 0)
    if budget.duration_s is not None and len(events) > 2:
        # Only the first window and the first run of the gate may take longer than anybody expected.
        assert events[-1].at_s - 1000.0 <= budget.duration_s + max(WINDOW_S, GATE_S)
    state = replay(events)
    crashed = {finding.candidate for finding in state.findings}
    tried = [trial.candidate for kind in ("window", "fidelity") for trial in trials_of(events, kind)]
    assert all(tried.count(name) <= 1 for name in machine.crashes)
    if done.chosen is not None:
        assert done.chosen not in crashed
        assert state.verdicts[state.problem.candidate(done.chosen).numerics] == "passed"
    if done.chosen not in (None, "baseline"):
        assert done.comparison is not None
        assert done.comparison.outcome == "better"
    again = replay(msgspec.json.decode(msgspec.json.encode(events), type=list[Event]))
    assert next_trial(again, again.at_s) == done
