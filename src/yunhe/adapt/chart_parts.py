"""What charts are made of: scales with ticks, axes, and labels that do not cover one another. Pixels of the picture."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from yunhe.adapt.markup import Markup, join, tag

FONT_PX: Final = 12.0
LINE_PX: Final = 15.0
#: On average of a proportional font; a wide (CJK) character takes a whole em.
_EM_SHARE: Final = 0.56


@dataclass(frozen=True, slots=True)
class Scale:
    """Values from ``low`` to ``high`` onto pixels from ``start`` to ``end`` (which may be smaller)."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def __call__(self, value: float) -> float:
        """Pixel of a value."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = math.log(value), math.log(low), math.log(high)
        return self.start + (value - low) / (high - low) * (self.end - self.start)

    def ticks(self, count: int) -> list[float]:
        """Round values within, about so many."""
        return _log_ticks(self.low, self.high, count) if self.logarithmic else _ticks(self.low, self.high, count)


def fitted(values: Sequence[float], start: float, end: float, *, margin: float = 0.06) -> Scale:
    """A scale around positive values; from 0 where they come near it, logarithmic where they differ twentyfold."""
    low, high = min(values), max(values)
    if low > 0 and high / low > 20:
        return Scale(low / 1.3, high * 1.3, start, end, True)
    room = (high - low) * margin or abs(high) * 0.1 or 1.0
    bottom = 0.0 if low - room < 0.35 * high else low - room
    return Scale(bottom, high + room, start, end)


def _ticks(low: float, high: float, count: int) -> list[float]:
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for factors in ((1, 2, 5), (1, 3), (1,)):
        found = [factor * 10.0**power for power in powers for factor in factors]
        found = [value for value in found if low <= value <= high]
        if len(found) <= count + 2:
            return found
    return found[:: math.ceil(len(found) / count)]


@dataclass(frozen=True, slots=True)
class Frame:
    """The plot's area."""

    left: float
    top: float
    right: float
    bottom: float


def axes(
    frame: Frame, x: Scale, y: Scale, titles: tuple[str, str], names: tuple[Callable[[float], str], ...], counts: int
) -> Markup:
    """Grid, ticks and titles (x, y); ``names`` write a tick of x and of y."""
    parts: list[str] = []
    for value in x.ticks(counts):
        at = x(value)
        parts.append(tag("line", x1=at, x2=at, y1=frame.top, y2=frame.bottom, class_="grid"))
        parts.append(tag("text", names[0](value), x=at, y=frame.bottom + 17, text_anchor="middle", class_="tick"))
    for value in y.ticks(6):
        at = y(value)
        parts.append(tag("line", x1=frame.left, x2=frame.right, y1=at, y2=at, class_="grid"))
        parts.append(tag("text", names[1](value), x=frame.left - 7, y=at + 4, text_anchor="end", class_="tick"))
    parts.append(tag("path", d=f"M{frame.left} {frame.top}V{frame.bottom}H{frame.right}", class_="axis"))
    middle = (frame.left + frame.right) / 2
    parts.append(tag("text", titles[0], x=middle, y=frame.bottom + 37, text_anchor="middle", class_="title"))
    parts.append(tag("text", titles[1], x=4, y=frame.top - 12, class_="title"))
    return join(*parts)


def text_width(words: str, size: float = FONT_PX) -> float:
    """About so many pixels wide."""
    return sum(size * (1.0 if unicodedata.east_asian_width(one) in "WF" else _EM_SHARE) for one in words)


Box = tuple[float, float, float, float]


@dataclass(slots=True)
class Labels:
    """Places labels beside their points where nothing else is."""

    frame: Frame
    #: Left, top, right, bottom of what must not be covered.
    taken: list[Box] = field(default_factory=list)

    def keep_clear(self, x: float, y: float, radius: float) -> None:
        """A mark that labels must not cover."""
        self.taken.append((x - radius, y - radius, x + radius, y + radius))

    def place(self, x: float, y: float, words: str, class_: str = "label") -> Markup:
        """Beside the point, farther off with a line to it, and in the last resort over something."""
        width = text_width(words)
        places = list(self._places(x, y, width))
        boxes = [(left, base - LINE_PX + 3, left + width, base + 3) for left, base in places]
        costs = [(self._cost(box), index) for index, box in enumerate(boxes)]
        _, index = min(costs)
        left, base = places[index]
        self.taken.append(boxes[index])
        words_there = tag("text", words, x=left, y=base, class_=class_)
        if index < 4:
            return words_there
        end_x = min(max(x, left), left + width)
        end_y = base + 4 if base < y else base - LINE_PX + 4
        return join(tag("line", x1=x, y1=y, x2=end_x, y2=end_y, class_="leader"), words_there)

    def _places(self, x: float, y: float, width: float) -> Iterator[tuple[float, float]]:
        yield from ((x + 10, y + 4), (x - 10 - width, y + 4), (x - width / 2, y - 11), (x - width / 2, y + 20))
        for far in (30.0, 48.0, 70.0, 96.0, 130.0):
            for across, down in ((-0.5, -1), (0.4, -0.8), (0.4, 1.0), (-1.4, -0.8), (-1.4, 1.0), (-0.5, 1.2)):
                yield x + across * width + math.copysign(far * 0.4, across + 0.5), y + down * far

    def _cost(self, box: Box) -> float:
        """Pixels covered; outside of the frame is as bad as a lot of them."""
        left, top, right, bottom = box
        frame = self.frame
        outside = max(0.0, frame.left - left) + max(0.0, right - frame.right)
        outside += max(0.0, frame.top - top) + max(0.0, bottom - frame.bottom)
        covered = sum(
            max(0.0, min(right, other[2]) - max(left, other[0])) * max(0.0, min(bottom, other[3]) - max(top, other[1]))
            for other in self.taken
        )
        return covered + 200.0 * outside


def picture(width: float, height: float, title: str, class_: str, *parts: str | None) -> Markup:
    """An SVG picture that scales with the page; ``title`` says what it shows to who cannot see it."""
    return tag(
        "svg",
        *parts,
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {width:g} {height:g}",
        role="img",
        aria_label=title,
        class_=class_,
    )
