"""What an architecture costs: parameters by part, cache elements, operations. Counts, not seconds.

Formulas: a matrix of m x n has m*n parameters, and one token through it costs 2*m*n operations. Attention costs
2*heads*(key size + value size) operations for each pair of a query and a position that it looks at.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
from msgspec import Struct

from yunhe.catalogue.architecture import Architecture, Attention
from yunhe.catalogue.parameters import attention_parameters, expert_parameters

#: Positions beyond any context: attention without choice looks at all of them.
_ALL_POSITIONS: Final = 10**9


class Features(Struct, frozen=True):
    """All over the whole model; parameters and elements, not bytes."""

    layers: float
    hidden_size: float
    #: Parameters: attention, plain feed-forward parts, shared experts, output matrix, embedding (0 when tied).
    attention: float
    dense: float
    shared: float
    head: float
    embedding: float
    #: Layers with experts, experts in one, chosen for a token, parameters of one expert.
    expert_layers: float
    experts: float
    experts_used: float
    expert: float
    #: Cache elements of one position: whole context; within a window; compressed (not split over cards).
    cache_full: float
    cache_window: float
    cache_latent: float
    window: float
    #: Elements of fixed-size states of one sequence.
    state: float
    #: How far keys and values can be split over cards.
    kv_heads: float
    #: Operations for each pair of query and position: whole context, window, compressed in decode and in prefill.
    pair_full: float
    pair_window: float
    pair_latent_decode: float
    pair_latent_prefill: float
    #: Positions that sparse attention looks at, at most; its indexer looks at all of them: operations for each pair,
    #: and cache elements of one position.
    chosen: float
    indexer_pair: float
    indexer_cache: float
    #: Operations of fixed-size states for one token.
    state_operations: float

    @property
    def parameters(self) -> float:
        """All of them."""
        return self.always + self.embedding + self.head + self.expert_layers * self.experts * self.expert

    @property
    def always(self) -> float:
        """Those that every token passes, without embedding and output matrix."""
        return self.attention + self.dense + self.shared


@lru_cache(maxsize=1024)
def features(architecture: Architecture) -> Features:
    """Counted from the shape."""
    hidden = architecture.hidden_size
    groups = {
        kind: [group for group in architecture.attention if group.kind == kind]
        for kind in ("full", "window", "mla", "linear")
    }
    experts = architecture.experts
    matrices = architecture.feed_forward_matrices
    head = hidden * architecture.vocabulary
    latent = groups["mla"]
    return Features(
        layers=architecture.layers,
        hidden_size=hidden,
        attention=sum(attention_parameters(group, hidden) * group.layers for group in architecture.attention),
        dense=architecture.dense_layers * matrices * hidden * architecture.intermediate_size,
        shared=experts.layers * matrices * hidden * experts.shared_intermediate_size if experts else 0,
        head=head,
        embedding=0 if architecture.tied_embeddings else head,
        expert_layers=experts.layers if experts else 0,
        experts=experts.experts if experts else 1,
        experts_used=experts.used if experts else 0,
        expert=expert_parameters(architecture),
        cache_full=_cache(groups["full"]),
        cache_window=_cache(groups["window"]),
        cache_latent=sum(g.layers * ((g.kv_rank or 0) + (g.rotary_size or 0)) / g.compression for g in latent),
        window=max((group.window or 1 for group in groups["window"]), default=1),
        state=sum(group.layers * (group.state_elements or 0) for group in groups["linear"]),
        kv_heads=max((group.kv_heads for group in (*groups["full"], *groups["window"])), default=1),
        pair_full=_pairs(groups["full"]),
        pair_window=_pairs(groups["window"]),
        pair_latent_decode=sum(2 * g.layers * g.heads * (2 * (g.kv_rank or 0) + (g.rotary_size or 0)) for g in latent),
        pair_latent_prefill=_pairs(latent),
        chosen=min(
            (group.chosen_positions or _ALL_POSITIONS for group in architecture.attention), default=_ALL_POSITIONS
        ),
        indexer_pair=sum(
            2 * g.layers * (g.indexer_heads or 0) * (g.indexer_head_size or 0) / g.compression for g in latent
        ),
        indexer_cache=sum(g.layers * (g.indexer_head_size or 0) / g.compression for g in latent),
        # Decay, update and read of a state: three multiply-adds an element.
        state_operations=sum(6 * group.layers * (group.state_elements or 0) for group in groups["linear"]),
    )


def _cache(groups: list[Attention]) -> int:
    return sum(group.layers * group.kv_heads * (group.head_size + group.value_head_size) for group in groups)


def _pairs(groups: list[Attention]) -> int:
    return sum(2 * group.layers * group.heads * (group.head_size + group.value_head_size) for group in groups)


FeatureTable = dict[str, npt.NDArray[np.float64]]


def table(of: list[Features]) -> FeatureTable:
    """Column by column, for gathering by index."""
    return {
        name: np.array([float(getattr(one, name)) for one in of]) for name in (*Features.__struct_fields__, "always")
    }
