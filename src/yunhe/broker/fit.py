"""How much memory a replica of a model is predicted to need. An estimate for placement, not a limit."""

from __future__ import annotations

from typing import Final

from yunhe.catalogue.model import Model
from yunhe.core.units import MIB

#: Buffers of an engine besides weights and cache; the small model here was seen to need about half of it.
OVERHEAD_BYTES: Final = 256 * MIB
#: Weights take a little more than their file once laid out for the engine.
WEIGHTS_FACTOR: Final = 1.1
#: Keys and values in 16 bits.
_CACHE_ELEMENT_BYTES: Final = 2


def cache_bytes(model: Model) -> int:
    """Key and value cache for one whole context: 2 x layers x kv_heads x head_size x context, in 16 bits.

    Formula: one key and one value vector of each kv head in each layer for each position. 0 where the file does not
    tell the shape.
    """
    shape = model.shape
    per_position = shape.get("layers", 0) * shape.get("kv_heads", 0) * shape.get("head_size", 0)
    return 2 * per_position * model.context_length * _CACHE_ELEMENT_BYTES


def memory_need_bytes(model: Model) -> int:
    """Predicted memory of one replica; unknown weights count as nothing."""
    return int((model.weights.size_bytes or 0) * WEIGHTS_FACTOR) + cache_bytes(model) + OVERHEAD_BYTES
