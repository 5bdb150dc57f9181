"""An adaptation on a terminal: a panel while it goes on, and what came of it.

Made of the view that the REST API gives (``GET /adaptations/{id}/view``), so it says the report's own numbers. Words
out of a journal may be anybody's: what does not print is escaped, and nothing of it is markup.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from yunhe.cli.recipe_text import safe, short_id

if TYPE_CHECKING:
    from rich.console import Console, Group, RenderableType
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

View = Mapping[str, Any]
#: Candidates in the panel: the best so far.
_BEST: Final = 6
#: Findings at the end, and candidates named in one of them.
_FINDINGS: Final = 5
_NAMES: Final = 8
_CAUSES: Final = {
    "signal": "crashed",
    "out_of_memory": "ran out of memory",
    "wrong_answer": "answered wrongly",
    "start_failed": "did not start",
    "fidelity": "refused by the gate",
}
#: What is no terminal has no width of its own.
_PLAIN_WIDTH: Final = 120
_STATES: Final = {"finished": "green", "failed": "red", "cancelled": "yellow"}
_OUTCOMES: Final = {
    "better": ("better", "green"),
    "worse": ("worse", "red"),
    "undecided": ("too few rounds", "yellow"),
    "refused_to_rank": ("within the noise", "bright_black"),
}
_GATES: Final = {
    "passed": ("passed", "green"),
    "failed": ("refused", "red"),
    "insufficient": ("too little evidence", "red"),
    "unmeasured": ("not asked", "bright_black"),
}
_METRICS: Final = {
    "output_tokens_per_s": ("tokens/s", 1.0),
    "ttft_s": ("TTFT ms", 1e3),
    "tpot_s": ("TPOT ms", 1e3),
}
_MEASURES: Final = {"kl_nats": ("KL", 4), "top1_share": ("top-1", 3), "perplexity_ratio": ("perplexity ratio", 3)}


def progress_panel(view: View) -> Panel:
    """What is under way: phase, budget, activity, the best candidates so far, and what does not count."""
    from rich.console import Group
    from rich.panel import Panel
    from rich.text import Text

    parts: list[RenderableType] = [_budget(view), Text(safe(view["activity"]) or "-", overflow="fold")]
    if best := _best(view):
        parts += [Text(), _best_table(view, best)]
    parts.append(_counts(view))
    title = Text.assemble((safe(view["title"]), "bold"), "  ", (view["phase"], "cyan"))
    if view["simulated"]:
        title.append("  simulated", style="yellow")
    return Panel(Group(*parts), title=title, title_align="left", border_style="cyan")


def _budget(view: View) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table
    from rich.text import Text

    budget = view["budget"]
    whole, used = budget["duration_s"], budget["used_s"]
    trials = f"{budget['trials']} trials"
    if budget["trials_max"] is not None:
        trials = f"{budget['trials']} of {budget['trials_max']} trials"
    left = max(0.0, whole - used)
    grid = Table.grid(padding=(0, 2), expand=True)
    grid.add_column(ratio=1)
    grid.add_column(no_wrap=True)
    grid.add_row(
        ProgressBar(total=whole, completed=min(used, whole)),
        Text(f"{_clock(used)} used, {_clock(left)} left, {trials}"),
    )
    return grid


def _best(view: View) -> list[Mapping[str, Any]]:
    """The fastest that may still be chosen, and always the baseline."""
    measured = [one for one in view["candidates"] if one["speeds"] is not None and not _out(one)]
    measured.sort(key=lambda one: -one["speeds"]["output_tokens_per_s"]["value"])
    first = measured[:_BEST]
    return first + [one for one in measured[_BEST:] if one["is_baseline"]]


def _out(one: Mapping[str, Any]) -> bool:
    return one["finding"] is not None or one["gate"] in ("failed", "insufficient")


def _best_table(view: View, best: Sequence[Mapping[str, Any]]) -> Table:
    from rich.text import Text

    table = _table(("", "candidate", "tokens/s", "TPOT ms", "gain", "gate"), right=(2, 3, 4))
    for one in best:
        name, colour = _GATES[one["gate"]]
        mark = "leads" if one["id"] == view["leading"] else "*" if one["on_frontier"] else ""
        found = one["speeds"]
        gain = one["gain"]
        table.add_row(
            Text(mark, style="green" if mark == "leads" else ""),
            _candidate(one),
            Text(_number(found["output_tokens_per_s"]["value"])),
            Text("-" if found["tpot_p50_s"] is None else _number(1e3 * found["tpot_p50_s"]["value"])),
            Text("-" if gain is None else f"{gain['ratio']:.2f}x", style=_OUTCOMES[gain["outcome"]][1] if gain else ""),
            Text(name, style=colour),
        )
    return table


def _counts(view: View) -> Text:
    from rich.text import Text

    counts = view["counts"]
    words = [
        f"{counts['windows_accepted']} windows count, {counts['windows_rejected']} rejected",
        f"{counts['candidates_tried']} candidates tried, {counts['candidates_untried']} to come",
        f"{counts['crashes']} crashes, {counts['refused']} refused by the gate",
    ]
    if counts["resumptions"]:
        words.append(f"resumed {counts['resumptions']} times")
    return Text("; ".join(words), style="bright_black", overflow="fold")


def final_table(view: View, *, recipe_id: str | None, report: str | None, console: Console | None = None) -> None:
    """Print what came of it to stdout. ``report``: path of the HTML report."""
    from rich.console import Console

    if console is None:
        console = Console() if sys.stdout.isatty() else Console(width=_PLAIN_WIDTH)
    console.print(final_page(view))
    for name, command in next_steps(view, recipe_id=recipe_id, report=report):
        # Never wrapped: it is there to be copied.
        console.print(f"{name + ':':<14}{safe(command)}", soft_wrap=True, markup=False, highlight=False)


def final_page(view: View) -> Group:
    """How it ended, before and after under each load, the choice, its fidelity and what was found."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [
        Text.assemble((safe(view["title"]), "bold"), "  ", (view["phase"], _STATES.get(view["phase"], "cyan"))),
        Text(safe(view["activity"]), overflow="fold"),
    ]
    if view["simulated"]:
        parts.append(Text("simulated: nothing here was measured on real hardware", style="yellow"))
    if view["loads"]:
        parts += [Text(), _before_after(view)]
    parts += [Text(), *_choice(view), *_fidelity(view), *_findings(view), _used(view), Text()]
    return Group(*parts)


