"""Reading a recipe's settings: known names, right kinds, values in range, or a clear error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from yunhe.catalogue.model import SettingValue
from yunhe.core.errors import InvalidRequest


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer setting within bounds, both included."""

    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Choice:
    """A setting with a few values."""

    values: tuple[SettingValue, ...]


Rule = Whole | Choice


def checked(engine: str, settings: Mapping[str, SettingValue], rules: Mapping[str, Rule]) -> dict[str, SettingValue]:
    """The settings, each checked against its rule. Raises InvalidRequest that names every problem."""
    problems = []
    for name, value in settings.items():
        rule = rules.get(name)
        if rule is None:
            problems.append(f"settings.{name}: {engine} has no such setting; it knows {', '.join(sorted(rules))}")
        elif isinstance(rule, Whole):
            if isinstance(value, bool) or not isinstance(value, int) or not rule.least <= value <= rule.most:
                problems.append(f"settings.{name}: must be a whole number from {rule.least} to {rule.most}")
        elif value not in rule.values or isinstance(value, bool) is not isinstance(rule.values[0], bool):
            problems.append(f"settings.{name}: must be one of {', '.join(map(str, rule.values))}")
    if problems:
        raise InvalidRequest(f"The settings do not suit the engine {engine}.", fields=problems)
    return dict(settings)
