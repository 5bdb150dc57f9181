"""The tables of a report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from yunhe.adapt.fidelity_gate import TASK_P_MAX
from yunhe.adapt.markup import Markup, join, tag
from yunhe.adapt.report_charts import Texts, given, load_text, verdict
from yunhe.adapt.report_gate_chart import DECIMALS
from yunhe.adapt.report_numbers import NONE, duration_text, number, prefixed, ratio_text, spread_text
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
                    tag("td", load_text(load, texts), class_="short"),
                    tag("td", texts[f"short_{gain.metric}"], class_="short"),
                    *(spread_text(side, scale) for side in sides),
                    tag("td", tag("span", ratio_text(gain), class_=verdict(gain)), class_="n"),
                    str(gain.rounds),
                    str(load.baseline.windows_rejected + load.choice.windows_rejected),
                    texts["rate_given" if given(load, gain.metric) else f"outcome_{gain.outcome}"],
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
    """All that were tried: those that may be chosen, fastest first, then those that are out, then the unmeasured."""
    order = sorted(
        view.candidates,
        key=lambda one: (_out(one), -one.speeds.output_tokens_per_s.value if one.speeds else 0.0),
    )
    right = (0, 2, 3, 4, 5, 6, 7)
    names = ("candidate", "windows_short", "tokens_short", "gain_short", "ttft_short", "tpot_short", "memory_short")
    heads = ["#", *(texts[name] for name in (*names, "gate_short"))]
    return table(heads, [_candidate(one, texts) for one in order], right=right)


def _out(one: CandidateView) -> bool:
    return one.finding is not None or one.gate in ("failed", "insufficient")


def _candidate(one: CandidateView, texts: Texts) -> Markup:
    found = one.speeds
    count = str(one.windows_accepted)
    if one.windows_rejected:
        count = join(count, tag("span", texts["rejected_count"].format(count=one.windows_rejected), class_="sub"))
    notes = [tag("span", one.finding.detail, class_="sub bad")] if one.finding else []
    notes += [
        tag("span", texts["rejected_because"].format(count=why.windows, reason=why.reason), class_="sub")
        for why in one.rejections
    ]
    memory = bytes_text(found.memory_peak_bytes) if found and found.memory_peak_bytes is not None else NONE
    return row(
        str(one.number),
        tag("td", *_who(one, texts), *notes, class_="wide"),
        tag("td", count, class_="n"),
        tag("td", spread_text(found.output_tokens_per_s if found else None), class_="n"),
        tag("td", tag("span", ratio_text(one.gain), class_=verdict(one.gain)), class_="n"),
        _pair(found.ttft_p50_s if found else None, found.ttft_p95_s if found else None),
        _pair(found.tpot_p50_s if found else None, found.tpot_p95_s if found else None),
        tag("td", memory, class_="n"),
        tag("td", _verdict(one, texts)),
        class_="chosen" if one.is_chosen else "off" if _out(one) else None,
        right=(0,),
    )


def _verdict(one: CandidateView, texts: Texts) -> Markup:
    """The gate's word, or how it crashed: then no word of the gate matters."""
    if one.finding is not None and one.finding.cause != "fidelity":
        return tag("span", texts[f"cause_{one.finding.cause}"], class_="pill bad")
    return tag("span", texts[f"gate_{one.gate}"], class_=f"pill {_GATE_CLASS.get(one.gate, '')}".strip())


_GATE_CLASS = {"passed": "ok", "failed": "bad", "insufficient": "warn"}


def _who(one: CandidateView, texts: Texts) -> list[str]:
    badges = [
        tag("span", texts[name], class_=f"pill {class_}")
        for shown, name, class_ in (
            (one.is_chosen, "chosen", "accent"),
            (one.is_baseline, "baseline", ""),
            (one.is_finalist and not one.is_chosen, "finalist", ""),
            (one.on_frontier and not _out(one), "frontier_badge", ""),
        )
        if shown
    ]
    spaced: list[str] = [part for badge in badges for part in (Markup(" "), badge)]
    settings = one.settings if one.is_baseline else one.changed
    chips = [tag("span", f"{name}={setting_text(value)}", class_="chip") for name, value in settings.items()]
    named = () if one.id == texts["baseline"] else (Markup(" "), tag("span", one.id, class_="id mono"))
    return [tag("strong", one.engine), *spaced, *named, tag("div", *chips)]


def _pair(p50: Spread | None, p95: Spread | None) -> Markup:
    if p50 is None or p95 is None:
        return tag("td", NONE, class_="n")
    both = f"{number(1e3 * p50.value)} / {number(1e3 * p95.value)}"
    return tag("td", both, title=f"p50 {spread_text(p50, 1e3)} ms, p95 {spread_text(p95, 1e3)} ms", class_="n")


def fidelity_table(view: AdaptationView, texts: Texts) -> Markup:
    """A row for each numerics: the gate's measures, with their bounds in the heads."""
    first = view.fidelity[0]
    right = (2, 3, 4, 5, 6)
    measures: list[str] = [_measure_head(one, texts) for one in first.measures]
    columns = [one.name for one in first.measures]
    if any(one.task for one in view.fidelity):
        bound = texts["task_bound"].format(p=TASK_P_MAX)
        measures.append(join(texts["measure_task"], tag("span", bound, class_="sub")))
    heads = [texts["numerics"], texts["gate_short"], *measures, texts["positions"]]
    return table(heads, [_judged(one, columns, len(measures), texts) for one in view.fidelity], right=right)


