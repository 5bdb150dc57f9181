"""How two recipes differ, and whether a recipe may be used here.

A recipe holds where it was measured. What can break elsewhere is refused, what can only make its numbers wrong needs a
person's word (``--force``), what can only help is let through and shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Final, Literal

import msgspec

from yunhe.adapt.canonical import Json, canonical_bytes
from yunhe.adapt.recipe_document import ChipFingerprint, Recipe
from yunhe.adapt.recipe_evidence import Load
from yunhe.adapt.recipe_fields import EngineBuild

Kind = Literal["changed", "added", "removed"]
#: What a difference asks for: nothing, a person's word, or another recipe.
Weight = Literal["allowed", "force", "never"]
Outcome = Literal["applies", "needs force", "never"]
_UNKNOWN: Final = "unknown"
_ITEMS_SHOWN_MAX: Final = 8
_TEXT_SHOWN_MAX: Final = 200


@dataclass(frozen=True, slots=True)
class Change:
    """One field that differs; ``left`` is None where it was added, ``right`` where it was removed."""

    #: Members joined by dots; items of lists in brackets, by their load where they have one, else by number.
    path: str
    kind: Kind
    left: Json
    right: Json

    def line(self) -> str:
        """The change on one line, numbers with their relative change; safe to print."""
        path = _shown(self.path)
        if self.kind == "added":
            return f"{path}: + {_shown(self.right)}"
        if self.kind == "removed":
            return f"{path}: - {_shown(self.left)}"
        return f"{path}: {_shown(self.left)} -> {_shown(self.right)}{_relative(self.left, self.right)}"


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not here as it was where the recipe was measured."""

    field: str
    recipe: str
    here: str
    weight: Weight
    #: What may come of it.
    why: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a recipe may be used here; differences come in the order of their weight, the heaviest first."""

    outcome: Outcome
    differences: tuple[Difference, ...]

    def allowed(self, *, force: bool) -> bool:
        """Whether to go on; ``force`` is a person's word, and does not move a ``never``."""
        return self.outcome == "applies" or (force and self.outcome == "needs force")

    def reasons(self) -> tuple[str, ...]:
        """One line for each difference; safe to print."""
        return tuple(f"{d.field}: the recipe has {d.recipe}, here is {d.here}: {d.why}" for d in self.differences)


def diff(left: Recipe, right: Recipe) -> tuple[Change, ...]:
    """Every field that differs, in the order of the document.

    Empty when the two have one content id; otherwise only where the same measurements stand in another order.
    """
    return tuple(_object_changes("", msgspec.to_builtins(left), msgspec.to_builtins(right)))


def applies(recipe: Recipe, chip: ChipFingerprint, model_digest: str, engine: EngineBuild) -> Verdict:
    """Whether a recipe may be used for this model on these cards with this build.

    ``chip`` counts all cards that are free for it. Says nothing of who made the recipe: check the signature first.
    """
    found = [
        *_model_differences(recipe, model_digest),
        *_chip_differences(recipe.chip, chip),
        *_memory_differences(recipe, chip),
        *_engine_differences(recipe.engine.build, engine),
        *_fidelity_differences(recipe),
    ]
    order: dict[Weight, int] = {"never": 0, "force": 1, "allowed": 2}
    found.sort(key=lambda difference: order[difference.weight])
    heaviest: Weight = found[0].weight if found else "allowed"
    outcomes: dict[Weight, Outcome] = {"never": "never", "force": "needs force", "allowed": "applies"}
    return Verdict(outcomes[heaviest], tuple(found))


def _model_differences(recipe: Recipe, model_digest: str) -> Iterator[Difference]:
    if recipe.model.digest != model_digest:
        why = "speed and fidelity were shown of other weights"
        yield Difference("model digest", recipe.model.digest, model_digest, "never", why)


def _chip_differences(then: ChipFingerprint, here: ChipFingerprint) -> Iterator[Difference]:
    if then.chip_id != here.chip_id:
        why = "it was measured on another chip; adapt the model to this one, the recipe can be a first candidate"
        yield Difference("chip", _shown(then.chip_id), _shown(here.chip_id), "never", why)
    missing = tuple(sorted(set(then.instruction_sets) - set(here.instruction_sets)))
    extra = tuple(sorted(set(here.instruction_sets) - set(then.instruction_sets)))
    if missing:
        why = "the engine may use them and die of an illegal instruction"
        yield Difference("instruction sets", _shown(missing), "without them", "never", why)
    if extra:
        yield Difference("instruction sets", "none of these", _shown(extra), "allowed", "a better recipe may exist")
    if here.count < then.count:
        yield Difference("cards", str(then.count), str(here.count), "never", "it needs more cards")
    elif here.count > then.count:
        yield Difference("cards", str(then.count), str(here.count), "allowed", "it leaves cards unused")
    yield from _speed_differences(then, here)


def _speed_differences(then: ChipFingerprint, here: ChipFingerprint) -> Iterator[Difference]:
    """What leaves the recipe running, but its numbers unproven.

    Unknown beside known counts as different, unknown twice as the same.
    """
    why = "speed was measured with the other; verify the recipe here"
    pairs: list[tuple[str, Json, Json]] = [
        ("model name", then.model_name, here.model_name),
        ("cores", then.core_count, here.core_count),
        ("firmware version", then.firmware_version, here.firmware_version),
        ("driver version", then.driver_version, here.driver_version),
    ]
    if then.count > 1:
        links, links_here = then.link_topology, here.link_topology
        pairs.append(("links", links.shape, links_here.shape))
        pairs.append(("link bandwidth in bytes/s", links.bandwidth_bytes_per_s, links_here.bandwidth_bytes_per_s))
    for name, a, b in pairs:
        if a != b:
            said, found = (_UNKNOWN if value is None else _shown(value) for value in (a, b))
            yield Difference(name, said, found, "force", why)


