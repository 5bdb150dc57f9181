import re
from collections import Counter

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yunhe.adapt.fidelity_gate import TASK_ITEMS_MIN
from yunhe.adapt.fidelity_tasks import TaskItem, correct, task_items

ITEMS = task_items()


def item(check: str, answer: str, **fields: object) -> TaskItem:
    row = {"id": "x", "kind": "fact", "language": "en", "prompt": "?", "check": check, "answer": answer, **fields}
    return msgspec.convert(row, TaskItem)


def test_there_are_enough_items_of_every_kind_in_both_languages() -> None:
    assert len(ITEMS) >= TASK_ITEMS_MIN
    count = Counter((found.kind, found.language) for found in ITEMS)
    assert len(count) == 6
    assert min(count.values()) >= 10
    assert len({found.id for found in ITEMS}) == len(ITEMS)
    assert len({found.prompt for found in ITEMS}) == len(ITEMS)


@pytest.mark.parametrize("found", ITEMS, ids=lambda found: found.id)
def test_each_items_own_answer_is_right_and_others_are_wrong(found: TaskItem) -> None:
    assert correct(found, found.answer)
    assert correct(found, f"\n {found.answer} \n")
    assert all(correct(found, other) for other in found.accept)
    for wrong in ("", "I do not know", "我不知道", "-1", "[]", *(c for c in found.choices if c != found.answer)):
        assert not correct(found, wrong), wrong
    others = [other for other in ITEMS if other.check == found.check and other.answer != found.answer]
    mistaken = [other.id for other in others if correct(found, other.answer) and not found.choices]
    assert mistaken == []


@pytest.mark.parametrize("found", [found for found in ITEMS if found.kind == "arithmetic"], ids=lambda found: found.id)
def test_plain_sums_are_those_of_the_prompt(found: TaskItem) -> None:
    plain = found.prompt.replace("加", "+").replace("减", "-").replace("乘以", "*").replace("除以", "/")
    plain = plain.replace("times", "*").replace("divided by", "/")
    sum_ = re.search(r"\d+ ?[-+*/] ?\d+", plain)
    if sum_ is None:
        numbers = re.findall(r"\d+", plain)
        assert numbers, "a word problem names its numbers"
        assert found.answer.isdigit()
    else:
        assert eval(sum_.group()) == int(found.answer)


def test_items_have_just_the_fields_that_their_check_reads() -> None:
    for found in ITEMS:
        assert bool(found.choices) == (found.check == "choice"), found.id
        assert (found.pattern is not None) == (found.check == "pattern"), found.id
        assert not found.accept or found.check == "word", found.id
        assert not found.choices or found.answer in found.choices, found.id


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ("42", True),
        ("42.", True),
        ("６ × ７ = ４２", True),
        ("The answer is 42.\nNote that 6 * 8 = 48.", True),
        ("42.0", True),
        ("-42", False),
        ("420", False),
        ("4.2", False),
        ("forty-two", False),
        ("42 or 43", False),
    ],
)
def test_a_number_is_the_last_of_the_first_line_that_has_one(answer: str, right: bool) -> None:
    assert correct(item("number", "42"), answer) is right


def test_thousands_may_be_set_off() -> None:
    assert correct(item("number", "2315"), "It is 2,315.")
    assert not correct(item("number", "315"), "It is 2,315.")


@pytest.mark.parametrize(
    ("answer", "right"),
    [("Paris", True), ("It is PARIS.", True), ("**Paris**", True), ("Parisian", False), ("comparis", False)],
)
def test_a_word_stands_alone_in_any_case(answer: str, right: bool) -> None:
    assert correct(item("word", "Paris"), answer) is right


def test_a_word_among_chinese_characters_needs_no_blanks() -> None:
    assert correct(item("word", "H2O"), "水的化学式是H2O。")
    assert correct(item("word", "北京"), "中国的首都是北京市。")
    assert not correct(item("word", "北京"), "中国的首都是南京。")


def test_of_the_choices_the_first_named_counts() -> None:
    asked = item("choice", "no", choices=["yes", "no"])
    assert correct(asked, "No, it is smaller. Yes, really.")
    assert not correct(asked, "Yes. No doubt.")
    assert not correct(asked, "Nobody knows")


@pytest.mark.parametrize(
    ("answer", "right"),
    [
        ('{"a": 1, "b": true}', True),
        ('{"b":true,"a":1}', True),
        ('{"a": 1.0, "b": true}', False),
        ('```json\n{"a": 1, "b": true}\n```', True),
        ('Here it is: {"a": 1, "b": true}', False),
        ('{"a": 1, "b": 1}', False),
        ('{"a": 1', False),
        ("[" * 4_000, False),
    ],
)
def test_json_is_the_whole_answer(answer: str, right: bool) -> None:
    assert correct(item("json", '{"a": 1, "b": true}'), answer) is right


def test_an_exact_answer_may_stand_in_quotes_but_not_in_a_sentence() -> None:
    asked = item("exact", "RIVER")
    assert correct(asked, '"RIVER".')
    assert not correct(asked, "river")
    assert not correct(asked, "The word is RIVER")


@given(st.text(max_size=200))
def test_any_answer_can_be_checked(answer: str) -> None:
    for found in ITEMS:
        assert correct(found, answer) in (True, False)


def test_a_very_long_answer_is_cut() -> None:
    assert not correct(item("word", "Paris"), "x " * 4_000 + "Paris")
