"""The report of an adaptation as one HTML file: no script, no network, light and dark, for screen and paper."""

from __future__ import annotations

import json
from functools import lru_cache
from importlib.resources import files
from typing import Final, Literal, get_args

from yunhe.adapt.markup import Markup, join, tag, text
from yunhe.adapt.report_charts import SERIES, Texts, before_after_chart, engine_order, frontier_chart, load_text
from yunhe.adapt.report_gate_chart import MeasureName, gate_chart
from yunhe.adapt.report_numbers import duration_text, moment_text, number, prefixed
from yunhe.adapt.report_records import AdaptationView, CandidateView, FidelityView, LoadView
from yunhe.adapt.report_roofline_chart import ceiling_text, roofline_chart
from yunhe.adapt.report_tables import (
    candidates_table,
    changes_table,
    fidelity_table,
    findings_table,
    gains_table,
    load_texts,
    log_table,
    roofline_table,
)
from yunhe.adapt.samples import Metric
from yunhe.core.units import bytes_text

Language = Literal["en", "zh-CN"]
LANGUAGES: Final[tuple[Language, ...]] = get_args(Language)
#: Pictures are drawn for wide and for narrow pages; the page shows one of them.
_WIDTHS: Final = (1080.0, 372.0)
#: Nothing is fetched and nothing runs, whatever a journal holds.
_POLICY: Final = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
_SOLID: Final = Markup('<circle class="mark solid" cx="9" cy="9" r="4.5"></circle>')
_HOLLOW: Final = '<circle class="mark hollow" cx="9" cy="9" r="4.5"></circle>'
#: Name of the text, class of the point, shape.
_LEGEND: Final = (
    ("passed", "", _SOLID),
    ("unmeasured", "", _HOLLOW),
    ("refused", "", f'{_HOLLOW}<path class="cross" d="M3 3l12 12m0-12l-12 12"></path>'),
    ("baseline", "base", '<rect class="mark solid" x="3" y="3" width="12" height="12"></rect>'),
    ("chosen", "chosen", '<path class="mark solid" d="M9 1l8 8l-8 8l-8 -8z"></path>'),
    ("interval", "", '<path class="whisker interval" d="M1 9H17"></path>'),
    ("range", "", '<path class="whisker range" d="M1 9H17"></path>'),
    ("frontier", "", '<path class="frontier" d="M1 9H17"></path>'),
    ("gate", "", '<path class="gate" d="M1 9H17"></path>'),
)
_BOUNDED: Final[tuple[MeasureName, ...]] = ("kl_nats", "top1_share", "perplexity_ratio")
_METRICS: Final[tuple[Metric, ...]] = ("output_tokens_per_s", "ttft_s", "tpot_s")


@lru_cache(maxsize=len(LANGUAGES))
def report_texts(language: Language) -> Texts:
    """What the report says in a language. Reasons out of the journal stay as they were written."""
    found: dict[str, str] = json.loads(_data(f"{language}.json"))
    return found


def _data(name: str) -> str:
    return (files("yunhe.adapt") / "data" / "report" / name).read_text(encoding="utf-8")


def report_html(view: AdaptationView, language: Language = "en") -> str:
    """The whole file."""
    texts = report_texts(language)
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", texts["page_title"].format(title=view.title)),
        tag("style", Markup(_data("report.css"))),
    )
    parts = (
        _header(view, texts),
        _tiles(view, texts),
        _asked(view, texts),
        _before_after(view, texts),
        _frontier(view, texts),
        _fidelity(view, texts),
        _roofline(view, texts),
        _candidates(view, texts),
        _findings(view, texts),
        _section(texts, "log", "log_lead", _log_filter(view, texts), log_table(view, texts)),
        _how(texts),
        tag("footer", texts["footer"].format(id=view.adaptation_id)),
    )
    page = tag("html", head, tag("body", tag("main", *parts)), lang=texts["html_lang"])
    return f"<!DOCTYPE html>\n{page}\n"


