"""The tables of a report."""

from __future__ import annotations

from collections.abc import Sequence

from yunhe.adapt.markup import Markup, join, tag
from yunhe.adapt.report_charts import Texts, load_text, verdict
from yunhe.adapt.report_numbers import NONE, duration_text, ends_text, number, prefixed, ratio_text, spread_text
from yunhe.adapt.report_records import (
    AdaptationView,
    CandidateView,
    FidelityMeasure,
    FidelityView,
    LogLine,
    RooflineView,
    Spread,
)
from yunhe.catalogue.model import SettingValue
from yunhe.core.units import bytes_text

#: Decimals of the fidelity's measures.
_DECIMALS = {"kl_nats": 4, "top1_share": 3, "perplexity_ratio": 3, "greedy_agreement_tokens": 1}
#: Below this share of its roof neither memory nor arithmetic holds a load back.
FAR_BELOW = 0.3


def table(heads: Sequence[str], rows: Sequence[str], *, right: Sequence[int] = (), tall: bool = False) -> Markup:
    """A table that scrolls by itself; ``right`` are the columns of numbers."""
    head = [tag("th", name, class_="n" if index in right else None, scope="col") for index, name in enumerate(heads)]
    inside = tag("table", tag("thead", tag("tr", *head)), tag("tbody", *rows))
    return tag("div", inside, class_="scroll tall" if tall else "scroll", tabindex="0")


def row(*cells: str, class_: str | None = None, right: Sequence[int] = ()) -> Markup:
    """A row; cells that are elements stay as they are."""
    made = [
        cell if cell.startswith("<td") else tag("td", cell, class_="n" if index in right else None)
        for index, cell in enumerate(cells)
    ]
    return tag("tr", *made, class_=class_)


