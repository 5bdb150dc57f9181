"""Candidates: an engine with settings, out of the spaces that engines declare.

Settings that mean the same make one candidate, and what does not go together makes none.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from yunhe.catalogue.model import SettingValue
from yunhe.catalogue.ports import SettingsSpace

Settings = Mapping[str, SettingValue]
#: Engine and settings -> reason why they do not go together, empty when they do.
Constraint = Callable[[str, Settings], str]


class Candidate(Struct, frozen=True):
    """An engine with settings; equal settings have equal ids."""

    id: str
    engine: str
    settings: dict[str, SettingValue]
    #: Candidates of equal numerics (engine build, weight format, cache format ...) share the fidelity gate's verdict.
    numerics: str
    #: Predicted, larger is better; None: nobody said.
    score: float | None = None


def settings_key(settings: Settings) -> str:
    """Equal for equal settings whatever their order; 8 and 8.0 are equal, 1 and true are not."""
    plain = {name: int(v) if isinstance(v, float) and v.is_integer() else v for name, v in settings.items()}
    return msgspec.json.encode(plain, order="sorted").decode()


def candidates(
    spaces: Mapping[str, SettingsSpace],
    *,
    constraint: Constraint = lambda engine, settings: "",
    canonical: Callable[[str, Settings], Settings] = lambda engine, settings: settings,
    numerics: Callable[[str, Settings], str] = lambda engine, settings: f"{engine} {settings_key(settings)}",
    scores: Callable[[Sequence[Candidate]], Sequence[float]] | None = None,
    limit: int = 20_000,
) -> list[Candidate]:
    """Candidates of the engines' spaces, in the order in which to try them.

    Best score first where scores are given, else nearest to the defaults first. ``canonical`` writes settings that
    mean the same in the same way; of equal ones the nearest to the defaults stays. The ``limit`` nearest are looked at.
    """
    found: dict[str, Candidate] = {}
    for engine, settings in itertools.islice(_nearest_first(spaces), limit):
        if constraint(engine, settings):
            continue
        settings = dict(canonical(engine, settings))
        digest = hashlib.sha256(settings_key(settings).encode()).hexdigest()[:12]
        made = Candidate(f"{engine}-{digest}", engine, settings, numerics(engine, settings))
        found.setdefault(made.id, made)
    if scores is None:
        return list(found.values())
    plain = list(found.values())
    scored = [replace(one, score=float(score)) for one, score in zip(plain, scores(plain), strict=True)]
    return sorted(scored, key=lambda one: -(one.score or 0.0))


def _nearest_first(spaces: Mapping[str, SettingsSpace]) -> Iterator[tuple[str, dict[str, SettingValue]]]:
    """All settings: the defaults of each engine, then one setting changed, then two ..."""
    for changes in range(1 + max((len(space.choices) for space in spaces.values()), default=-1)):
        for engine, space in spaces.items():
            defaults = {name: values[0] for name, values in space.choices.items()}
            for names in itertools.combinations(space.choices, changes):
                for values in itertools.product(*(space.choices[name][1:] for name in names)):
                    yield engine, {**defaults, **dict(zip(names, values, strict=True))}
