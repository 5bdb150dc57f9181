"""Typed reading of one model's config.json, so that a wrong field is named instead of guessed at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from yunhe.catalogue.errors import BadModelConfig

#: Names under which a multimodal model's configuration holds that of its text part.
_TEXT_PARTS: Final = ("text_config", "llm_config", "language_config")
#: No size of a model comes near it.
_COUNT_MAX: Final = 2**40


class ConfigFields:
    """The text part's fields, those of the whole below them. Numbers are counts: integers, never negative."""

    def __init__(self, config: Mapping[str, object]) -> None:
        part = next((config[name] for name in _TEXT_PARTS if config.get(name) is not None), None)
        if part is not None and not isinstance(part, Mapping):
            raise BadModelConfig("the text part of config.json is not an object", fields=list(_TEXT_PARTS))
        self._values: dict[str, object] = {**config, **(part or {})}
        self.model_type: str | None = self.text("model_type")
        self.outer_type: str | None = str(config["model_type"]) if config.get("model_type") else None

    def has(self, name: str) -> bool:
        """Whether the field is there and not null."""
        return self._values.get(name) is not None

    def text(self, name: str) -> str | None:
        """A string, or None when absent. Raises BadModelConfig."""
        value = self._values.get(name)
        if value is not None and not isinstance(value, str):
            raise _bad(name, "a string", value)
        return value

    def flag(self, name: str, default: bool) -> bool:
        """True or false. Raises BadModelConfig."""
        value = self._values.get(name)
        if value is None:
            return default
        if not isinstance(value, bool):
            raise _bad(name, "true or false", value)
        return value

    def maybe(self, *names: str) -> int | None:
        """The first of these that is there, or None. Raises BadModelConfig when it is no count."""
        name = next((name for name in names if self.has(name)), None)
        return None if name is None else _count(name, self._values[name])

    def count(self, *names: str) -> int:
        """The first of these that is there; at least 1. Raises BadModelConfig."""
        value = self.maybe(*names)
        if not value:
            said = " or ".join(names)
            raise BadModelConfig(f"config.json does not say {said}", fields=[f"{names[0]}: a whole number above 0"])
        return value

    def counts(self, name: str) -> list[int] | None:
        """A list of counts, or None when absent or no list. Raises BadModelConfig."""
        value = self._values.get(name)
        return [_count(name, entry) for entry in value] if isinstance(value, list) else None

    def words(self, name: str) -> list[str] | None:
        """A list of strings, or None when absent. Raises BadModelConfig."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(entry, str) for entry in value):
            raise _bad(name, "a list of strings", value)
        return [str(entry) for entry in value]

    def parts(self, name: str) -> list[ConfigFields] | None:
        """A list of objects, or None when absent. Raises BadModelConfig."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, list) or not all(isinstance(entry, Mapping) for entry in value):
            raise _bad(name, "a list of objects", value)
        return [ConfigFields(entry) for entry in value]

    def part(self, name: str) -> ConfigFields | None:
        """An object, or None when absent. Raises BadModelConfig."""
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, Mapping):
            raise _bad(name, "an object", value)
        return ConfigFields(value)

    def ratio(self, name: str) -> float:
        """A number above 0. Raises BadModelConfig."""
        value = self._values.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise _bad(name, "a number above 0", value)
        return float(value)


def _count(name: str, value: object) -> int:
    whole = isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if isinstance(value, bool) or not whole or not isinstance(value, int | float) or not 0 <= value <= _COUNT_MAX:
        raise _bad(name, "a whole number, not negative, in a model's range", value)
    return int(value)


def _bad(name: str, wanted: str, value: object) -> BadModelConfig:
    return BadModelConfig(f"{name} in config.json is {value!r:.60}, not {wanted}", fields=[f"{name}: {wanted}"])