def setting_text(value: SettingValue) -> str:
    """As it is written in a recipe."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def changes_table(choice: CandidateView, base: CandidateView, texts: Texts) -> Markup:
    """Each setting that differs, before and after."""
    pairs = [(texts["engine"], base.engine, choice.engine)] if base.engine != choice.engine else []
    for name in dict.fromkeys([*choice.settings, *base.settings]):
        before, after = base.settings.get(name), choice.settings.get(name)
        if before != after:
            old, new = (texts["unset"] if one is None else setting_text(one) for one in (before, after))
            pairs.append((name, old, new))
    rows = [
        row(tag("td", tag("span", name, class_="mono")), tag("td", before), tag("td", tag("strong", after)))
        for name, before, after in pairs
    ]
    last = texts["chosen"] if choice.is_chosen else texts["choice"]
    return table((texts["setting"], texts["baseline"], f"{last} #{choice.number}"), rows)


def gains_table(view: AdaptationView, texts: Texts) -> Markup:
    """Every load and metric with its paired ratio."""
    rows = []
    right = (2, 3, 4, 5, 6)
    for load in view.loads:
        for gain in load.gains:
            scale = 1.0 if gain.metric == "output_tokens_per_s" else 1e3
            sides = [_side(side, gain.metric) for side in (load.baseline, load.choice)]
            rows.append(
                row(
                    load_text(load, texts),
                    texts[f"metric_{gain.metric}"],
                    *(spread_text(side, scale) for side in sides),
                    tag("td", tag("span", ratio_text(gain), class_=verdict(gain)), class_="n"),
                    str(gain.rounds),
                    str(load.baseline.windows_rejected + load.choice.windows_rejected),
                    texts[f"outcome_{gain.outcome}"],
                    right=right,
                )
            )
    names = ("load", "metric", "baseline", "choice", "ratio", "rounds", "rejected_windows", "verdict")
    return table([texts[name] for name in names], rows, right=right)


def _side(side: object, metric: str) -> Spread | None:
    found = getattr(side, metric)
    assert found is None or isinstance(found, Spread)
    return found


def candidates_table(view: AdaptationView, texts: Texts) -> Markup:
    """All that were tried, fastest first, the unmeasured last."""
    order = sorted(view.candidates, key=lambda one: -one.speeds.output_tokens_per_s.value if one.speeds else 0.0)
    right = (0, 2, 3, 4, 5, 6, 7)
    names = ("candidate", "windows_short", "tokens_short", "gain_short", "ttft_short", "tpot_short", "memory_short")
    heads = ["#", *(texts[name] for name in (*names, "gate_short", "notes"))]
    return table(heads, [_candidate(one, texts, right) for one in order], right=right)


def _candidate(one: CandidateView, texts: Texts, right: Sequence[int]) -> Markup:
    found = one.speeds
    out = one.finding is not None or one.gate in ("failed", "insufficient")
    count = str(one.windows_accepted)
    if one.windows_rejected:
        count = join(count, tag("span", texts["rejected_count"].format(count=one.windows_rejected), class_="sub"))
    notes = [tag("span", one.finding.detail, class_="sub bad")] if one.finding else []
    notes += [
        tag("span", texts["rejected_because"].format(count=why.windows, reason=why.reason), class_="sub")
        for why in one.rejections
    ]
    return row(
        str(one.number),
        tag("td", *_who(one, texts), class_="wide"),
        tag("td", count, class_="n"),
        tag("td", spread_text(found.output_tokens_per_s if found else None), class_="n"),
        tag("td", tag("span", ratio_text(one.gain), class_=verdict(one.gain)), class_="n"),
        _pair(found.ttft_p50_s, found.ttft_p95_s) if found else NONE,
        _pair(found.tpot_p50_s, found.tpot_p95_s) if found else NONE,
        bytes_text(found.memory_peak_bytes) if found and found.memory_peak_bytes is not None else NONE,
        tag("td", tag("span", texts[f"gate_{one.gate}"], class_=f"pill {_GATE_CLASS.get(one.gate, '')}".strip())),
        tag("td", *notes, class_="why"),
        class_="chosen" if one.is_chosen else "off" if out else None,
        right=right,
    )


_GATE_CLASS = {"passed": "ok", "failed": "bad", "insufficient": "warn"}


def _who(one: CandidateView, texts: Texts) -> list[str]:
    badges = [
        tag("span", texts[name], class_=f"pill {class_}")
        for shown, name, class_ in (
            (one.is_chosen, "chosen", "accent"),
            (one.is_baseline, "baseline", ""),
            (one.is_finalist and not one.is_chosen, "finalist", ""),
            (one.on_frontier, "frontier_badge", ""),
        )
        if shown
    ]
    spaced: list[str] = [part for badge in badges for part in (Markup(" "), badge)]
    settings = one.settings if one.is_baseline else one.changed
    chips = [tag("span", f"{name}={setting_text(value)}", class_="chip") for name, value in settings.items()]
    return [tag("strong", one.engine), *spaced, tag("div", *chips), tag("span", one.id, class_="sub mono")]


def _pair(p50: Spread | None, p95: Spread | None) -> Markup:
    if p50 is None or p95 is None:
        return tag("td", NONE, class_="n")
    both = f"{number(1e3 * p50.value)} / {number(1e3 * p95.value)}"
    return tag("td", both, title=f"p50 {spread_text(p50, 1e3)} ms, p95 {spread_text(p95, 1e3)} ms", class_="n")


def fidelity_table(found: FidelityView, texts: Texts) -> Markup:
    """The gate's measures with their bounds."""
    right = (1, 2)
    rows = [
        row(
            texts[f"measure_{one.name}"],
            ends_text(one.value, one.low, one.high, _DECIMALS[one.name]),
            _bound(one, texts),
            _kept(one.kept, texts),
            right=right,
        )
        for one in found.measures
    ]
    if task := found.task:
        said = texts["task_value"].format(
            candidate=task.candidate_correct, items=task.items, reference=task.reference_correct
        )
        bound = texts["task_bound"].format(p=task.p_max)
        value = f"{said}, p = {task.p_value:.2g}"
        rows.append(row(texts["measure_task"], value, bound, _kept(task.kept, texts), right=right))
    return table([texts[name] for name in ("measure", "value", "bound", "kept")], rows, right=right)


