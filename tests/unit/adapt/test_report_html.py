"""The report as a file: well formed, safe, and saying the view's own numbers."""

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from dataclasses import replace as changed
from html.parser import HTMLParser

import pytest
from msgspec.structs import replace

from yunhe.adapt.adaptation import Entry
from yunhe.adapt.chart_parts import Frame, Labels, Scale, fitted
from yunhe.adapt.markup import Markup, tag, text
from yunhe.adapt.report_html import LANGUAGES, report_html, report_texts
from yunhe.adapt.report_numbers import duration_text, number, prefixed, ratio_text, spread_text
from yunhe.adapt.report_records import AdaptationView
from yunhe.adapt.report_view import adaptation_view
from yunhe.adapt.trials import Begun, Crashed
from yunhe.testing.adaptations import SimulatedAdaptation, simulated_adaptation

HOSTILE = "</td><script>alert(1)</script>\x00\x1b[31m\"'&<svg onload=x>\ud800"


@pytest.fixture(scope="module")
def whole() -> SimulatedAdaptation:
    return simulated_adaptation()


@pytest.fixture(scope="module")
def view(whole: SimulatedAdaptation) -> AdaptationView:
    return adaptation_view(whole.order, whole.entries, cards=whole.cards)


@pytest.fixture(scope="module")
def page(view: AdaptationView) -> str:
    return report_html(view)


def tree(page: str) -> ElementTree.Element:
    head, _, rest = page.partition("\n")
    assert head == "<!DOCTYPE html>"
    return ElementTree.fromstring(rest)


def words(element: ElementTree.Element) -> str:
    return " ".join("".join(element.itertext()).split())


def tables(page: str) -> Iterator[list[list[str]]]:
    for found in tree(page).iter("table"):
        yield [[words(cell) for cell in row] for row in found.iter("tr")]