def _section(texts: Texts, title: str, lead: str | None, *parts: str | None) -> Markup:
    said = tag("p", texts[lead], class_="lead") if lead else None
    return tag("section", tag("h2", texts[title]), said, *parts)


def _header(view: AdaptationView, texts: Texts) -> Markup:
    ended = view.phase in ("finished", "failed", "cancelled")
    outcome = "outcome_chosen" if view.chosen else "outcome_none" if ended else "outcome_running"
    bad = view.phase in ("failed", "cancelled")
    colour = "bad" if view.phase == "failed" else "warn" if bad or (ended and not view.chosen) else "ok"
    pills = (
        tag("span", texts[f"phase_{view.phase}"], class_=f"pill {colour if ended else 'accent'}"),
        tag("span", texts[outcome], class_=f"pill {colour}") if ended else None,
    )
    banner = tag("div", texts["simulated_banner"], class_="banner", role="note") if view.simulated else None
    reason = None
    if view.activity:
        label = tag("strong", f"{texts['why_ended' if ended else 'under_way']}: ")
        reason = tag("p", label, view.activity, class_=f"reason {colour if ended and colour != 'ok' else ''}".strip())
    return tag("header", tag("div", tag("h1", view.title), *pills, class_="head"), banner, reason)


def _tile(name: str, big: str, small: str, class_: str = "tile") -> Markup:
    return tag(
        "div",
        tag("div", name, class_="name"),
        tag("div", big, class_="big"),
        tag("div", small, class_="small"),
        class_=class_,
    )


def _tiles(view: AdaptationView, texts: Texts) -> Markup:
    tiles = [
        made for index, load in enumerate(view.loads) if (made := _gain_tile(load, view, texts, index)) is not None
    ]
    if view.fidelity and view.fidelity[0].has_chosen:
        tiles.append(_fidelity_tile(view.fidelity[0], texts))
    counts = view.counts
    note = texts["tile_trials_note"].format(
        rejected=counts.windows_rejected, crashes=counts.crashes, refused=counts.refused
    )
    tiles.append(_tile(texts["tile_trials"], f"{counts.windows_accepted + counts.windows_rejected}", note))
    whole = texts["tile_budget_note"].format(whole=duration_text(view.budget.duration_s))
    tiles.append(_tile(texts["tile_budget"], duration_text(view.budget.used_s), whole))
    return tag("div", *tiles, class_="tiles")


def _gain_tile(load: LoadView, view: AdaptationView, texts: Texts, index: int) -> Markup | None:
    """What is claimed in closed loop; the rate of an open loop is given, so it says nothing of throughput."""
    gain = next((one for one in load.gains if one.metric == "output_tokens_per_s"), None)
    if gain is None or load.concurrency is None:
        return None
    if gain.ratio is None:
        note = texts["tile_no_rounds"]
    elif gain.low is None or gain.high is None:
        note = texts["tile_few_rounds"].format(rounds=gain.rounds)
    else:
        note = texts["tile_rounds"].format(low=f"{gain.low:.2f}", high=f"{gain.high:.2f}", rounds=gain.rounds)
    big = "–" if gain.ratio is None else f"{gain.ratio:.2f}×"
    class_ = "tile first" if index == 0 and view.chosen else "tile"
    return _tile(texts["tile_gain"].format(load=load_text(load, texts)), big, note, class_)


def _fidelity_tile(found: FidelityView, texts: Texts) -> Markup:
    kl = next(one for one in found.measures if one.name == "kl_nats")
    high = kl.value if kl.high is None else kl.high
    note = texts["tile_kl"].format(high=f"{high:.4f}", limit="–" if kl.limit is None else f"{kl.limit:g}")
    return _tile(texts["tile_fidelity"].format(use_class=found.use_class), texts[f"gate_{found.verdict}"], note)


