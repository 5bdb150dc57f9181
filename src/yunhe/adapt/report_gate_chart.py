"""The fidelity gate as a picture: each numerics' interval beside the line that it has to keep."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from yunhe.adapt.chart_parts import Frame, Scale, fitted, picture
from yunhe.adapt.markup import Markup, tag
from yunhe.adapt.report_charts import Texts
from yunhe.adapt.report_numbers import ends_text, tick_text
from yunhe.adapt.report_records import FidelityMeasure, FidelityView

MeasureName = Literal["kl_nats", "top1_share", "perplexity_ratio", "greedy_agreement_tokens"]
DECIMALS: Final[dict[MeasureName, int]] = {
    "kl_nats": 4,
    "top1_share": 3,
    "perplexity_ratio": 3,
    "greedy_agreement_tokens": 1,
}
_WIDTH: Final = 372.0
_ROW: Final = 34.0


def gate_chart(found: Sequence[FidelityView], name: MeasureName, texts: Texts) -> Markup | None:
    """One measure of all numerics, the refused side shaded; None where no bound is known."""
    rows = [(one, measure) for one in found for measure in one.measures if measure.name == name]
    limit = next((measure.limit for _, measure in rows if measure.limit is not None), None)
    if limit is None:
        return None
    frame = Frame(8.0, 20.0, _WIDTH - 8, 20.0 + len(rows) * _ROW + 6)
    ends = [end for _, one in rows for end in (one.low, one.value, one.high) if end is not None and end > 0]
    x = _scale([*ends, limit], frame, name)
    return picture(
        _WIDTH,
        frame.bottom + 22,
        texts[f"measure_{name}"],
        "chart bars",
        _refused_side(x, limit, frame, name == "top1_share"),
        *_ticks(x, frame),
        _limit(x, limit, frame, texts["at_least" if name == "top1_share" else "at_most"]),
        *(_row(one, measure, x, frame.top + index * _ROW) for index, (one, measure) in enumerate(rows)),
    )


def _scale(values: Sequence[float], frame: Frame, name: MeasureName) -> Scale:
    if name == "top1_share":
        return Scale(min(0.85, min(values) - 0.02), 1.0, frame.left, frame.right)
    return fitted(values, frame.left, frame.right)


def _refused_side(x: Scale, limit: float, frame: Frame, below: bool) -> Markup:
    left, right = (frame.left, x(limit)) if below else (x(limit), frame.right)
    height = frame.bottom - frame.top
    return tag("rect", x=left, y=frame.top, width=max(0.0, right - left), height=height, class_="refused-side")


def _ticks(x: Scale, frame: Frame) -> list[Markup]:
    return [
        tag("text", tick_text(value), x=x(value), y=frame.bottom + 15, text_anchor="middle", class_="tick")
        for value in x.ticks(4)
    ]


def _limit(x: Scale, limit: float, frame: Frame, words: str) -> Markup:
    at = x(limit)
    anchor = "start" if at < (frame.left + frame.right) / 2 else "end"
    return tag(
        "g",
        tag("line", x1=at, x2=at, y1=frame.top - 4, y2=frame.bottom, class_="gate-limit"),
        tag("text", words.format(limit=f"{limit:g}"), x=at, y=frame.top - 8, text_anchor=anchor, class_="label worse"),
    )


def _row(one: FidelityView, measure: FidelityMeasure, x: Scale, top: float) -> Markup:
    low, high = (measure.value if end is None else end for end in (measure.low, measure.high))
    floor = x.low if x.logarithmic else 0.0
    middle = top + 26
    value = ends_text(measure.value, measure.low, measure.high, DECIMALS[measure.name])
    at = x(max(measure.value, floor))
    role = "bad" if measure.kept is False else "chosen" if one.has_chosen else "plain"
    return tag(
        "g",
        tag("title", f"{one.numerics}: {value}"),
        tag("text", one.numerics, x=8, y=top + 14, class_="label strong" if one.has_chosen else "label"),
        tag("path", d=f"M{x(max(low, floor)):.1f} {middle}H{x(max(high, floor)):.1f}", class_="gate-ends"),
        tag("circle", cx=at, cy=middle, r=4.5, class_="mark solid"),
        class_=f"gate-row {role}",
    )
