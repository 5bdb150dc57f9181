"""How much memory a replica of a model is predicted to need. An estimate for placement, not a limit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from yunhe.catalogue.model import Model, SettingValue
from yunhe.core.units import MIB

#: Buffers of an engine besides weights and cache; the small model here was seen to need about half of it.
OVERHEAD_BYTES: Final = 256 * MIB
#: Weights take a little more than their file once laid out for the engine.
WEIGHTS_FACTOR: Final = 1.1
#: Names under which engines know how many requests they serve at once, and how wide a cache's elements are.
SLOT_SETTINGS: Final = ("slots", "max_num_seqs")
CACHE_SETTINGS: Final = ("kv_type", "kv_cache_dtype")
#: Keys and values in 16 bits, or narrower where the settings say so.
_CACHE_ELEMENT_BYTES: Final = 2.0
_NARROW_ELEMENT_BYTES: Final[Mapping[str, float]] = {"q8_0": 34 / 32, "fp8": 1.0, "q4_0": 18 / 32}
_NOTHING: Final[Mapping[str, SettingValue]] = {}


def cache_bytes(model: Model, settings: Mapping[str, SettingValue] = _NOTHING, slots: int = 1) -> int:
    """Key and value cache of ``slots`` whole contexts: each 2 x layers x kv_heads x head_size x context elements.

    Formula: one key and one value vector of each kv head in each layer for each position. ``settings``: a recipe's;
    what they name counts instead of ``slots`` and of the model's own context. 0 where the file does not tell the shape.
    """
    shape = model.shape
    per_position = 2 * shape.get("layers", 0) * shape.get("kv_heads", 0) * shape.get("head_size", 0)
    served = next((count for name in SLOT_SETTINGS if (count := _count(settings.get(name)))), slots)
    kinds = (str(settings[name]) for name in CACHE_SETTINGS if name in settings)
    element = next((_NARROW_ELEMENT_BYTES.get(kind, _CACHE_ELEMENT_BYTES) for kind in kinds), _CACHE_ELEMENT_BYTES)
    context = _count(settings.get("context_length")) or model.context_length
    return int(per_position * max(1, served) * context * element)


def _count(value: SettingValue | None) -> int:
    """A whole number of one or more; 0 for anything else, which the engine will refuse when it is asked to start."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0


def memory_need_bytes(model: Model, settings: Mapping[str, SettingValue] = _NOTHING, slots: int = 1) -> int:
    """Predicted memory of one replica; unknown weights count as nothing. See ``cache_bytes`` for the arguments.

    An engine that is left to choose takes as many slots as its card has room for, and tells how many once it runs: so
    one is counted before, and what it told after.
    """
    weights = int((model.weights.size_bytes or 0) * WEIGHTS_FACTOR)
    return weights + cache_bytes(model, settings, slots) + OVERHEAD_BYTES