def _asked(view: AdaptationView, texts: Texts) -> Markup:
    base = next((one for one in view.candidates if one.is_baseline), None)
    choice = _choice(view)
    facts = tag("section", tag("h2", texts["facts"]), tag("dl", *_facts(view, texts), class_="facts"))
    if base is None or choice is None or choice.is_baseline:
        return tag("div", facts)
    lead = "what_changed_lead" if choice.is_chosen else "what_changed_open"
    changed = _section(texts, "what_changed", lead, changes_table(choice, base, texts))
    return tag("div", changed, facts, class_="two")


def _choice(view: AdaptationView) -> CandidateView | None:
    wanted = view.chosen or view.confirmed
    return next((one for one in view.candidates if one.id == wanted), None)


def _facts(view: AdaptationView, texts: Texts) -> list[Markup]:
    asked = view.workload
    shapes = [
        texts["request_shape"].format(input=one.input_tokens, output=one.output_tokens, share=f"{one.share:.0%}")
        for one in asked.requests
    ]
    loads = [texts["concurrencies"].format(list=", ".join(str(width) for width in asked.concurrencies))]
    if asked.open_loop_share:
        loads.append(texts["open_share"].format(share=f"{asked.open_loop_share:.0%}"))
    bounds = [
        f"{name} ≤ {number(1e3 * bound)} ms"
        for name, bound in (("TTFT", asked.slo_ttft_s), ("TPOT", asked.slo_tpot_s))
        if bound is not None
    ]
    counts, budget = view.counts, view.budget
    of_trials = "trials" if budget.trials_max is None else "trials_of"
    used = texts["budget_used"].format(used=duration_text(budget.used_s), whole=duration_text(budget.duration_s))
    trials = texts[of_trials].format(count=budget.trials, most=budget.trials_max)
    windows = texts["windows_text"].format(accepted=counts.windows_accepted, rejected=counts.windows_rejected)
    tried = texts["tried"].format(tried=counts.candidates_tried, untried=counts.candidates_untried)
    resumed = [texts["resumed"].format(count=counts.resumptions)] if counts.resumptions else []
    rows = (
        ("model", view.model),
        ("chip", "; ".join(_chips(view, texts))),
        ("engines", join(*_builds(view, texts))),
        ("workload", f"{asked.name}: {'; '.join(shapes)}; {', '.join(loads)}"),
        ("slo", ", ".join(bounds)),
        ("objective", texts[f"metric_{view.objective}"]),
        ("use_class", view.use_class),
        ("budget", join(f"{used}, {trials}", _meter(budget.used_s / budget.duration_s))),
        ("windows", f"{windows}; {tried}" + "".join(f"; {one}" for one in resumed)),
        ("started", "" if view.started_at_s is None else moment_text(view.started_at_s)),
        ("updated", "" if view.updated_at_s is None else moment_text(view.updated_at_s)),
        ("adaptation", tag("code", view.adaptation_id)),
    )
    return [join(tag("dt", texts[name]), tag("dd", said)) for name, said in rows if said]


def _meter(share: float) -> Markup:
    return tag("div", tag("div", style=f"width:{100 * min(1.0, max(0.0, share)):.1f}%"), class_="meter")


def _chips(view: AdaptationView, texts: Texts) -> list[str]:
    found = []
    for chip in view.chips:
        more = [] if chip.cores is None else [texts["cores"].format(count=chip.cores)]
        more += [] if chip.memory_bytes is None else [bytes_text(chip.memory_bytes)]
        found.append(", ".join([f"{chip.cards} × {chip.name} ({chip.chip})", *more]))
    return found


def _builds(view: AdaptationView, texts: Texts) -> list[Markup]:
    return [
        tag(
            "div",
            f"{one.engine} {one.version} ",
            tag("code", one.digest[:12]),
            f" · {texts['candidates_with'].format(count=one.candidates)}",
        )
        for one in view.builds
    ]