def _measure_head(one: FidelityMeasure, texts: Texts) -> Markup:
    if one.limit is None:
        return join(texts[f"measure_{one.name}"])
    bound = texts["at_least" if one.name == "top1_share" else "at_most"].format(limit=f"{one.limit:g}")
    return join(texts[f"measure_{one.name}"], tag("span", bound, class_="sub"))


def _judged(found: FidelityView, columns: Sequence[str], width: int, texts: Texts) -> Markup:
    own = {one.name: one for one in found.measures}
    cells = [_measured(own.get(name)) for name in columns if name in own] if own else []
    cells += [tag("td", NONE, class_="n")] * (len(columns) - len(cells))
    if width > len(columns):
        cells.append(_task(found, texts))
    notes = [tag("span", "; ".join(found.reasons), class_="sub")] if found.reasons else []
    if found.unmeasured:
        notes.append(tag("span", texts["not_measured"].format(list=", ".join(found.unmeasured)), class_="sub"))
    badge = tag("span", texts["chosen"], class_="pill accent") if found.has_chosen else None
    said = texts["others_of"].format(count=len(found.candidates))
    facts = f"{said}, {texts['reference'].format(name=found.reference)}"
    name = tag("td", tag("strong", found.numerics), " ", badge, tag("span", facts, class_="sub"), *notes, class_="wide")
    verdict_pill = tag("span", texts[f"gate_{found.verdict}"], class_=f"pill {_GATE_CLASS[found.verdict]}")
    counted = tag("span", f"{found.texts} {texts['texts']}", class_="sub")
    return row(
        name,
        tag("td", verdict_pill),
        *cells,
        tag("td", f"{found.positions:,}", counted, class_="n"),
        class_="chosen" if found.has_chosen else None,
    )


def _measured(one: FidelityMeasure | None) -> Markup:
    if one is None:
        return tag("td", NONE, class_="n")
    decimals = DECIMALS[one.name]
    ends = None if one.low is None or one.high is None else f"{one.low:.{decimals}f}–{one.high:.{decimals}f}"
    class_ = {True: "better", False: "worse", None: None}[one.kept]
    value = tag("span", f"{one.value:.{decimals}f}", class_=class_)
    return tag("td", value, tag("span", ends, class_="sub") if ends else None, class_="n")


def _task(found: FidelityView, texts: Texts) -> Markup:
    task = found.task
    if task is None:
        return tag("td", NONE, class_="n")
    said = texts["task_value"].format(
        candidate=task.candidate_correct, items=task.items, reference=task.reference_correct
    )
    told = f"p = {task.p_value:.2g}"
    value = tag("span", said, class_="better" if task.kept else "worse")
    return tag("td", value, tag("span", told, class_="sub"), class_="n")


def roofline_table(view: RooflineView, loads: Mapping[str, str], texts: Texts) -> Markup:
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
                tag("td", loads.get(one.label, one.label), class_="short"),
                number(one.operations_per_byte),
                prefixed(one.operations_per_s, "op/s"),
                tag("td", texts[f"binding_{one.binding}"], class_="short"),
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
    if not view.log:
        return tag("p", texts["no_entries"])
    loads = load_texts(view, texts)
    names = ("time", "what", "candidate", "round", "spent", "tokens_short", "ttft_short", "tpot_short", "foreign")
    heads = [texts[name] for name in (*names, "result")]
    rows = [_log_row(line, loads, texts) for line in view.log]
    return table(heads, rows, right=(0, 3, 4, 5, 6, 7, 8), tall=True)


def load_texts(view: AdaptationView, texts: Texts) -> dict[str, str]:
    """By the load's own label, in the report's language."""
    return {load.label: load_text(load, texts) for load in view.loads}


def _log_row(line: LogLine, loads: Mapping[str, str], texts: Texts) -> Markup:
    off = line.accepted is False or line.kind == "crash" or (line.kind == "fidelity" and line.outcome != "passed")
    word = texts.get(f"word_{line.outcome}", texts.get(f"cause_{line.outcome}", line.outcome))
    class_ = "pill bad" if off else "pill ok" if line.outcome in ("accepted", "passed", "finished") else "pill"
    pill = tag("span", word, class_=class_) if word else None
    load = None if line.load is None else tag("span", loads.get(line.load, line.load), class_="sub")
    who = NONE if line.number is None else join(f"#{line.number} ", tag("span", line.candidate or "", class_="mono"))
    first = (
        tag("td", duration_text(line.elapsed_s), class_="n"),
        tag("td", texts[f"kind_{line.kind}"], load, class_="short"),
        tag("td", who, class_="short"),
    )
    why = tag("span", "; ".join(line.reasons), class_="sub") if line.reasons else None
    if line.accepted is None and line.kind not in ("crash", "fidelity"):
        said = tag("td", pill, " " if pill else None, "; ".join(line.reasons), colspan=7, class_="why")
        return tag("tr", *first, said, class_="on minor" if line.kind in ("build", "judged") else "on")
    place = NONE if line.round is None else f"{'' if line.rung is None else f'{line.rung}/'}{line.round}"
    values = (
        place,
        NONE if line.spent_s is None else f"{line.spent_s:.1f} s",
        _plain(line.output_tokens_per_s, 1.0),
        _plain(line.ttft_s, 1e3),
        _plain(line.tpot_s, 1e3),
        NONE if line.foreign_cpu_share is None else f"{line.foreign_cpu_share:.1%}",
    )
    cells = (tag("td", value, class_="n") for value in values)
    return tag("tr", *first, *cells, tag("td", pill, why, class_="why"), class_="off" if off else "on")


def _plain(value: float | None, scale: float) -> str:
    return NONE if value is None else number(value * scale)