class Balance(HTMLParser):
    """Reads as a browser would, and counts what is open."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ("meta", "input", "br")
        self.tags.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def balance(page: str) -> Balance:
    parser = Balance()
    parser.feed(page)
    parser.close()
    assert parser.open == []
    return parser


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_page_is_well_formed_and_needs_nothing_from_elsewhere(view: AdaptationView, language: str) -> None:
    page = report_html(view, language)  # type: ignore[arg-type]
    assert tree(page).get("lang") == language
    found = balance(page)
    assert not found.tags & {"script", "link", "img", "iframe", "object", "base", "form"}
    assert not found.attributes & {"src", "href", "onload", "onclick"}
    assert not re.search(r"url\(|@import", page)
    assert set(re.findall(r"https?://[^\s\"]+", page)) == {"http://www.w3.org/2000/svg"}
    policies = [one.get("content") or "" for one in tree(page).iter("meta") if one.get("http-equiv")]
    assert [policy.partition(";")[0] for policy in policies] == ["default-src 'none'"]


def test_both_languages_say_everything() -> None:
    english, chinese = (report_texts(language) for language in LANGUAGES)
    assert english.keys() == chinese.keys()
    assert all(english.values()) and all(chinese.values())
    for name, said in english.items():
        assert set(re.findall(r"{(\w+)}", said)) == set(re.findall(r"{(\w+)}", chinese[name])), name


def test_the_gain_at_the_top_and_in_the_table_is_the_views(view: AdaptationView, page: str) -> None:
    gain = view.loads[0].gains[0]
    tiles = [words(one) for one in tree(page).iter("div") if one.get("class") == "tile first"]
    assert tiles == [
        f"Output tokens/s, 8 in flight{gain.ratio:.2f}×"
        f"95 % {gain.low:.2f}–{gain.high:.2f}; paired rounds: {gain.rounds}"
    ]
    rows = next(table for table in tables(page) if "verdict" in table[0])
    shown = [(row[4], row[5]) for row in rows[1:]]
    assert shown == [(ratio_text(one), str(one.rounds)) for load in view.loads for one in load.gains]
    sides = [(row[2], row[3]) for row in rows[1:] if "tokens/s" in row[1]]
    assert sides == [
        (spread_text(load.baseline.output_tokens_per_s), spread_text(load.choice.output_tokens_per_s))
        for load in view.loads
    ]


def test_each_candidate_has_its_row_with_its_own_numbers(view: AdaptationView, page: str) -> None:
    rows = next(table for table in tables(page) if "over baseline" in table[0])[1:]
    assert sorted(int(row[0]) for row in rows) == [one.number for one in view.candidates]
    shown = {int(row[0]): row for row in rows}
    for one in view.candidates:
        row = shown[one.number]
        assert row[3] == spread_text(one.speeds.output_tokens_per_s if one.speeds else None)
        assert row[4] == ratio_text(one.gain)
        assert ("CHOSEN" in row[1]) == one.is_chosen
        assert all(why.reason in row[1] for why in one.rejections)
        assert one.finding is None or one.finding.detail in row[1]
    out = [one.finding is not None or one.gate == "failed" for one in view.candidates]
    numbers = [int(row[0]) for row in rows]
    assert [out[index] for index in numbers] == sorted(out[index] for index in numbers)


def test_the_log_shows_rejected_windows_greyed_with_their_reasons(view: AdaptationView, page: str) -> None:
    log = [one for one in tree(page).iter("tr") if one.get("class") in ("on", "on minor", "off")]
    log = log[-len(view.log) :]
    assert len(log) == len(view.log)
    for row, line in zip(log, view.log, strict=True):
        off = line.accepted is False or (line.kind, line.outcome) == ("fidelity", "failed") or line.kind == "crash"
        assert (row.get("class") == "off") == off
        assert all(" ".join(reason.split()) in words(row) for reason in line.reasons)
        if line.output_tokens_per_s is not None:
            assert number(line.output_tokens_per_s) in words(row)


def test_fidelity_says_values_bounds_and_what_was_not_measured(view: AdaptationView, page: str) -> None:
    rows = next(table for table in tables(page) if table[0][0] == "numerics")
    assert "≤ 0.02" in rows[0][2] and "≥ 0.9" in rows[0][3] and "≤ 1.05" in rows[0][4]
    for row, one in zip(rows[1:], view.fidelity, strict=True):
        assert row[0].startswith(one.numerics)
        assert f"{one.measures[0].value:.4f}" in row[2]
        assert "Not measured: long_prompt" in row[0]
        assert ("refused" in row[1]) == (one.verdict == "failed")


def test_every_point_of_the_frontier_is_drawn_and_the_refused_are_crossed_out(view: AdaptationView, page: str) -> None:
    charts = [one for one in tree(page).iter("{http://www.w3.org/2000/svg}svg") if one.get("class") == "chart wide"]
    points = [one for one in charts[0].iter() if (one.get("class") or "").startswith("point ")]
    assert len(points) == len(view.frontier)
    titles = {words(one).partition(":")[0].split()[-1]: one for one in points}
    for point in view.frontier:
        found = titles[point.candidate]
        assert spread_text(point.output_tokens_per_s) in words(found)
        assert spread_text(point.tpot_s, 1e3) in words(found)
        crossed = any(one.get("class") == "cross" for one in found)
        assert crossed == point.refused
    labels = [words(one) for one in charts[0].iter() if (one.get("class") or "").startswith("label")]
    chosen = next(one for one in view.candidates if one.is_chosen)
    assert f"CHOSEN #{chosen.number}" in labels and "baseline" in labels
    assert len(labels) == 2 + sum(one.is_finalist and not one.is_chosen for one in view.candidates)


def test_the_picture_agrees_with_the_numbers(view: AdaptationView, page: str) -> None:
    charts = [one for one in tree(page).iter("{http://www.w3.org/2000/svg}svg") if one.get("class") == "chart wide"]
    circles = {
        words(group).partition(":")[0].split()[-1]: next(one for one in group if one.tag.endswith("circle"))
        for group in charts[0].iter()
        if (group.get("class") or "").endswith(" plain") and (group.get("class") or "").startswith("point ")
    }
    plain = [one for one in view.frontier if not one.is_baseline and not one.is_chosen]
    assert len(plain) == len(circles) > 5
    right = sorted(plain, key=lambda one: one.output_tokens_per_s.value)
    assert right == sorted(plain, key=lambda one: float(circles[one.candidate].get("cx") or ""))
    low = sorted(plain, key=lambda one: -one.tpot_s.value)
    assert low == sorted(plain, key=lambda one: float(circles[one.candidate].get("cy") or ""))


@pytest.fixture(scope="module")
def attacked(whole: SimulatedAdaptation) -> AdaptationView:
    entries: list[Entry] = []
    for entry in whole.entries:
        if isinstance(entry, Begun):
            problem = entry.problem
            evil = tuple(replace(one, settings={**one.settings, HOSTILE: HOSTILE}) for one in problem.candidates)
            entry = replace(entry, problem=replace(problem, candidates=evil))
        if isinstance(entry, Crashed):
            entry = replace(entry, detail=HOSTILE)
        entries.append(entry)
    order = replace(whole.order, model=changed(whole.order.model, name=HOSTILE))
    card = changed(whole.cards[0], model_name=HOSTILE, speeds={**whole.cards[0].speeds})
    return replace(adaptation_view(order, entries, cards=[card]), activity=HOSTILE)


def test_hostile_settings_names_and_reasons_stay_text(attacked: AdaptationView) -> None:
    page = report_html(attacked)
    found = balance(page)
    assert "script" not in found.tags
    assert "onload" not in found.attributes
    assert "alert(1)" in words(tree(page))
    assert "\x00" not in page and "\x1b" not in page
    page.encode("utf-8")


def test_text_is_escaped_and_markup_is_not() -> None:
    assert text("<&>\"'\x07") == "&lt;&amp;&gt;&quot;&#x27;�"
    assert tag("b", "<i>", Markup("<u></u>"), class_='"x"', data_y=1.500) == (
        '<b class="&quot;x&quot;" data-y="1.5">&lt;i&gt;<u></u></b>'
    )


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_beginning_of_a_journal_has_a_page(whole: SimulatedAdaptation, language: str) -> None:
    for length in (0, 1, 2, 3, 5, 20, 60, 100, 118, len(whole.entries) - 1):
        found = adaptation_view(whole.order, whole.entries[:length], phase="searching", activity="window of #7 <b>")
        page = report_html(found, language)  # type: ignore[arg-type]
        balance(page)
        assert "window of #7 <b>" in words(tree(page))


def test_an_empty_journal_says_so(whole: SimulatedAdaptation) -> None:
    page = report_html(adaptation_view(whole.order, [], activity="the centre has not taken it up yet"))
    said = words(tree(page))
    assert "the centre has not taken it up yet" in said
    assert "Nothing has been measured yet." in said
    assert "The journal is empty." in said


@pytest.mark.parametrize(("end", "reason"), [("cancelled", "somebody cancelled it"), ("failed", "the disk is full")])
def test_cancelled_and_failed_ones_say_why(end: str, reason: str) -> None:
    made = simulated_adaptation(entries_max=60, end=end)  # type: ignore[arg-type]
    page = report_html(adaptation_view(made.order, made.entries, cards=made.cards))
    header = next(iter(tree(page).iter("header")))
    assert end in words(header) and reason in words(header)
    assert "Nothing chosen" in words(header)
    assert not [one for one in tree(page).iter("div") if one.get("class") == "tile first"]


def test_a_simulated_chip_is_said_to_be_one(whole: SimulatedAdaptation, page: str) -> None:
    assert "Simulated: these numbers" in words(tree(page))
    real = changed(whole.cards[0], simulated=False)
    assert "Simulated: these" not in report_html(adaptation_view(whole.order, whole.entries, cards=[real]))


def test_numbers_read_as_three_digits_with_unit_prefixes() -> None:
    shown = [number(value) for value in (0, 1234.5, 99.96, 12.34, 1.234, 0.1234, 0.01234)]
    assert shown == ["0", "1,234", "100.0", "12.3", "1.23", "0.123", "0.0123"]
    assert prefixed(2.9e12, "op/s") == "2.90 Top/s"
    assert [duration_text(seconds) for seconds in (0, 59.6, 3723)] == ["0:00", "1:00", "1:02:03"]


@pytest.mark.parametrize("scale", [fitted([0.4, 30.0], 0, 100), fitted([90.0, 110.0], 0, 100), fitted([5.0], 0, 100)])
def test_ticks_are_round_few_and_inside(scale: Scale) -> None:
    ticks = scale.ticks(5)
    assert 2 <= len(ticks) <= 9
    assert all(scale.low <= value <= scale.high for value in ticks)
    assert [scale(value) for value in ticks] == sorted(scale(value) for value in ticks)


def test_labels_of_crowded_points_do_not_cover_each_other_or_leave_the_frame() -> None:
    labels = Labels(Frame(0, 0, 600, 400))
    points = [(300.0 + 6 * number, 200.0 + 3 * number) for number in range(6)]
    for x, y in points:
        labels.keep_clear(x, y, 6)
    marks = len(labels.taken)
    for index, (x, y) in enumerate(points):
        labels.place(x, y, f"CHOSEN #{index}")
    boxes = labels.taken[marks:]
    assert len(boxes) == 6
    for index, (left, top, right, bottom) in enumerate(boxes):
        assert left >= 0 and top >= 0 and right <= 600 and bottom <= 400
        for other in boxes[:index]:
            assert right <= other[0] or other[2] <= left or bottom <= other[1] or other[3] <= top
