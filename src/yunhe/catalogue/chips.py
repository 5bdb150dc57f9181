"""Chips as their makers and others describe them. What nobody says is absent, never 0."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

from yunhe.catalogue.sourced import Source, Sourced

#: Number formats of matrix engines.
Dtype = Literal["fp64", "fp32", "tf32", "bf16", "fp16", "fp8", "int8", "fp4", "int4"]


class Chip(Struct, frozen=True, forbid_unknown_fields=True):
    """One silicon model, as one device of its maker's tool."""

    #: Lowercase, stable; maker or series, then model.
    id: Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9.-]*$")]
    #: As people write it.
    name: str
    #: Chips that share silicon and so, after one of them was measured, a calibration.
    family: str
    kind: Literal["gpu", "npu", "cpu"]
    #: Names that makers' tools and result tables use.
    aliases: tuple[str, ...] = ()
    memory_type: str | None = None
    memory_bytes: Sourced | None = None
    memory_bandwidth_bytes_per_s: Sourced | None = None
    #: Last-level cache that all cores share.
    cache_bytes: Sourced | None = None
    #: Dense (no structured sparsity) operations a second; a multiply-add counts two.
    peak_flops: dict[Dtype, Sourced] = {}
    #: To another card of the same node or supernode, one direction, all links of a card together.
    scale_up_bytes_per_s: Sourced | None = None
    scale_up_note: str = ""
    #: To other nodes, a card's share, one direction.
    scale_out_bytes_per_s: Sourced | None = None
    #: Cards that one scale-up fabric joins.
    supernode_cards: Sourced | None = None
    power_watts: Sourced | None = None
    note: str = ""


class ChipFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One maker's chips."""

    schema: Literal[1]
    maker: str
    sources: dict[str, Source]
    chips: Annotated[tuple[Chip, ...], Meta(min_length=1)]
