"""The roofline as a picture: roofs of the card, and where the measured loads lie under them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

from yunhe.adapt.chart_parts import Frame, Labels, Scale, axes, picture, text_width
from yunhe.adapt.markup import Markup, join, tag
from yunhe.adapt.report_charts import Texts
from yunhe.adapt.report_numbers import number, prefixed, prefixed_tick, tick_text
from yunhe.adapt.report_records import Ceiling, OperatingPoint, RooflineView
from yunhe.adapt.report_roofline import MAIN_MEMORY

_LINE: Final = 15.0


def roofline_chart(view: RooflineView, texts: Texts, width: float) -> Markup:
    """Both axes logarithmic. Points carry their number in the table of points. ``width``: pixels."""
    narrow = width < 500
    frame = Frame(64.0, 40.0, width - 16, 300.0 if narrow else 380.0)
    bands = [one for one in view.ceilings if one.kind == "bandwidth"]
    peaks = [one for one in view.ceilings if one.kind == "compute"]
    peak = max(one.value for one in peaks)
    memory = next(one.value for one in bands if one.name == MAIN_MEMORY)
    ridge = peak / memory
    intensities = [one.operations_per_byte for one in view.points] + [ridge * 4]
    speeds = [one.operations_per_s for one in view.points] + [peak * 2, min(one.value for one in peaks) / 4]
    x = Scale(min(*intensities, 1.0) / 2, max(intensities) * 1.5, frame.left, frame.right, True)
    y = Scale(min(speeds) / 2.5, max(speeds), frame.bottom, frame.top, True)
    labels = Labels(frame)
    roofs = [*_slopes(bands, peak, x, y, texts), *_flats(peaks, memory, x, y, labels, texts)]
    for point in view.points:
        labels.keep_clear(x(point.operations_per_byte), y(point.operations_per_s), 7)
    marks = [_mark(index, one, x, y, texts) for index, one in enumerate(view.points)]
    numbers = [
        labels.place(x(one.operations_per_byte), y(one.operations_per_s), str(index + 1), "label strong")
        for index, one in enumerate(view.points)
    ]
    return picture(
        width,
        frame.bottom + 46,
        texts["roofline_title"],
        f"chart {'narrow' if narrow else 'wide'}",
        axes(
            frame,
            x,
            y,
            (texts["axis_intensity"], texts["axis_operations"]),
            (tick_text, prefixed_tick),
            4 if narrow else 8,
        ),
        *roofs,
        *marks,
        *numbers,
    )


def _slopes(bands: Sequence[Ceiling], peak: float, x: Scale, y: Scale, texts: Texts) -> list[Markup]:
    """Bandwidths, each up to the highest peak, named along the line; a name that has no room is left to the page."""
    made = []
    named: list[float] = []
    for one in sorted(bands, key=lambda band: band.name != MAIN_MEMORY):
        left, right = max(x.low, y.low / one.value), min(x.high, peak / one.value)
        if left >= right:
            continue
        start, end = (x(left), y(left * one.value)), (x(right), y(right * one.value))
        role = "roof" if one.name == MAIN_MEMORY else "roof tier"
        line = tag("path", d=f"M{start[0]:.1f} {start[1]:.1f}L{end[0]:.1f} {end[1]:.1f}", class_=role)
        words = f"{ceiling_text(one, texts)} {prefixed(one.value, 'B/s')}"
        length = math.dist(start, end)
        room = all(abs(start[1] - other) > _LINE * 1.6 for other in named) and text_width(words, 11) < length - 20
        made.append(tag("g", line, _along(start, end, words) if room else None, tag("title", words)))
        named.append(start[1])
    return made


def _along(start: tuple[float, float], end: tuple[float, float], words: str) -> Markup:
    """Just above a line, in its direction, ending near its upper end."""
    angle = math.degrees(math.atan2(end[1] - start[1], end[0] - start[0]))
    return tag(
        "text",
        words,
        text_anchor="end",
        transform=f"translate({end[0]:.1f} {end[1]:.1f}) rotate({angle:.2f}) translate(-14 -6)",
        class_="hint",
    )


def _flats(peaks: Sequence[Ceiling], memory: float, x: Scale, y: Scale, labels: Labels, texts: Texts) -> list[Markup]:
    """Compute peaks, from where main memory can feed them; named at the right."""
    made = []
    above = math.inf
    for one in sorted(peaks, key=lambda peak: peak.value):
        start = min(max(x.low, one.value / memory), x.high)
        level = y(one.value)
        words = f"{ceiling_text(one, texts)} {prefixed(one.value, 'op/s')}"
        base = min(level - 5, above - _LINE)
        above = base
        right = x(x.high) - 4
        labels.taken.append((right - text_width(words, 11), base - _LINE, right, base + 3))
        role = "roof" if one.value == max(peak.value for peak in peaks) else "roof tier"
        line = tag("path", d=f"M{x(start):.1f} {level:.1f}H{x(x.high):.1f}", class_=role)
        made.append(join(line, tag("text", words, x=right, y=base, text_anchor="end", class_="hint")))
    return made


def ceiling_text(one: Ceiling, texts: Texts) -> str:
    """The speed's name in words where there are any."""
    return texts.get(f"ceiling_{one.name}", one.name.replace("_", " "))


def _mark(index: int, point: OperatingPoint, x: Scale, y: Scale, texts: Texts) -> Markup:
    across, down = x(point.operations_per_byte), y(point.operations_per_s)
    told = (
        f"{index + 1}: {texts['baseline'] if point.role == 'baseline' else texts['choice']}, "
        f"{texts[f'stage_{point.stage}']}, {point.label}: {prefixed(point.operations_per_s, 'op/s')}, "
        f"{number(point.operations_per_byte)} {texts['unit_intensity']}"
    )
    class_ = "mark solid"
    if point.stage == "prefill":
        shape = tag("path", d=f"M{across:.1f} {down - 6:.1f}l6 11h-12z", class_=class_)
    else:
        shape = tag("circle", cx=across, cy=down, r=5, class_=class_)
    return tag("g", tag("title", told), shape, class_=f"point r {'base' if point.role == 'baseline' else 'chosen'}")
