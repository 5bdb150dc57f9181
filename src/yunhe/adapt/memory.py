"""Memory of a running model: weights, cache, and what an engine keeps for itself. Bytes."""

from __future__ import annotations

from typing import Final

from yunhe.adapt.features import features
from yunhe.adapt.precision import Precision
from yunhe.catalogue.architecture import Architecture
from yunhe.catalogue.chips import Chip

#: Of a card's memory that engines leave for weights and cache: nine tenths by default, less what their buffers take.
USABLE_SHARE: Final = 0.88
#: Embedding and output matrix stay in sixteen bits.
_WIDE_BYTES: Final = 2.0


def weight_bytes(architecture: Architecture, precision: Precision) -> float:
    """All weights in this precision."""
    f = features(architecture)
    plain = f.attention * precision.attention_bytes + (f.dense + f.shared) * precision.dense_bytes
    routed = f.expert_layers * f.experts * f.expert * precision.expert_bytes
    return plain + (f.head + f.embedding) * _WIDE_BYTES + routed


def sequence_bytes(
    architecture: Architecture, precision: Precision, tokens: float, tensor_parallel: float = 1
) -> float:
    """Cache and states of one sequence of ``tokens``, over all cards that share it: heads are divided among cards and
    copied where there are fewer heads than cards; what is compressed for all heads is on every card."""
    f = features(architecture)
    copies = max(1.0, tensor_parallel / f.kv_heads)
    elements = (
        (f.cache_full * copies + (f.cache_latent + f.indexer_cache / 2) * tensor_parallel) * tokens
        + f.cache_window * copies * min(tokens, f.window)
        + f.state
    )
    return elements * precision.cache_bytes


def sequences_max(
    architecture: Architecture,
    precision: Precision,
    chip: Chip,
    cards: int,
    tokens: float,
    *,
    tensor_parallel: int | None = None,
    data_parallel: int = 1,
    usable_share: float = USABLE_SHARE,
) -> float:
    """How many sequences of ``tokens`` fit beside the weights on ``cards``, over which attention is divided
    ``tensor_parallel`` times (all cards when None) and of which there are ``data_parallel`` copies; below 1 when none
    does, infinite when nobody says how much memory the chip has."""
    if chip.memory_bytes is None:
        return float("inf")
    attention = features(architecture).attention * precision.attention_bytes
    weights = weight_bytes(architecture, precision) + (data_parallel - 1) * attention
    free = cards * chip.memory_bytes.value * usable_share - weights
    return max(0.0, free / sequence_bytes(architecture, precision, tokens, tensor_parallel or cards))


def cards_min(architecture: Architecture, precision: Precision, chip: Chip, cards: int) -> int:
    """The fewest cards, a power of two, that hold the weights and as much again for the cache; at most ``cards``."""
    if chip.memory_bytes is None:
        return cards
    found = 1
    while found < cards and weight_bytes(architecture, precision) / found > chip.memory_bytes.value * USABLE_SHARE / 2:
        found *= 2
    return min(found, cards)