def _memory_differences(recipe: Recipe, here: ChipFingerprint) -> Iterator[Difference]:
    then, now = recipe.chip.memory_bytes, here.memory_bytes
    if then == now:
        return
    peaks = [m.memory_peak_bytes.value for m in recipe.measurements if m.memory_peak_bytes is not None]
    if now is not None and peaks and max(peaks) > now * recipe.chip.count:
        needed = f"a peak of {max(peaks):,.0f} bytes on {recipe.chip.count} cards"
        yield Difference("memory", needed, f"{now:,} bytes a card", "never", "it does not fit")
        return
    if then is not None and now is not None and now > then:
        yield Difference("memory", f"{then:,} bytes", f"{now:,} bytes", "allowed", "it leaves memory unused")
        return
    said, found = (_UNKNOWN if size is None else f"{size:,} bytes" for size in (then, now))
    yield Difference("memory", said, found, "force", "it may run out of memory under load")


def _engine_differences(then: EngineBuild, here: EngineBuild) -> Iterator[Difference]:
    if then.name != here.name:
        yield Difference("engine", _shown(then.name), _shown(here.name), "never", "its settings are another engine's")
    if then.version != here.version:
        why = "options and speed change between versions; verify the recipe here"
        yield Difference("engine version", _shown(then.version), _shown(here.version), "force", why)
    if then.build_digest != here.build_digest:
        why = "speed and numbers belong to one build; verify the recipe here"
        yield Difference("engine build", then.build_digest, here.build_digest, "force", why)


def _fidelity_differences(recipe: Recipe) -> Iterator[Difference]:
    verdict = recipe.fidelity.verdict
    if verdict == "failed":
        yield Difference("fidelity", "failed", "a gate to pass", "never", "its answers are not the model's")
    elif verdict == "insufficient":
        why = "nobody has shown that its answers are the model's"
        yield Difference("fidelity", "too little evidence", "a gate to pass", "force", why)


def _object_changes(path: str, left: Mapping[str, Json], right: Mapping[str, Json]) -> Iterator[Change]:
    names = [*left, *(name for name in right if name not in left)]
    for name in names:
        inner = f"{path}.{name}" if path else name
        if name not in right:
            yield Change(inner, "removed", left[name], None)
        elif name not in left:
            yield Change(inner, "added", None, right[name])
        else:
            yield from _changes(inner, left[name], right[name])


def _changes(path: str, left: Json, right: Json) -> Iterator[Change]:
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        yield from _object_changes(path, left, right)
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
        yield from _list_changes(path, left, right)
    elif canonical_bytes(left) != canonical_bytes(right):
        # By bytes, because in Python True equals 1.
        yield Change(path, "changed", left, right)


def _list_changes(path: str, left: Sequence[Json], right: Sequence[Json]) -> Iterator[Change]:
    if any(isinstance(item, Mapping) for item in (*left, *right)):
        by_label, by_label_right = _labelled(left), _labelled(right)
        for label in [*by_label, *(label for label in by_label_right if label not in by_label)]:
            inner = f"{path}[{label}]"
            if label not in by_label_right:
                yield Change(inner, "removed", by_label[label], None)
            elif label not in by_label:
                yield Change(inner, "added", None, by_label_right[label])
            else:
                yield from _changes(inner, by_label[label], by_label_right[label])
        return
    texts, texts_right = ([canonical_bytes(item) for item in items] for items in (left, right))
    for tag, a, b, c, d in SequenceMatcher(None, texts, texts_right, autojunk=False).get_opcodes():
        if tag == "replace":
            yield Change(f"{path}[{a}]", "changed", _one(left[a:b]), _one(right[c:d]))
        elif tag == "delete":
            yield Change(f"{path}[{a}]", "removed", _one(left[a:b]), None)
        elif tag == "insert":
            yield Change(f"{path}[{a}]", "added", None, _one(right[c:d]))


def _labelled(items: Sequence[Json]) -> dict[str, Json]:
    """Items by their load and metric, so that a measurement is compared with that of the same load; else by number."""
    labelled: dict[str, Json] = {}
    for number, item in enumerate(items):
        load = item.get("load") if isinstance(item, Mapping) else None
        label = str(number)
        if isinstance(item, Mapping) and load is not None:
            metric = item.get("metric")
            label = msgspec.convert(load, Load).label + (f", {metric}" if metric else "")
        labelled[f"{label}, {number}" if label in labelled else label] = item
    return labelled


def _one(items: Sequence[Json]) -> Json:
    return items[0] if len(items) == 1 else list(items)


def _shown(value: Json) -> str:
    """For people and safe on a terminal: control characters and marks that turn the writing are escaped."""
    if value is None:
        return "none"
    if isinstance(value, str):
        short = value if len(value) <= _TEXT_SHOWN_MAX else f"{value[:_TEXT_SHOWN_MAX]}..."
        return short if short.strip() and short.isprintable() else repr(short)
    if isinstance(value, list | tuple):
        shown = " ".join(_shown(item) for item in value[:_ITEMS_SHOWN_MAX])
        return shown if len(value) <= _ITEMS_SHOWN_MAX else f"{shown} ... ({len(value)} in all)"
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_shown(name)}: {_shown(item)}' for name, item in value.items())}}}"
    return canonical_bytes(value).decode()


def _relative(left: Json, right: Json) -> str:
    if isinstance(left, bool) or isinstance(right, bool):
        return ""
    if not isinstance(left, int | float) or not isinstance(right, int | float) or left == 0:
        return ""
    return f" ({right / left - 1:+.1%})"
