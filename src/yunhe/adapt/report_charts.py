"""The charts of a report: throughput against TPOT, and before and after. Drawn as SVG; colours come from the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from yunhe.adapt.chart_parts import Frame, Labels, Scale, axes, fitted, picture, text_width
from yunhe.adapt.markup import Markup, join, tag
from yunhe.adapt.report_numbers import NONE, ratio_text, spread_text, tick_text
from yunhe.adapt.report_records import AdaptationView, FrontierPoint, LoadView, Ratio, SideView, Spread
from yunhe.adapt.samples import Metric

Texts = Mapping[str, str]
#: Engines told apart by colour; further ones share the last.
SERIES: Final = 4
_RADIUS: Final = 4.5


def frontier_chart(view: AdaptationView, texts: Texts, width: float) -> Markup:
    """Every measured candidate; what may not be chosen is crossed out. ``width``: pixels. Needs a point."""
    narrow = width < 500
    frame = Frame(52.0, 40.0, width - 16, (300.0 if narrow else 400.0))
    x = fitted(_ends([one.output_tokens_per_s for one in view.frontier]), frame.left, frame.right)
    y = fitted([1e3 * value for value in _ends([one.tpot_s for one in view.frontier])], frame.bottom, frame.top)
    labels = Labels(frame)
    for point in view.frontier:
        labels.keep_clear(x(point.output_tokens_per_s.value), y(1e3 * point.tpot_s.value), _RADIUS + 2)
    engines = engine_order(view)
    names = {one.id: one.engine for one in view.candidates}
    order = sorted(view.frontier, key=lambda one: (one.is_chosen, one.is_baseline, not one.refused))
    marks = [_point(one, x, y, engines.index(names[one.candidate]), texts) for one in order]
    # The most important is placed first, where most room is.
    written = [
        labels.place(x(one.output_tokens_per_s.value), y(1e3 * one.tpot_s.value), _name(one, texts), _label_class(one))
        for one in reversed(order)
        if one.is_baseline or one.is_chosen or one.is_finalist
    ]
    better = tag(
        "text", texts["better_corner"], x=frame.right - 6, y=frame.bottom - 8, text_anchor="end", class_="hint"
    )
    return picture(
        width,
        frame.bottom + 46,
        texts["frontier_title"],
        f"chart {'narrow' if narrow else 'wide'}",
        axes(frame, x, y, (texts["axis_tokens"], texts["axis_tpot"]), (tick_text, tick_text), 4 if narrow else 7),
        better,
        _staircase(view.frontier, x, y, frame, "gate"),
        _staircase([one for one in view.frontier if not one.refused], x, y, frame, "frontier"),
        *marks,
        *written,
    )


def engine_order(view: AdaptationView) -> list[str]:
    """Engines in the order of their colours: the baseline's first."""
    return list(dict.fromkeys(one.engine for one in view.candidates))


def _ends(spreads: Sequence[Spread]) -> list[float]:
    """What must be in the picture: all values, and ends of intervals; mere ranges are cut where they leave it."""
    found = [one.value for one in spreads]
    return found + [end for one in spreads if one.basis == "interval" for end in (one.low, one.high) if end > 0]


def _name(point: FrontierPoint, texts: Texts) -> str:
    if point.is_chosen:
        return f"{texts['chosen']} #{point.number}"
    return texts["baseline"] if point.is_baseline else f"#{point.number}"


def _label_class(point: FrontierPoint) -> str:
    return "label strong" if point.is_chosen or point.is_baseline else "label"


def _point(point: FrontierPoint, x: Scale, y: Scale, series: int, texts: Texts) -> Markup:
    across, down = x(point.output_tokens_per_s.value), y(1e3 * point.tpot_s.value)
    role = "chosen" if point.is_chosen else "base" if point.is_baseline else "plain"
    said = texts["refused_mark"] if point.refused else texts[f"gate_{point.gate}"]
    told = (
        f"{_name(point, texts) if role != 'plain' else f'#{point.number}'} {point.candidate}: "
        f"{spread_text(point.output_tokens_per_s)} {texts['unit_tokens']}, "
        f"TPOT {spread_text(point.tpot_s, 1e3)} ms; {said}"
    )
    bars = (
        _whisker(point.output_tokens_per_s, 1.0, x, (across, down), False),
        _whisker(point.tpot_s, 1e3, y, (across, down), True),
    )
    measured = point.gate == "passed" and not point.refused
    inside = _mark(role, across, down, f"{'solid' if measured else 'hollow'}")
    cross = _cross(across, down) if point.refused else None
    return tag("g", tag("title", told), *bars, inside, cross, class_=f"point s{min(series, SERIES - 1)} {role}")


def _mark(role: str, x: float, y: float, class_: str) -> Markup:
    if role == "chosen":
        r = 8.5
        return tag("path", d=f"M{x:.1f} {y - r:.1f}l{r} {r}l-{r} {r}l-{r} -{r}z", class_=f"mark {class_}")
    if role == "base":
        return tag("rect", x=x - 6, y=y - 6, width=12, height=12, class_=f"mark {class_}")
    return tag("circle", cx=x, cy=y, r=_RADIUS, class_=f"mark {class_}")


def _cross(x: float, y: float) -> Markup:
    r = 6
    return tag("path", d=f"M{x - r:.1f} {y - r:.1f}l{2 * r} {2 * r}m0 -{2 * r}l-{2 * r} {2 * r}", class_="cross")


