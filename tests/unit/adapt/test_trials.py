import msgspec
import pytest

from yunhe.adapt.candidates import Candidate
from yunhe.adapt.samples import Sample
from yunhe.adapt.search import Done, next_trial
from yunhe.adapt.trials import (
    Begun,
    Budget,
    Crashed,
    Event,
    Gated,
    Objective,
    Problem,
    Resumed,
    State,
    Trial,
    Windowed,
    replay,
)


def problem(budget: Budget, *names: str) -> Problem:
    base, *others = (Candidate(name, "engine", {}, name) for name in ("baseline", *names))
    return Problem(base, tuple(others), Objective(), budget)


def windowed(trial: Trial, at_s: float, foreign: float = 0.0, said: str | None = None) -> Windowed:
    sample = Sample(
        candidate=said or trial.candidate,
        round=trial.round,
        duration_s=10.0,
        completed=5,
        input_tokens=50,
        output_tokens=50,
        ttft_s=(0.1,) * 5,
        tpot_s=(0.01,) * 5,
        foreign_cpu_share=foreign,
        owns_port=True,
    )
    return Windowed(trial, sample, 12.0, at_s)


#: One of each kind of event.
JOURNAL: list[Event] = [
    Begun(problem(Budget(duration_s=600.0), "c1", "c2"), 1000.0),
    windowed(Trial(0, "window", "baseline", 0, 0), 1012.0),
    windowed(Trial(1, "window", "c1", 0, 0), 1024.0, foreign=0.2),
    Resumed(9000.0),
    Crashed(Trial(2, "window", "c2", 0, 0), "signal", "SIGILL", 3.0, 9003.0),
    windowed(Trial(3, "window", "c1", 0, 0), 9015.0),
    Gated(Trial(4, "fidelity", "c1", 1), "failed", ("KL may be 0.25",), 30.0, 9045.0),
]


def test_a_journal_makes_a_state_that_keeps_everything() -> None:
    state = replay(JOURNAL)
    assert (state.trials, state.rung, state.idle_s) == (5, 1, 9000.0 - 1024.0)
    assert [bool(window.reasons) for window in state.windows] == [False, True, False]
    assert state.windows[0].values["output_tokens_per_s"] == 5.0
    assert state.windows[1].values == {}
    assert [(finding.candidate, finding.cause) for finding in state.findings] == [("c2", "signal"), ("c1", "fidelity")]
    assert state.findings[1].detail == "failed; KL may be 0.25"
    assert state.verdicts == {"c1": "failed"}


def test_journal_and_state_survive_json() -> None:
    assert msgspec.json.decode(msgspec.json.encode(JOURNAL), type=list[Event]) == JOURNAL
    state = replay(JOURNAL)
    assert msgspec.json.decode(msgspec.json.encode(state), type=State) == state


def test_an_event_written_twice_counts_once() -> None:
    assert replay([*JOURNAL[:3], JOURNAL[2], *JOURNAL[3:], JOURNAL[1]]) == replay(JOURNAL)


def test_a_journal_with_a_hole_or_without_its_start_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks trial 1"):
        replay([*JOURNAL[:2], *JOURNAL[3:]])
    with pytest.raises(ValueError, match="starts with"):
        replay(JOURNAL[1:])
    with pytest.raises(ValueError, match="begins once"):
        replay([*JOURNAL, JOURNAL[0]])


def test_a_sample_of_another_trial_or_an_unknown_candidate_is_refused() -> None:
    with pytest.raises(ValueError, match="another trial"):
        replay([JOURNAL[0], windowed(Trial(0, "window", "baseline", 0, 0), 1.0, said="c1")])
    with pytest.raises(ValueError, match="no candidate"):
        replay([JOURNAL[0], windowed(Trial(0, "window", "c9", 0, 0), 1.0)])


def test_time_between_a_kill_and_the_resumption_does_not_count() -> None:
    killed = JOURNAL[:2]
    assert isinstance(next_trial(replay(killed), 9000.0), Done)
    resumed = replay([*killed, Resumed(9000.0)])
    # 12 s were used before the kill, and a window takes 12 s.
    assert isinstance(next_trial(resumed, 9000.0), Trial)
    assert isinstance(next_trial(resumed, 9000.0 + 576.0), Trial)
    late = next_trial(resumed, 9000.0 + 577.0)
    assert isinstance(late, Done)
    assert late.reason == "budget"


def test_a_search_without_a_bound_or_with_a_name_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="bound"):
        problem(Budget(), "c1")
    with pytest.raises(ValueError, match="once"):
        problem(Budget(trials=1), "c1", "c1")
