"""An adaptation on a terminal, from the view of a simulated one."""

from __future__ import annotations

import io
import json
from dataclasses import replace as changed
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from rich.console import Console

from yunhe.adapt.adaptation import Ended
from yunhe.adapt.report_view import adaptation_view
from yunhe.adapt.trials import Crashed
from yunhe.cli.adapt_view import final_page, final_table, next_steps, progress_panel
from yunhe.testing.adaptations import SimulatedAdaptation, simulated_adaptation

WIDTHS = (80, 120)
RECIPE = "rcp_" + "ab" * 32


@pytest.fixture(scope="module")
def whole() -> SimulatedAdaptation:
    return simulated_adaptation()


def view_of(made: SimulatedAdaptation, length: int | None = None, **said: Any) -> dict[str, Any]:
    """As REST gives it."""
    found = adaptation_view(made.order, made.entries[:length], cards=made.cards, **said)
    view: dict[str, Any] = json.loads(msgspec.json.encode(found))
    return view


def text_of(shown: object, width: int) -> str:
    console = Console(width=width, file=io.StringIO(), color_system=None, force_terminal=False, legacy_windows=False)
    console.print(shown)
    return printed(console, width)


def printed(console: Console, width: int | None) -> str:
    assert isinstance(console.file, io.StringIO)
    text = console.file.getvalue()
    if width is not None:
        assert max(cell_len(line) for line in text.splitlines()) <= width
    return text


@pytest.mark.parametrize("width", WIDTHS)
def test_the_panel_says_phase_budget_activity_the_best_and_what_was_rejected(
    whole: SimulatedAdaptation, width: int
) -> None:
    view = view_of(whole, 100, phase="searching", activity="window of [bold]native-1[/bold]", used_s=934.0)
    text = text_of(progress_panel(view), width)
    assert "searching" in text and "simulated" in text
    assert "15:34 used, 9:26 left" in text
    assert "window of [bold]native-1[/bold]" in text
    leading = next(line for line in text.splitlines() if "leads" in line)
    best = next(one for one in view["candidates"] if one["id"] == view["leading"])
    assert f"{best['speeds']['output_tokens_per_s']['value']:,.0f}" in leading
    assert f"{best['gain']['ratio']:.2f}x" in leading and "passed" in leading
    assert "baseline portable" in text
    assert f"{view['counts']['windows_rejected']} rejected" in text
    assert "q4_0" not in text, "what the gate refused does not lead"


@pytest.mark.parametrize("width", WIDTHS)
def test_every_beginning_has_a_panel_and_an_end(whole: SimulatedAdaptation, width: int) -> None:
    for length in (0, 1, 3, 10, 60, 118, 125):
        view = view_of(whole, length, phase="searching", activity="asks the engines")
        assert "asks the engines" in text_of(progress_panel(view), width)
        assert "asks the engines" in text_of(final_page(view), width)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_end_says_gain_with_interval_choice_fidelity_and_findings(whole: SimulatedAdaptation, width: int) -> None:
    view = view_of(whole)
    text = text_of(final_page(view), width)
    flat = " ".join(text.split())
    for load in view["loads"]:
        for gain in load["gains"]:
            shown = f"({gain['low']:.2f}-{gain['high']:.2f})" in text
            given = load["requests_per_s"] is not None and gain["metric"] == "output_tokens_per_s"
            assert given != (shown or gain["ratio"] < 0.1)
    chosen = next(one for one in view["candidates"] if one["is_chosen"])
    assert f"CHOSEN #{chosen['number']} {chosen['engine']} slots=32" in flat
    measure = view["fidelity"][0]["measures"][0]
    assert f"fidelity: passed (chat); KL {measure['value']:.4f}" in flat
    assert "at most 0.02" in flat and "top-1" in flat and "task 40 of 80, reference 41" in flat
    assert "not measured: long_prompt" in flat
    assert flat.count("SIGILL") == 1, "equal findings stand together"
    crashed = [one for one in view["findings"] if one["cause"] == "signal"]
    numbers = {one["id"]: one["number"] for one in view["candidates"]}
    assert ", ".join(f"#{numbers[one['candidate']]}" for one in crashed) + " crashed" in flat
    assert "simulated: nothing here was measured" in flat


def test_next_steps_are_lines_of_their_own_however_narrow_the_terminal(whole: SimulatedAdaptation) -> None:
    console = Console(width=30, file=io.StringIO(), color_system=None)
    report = "yunhe-a-rather-long-name-of-a-model-and-more.html"
    final_table(view_of(whole), recipe_id=RECIPE, report=report, console=console)
    lines = printed(console, None).splitlines()
    assert f"report:       {report}" in lines
    assert f"roll it out:  yunhe rollout start DEPLOYMENT --recipe {RECIPE[:16]}" in lines
    assert "check it:     yunhe recipe verify rcp_abababababab" in lines


def test_without_a_recipe_the_next_step_is_more_time(whole: SimulatedAdaptation) -> None:
    ended = Ended("finished", None, "nothing was shown to be better than the baseline (budget)", at_s=1.8e9)
    view = view_of(changed(whole, entries=[*whole.entries[:60], ended]))
    text = text_of(final_page(view), 80)
    assert "nothing was shown to be better" in text
    assert "nothing chosen: the baseline stays" in text
    assert ("try longer", "yunhe adapt simulated-135m --budget 3000s") in next_steps(view, recipe_id=None, report=None)


@pytest.mark.parametrize(("end", "reason"), [("cancelled", "somebody cancelled it"), ("failed", "the disk is full")])
def test_cancelled_and_failed_ones_say_why(end: str, reason: str) -> None:
    made = simulated_adaptation(entries_max=60, end=end)  # type: ignore[arg-type]
    view = view_of(made)
    text = text_of(final_page(view), 80)
    assert end in text and reason in text
    assert "CHOSEN" not in text
    assert [name for name, _ in next_steps(view, recipe_id=None, report=None)] == ["all of it"]


def test_a_choice_that_did_not_hold_is_not_called_chosen(whole: SimulatedAdaptation) -> None:
    ended = whole.entries[-1]
    assert isinstance(ended, Ended)
    reason = "it did not hold: TTFT with 8 in flight is 1.30 times the baseline's"
    lost = replace(ended, chosen=None, recipe=None, reason=reason)
    text = text_of(final_page(view_of(changed(whole, entries=[*whole.entries[:-1], lost]))), 80)
    assert "did not hold  #" in text and "not chosen" in text
    assert "CHOSEN" not in text


def test_words_of_a_journal_are_neither_markup_nor_commands_to_the_terminal(whole: SimulatedAdaptation) -> None:
    evil = "\x1b[2J[red]gone[/red]\r"
    entries = [replace(one, detail=evil) if isinstance(one, Crashed) else one for one in whole.entries]
    view = view_of(changed(whole, entries=entries)) | {"activity": evil, "title": evil}
    for shown in (progress_panel(view), final_page(view)):
        text = text_of(shown, 120)
        assert "\x1b" not in text and "\r" not in text
        assert "[red]gone[/red]" in text
