"""What a model is made of, as far as memory and time depend on it."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from yunhe.catalogue.sourced import Source

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
#: ``full``: every earlier position (MHA, GQA, MQA by ``kv_heads``). ``window``: the last ``window`` positions.
#: ``mla``: one compressed vector a position for all heads. ``linear``: a state of fixed size (state-space, delta rule).
AttentionKind = Literal["full", "window", "mla", "linear"]


class Attention(Struct, frozen=True, forbid_unknown_fields=True):
    """The layers of one kind of attention. Sizes in elements."""

    kind: AttentionKind
    layers: Positive
    heads: Positive
    #: Heads that have keys and values of their own; 1 for ``mla``.
    kv_heads: Positive
    #: Of a query and key head; for ``mla`` with its rotary part.
    head_size: Positive
    value_head_size: Positive
    #: ``window`` (and ``mla`` with compression) only: positions.
    window: Positive | None = None
    #: ``mla`` only: rank of queries (None: not compressed), of keys and values, and the rotary part of a key.
    query_rank: Positive | None = None
    kv_rank: Positive | None = None
    rotary_size: Positive | None = None
    #: ``linear`` only: elements of one layer's state for one sequence.
    state_elements: Positive | None = None
    #: Sparse attention: a query looks at so many chosen positions at most (and an indexer at all of them).
    chosen_positions: Positive | None = None
    #: Heads of that indexer, and elements of its one key a position; None where another layer's choice is used.
    indexer_heads: Positive | None = None
    indexer_head_size: Positive | None = None
    #: One cached vector stands for so many positions (the last ``window`` positions besides are kept as they are).
    compression: Positive = 1
    #: Of one layer, where the sizes above do not give them: gates, indexers, shared or factored matrices.
    parameters: Positive | None = None


class Experts(Struct, frozen=True, forbid_unknown_fields=True):
    """Mixture-of-experts layers, all alike."""

    layers: Positive
    experts: Positive
    #: Chosen for each token.
    used: Positive
    #: Inner size of one expert.
    intermediate_size: Positive
    #: What an expert reads and writes, where all experts share a projection from the hidden size and back.
    latent_size: Positive | None = None
    #: Inner size of what every token passes besides (all shared experts together).
    shared_intermediate_size: Count = 0


class Architecture(Struct, frozen=True, forbid_unknown_fields=True):
    """One size of a model family."""

    #: Lowercase, stable: ``qwen3-32b``.
    id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    #: As its maker writes it, with the owner: ``Qwen/Qwen3-32B``.
    name: str
    family: str
    hidden_size: Positive
    vocabulary: Positive
    context_length: Positive
    attention: Annotated[tuple[Attention, ...], Meta(min_length=1)]
    #: Layers with a plain feed-forward part, and its inner size.
    dense_layers: Count
    intermediate_size: Count
    experts: Experts | None
    #: The output matrix is the embedding's.
    tied_embeddings: bool
    #: Matrices of a feed-forward part: 3 with a gate, 2 without.
    feed_forward_matrices: Literal[2, 3]
    #: Keys of the file's sources.
    sources: Annotated[tuple[str, ...], Meta(min_length=1)]
    #: As published, to check the sum against; with experts all of them, and those that one token uses.
    parameters: Positive | None = None
    active_parameters: Positive | None = None
    #: Formats in which its maker publishes weights: bf16, fp8, mxfp4 ...
    published_dtypes: tuple[str, ...] = ()
    #: Layers of a multi-token-prediction head, for speculation.
    prediction_layers: Count = 0
    aliases: tuple[str, ...] = ()
    note: str = ""

    @property
    def layers(self) -> int:
        """All of them."""
        return sum(group.layers for group in self.attention)


class ArchitectureFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One family's architectures."""

    schema: Literal[1]
    maker: str
    licence: str
    sources: dict[str, Source]
    architectures: Annotated[tuple[Architecture, ...], Meta(min_length=1)]