def _before_after(view: View) -> Table:
    from rich.text import Text

    after = "CHOSEN" if view["chosen"] else "not chosen"
    table = _table(("load", "", "baseline", after, "ratio (95 %)", "rounds", ""), right=(2, 3, 4, 5))
    for load in view["loads"]:
        name = _load(load)
        for gain in load["gains"]:
            if gain["metric"] == "output_tokens_per_s" and load["requests_per_s"] is not None:
                # What arrives sets the throughput of an open loop.
                continue
            label, scale = _METRICS[gain["metric"]]
            word, colour = _OUTCOMES[gain["outcome"]]
            sides = (load[side][gain["metric"]] for side in ("baseline", "choice"))
            table.add_row(
                Text(name),
                Text(label),
                *(Text("-" if one is None else _number(scale * one["value"])) for one in sides),
                Text(_ratio(gain), style=colour),
                Text(str(gain["rounds"])),
                Text(word, style=colour),
            )
            name = ""
    return table


def _load(load: Mapping[str, Any]) -> str:
    if load["requests_per_s"] is None:
        return f"{load['concurrency']} in flight"
    return f"{load['requests_per_s']:g} req/s"


def _choice(view: View) -> Iterator[Text]:
    from rich.text import Text

    wanted = view["chosen"] or view["confirmed"]
    one = next((found for found in view["candidates"] if found["id"] == wanted), None)
    if one is None:
        yield Text("nothing chosen: the baseline stays", style="yellow")
        return
    label = ("CHOSEN", "bold green") if view["chosen"] else ("did not hold", "yellow")
    yield Text.assemble(label, f"  #{one['number']} ", _candidate(one), f"  {safe(one['id'])}", overflow="fold")


def _fidelity(view: View) -> Iterator[Text]:
    from rich.text import Text

    wanted = view["chosen"] or view["confirmed"]
    found = next((one for one in view["fidelity"] if wanted in one["candidates"]), None)
    if found is None:
        return
    word, colour = _GATES[found["verdict"]]
    said = [_measure(one) for one in found["measures"] if one["name"] in _MEASURES]
    said.append(f"{found['positions']:,} positions of {found['texts']} texts")
    if task := found["task"]:
        correct = f"{task['candidate_correct']} of {task['items']}"
        said.insert(-1, f"task {correct}, reference {task['reference_correct']}")
    yield Text.assemble(
        "fidelity: ", (word, colour), f" ({safe(found['use_class'])}); ", "; ".join(said), overflow="fold"
    )
    if found["unmeasured"]:
        yield Text(f"not measured: {safe(', '.join(found['unmeasured']))}", style="bright_black", overflow="fold")