def _bound(one: FidelityMeasure, texts: Texts) -> str:
    if one.limit is None:
        return NONE
    return texts["at_least" if one.name == "top1_share" else "at_most"].format(limit=f"{one.limit:g}")


def _kept(kept: bool | None, texts: Texts) -> Markup:
    if kept is None:
        return tag("td", texts["kept_none"])
    word, class_ = ("kept_yes", "pill ok") if kept else ("kept_no", "pill bad")
    return tag("td", tag("span", texts[word], class_=class_))


def roofline_table(view: RooflineView, texts: Texts) -> Markup:
    """The points of the picture, and what binds each."""
    right = (0, 4, 5, 7)
    rows = []
    for index, one in enumerate(view.points):
        note = "above_roof" if one.attained_share > 1 else "far_below" if one.attained_share < FAR_BELOW else ""
        rows.append(
            row(
                str(index + 1),
                texts["baseline" if one.role == "baseline" else "choice"],
                texts[f"stage_{one.stage}"],
                one.label,
                number(one.operations_per_byte),
                prefixed(one.operations_per_s, "op/s"),
                texts[f"binding_{one.binding}"],
                f"{one.attained_share:.0%}",
                texts[note] if note else "",
                right=right,
            )
        )
    names = ("who", "stage", "load", "intensity", "operations", "binding", "share", "notes")
    return table(["#", *(texts[name] for name in names)], rows, right=right)


def findings_table(view: AdaptationView, texts: Texts) -> Markup:
    """Why candidates are out for good."""
    shown = {one.id: one for one in view.candidates}
    rows = []
    for found in view.findings:
        one = shown[found.candidate]
        rows.append(
            row(
                str(one.number),
                tag("td", *_who(one, texts), class_="wide"),
                tag("td", tag("span", texts[f"cause_{found.cause}"], class_="pill bad")),
                tag("td", found.detail, class_="why"),
                right=(0,),
            )
        )
    return table(["#", *(texts[name] for name in ("candidate", "cause", "detail"))], rows, right=(0,))


def log_table(view: AdaptationView, texts: Texts) -> Markup:
    """The whole journal; what does not count is greyed, with its reason."""
    names = (
        "time",
        "what",
        "candidate",
        "load",
        "round",
        "spent",
        "tokens_short",
        "ttft_short",
        "tpot_short",
        "foreign",
    )
    heads = [texts[name] for name in (*names, "result", "notes")]
    heads = [heads[0], heads[1], "#", *heads[2:]]
    rows = [_log_row(line, texts) for line in view.log]
    return table(heads, rows, right=(0, 2, 6, 7, 8, 9, 10), tall=True) if rows else tag("p", texts["no_entries"])


def _log_row(line: LogLine, texts: Texts) -> Markup:
    off = line.accepted is False or line.kind == "crash" or (line.kind == "fidelity" and line.outcome != "passed")
    place = NONE if line.round is None else f"{'' if line.rung is None else f'{line.rung}/'}{line.round}"
    word = texts.get(f"word_{line.outcome}", texts.get(f"cause_{line.outcome}", line.outcome))
    class_ = "pill bad" if off else "pill ok" if line.outcome in ("accepted", "passed", "finished") else "pill"
    values = (
        NONE if line.spent_s is None else f"{line.spent_s:.1f} s",
        _plain(line.output_tokens_per_s, 1.0),
        _plain(line.ttft_s, 1e3),
        _plain(line.tpot_s, 1e3),
        NONE if line.foreign_cpu_share is None else f"{line.foreign_cpu_share:.1%}",
    )
    return row(
        tag("td", duration_text(line.elapsed_s), class_="n"),
        texts[f"kind_{line.kind}"],
        tag("td", NONE if line.number is None else str(line.number), class_="n"),
        tag("td", tag("span", line.candidate or "", class_="mono")),
        line.load or "",
        place,
        *(tag("td", value, class_="n") for value in values),
        tag("td", tag("span", word, class_=class_) if word else ""),
        tag("td", "; ".join(line.reasons), class_="why"),
        class_="off" if off else "on",
    )


def _plain(value: float | None, scale: float) -> str:
    return NONE if value is None else number(value * scale)
