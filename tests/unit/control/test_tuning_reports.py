"""What a centre's report amounts to, without a database."""

from __future__ import annotations

from dataclasses import replace

import pytest

from yunhe.adapt.adaptation import AdaptationSpec, Ended, TuningReport, entry_text
from yunhe.adapt.trials import Resumed
from yunhe.control.tuning_reports import ENTRY_CHARS_MAX, finished, plain, take_report
from yunhe.store.adaptations import Adaptation, Assignment
from yunhe.testing import samples

NOW = samples.NOW
FIRST, SECOND = (entry_text(Resumed(at_s)) for at_s in (5.0, 6.0))
LAST = entry_text(Ended("finished", None, "nothing better", at_s=7.0))
ADAPTATION = Adaptation(
    "adp_1", None, "centre_1", AdaptationSpec("sample"),
    Assignment(samples.model(), ("cpu0",), "cpu-x", samples.recipe()), "searching", "window", NOW - 9, NOW - 9, 30.0,
)  # fmt: skip


def report(*entries: str, since: int = 0, phase: str = "searching", used_s: float = 31.0) -> TuningReport:
    return TuningReport("adp_1", phase, "next window", since, entries, used_s)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("stored", "since", "numbers"),
    [(0, 0, [0, 1]), (1, 0, [1]), (2, 0, []), (1, 1, [1, 2]), (0, 1, []), (5, 0, []), (0, -1, [])],
)
def test_only_entries_that_follow_are_taken(stored: int, since: int, numbers: list[int]) -> None:
    taken = take_report(ADAPTATION, stored, report(FIRST, SECOND, since=since), NOW)
    assert [one.number for one in taken.entries] == numbers
    assert taken.refused == ""


def test_nothing_is_taken_beyond_an_entry_that_cannot_be_read() -> None:
    taken = take_report(ADAPTATION, 0, report(FIRST, "{}", SECOND), NOW)
    assert [one.document for one in taken.entries] == [FIRST]
    assert taken.refused.startswith("entry 1: ")
    assert "characters" in take_report(ADAPTATION, 0, report('"' + "x" * ENTRY_CHARS_MAX + '"'), NOW).refused


def test_an_entry_from_beyond_the_calendar_gets_the_time_of_its_arrival() -> None:
    for at_s in (-1.0, 1e300):
        (entry,) = take_report(ADAPTATION, 0, report(entry_text(Resumed(at_s))), NOW).entries
        assert entry.at == NOW


def test_the_last_entry_ends_it_and_nothing_follows_that() -> None:
    taken = take_report(ADAPTATION, 0, report(FIRST, LAST, SECOND, phase="confirming"), NOW)
    after = taken.adaptation
    assert (after.state, after.activity, after.finished_at, after.state_since) == (
        "finished",
        "nothing better",
        NOW,
        NOW,
    )
    assert [one.document for one in taken.entries] == [FIRST, LAST]
    assert taken.refused == "1 entries after the last"


def test_a_word_alone_is_no_end_unless_it_was_cancelled_and_all_is_here() -> None:
    told = report(FIRST, phase="finished")
    refused = take_report(ADAPTATION, 1, told, NOW)
    assert (refused.adaptation.state, "last entry" in refused.refused) == ("searching", True)
    asked = replace(ADAPTATION, cancel_asked=True)
    assert take_report(asked, 0, told, NOW).adaptation.state == "searching"
    assert take_report(asked, 1, told, NOW).adaptation.state == "cancelled"


def test_a_centre_does_not_take_it_back_to_waiting_and_time_used_only_grows() -> None:
    after = take_report(ADAPTATION, 0, report(phase="waiting", used_s=12.0), NOW).adaptation
    assert (after.state, after.state_since, after.used_s) == ("searching", NOW - 9, 30.0)
    assert take_report(ADAPTATION, 0, report(used_s=-1e308), NOW).adaptation.used_s == 30.0
    assert take_report(ADAPTATION, 0, report(used_s=1e300), NOW).adaptation.used_s == 1e9


def test_words_of_an_agent_are_made_harmless() -> None:
    assert plain("a\x00b\x1b[31m\nc\u202e") == "a b [31m c"
    assert len(plain("x" * 5000)) == 1000


def test_only_a_final_phase_is_an_end() -> None:
    with pytest.raises(ValueError, match="no end"):
        finished(ADAPTATION, "searching", "", NOW)