def _before_after(view: AdaptationView, texts: Texts) -> Markup | None:
    if not view.loads:
        return None
    panels = [
        tag("div", tag("h3", texts[f"metric_{metric}"]), before_after_chart(view.loads, metric, texts))
        for metric in _METRICS
    ]
    keys = [
        _key(Markup(f'<rect class="bar {role}" x="2" y="4" width="14" height="10" rx="2"></rect>'), texts[name])
        for role, name in (("base", "baseline"), ("chosen", "choice"))
    ]
    return _section(
        texts,
        "before_after",
        "before_after_lead",
        tag("ul", *keys, class_="legend"),
        tag("div", *panels, class_="panels"),
        gains_table(view, texts),
    )


def _key(shape: str, name: str, class_: str | None = None) -> Markup:
    picture = tag("svg", tag("g", shape, class_=class_), viewBox="0 0 18 18", aria_hidden="true")
    return tag("li", picture, name)


def _frontier(view: AdaptationView, texts: Texts) -> Markup | None:
    if not view.frontier:
        return tag("section", tag("p", texts["none_yet"])) if not view.loads else None
    engines = [_key(_SOLID, name, f"point s{min(index, SERIES - 1)}") for index, name in enumerate(engine_order(view))]
    keys = [_key(Markup(shape), texts[f"legend_{name}"], f"point shape {role}") for name, role, shape in _LEGEND]
    load = texts["load_closed"].format(count=view.workload.concurrencies[0])
    return tag(
        "section",
        tag("h2", texts["frontier_title"]),
        tag("p", texts["frontier_lead"].format(load=load), class_="lead"),
        *(frontier_chart(view, texts, width) for width in _WIDTHS),
        tag("ul", *engines, *keys, class_="legend"),
    )


def _fidelity(view: AdaptationView, texts: Texts) -> Markup | None:
    if not view.fidelity:
        return None
    charts = [
        tag("div", tag("h3", texts[f"measure_{name}"]), chart)
        for name in _BOUNDED
        if (chart := gate_chart(view.fidelity, name, texts)) is not None
    ]
    panels = tag("div", *charts, class_="panels")
    return _section(texts, "fidelity", "fidelity_lead", panels, fidelity_table(view, texts))


def _roofline(view: AdaptationView, texts: Texts) -> Markup | None:
    if view.roofline is None or not view.roofline.points:
        return None
    speeds = ", ".join(
        f"{ceiling_text(one, texts)} {prefixed(one.value, 'B/s' if one.kind == 'bandwidth' else 'op/s')} ({one.source})"
        for one in view.roofline.ceilings
    )
    charts = (roofline_chart(view.roofline, texts, width) for width in _WIDTHS)
    points = roofline_table(view.roofline, load_texts(view, texts), texts)
    said = tag("p", texts["roofline_speeds"].format(list=speeds), class_="lead")
    return _section(texts, "roofline_title", "roofline_lead", *charts, said, points)


def _candidates(view: AdaptationView, texts: Texts) -> Markup | None:
    if not view.candidates:
        return None
    untried = view.counts.candidates_untried
    more = tag("p", texts["untried"].format(count=untried), class_="lead") if untried else None
    return _section(texts, "candidates", "candidates_lead", more, candidates_table(view, texts))


def _findings(view: AdaptationView, texts: Texts) -> Markup:
    if not view.findings:
        return _section(texts, "findings", None, tag("p", texts["no_findings"]))
    return _section(texts, "findings", "findings_lead", findings_table(view, texts))


def _log_filter(view: AdaptationView, texts: Texts) -> Markup | None:
    if not view.log:
        return None
    return tag("label", tag("input", type="checkbox", id="only-off"), text(texts["only_off"]), class_="filter")


def _how(texts: Texts) -> Markup:
    names = ("how_rounds", "how_rejected", "how_gate", "how_search")
    return _section(texts, "how", None, tag("ul", *(tag("li", texts[name]) for name in names), class_="key"))
