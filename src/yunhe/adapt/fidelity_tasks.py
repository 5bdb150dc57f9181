"""A small bundled task: short items with one checkable answer each, in English and Chinese.

It is no measure of how good a model is. It is asked of reference and candidate alike and compared item by item, to
catch damage that shows in whole answers: arithmetic, plain facts, and keeping to a form.
"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Final, Literal

import msgspec

#: Longer answers are cut: no item needs more, and a model that runs on must not cost time.
ANSWER_CHARS_MAX: Final = 4_000
_NUMBER: Final = re.compile(r"-?\d+(?:,\d{3})+(?:\.\d+)?|-?\d+(?:\.\d+)?")
_QUOTES_AND_STOPS: Final = " \t\r\n.。!！\"'“”‘’`*"
_FENCE: Final = re.compile(r"^```[a-z]*\n(.*?)\n?```$", re.DOTALL)


class TaskItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One question; ``correct`` says how each ``check`` reads an answer."""

    id: str
    kind: Literal["arithmetic", "fact", "format"]
    language: Literal["en", "zh"]
    prompt: str
    check: Literal["number", "word", "choice", "exact", "pattern", "json"]
    #: A right answer.
    answer: str
    #: Other right answers (``word`` only).
    accept: tuple[str, ...] = ()
    #: What the question lets one choose from (``choice`` only); ``answer`` is one of them.
    choices: tuple[str, ...] = ()
    #: What a right answer looks like as a whole (``pattern`` only).
    pattern: str | None = None


@cache
def task_items() -> tuple[TaskItem, ...]:
    """All items in their order, read once."""
    content = (files("yunhe.adapt") / "data" / "tasks.json").read_bytes()
    return tuple(msgspec.json.decode(content, type=list[TaskItem]))


def correct(item: TaskItem, answer: str) -> bool:
    """Whether an answer is right.

    ``number``: the last number of the first line that has one equals the answer's ("6 * 7 = 42" counts). ``word``: the
    answer, or another accepted one, occurs as a whole word, in any case; between Chinese characters there are no words,
    so there it only has to occur. ``choice``: of the choices the one that occurs first is the answer. ``exact``: the
    whole answer, but for quotes, stops and blanks around it. ``pattern``: the whole answer matches. ``json``: the whole
    answer, in a code fence or not, is JSON of the same value. Full-width forms count as their plain ones.
    """
    given = unicodedata.normalize("NFKC", answer[:ANSWER_CHARS_MAX]).strip()
    match item.check:
        case "number":
            return _first_number(given) == Decimal(item.answer)
        case "word":
            return any(_place(word, given) is not None for word in (item.answer, *item.accept))
        case "choice":
            return _first_choice(item.choices, given) == item.answer
        case "exact":
            return given.strip(_QUOTES_AND_STOPS) == item.answer
        case "pattern":
            return re.fullmatch(item.pattern or "", given) is not None
        case "json":
            return _same_json(given, item.answer)


def _first_number(text: str) -> Decimal | None:
    for line in text.splitlines():
        numbers = _NUMBER.findall(line)
        if numbers:
            return Decimal(numbers[-1].replace(",", ""))
    return None


def _place(word: str, text: str) -> int | None:
    """Where a word stands in a text, None when it does not."""
    plain = re.escape(word.casefold())
    bounded = rf"(?<![^\W_]){plain}(?![^\W_])" if word.isascii() else plain
    found = re.search(bounded, text.casefold(), re.ASCII)
    return None if found is None else found.start()


def _first_choice(choices: tuple[str, ...], text: str) -> str | None:
    places = {choice: place for choice in choices if (place := _place(choice, text)) is not None}
    return min(places, key=places.__getitem__, default=None)


def _same_json(given: str, expected: str) -> bool:
    fenced = _FENCE.match(given)
    try:
        value = msgspec.json.decode(fenced.group(1) if fenced else given)
    except (msgspec.DecodeError, RecursionError):
        return False
    return _canonical(value) == _canonical(msgspec.json.decode(expected))


def _canonical(value: object) -> bytes:
    """Order of keys does not matter; true and 1, or 1 and 1.0, are not the same."""
    return msgspec.json.encode(value, order="sorted")