def _whisker(spread: Spread, scale: float, axis: Scale, at: tuple[float, float], upright: bool) -> Markup | None:
    """From the low end to the high one, within the axis; dashed where it is only a range of windows."""
    if spread.basis == "single":
        return None
    inside = [min(max(end * scale, axis.low), axis.high) for end in (spread.low, spread.high)]
    low, high = (axis(end) for end in inside)
    x, y = at
    kind = f"whisker {spread.basis}"
    if upright:
        return tag("path", d=f"M{x:.1f} {low:.1f}V{high:.1f}", class_=kind)
    return tag("path", d=f"M{low:.1f} {y:.1f}H{high:.1f}", class_=kind)


def _staircase(points: Sequence[FrontierPoint], x: Scale, y: Scale, frame: Frame, class_: str) -> Markup | None:
    """Around all that these points are at least as good as: less throughput, more TPOT."""
    on = sorted((one.output_tokens_per_s.value, one.tpot_s.value) for one in points if one.on_frontier)
    if not on or (class_ == "gate" and not any(one.refused and one.on_frontier for one in points)):
        return None
    best: list[tuple[float, float]] = []
    for throughput, tpot in reversed(on):
        if not best or tpot < best[-1][1]:
            best.append((throughput, tpot))
    steps = "".join(f"V{y(1e3 * tpot):.1f}H{x(throughput):.1f}" for throughput, tpot in reversed(best))
    return tag("path", d=f"M{frame.left:.1f} {y(1e3 * best[-1][1]):.1f}{steps}V{frame.top:.1f}", class_=class_)


_PANEL_WIDTH: Final = 372.0
_ROW: Final = 66.0
_BAR: Final = 15.0


def before_after_chart(loads: Sequence[LoadView], metric: Metric, texts: Texts) -> Markup:
    """Two bars a load, baseline above choice, with whiskers; the paired ratio at the right."""
    scale = 1.0 if metric == "output_tokens_per_s" else 1e3
    loads = [load for load in loads if not given(load, metric)]
    sides = [(_of(load.baseline, metric), _of(load.choice, metric)) for load in loads]
    highest = max((scale * one.high for pair in sides for one in pair if one is not None), default=1.0)
    values_width = max((text_width(_value(one, scale), 11.0) for pair in sides for one in pair), default=0.0)
    x = Scale(0.0, highest or 1.0, 4.0, _PANEL_WIDTH - values_width - 14)
    rows = [
        _row(load, metric, (before, after), scale, x, 8.0 + index * _ROW, texts)
        for index, (load, (before, after)) in enumerate(zip(loads, sides, strict=True))
    ]
    height = len(rows) * _ROW + 8
    return picture(_PANEL_WIDTH, height, f"{texts['before_after']}: {texts[f'metric_{metric}']}", "chart bars", *rows)


def _of(side: SideView, metric: Metric) -> Spread | None:
    return {
        "output_tokens_per_s": side.output_tokens_per_s,
        "ttft_s": side.ttft_s,
        "tpot_s": side.tpot_s,
    }.get(metric)


def _value(spread: Spread | None, scale: float) -> str:
    return NONE if spread is None else spread_text(spread, scale)


def _row(
    load: LoadView,
    metric: Metric,
    pair: tuple[Spread | None, Spread | None],
    scale: float,
    x: Scale,
    top: float,
    texts: Texts,
) -> Markup:
    gain = next((one for one in load.gains if one.metric == metric), None)
    parts: list[str] = [
        tag("text", load_text(load, texts), x=4, y=top + 12, class_="label strong"),
        tag(
            "text", ratio_text(gain), x=_PANEL_WIDTH - 4, y=top + 12, text_anchor="end", class_=f"label {verdict(gain)}"
        ),
    ]
    for index, (spread, role) in enumerate(zip(pair, ("base", "chosen"), strict=True)):
        down = top + 19 + index * (_BAR + 4)
        name = texts["baseline"] if role == "base" else texts["choice"]
        told = f"{name}, {load_text(load, texts)}: {_value(spread, scale)} {texts[f'unit_{metric}']}"
        end = 4.0
        inside: list[str] = [tag("title", told)]
        if spread is not None:
            end = x(max(spread.value, spread.high) * scale)
            bar = max(1.5, x(spread.value * scale) - 4)
            inside.append(tag("rect", x=4, y=down, width=bar, height=_BAR, rx=2, class_=f"bar {role}"))
            if spread.basis != "single":
                low, high, middle = x(spread.low * scale), x(spread.high * scale), down + _BAR / 2
                path = f"M{low:.1f} {middle - 4}v8M{low:.1f} {middle}H{high:.1f}M{high:.1f} {middle - 4}v8"
                inside.append(tag("path", d=path, class_=f"ends {spread.basis}"))
        inside.append(tag("text", _value(spread, scale), x=end + 7, y=down + 11.5, class_="value"))
        parts.append(tag("g", *inside))
    return join(*parts)


def load_text(load: LoadView, texts: Texts) -> str:
    """The load in the report's language."""
    if load.requests_per_s is None:
        return texts["load_closed"].format(count=load.concurrency)
    return texts["load_open"].format(rate=f"{load.requests_per_s:g}")


def given(load: LoadView, metric: Metric) -> bool:
    """Whether the load itself sets the metric: in an open loop the throughput is what arrives."""
    return load.requests_per_s is not None and metric == "output_tokens_per_s"


def verdict(gain: Ratio | None) -> str:
    """Class of a ratio's colour."""
    return gain.outcome if gain is not None and gain.outcome in ("better", "worse") else "level"