def _measure(one: Mapping[str, Any]) -> str:
    name, decimals = _MEASURES[one["name"]]
    ends = "" if one["low"] is None else f" ({one['low']:.{decimals}f} to {one['high']:.{decimals}f})"
    sign = "at least" if one["name"] == "top1_share" else "at most"
    limit = "" if one["limit"] is None else f", {sign} {one['limit']:g}"
    return f"{name} {one['value']:.{decimals}f}{ends}{limit}"


def _findings(view: View) -> Iterator[Text]:
    """Equal ones together."""
    from rich.text import Text

    numbers = {one["id"]: one["number"] for one in view["candidates"]}
    found: dict[tuple[str, str], list[str]] = {}
    for one in view["findings"]:
        found.setdefault((one["cause"], one["detail"]), []).append(f"#{numbers.get(one['candidate'], '?')}")
    for (cause, detail), names in list(found.items())[:_FINDINGS]:
        shown = ", ".join(names[:_NAMES]) + (f" and {len(names) - _NAMES} more" if len(names) > _NAMES else "")
        yield Text(f"{shown} {_CAUSES.get(cause, cause)}: {safe(detail)}", style="bright_black", overflow="fold")
    if len(found) > _FINDINGS:
        yield Text(f"... and {len(found) - _FINDINGS} more findings, in the report", style="bright_black")


def _used(view: View) -> Text:
    text = _counts(view)
    budget = view["budget"]
    text.append(f"; {_clock(budget['used_s'])} of {_clock(budget['duration_s'])} used")
    return text


def next_steps(view: View, *, recipe_id: str | None, report: str | None) -> list[tuple[str, str]]:
    """What to do now: a name and a command or a path."""
    steps = [("report", report)] if report else []
    if recipe_id:
        recipe = short_id(recipe_id)
        steps += [("the recipe", f"yunhe recipe show {recipe}"), ("check it", f"yunhe recipe verify {recipe}")]
        steps.append(("roll it out", f"yunhe rollout start DEPLOYMENT --recipe {recipe}"))
    elif view["phase"] == "finished":
        steps.append(("try longer", f"yunhe adapt {view['model']} --budget {2 * view['budget']['duration_s']:.0f}s"))
    steps.append(("all of it", f"yunhe adaptation show {view['adaptation_id']}"))
    return steps


def _table(heads: Sequence[str], *, right: Sequence[int]) -> Table:
    """One line a row; a candidate that is too long for the terminal is cut, the numbers never are."""
    from rich.table import Table

    table = Table(
        box=None, pad_edge=False, header_style="bright_black", padding=(0, 2, 0, 0), expand="candidate" in heads
    )
    for index, head in enumerate(heads):
        table.add_column(
            head,
            justify="right" if index in right else "left",
            no_wrap=True,
            overflow="ellipsis",
            ratio=1 if head == "candidate" else None,
        )
    return table


def _candidate(one: Mapping[str, Any]) -> Text:
    """Its engine, and what differs from the baseline."""
    from rich.text import Text

    if one["is_baseline"]:
        return Text(f"baseline {safe(one['engine'])}")
    changed = " ".join(f"{safe(name)}={_setting(value)}" for name, value in one["changed"].items())
    return Text(f"{safe(one['engine'])} {changed}".rstrip())


def _setting(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else safe(value)


def _ratio(gain: Mapping[str, Any]) -> str:
    if gain["ratio"] is None:
        return "-"
    decimals = 2 if gain["ratio"] >= 0.1 else 3
    ends = "" if gain["low"] is None else f" ({gain['low']:.{decimals}f}-{gain['high']:.{decimals}f})"
    return f"{gain['ratio']:.{decimals}f}x{ends}"


def _number(value: float) -> str:
    """Three digits, as the report has them."""
    decimals = 0 if value >= 100 else 1 if value >= 10 else 2
    return f"{value:,.{decimals}f}"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds + 0.5), 60)
    return f"{minutes}:{rest:02d}"
